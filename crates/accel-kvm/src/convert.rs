//! Registers as the kernel has them and as we have them.

use accel_core::{Registers, Segment, Table};
use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};

fn segment(from: &kvm_segment) -> Segment {
    let bit = |value: u8, at: u32| u16::from(value & 1) << at;
    let attributes = u16::from(from.type_ & 15)
        | bit(from.s, 4)
        | u16::from(from.dpl & 3) << 5
        | bit(from.present, 7)
        | bit(from.avl, 12)
        | bit(from.l, 13)
        | bit(from.db, 14)
        | bit(from.g, 15);
    Segment {
        selector: from.selector,
        base: from.base,
        limit: from.limit,
        attributes,
    }
}

fn kernel_segment(from: &Segment) -> kvm_segment {
    let bit = |at: u32| u8::from(from.attributes & 1 << at != 0);
    kvm_segment {
        base: from.base,
        limit: from.limit,
        selector: from.selector,
        type_: from.attributes.to_le_bytes()[0] & 15,
        present: bit(7),
        dpl: bit(6) << 1 | bit(5),
        db: bit(14),
        s: bit(4),
        l: bit(13),
        g: bit(15),
        avl: bit(12),
        unusable: 1 - bit(7),
        padding: 0,
    }
}

fn table(from: kvm_dtable) -> Table {
    Table {
        base: from.base,
        limit: from.limit,
    }
}

fn kernel_table(from: Table) -> kvm_dtable {
    kvm_dtable {
        base: from.base,
        limit: from.limit,
        padding: [0; 3],
    }
}

/// From the kernel.
pub(crate) fn registers(r: &kvm_regs, s: &kvm_sregs) -> Registers {
    Registers {
        general: [
            r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11,
            r.r12, r.r13, r.r14, r.r15,
        ],
        rip: r.rip,
        rflags: r.rflags,
        segments: [&s.es, &s.cs, &s.ss, &s.ds, &s.fs, &s.gs].map(segment),
        ldt: segment(&s.ldt),
        task: segment(&s.tr),
        gdt: table(s.gdt),
        idt: table(s.idt),
        cr0: s.cr0,
        cr2: s.cr2,
        cr3: s.cr3,
        cr4: s.cr4,
        efer: s.efer,
    }
}

/// General registers for the kernel.
pub(crate) fn general(from: &Registers) -> kvm_regs {
    let [
        rax,
        rcx,
        rdx,
        rbx,
        rsp,
        rbp,
        rsi,
        rdi,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
    ] = from.general;
    kvm_regs {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip: from.rip,
        rflags: from.rflags,
    }
}

/// System registers for the kernel, over what it has of fields we do not keep.
pub(crate) fn system(from: &Registers, over: kvm_sregs) -> kvm_sregs {
    let [es, cs, ss, ds, fs, gs] = from.segments.map(|s| kernel_segment(&s));
    kvm_sregs {
        cs,
        ds,
        es,
        fs,
        gs,
        ss,
        tr: kernel_segment(&from.task),
        ldt: kernel_segment(&from.ldt),
        gdt: kernel_table(from.gdt),
        idt: kernel_table(from.idt),
        cr0: from.cr0,
        cr2: from.cr2,
        cr3: from.cr3,
        cr4: from.cr4,
        efer: from.efer,
        ..over
    }
}
