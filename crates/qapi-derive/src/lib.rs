//! qapi-derive
