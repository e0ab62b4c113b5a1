//! SSE to SSE4.2.

rows! {}
