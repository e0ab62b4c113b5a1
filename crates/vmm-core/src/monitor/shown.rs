//! A processor's registers as `info registers` prints them.

use accel_core::{CS, Extended, Registers, SavedCpu, Segment};

/// FLAGS letters from the highest bit that has one.
const FLAGS: [(u64, char); 7] = [
    (1 << 10, 'D'),
    (1 << 11, 'O'),
    (1 << 7, 'S'),
    (1 << 6, 'Z'),
    (1 << 4, 'A'),
    (1 << 2, 'P'),
    (1, 'C'),
];

/// Whether long mode is active, whatever the code segment is.
fn is_64(registers: &Registers) -> bool {
    const LONG_MODE_ACTIVE: u64 = 1 << 10;
    registers.efer & LONG_MODE_ACTIVE != 0
}

/// Bits of the code segment.
pub(super) fn code_bits(registers: &Registers) -> u32 {
    let attributes = registers.segments.get(CS).map_or(0, |cs| cs.attributes);
    if is_64(registers) && attributes & 0x2000 != 0 {
        64
    } else if attributes & 0x4000 != 0 {
        32
    } else {
        16
    }
}

/// The registers of processor `n`.
pub(super) fn registers(n: usize, cpu: &SavedCpu, halted: bool, a20: bool) -> String {
    let registers = &cpu.registers;
    let wide = code_bits(registers) == 64;
    let mut text = format!("\nCPU#{n}\n");
    general(registers, wide, &mut text);
    let flags: String = FLAGS
        .iter()
        .map(|(bit, letter)| {
            if registers.rflags & bit != 0 {
                *letter
            } else {
                '-'
            }
        })
        .collect();
    let privilege = registers.segments.get(CS).map_or(0, |cs| {
        if registers.cr0 & 1 == 0 {
            0
        } else {
            cs.selector & 3
        }
    });
    let tail = format!(
        "[{flags}] CPL={privilege} II=0 A20={} SMM=0 HLT={}\n",
        u8::from(a20),
        u8::from(halted)
    );
    let (rip, rflags) = (registers.rip, registers.rflags);
    text.push_str(&if wide {
        format!("RIP={rip:016x} RFL={rflags:08x} {tail}")
    } else {
        format!("EIP={rip:08x} EFL={rflags:08x} {tail}")
    });
    let names = ["ES", "CS", "SS", "DS", "FS", "GS"];
    for (name, segment) in names.iter().zip(&registers.segments) {
        text.push_str(&segment_text(name, segment, wide, registers));
    }
    text.push_str(&segment_text("LDT", &registers.ldt, wide, registers));
    text.push_str(&segment_text("TR", &registers.task, wide, registers));
    for (name, table) in [("GDT", registers.gdt), ("IDT", registers.idt)] {
        text.push_str(&if is_64(registers) {
            format!("{name}=     {:016x} {:08x}\n", table.base, table.limit)
        } else {
            format!("{name}=     {:08x} {:08x}\n", table.base, table.limit)
        });
    }
    text.push_str(&control(registers, &cpu.extended, is_64(registers)));
    text.push_str(&float(&cpu.extended));
    text.push_str(&vectors(&cpu.extended, wide));
    text
}

fn general(registers: &Registers, wide: bool, text: &mut String) {
    const NARROW: [[(&str, usize); 4]; 2] = [
        [("EAX", 0), ("EBX", 3), ("ECX", 1), ("EDX", 2)],
        [("ESI", 6), ("EDI", 7), ("EBP", 5), ("ESP", 4)],
    ];
    const WIDE: [[(&str, usize); 4]; 4] = [
        [("RAX", 0), ("RBX", 3), ("RCX", 1), ("RDX", 2)],
        [("RSI", 6), ("RDI", 7), ("RBP", 5), ("RSP", 4)],
        [("R8 ", 8), ("R9 ", 9), ("R10", 10), ("R11", 11)],
        [("R12", 12), ("R13", 13), ("R14", 14), ("R15", 15)],
    ];
    let rows: &[[(&str, usize); 4]] = if wide { &WIDE } else { &NARROW };
    for row in rows {
        let each: Vec<String> = row
            .iter()
            .map(|(name, n)| {
                let value = registers.general.get(*n).copied().unwrap_or(0);
                if wide {
                    format!("{name}={value:016x}")
                } else {
                    format!("{name}={:08x}", value & 0xffff_ffff)
                }
            })
            .collect();
        text.push_str(&format!("{}\n", each.join(" ")));
    }
}

fn segment_text(name: &str, segment: &Segment, wide: bool, registers: &Registers) -> String {
    let flags = u32::from(segment.attributes) << 8;
    let base = if wide {
        format!("{:016x}", segment.base)
    } else {
        format!("{:08x}", segment.base)
    };
    let mut text = format!(
        "{name:<3}={:04x} {base} {:08x} {flags:08x}",
        segment.selector, segment.limit
    );
    let protected = registers.cr0 & 1 != 0;
    let present = segment.attributes & 0x80 != 0;
    if protected && present {
        text.push_str(&kind(segment, is_64(registers)));
    }
    text.push('\n');
    text
}

/// DPL and type in words.
fn kind(segment: &Segment, long: bool) -> String {
    const SYSTEM: [[&str; 2]; 16] = [
        ["Reserved", "Reserved"],
        ["TSS16-avl", "Reserved"],
        ["LDT", "LDT"],
        ["TSS16-busy", "Reserved"],
        ["CallGate16", "Reserved"],
        ["TaskGate", "Reserved"],
        ["IntGate16", "Reserved"],
        ["TrapGate16", "Reserved"],
        ["Reserved", "Reserved"],
        ["TSS32-avl", "TSS64-avl"],
        ["Reserved", "Reserved"],
        ["TSS32-busy", "TSS64-busy"],
        ["CallGate32", "CallGate64"],
        ["Reserved", "Reserved"],
        ["IntGate32", "IntGate64"],
        ["TrapGate32", "TrapGate64"],
    ];
    let attributes = segment.attributes;
    let has = |bit: u16, yes: char, no: char| if attributes & bit != 0 { yes } else { no };
    let dpl = (attributes >> 5) & 3;
    if attributes & 0x10 == 0 {
        let names = SYSTEM.get(usize::from(attributes & 0xf));
        let name = names.map_or("", |names| names[usize::from(long)]);
        return format!(" DPL={dpl} {name}");
    }
    if attributes & 8 != 0 {
        let size = if attributes & 0x2000 != 0 {
            "CS64"
        } else if attributes & 0x4000 != 0 {
            "CS32"
        } else {
            "CS16"
        };
        let (c, r, a) = (has(4, 'C', '-'), has(2, 'R', '-'), has(1, 'A', '-'));
        return format!(" DPL={dpl} {size} [{c}{r}{a}]");
    }
    // In 64-bit mode a data segment's size is of no concern, and is told as the narrow one.
    let size = if attributes & 0x4000 != 0 || long {
        "DS  "
    } else {
        "DS16"
    };
    let (e, w, a) = (has(4, 'E', '-'), has(2, 'W', '-'), has(1, 'A', '-'));
    format!(" DPL={dpl} {size} [{e}{w}{a}]")
}

fn control(registers: &Registers, extended: &Extended, wide: bool) -> String {
    let (cr0, cr2, cr3, cr4) = (registers.cr0, registers.cr2, registers.cr3, registers.cr4);
    let mut text = if wide {
        format!("CR0={cr0:08x} CR2={cr2:016x} CR3={cr3:016x} CR4={cr4:08x}\n")
    } else {
        format!("CR0={cr0:08x} CR2={cr2:08x} CR3={cr3:08x} CR4={cr4:08x}\n")
    };
    for (n, address) in extended.breakpoints.iter().enumerate() {
        text.push_str(&format!("DR{n}={address:016x} "));
    }
    text.push_str(&format!(
        "\nDR6={:016x} DR7={:016x}\n",
        extended.debug_status, extended.debug_control
    ));
    text.push_str(&format!("EFER={:016x}\n", registers.efer));
    text
}

/// The x87 unit, and MXCSR. A register's tag is shown as whether there is something in it.
fn float(extended: &Extended) -> String {
    const EMPTY: u16 = 3;
    let float = &extended.float;
    let filled = |n: u16| u16::from(float.tags >> (2 * n) & 3 != EMPTY);
    let tags = (0..8).fold(0, |tags, n| tags | filled(n) << n);
    let mut text = format!(
        "FCW={:04x} FSW={:04x} [ST={}] FTW={tags:02x} MXCSR={:08x}\n",
        float.control,
        float.status,
        float.status >> 11 & 7,
        extended.mxcsr
    );
    for (n, (significand, exponent)) in float.registers.iter().enumerate() {
        let end = if n % 2 == 1 { '\n' } else { ' ' };
        text.push_str(&format!("FPR{n}={significand:016x} {exponent:04x}{end}"));
    }
    text
}

/// Vector registers, as wide as the guest has switched them on.
fn vectors(extended: &Extended, wide: bool) -> String {
    const AVX: u64 = 7;
    let count = if wide { 16 } else { 8 };
    let mut text = String::new();
    for (n, quarters) in extended.vectors.iter().take(count).enumerate() {
        let [a, b, c, d] = quarters;
        text.push_str(&if extended.xcr0 & AVX == AVX {
            format!("YMM{n:02}={d:016x} {c:016x} {b:016x} {a:016x}\n")
        } else {
            let end = if n % 2 == 1 { '\n' } else { ' ' };
            format!("XMM{n:02}={b:016x} {a:016x}{end}")
        });
    }
    text
}
