//! The tables: which function of `exec` each instruction is, a file a group.
//!
//! A row names iced's codes and the [`Form`]; in it `M` is the memory that `exec` is generic over:
//! ```text
//!   Add_rm8_r8 => alu::rm_r::<M, u8, Add>(),
//!   Nopw | Nopd | Nopq => Form::any(misc::nothing::<M>),
//! ```
//! The bits of CPUID that an instruction needs are looked up by its code (`cpuid::gate`), not written here.

use iced_x86::Code;

use super::Form;
use crate::memory::Memory;

/// Declares the table of a group.
macro_rules! rows {
    () => {
        pub(super) fn row<M: crate::memory::Memory>(_: iced_x86::Code) -> Option<crate::isa::Form<M>> {
            None
        }
    };
    ($($($code:ident)|+ => $form:expr,)*) => {
        pub(super) fn row<M: crate::memory::Memory>(code: iced_x86::Code) -> Option<crate::isa::Form<M>> {
            Some(match code {
                $($(iced_x86::Code::$code)|+ => $form,)*
                _ => return None,
            })
        }
    };
}

mod avx;
mod avx_float;
mod bits;
mod branch;
mod crypto;
mod fma;
mod integer;
mod mmx;
mod sse;
mod sse_float;
mod stack;
mod string;
mod system;
mod transfer;
mod x87;

/// The row of an instruction.
pub(crate) fn find<M: Memory>(code: Code) -> Option<Form<M>> {
    integer::row(code)
        .or_else(|| transfer::row(code))
        .or_else(|| stack::row(code))
        .or_else(|| branch::row(code))
        .or_else(|| bits::row(code))
        .or_else(|| string::row(code))
        .or_else(|| system::row(code))
        .or_else(|| x87::row(code))
        .or_else(|| mmx::row(code))
        .or_else(|| sse::row(code))
        .or_else(|| sse_float::row(code))
        .or_else(|| avx::row(code))
        .or_else(|| avx_float::row(code))
        .or_else(|| fma::row(code))
        .or_else(|| crypto::row(code))
}
