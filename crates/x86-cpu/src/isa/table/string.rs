//! String instructions.

use crate::exec::string;
use crate::isa::Form;

rows! {
    Movsb_m8_m8 => Form::any(string::movs::<u8, M>),
    Movsw_m16_m16 => Form::any(string::movs::<u16, M>),
    Movsd_m32_m32 => Form::any(string::movs::<u32, M>),
    Movsq_m64_m64 => Form::any(string::movs::<u64, M>),
    Cmpsb_m8_m8 => Form::any(string::cmps::<u8, M>),
    Cmpsw_m16_m16 => Form::any(string::cmps::<u16, M>),
    Cmpsd_m32_m32 => Form::any(string::cmps::<u32, M>),
    Cmpsq_m64_m64 => Form::any(string::cmps::<u64, M>),
    Stosb_m8_AL => Form::any(string::stos::<u8, M>),
    Stosw_m16_AX => Form::any(string::stos::<u16, M>),
    Stosd_m32_EAX => Form::any(string::stos::<u32, M>),
    Stosq_m64_RAX => Form::any(string::stos::<u64, M>),
    Lodsb_AL_m8 => Form::any(string::lods::<u8, M>),
    Lodsw_AX_m16 => Form::any(string::lods::<u16, M>),
    Lodsd_EAX_m32 => Form::any(string::lods::<u32, M>),
    Lodsq_RAX_m64 => Form::any(string::lods::<u64, M>),
    Scasb_AL_m8 => Form::any(string::scas::<u8, M>),
    Scasw_AX_m16 => Form::any(string::scas::<u16, M>),
    Scasd_EAX_m32 => Form::any(string::scas::<u32, M>),
    Scasq_RAX_m64 => Form::any(string::scas::<u64, M>),
    Insb_m8_DX => Form::any(string::ins::<u8, M>).ends(),
    Outsb_DX_m8 => Form::any(string::outs::<u8, M>).ends(),
    Insw_m16_DX => Form::any(string::ins::<u16, M>).ends(),
    Outsw_DX_m16 => Form::any(string::outs::<u16, M>).ends(),
    Insd_m32_DX => Form::any(string::ins::<u32, M>).ends(),
    Outsd_DX_m32 => Form::any(string::outs::<u32, M>).ends(),
}
