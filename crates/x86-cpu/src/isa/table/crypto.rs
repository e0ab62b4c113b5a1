//! AES, PCLMULQDQ, SHA.

rows! {}
