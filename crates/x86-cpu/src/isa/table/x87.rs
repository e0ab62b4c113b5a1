//! The x87.

rows! {}
