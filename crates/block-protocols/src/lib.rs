//! block-protocols
