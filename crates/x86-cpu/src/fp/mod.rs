//! Floating-point arithmetic of the x87 unit and of SSE, in integers.
//!
//! Every binary format is widened to one [`Raw`] (sign, biased exponent, significand with its integer bit
//! on the left); an operation makes an exact result of up to 128 bits with a sticky last bit and rounds it
//! once, in [`round`], to the [`Format`] asked for. So single, double, double extended and the x87's
//! reduced precisions share one implementation, with every flag of "Intel 64 and IA-32 Architectures
//! Software Developer's Manual", volume 1, chapters 4.9, 8.5 and 11.5.

pub mod arith;
pub mod bcd;
pub mod compare;
pub mod convert;
pub mod env;
pub mod fma;
pub mod raw;
pub mod rem;
pub mod round;
pub mod scalar;
pub mod trans;
pub mod wide;

#[cfg(test)]
mod tests;

pub use env::{Env, NanRule, Rounding, flag};
pub use raw::{F16, F32, F64, F80, Format, Raw};
