//! The stack.

use crate::exec::stack;
use crate::isa::Form;

rows! {
    Push_r16 | Push_rm16 => stack::push_value::<u16, M>(),
    Pop_r16 | Pop_rm16 => stack::pop_value::<u16, M>(),
    Pushfw => Form::any(stack::push_flags::<u16, M>),
    Popfw => Form::any(stack::pop_flags::<u16, M>).ends(),
    Enterw_imm16_imm8 => Form::any(stack::enter::<u16, M>),
    Leavew => Form::any(stack::leave::<u16, M>),
    Push_r32 | Push_rm32 => stack::push_value::<u32, M>(),
    Pop_r32 | Pop_rm32 => stack::pop_value::<u32, M>(),
    Pushfd => Form::any(stack::push_flags::<u32, M>),
    Popfd => Form::any(stack::pop_flags::<u32, M>).ends(),
    Enterd_imm16_imm8 => Form::any(stack::enter::<u32, M>),
    Leaved => Form::any(stack::leave::<u32, M>),
    Push_r64 | Push_rm64 => stack::push_value::<u64, M>(),
    Pop_r64 | Pop_rm64 => stack::pop_value::<u64, M>(),
    Pushfq => Form::any(stack::push_flags::<u64, M>),
    Popfq => Form::any(stack::pop_flags::<u64, M>).ends(),
    Enterq_imm16_imm8 => Form::any(stack::enter::<u64, M>),
    Leaveq => Form::any(stack::leave::<u64, M>),
    Push_imm16 | Pushw_imm8 => Form::any(stack::push_imm::<u16, M>),
    Pushd_imm32 | Pushd_imm8 => Form::any(stack::push_imm::<u32, M>),
    Pushq_imm32 | Pushq_imm8 => Form::any(stack::push_imm::<u64, M>),
    Pushw_ES | Pushw_CS | Pushw_SS | Pushw_DS | Pushw_FS | Pushw_GS => Form::any(stack::push_segment::<u16, M>),
    Pushd_ES | Pushd_CS | Pushd_SS | Pushd_DS | Pushd_FS | Pushd_GS => Form::any(stack::push_segment::<u32, M>),
    Pushq_FS | Pushq_GS => Form::any(stack::push_segment::<u64, M>),
    Pushaw => Form::any(stack::push_all::<u16, M>),
    Popaw => Form::any(stack::pop_all::<u16, M>),
    Pushad => Form::any(stack::push_all::<u32, M>),
    Popad => Form::any(stack::pop_all::<u32, M>),
    Bound_r16_m1616 => Form::any(stack::bound::<u16, M>),
    Bound_r32_m3232 => Form::any(stack::bound::<u32, M>),
}
