//! Registers as the machine has them and as the processor does.

use accel_core::{Activity, Extended, Float, Registers, Segment, Table};
use x86_cpu::cpuid::xcr0;
use x86_cpu::exec::{restore_msr, saved_msrs};
use x86_cpu::state::{self, CpuState, F80, Fpu, cr, seg};
use x86_cpu::word::low8;

fn segment(from: &state::Segment) -> Segment {
    Segment {
        selector: from.selector,
        base: from.base,
        limit: from.limit,
        attributes: from.attributes,
    }
}

fn own_segment(from: &Segment) -> state::Segment {
    state::Segment {
        selector: from.selector,
        base: from.base,
        limit: from.limit,
        attributes: from.attributes & 0xf0ff,
        unchecked: false,
    }
}

fn table(from: state::Table) -> Table {
    Table {
        base: from.base,
        limit: from.limit,
    }
}

fn own_table(from: Table) -> state::Table {
    state::Table {
        base: from.base,
        limit: from.limit,
    }
}

/// From the processor.
pub(crate) fn registers(cpu: &CpuState) -> Registers {
    let mut general = [0; 16];
    general.copy_from_slice(&cpu.gpr[..16]);
    let mut segments = [Segment::default(); 6];
    for (into, from) in segments.iter_mut().zip(&cpu.seg) {
        *into = segment(from);
    }
    Registers {
        general,
        rip: cpu.rip,
        rflags: cpu.flags.get(),
        segments,
        ldt: segment(&cpu.ldt),
        task: segment(&cpu.task),
        gdt: table(cpu.gdt),
        idt: table(cpu.idt),
        cr0: cpu.cr0,
        cr2: cpu.cr2,
        cr3: cpu.cr3,
        cr4: cpu.cr4,
        efer: cpu.efer,
    }
}

/// To the processor.
pub(crate) fn set(cpu: &mut CpuState, from: &Registers) {
    cpu.gpr[..16].copy_from_slice(&from.general);
    cpu.rip = from.rip;
    cpu.flags.set(from.rflags);
    for (into, from) in cpu.seg.iter_mut().zip(&from.segments) {
        *into = own_segment(from);
    }
    cpu.ldt = own_segment(&from.ldt);
    cpu.task = own_segment(&from.task);
    cpu.gdt = own_table(from.gdt);
    cpu.idt = own_table(from.idt);
    cpu.cr0 = from.cr0 | cr::ET;
    cpu.cr2 = from.cr2;
    cpu.cr3 = from.cr3;
    cpu.cr4 = from.cr4;
    cpu.efer = from.efer;
    cpu.cpl = if !cpu.protected() {
        0
    } else if cpu.v86() {
        3
    } else {
        cpu.seg[seg::SS].dpl()
    };
    cpu.halted = false;
    cpu.shutdown = false;
    cpu.shadow = false;
    cpu.refresh();
}

fn float(from: &Fpu) -> Float {
    Float {
        registers: from.registers.map(|r| (r.mantissa, r.exponent)),
        control: from.control,
        status: from.status & !TOP | u16::from(from.top & 7) << 11,
        tags: from.tags,
        opcode: from.opcode,
        instruction: from.instruction,
        operand: from.operand,
    }
}

/// Bits of the status word that are the stack's top.
const TOP: u16 = 7 << 11;
/// Bits of MXCSR that exist.
const MXCSR: u32 = 0xffff;

fn own_float(from: &Float) -> Fpu {
    let registers = from.registers;
    Fpu {
        registers: registers.map(|(mantissa, exponent)| F80 { mantissa, exponent }),
        control: from.control,
        status: from.status & !TOP,
        top: low8(u64::from(from.status >> 11)) & 7,
        tags: from.tags,
        opcode: from.opcode,
        instruction: from.instruction,
        operand: from.operand,
    }
}

/// The other registers, from the processor.
pub(crate) fn extended(cpu: &CpuState) -> Extended {
    Extended {
        float: float(&cpu.fpu),
        vectors: cpu.vector,
        mxcsr: cpu.mxcsr,
        xcr0: cpu.xcr0,
        pkru: cpu.pkru,
        breakpoints: cpu.debug.address,
        debug_status: cpu.debug.status,
        debug_control: cpu.debug.control,
        counter_offset: cpu.msr.tsc_offset,
        msrs: saved_msrs(cpu),
    }
}

/// The other registers, to the processor. Bits that it does not have stay off; model-specific registers that it does not have, or
/// that cannot hold what was saved, stay as they are.
pub(crate) fn set_extended(cpu: &mut CpuState, from: &Extended) {
    cpu.fpu = own_float(&from.float);
    cpu.vector = from.vectors;
    cpu.mxcsr = from.mxcsr & MXCSR;
    cpu.xcr0 = from.xcr0 & xcr0(&cpu.features) | 1;
    cpu.pkru = from.pkru;
    cpu.debug.address = from.breakpoints;
    cpu.debug.status = from.debug_status & 0xe00f | 0xffff_0ff0;
    cpu.debug.control = from.debug_control & 0xffff_2fff | 0x400;
    cpu.msr.tsc_offset = from.counter_offset;
    for (number, value) in &from.msrs {
        restore_msr(cpu, *number, *value);
    }
}

/// What the processor is in the middle of.
pub(crate) fn activity(cpu: &CpuState, nmis: u8) -> Activity {
    Activity {
        halted: cpu.halted,
        shadow: cpu.shadow,
        shadow_debug: cpu.shadow_debug,
        nmi_blocked: cpu.nmi_blocked,
        nmis,
        debug_hits: cpu.debug_hits,
    }
}

/// The same, back.
pub(crate) fn set_activity(cpu: &mut CpuState, from: &Activity) {
    cpu.halted = from.halted;
    cpu.shadow = from.shadow;
    cpu.shadow_debug = from.shadow_debug;
    cpu.nmi_blocked = from.nmi_blocked;
    cpu.debug_hits = from.debug_hits & 0xe00f;
}
