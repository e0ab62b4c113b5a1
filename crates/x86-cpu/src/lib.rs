//! An x86 processor in software: decoder, meaning of each instruction, CPU models.
//!
//! # How an instruction runs
//! [`isa::Decoding`] makes [`isa::Op`] records, a block at a time; whoever runs them (`accel-soft`, a user-mode emulator, a test) sets
//! `gpr[reg::BLOCK]` to the address of the block's first instruction and calls `(op.run)(&mut cpu, &mut memory, &op)` one after the other:
//! ```text
//!   bytes --iced--> Instruction --isa/table/*--> Op { run, reg, base, index, disp, imm, ... }
//!   (op.run)(cpu, memory, op) -> Ok(())            done; `rip` is not touched unless the op has op::JUMPS
//!                             -> Err(Trap::Fault)  exception in cpu.fault, nothing has happened
//!                             -> Err(Trap::Alone)  nothing has happened; run it again outside the block
//! ```
//! Everything is generic over [`Memory`]: linear addresses, ports, time. [`CpuState`] is plain data.
//!
//! # Adding instructions
//! 1. In `isa/table/<group>.rs` one row: iced's [`isa::Code`] names, then a `Form`. `Form::any(f)` has one function for all operands,
//!    `Form::two(reg, mem)` one for register operands and one for a memory operand; `.ends()` if nothing of the block may follow.
//!    The CPUID gate is found by the code (`cpuid/gate.rs`): a feature that is off makes the instruction #UD. A bit of
//!    `cpuid::ABILITIES` is set when everything behind it works.
//! 2. In `exec/<group>.rs` the function, `fn name<M: Memory>(cpu: &mut CpuState, m: &mut M, op: &Op<M>) -> Step`, with width and kind
//!    as type or constant parameters. [`exec::access`] has the operands:
//!    - `get::<u32>(cpu, op.reg[1])`, `set::<u32>(...)`: general registers. `op.reg[n]` is operand n; vector, MMX and x87 registers
//!      are `cpu.vector[n]` (`[u64; 4]`, xmm is the first half), `cpu.fpu.registers[n]`.
//!    - `load::<u128, M>(cpu, m, op)?`, `store(cpu, m, op, value)?`: the memory operand; `u8` to `u64`, `u128` and `[u64; 4]`.
//!      `linear(cpu, op, bytes, Access::Read)?` gives its address, for alignment checks (#GP(0) is `Err(cpu.gp())`).
//!    - `op.imm`: the immediate; a register in bits 7 to 4 of an immediate byte is `op.reg[3]`.
//!    - VSIB: `op.index` is the vector register, `op.base`, `op.disp`, `op.scale` as usual; use [`exec::access::segmented`].
//!    - VEX.L is in the code's name, so it is in the row.
//! 3. Faults first: check and read everything, then change the state. `return Err(cpu.raise(fault::NM, 0))`.
//! 4. CR0.EM, CR0.TS, CR4.OSFXSR, XCR0 and pending x87 errors are checked in the function, by the state.
//!
//! A translator works from the same records: [`isa::Op::code`] is the full identity, the operands are decoded, and the state is this one.
#![forbid(unsafe_code)]

pub mod cpuid;
pub mod exec;
pub mod fault;
pub mod flags;
pub mod fp;
pub mod isa;
mod memory;
mod names;
pub mod simd;
pub mod state;
pub mod word;

pub use fault::{Fault, Step, Trap};
pub use memory::{Flush, Memory};
pub use state::CpuState;

#[cfg(test)]
pub(crate) mod tests;
