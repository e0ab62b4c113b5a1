//! Registers as the machine has them and as the processor does.

use accel_core::{Registers, Segment, Table};
use x86_cpu::state::{self, CpuState, cr, seg};

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
