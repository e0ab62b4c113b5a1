//! The x87.
//!
//! An instruction reads its operands, finds an empty register (a stack fault) or computes in an
//! [`Env`](crate::fp::Env) made from the control word, and then [`unit::conclude`]s: flags go to the status
//! word, and unless an exception found before the computation is not masked, the result is stored.

pub(crate) mod area;
pub(crate) mod arith;
pub(crate) mod compare;
pub(crate) mod control;
pub(crate) mod math;
pub(crate) mod transfer;
pub(crate) mod unit;
