//! block-formats
