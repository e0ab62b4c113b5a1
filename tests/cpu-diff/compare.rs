//! What differs between the host's processor and ours after a case.

use crate::cases::Case;
use crate::layout::{OUT, WINDOW, WINDOW_BYTES, XSAVE, out};
use crate::record::{half, word};
use crate::soft::Result;

/// RFLAGS that are compared: the status flags, DF, NT, AC, ID.
const FLAGS: u64 = 0x24_4cd5;
const PAGE_FAULT: u64 = 14;
const BREAKPOINT: u64 = 3;

/// How exactly floating-point results must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exactness {
    /// To the bit.
    Bits,
    /// x87 registers to two in the last place; C1 and the precision flag are not compared (transcendental
    /// functions).
    LastPlace,
}

fn host(record: &[u8], index: usize) -> u64 {
    word(record, OUT + index * 8)
}

/// A line for each difference.
pub(crate) fn differences(
    record: &[u8],
    ours: &Result,
    case: &Case,
    exactness: Exactness,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, theirs: u64, ours: u64| {
        if theirs != ours {
            lines.push(format!("{what}: host {theirs:#x}, ours {ours:#x}"));
        }
    };
    let vector = host(record, out::VECTOR);
    let cpu = &ours.cpu;
    compare("vector", vector, ours.vector.0);
    if vector != BREAKPOINT {
        // Linux does not tell a program which of its own addresses are mapped.
        let kernel = vector == PAGE_FAULT && host(record, out::CR2) >= 0x7fff_ffff_f000;
        let mask = if kernel { !1 } else { !0 };
        compare(
            "error code",
            host(record, out::ERROR) & mask,
            ours.vector.1 & mask,
        );
    }
    if vector == PAGE_FAULT && ours.vector.0 == PAGE_FAULT {
        // Where in a page the first byte is missed by an instruction of many accesses is its own business.
        let mask = if case.wide { !0xfff } else { u64::MAX };
        compare(
            "cr2",
            host(record, out::CR2) & mask,
            cpu.fault.address & mask,
        );
    }
    compare("rip", host(record, out::RIP), cpu.rip);
    for (i, place) in out::GENERAL.iter().enumerate() {
        compare(NAMES[i], host(record, *place), cpu.gpr[i]);
    }
    let mask = FLAGS & !case.undefined;
    let flags = host(record, out::RFLAGS);
    compare("flags", flags & mask, cpu.flags.get() & mask);
    let area = &record[XSAVE..];
    compare("mxcsr", word(area, 24) & 0xffff, cpu.mxcsr.into());
    for i in 0..16 {
        for j in 0..4 {
            let base = if j < 2 { 160 } else { 576 - 16 };
            let theirs = word(area, base + i * 16 + j * 8);
            if case.approximate && near(theirs, cpu.vector[i][j]) {
                continue;
            }
            if theirs != cpu.vector[i][j] {
                compare(&format!("ymm{i}[{j}]"), theirs, cpu.vector[i][j]);
            }
        }
    }
    x87(&mut compare, area, ours, exactness);
    for at in (0..WINDOW_BYTES).step_by(8) {
        let (mut theirs, mut ours) = (word(record, WINDOW + at), word(&ours.window, at));
        if case.ignore == Some(at) {
            theirs &= 0xffff_ffff;
            ours &= 0xffff_ffff;
        }
        if theirs != ours {
            compare(&format!("window+{at:#x}"), theirs, ours);
        }
    }
    lines
}

/// Whether both singles of a word are within the error of RCPPS and RSQRTPS, which each may use up.
fn near(theirs: u64, ours: u64) -> bool {
    let halves = |word: u64| [word >> 32, word & 0xffff_ffff];
    let mut pairs = halves(theirs).into_iter().zip(halves(ours));
    pairs.all(|(a, b)| {
        let value = |bits: u64| f32::from_bits(u32::try_from(bits).expect("32 bits"));
        a == b || (value(a) / value(b) - 1.0).abs() <= 3.0 / 4096.0
    })
}

fn x87(compare: &mut impl FnMut(&str, u64, u64), area: &[u8], ours: &Result, exactness: Exactness) {
    let fpu = &ours.cpu.fpu;
    compare("fcw", half(area, 0).into(), fpu.control.into());
    let mask = match exactness {
        Exactness::Bits => 0xffff,
        Exactness::LastPlace => 0xfddf,
    };
    let status = fpu.status | (u16::from(fpu.top) << 11);
    compare("fsw", (half(area, 2) & mask).into(), (status & mask).into());
    let mut full = 0_u64;
    for i in 0..8 {
        if fpu.tags >> (i * 2) & 3 != 3 {
            full |= 1 << i;
        }
    }
    compare("ftw", area[4].into(), full);
    for i in 0..8 {
        let at = 32 + i * 16;
        let register = fpu.registers[(usize::from(fpu.top) + i) % 8];
        let (sig, exp) = (word(area, at), half(area, at + 8));
        let place = |exp: u16, sig: u64| (u128::from(exp) << 63) + u128::from(sig);
        let apart = place(exp, sig).abs_diff(place(register.exponent, register.mantissa));
        if exactness == Exactness::LastPlace && apart <= 2 {
            continue;
        }
        if sig != register.mantissa || exp != register.exponent {
            compare(&format!("st{i}"), sig, register.mantissa);
            compare(
                &format!("st{i} exponent"),
                exp.into(),
                register.exponent.into(),
            );
        }
    }
}

const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
