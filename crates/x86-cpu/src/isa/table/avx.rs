//! AVX, AVX2, FMA, F16C.

rows! {}
