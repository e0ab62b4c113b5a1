//! What vector instructions compute, 128 bits at a time and without processor state: AVX does the same to
//! both halves, MMX to half of it.

pub mod aes;
pub mod approx;
pub mod float;
pub mod lanes;
pub mod packed;
pub mod poly;
pub mod sha;
pub mod shift;
pub mod shuffle;
pub mod strings;

#[cfg(test)]
mod tests;
