//! string.

rows! {}
