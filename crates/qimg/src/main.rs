//! qimg
fn main() {}
