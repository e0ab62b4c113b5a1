//! MMX.

rows! {}
