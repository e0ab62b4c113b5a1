//! system.

rows! {}
