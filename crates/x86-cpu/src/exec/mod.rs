//! The meaning of each operation, a file a group.
//!
//! A function has the type [`Handler`](crate::isa::Handler). It does all that can fault before it changes anything. Operands come from
//! [`access`]; a fault is `return Err(cpu.raise(vector, code))`.

pub mod access;
pub(crate) mod alu;
pub(crate) mod bits;
pub(crate) mod branch;
pub(crate) mod mmx;
pub(crate) mod muldiv;
pub(crate) mod shift;
pub(crate) mod stack;
pub(crate) mod string;
pub(crate) mod system;
pub(crate) mod transfer;
pub(crate) mod vector;
pub(crate) mod x87;
pub(crate) mod xsave;

pub use system::event::{exception, interrupt, nmi};
pub use system::msr::{restore_msr, saved_msrs};

use crate::fault::Step;
use crate::isa::Op;
use crate::memory::Memory;
use crate::state::CpuState;

/// #UD.
pub(crate) fn undefined<M: Memory>(cpu: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    Err(cpu.ud())
}

/// NOP and hints.
pub(crate) fn nothing<M: Memory>(_: &mut CpuState, _: &mut M, _: &Op<M>) -> Step {
    Ok(())
}
