//! What the human monitor shows of processors, page tables and interrupt controllers: a firmware of our own sets them up and
//! halts, on ours and on the real emulator.

use std::fs;
use std::path::Path;

use house_tests::qmp::Machine;
use house_tests::require;
use house_tests::tools::{Scratch, built, find};
use serde_json::json;

/// How the firmware translates addresses.
struct Paging {
    cr4: u32,
    efer: u32,
    /// Tables by their page in the firmware, entries by their number.
    tables: Vec<(usize, Vec<(usize, u64)>)>,
    entry_bytes: usize,
}

/// Entries: present, accessed, dirty; and what they add to that.
const PAGE: u64 = 0x61;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const UNCACHED: u64 = 0x18;
const LARGE: u64 = 0x80;
const GLOBAL: u64 = 0x100;
const NO_EXECUTE: u64 = 1 << 63;
/// A table, present, accessed and open to everyone.
const TABLE: u64 = 0x27;
/// Where the firmware lies below 1 MiB.
const BASE: u64 = 0xf_0000;

/// The first pages: some RAM, the controllers' registers, the firmware.
fn low_pages() -> Vec<(usize, u64)> {
    let mut pages = vec![
        (8, 0xfee0_0000 | PAGE | WRITABLE | UNCACHED),
        (9, 0xfec0_0000 | PAGE | WRITABLE | UNCACHED),
    ];
    pages.extend((0x10..0x20).map(|n| (n, (n as u64) << 12 | PAGE | WRITABLE | USER)));
    pages.extend((0x20..0x24).map(|n| (n, (n as u64) << 12 | PAGE | LARGE)));
    pages.extend((0xf0..0x100).map(|n| (n, (n as u64) << 12 | PAGE)));
    pages
}

fn two_levels() -> Paging {
    let top = vec![
        (0, (BASE + 0x2000) | TABLE),
        (1, 0x40_0000 | PAGE | LARGE | WRITABLE | USER),
        (2, 0x80_0000 | PAGE | LARGE | GLOBAL),
        (1023, 0xffc0_0000 | PAGE | LARGE | WRITABLE),
    ];
    Paging {
        cr4: 0x210,
        efer: 0,
        tables: vec![(1, top), (2, low_pages())],
        entry_bytes: 4,
    }
}

fn three_levels() -> Paging {
    let first = vec![
        (0, (BASE + 0x4000) | TABLE),
        (1, 0x20_0000 | PAGE | LARGE | WRITABLE | USER),
    ];
    let last = vec![(511, 0xffe0_0000 | PAGE | LARGE | WRITABLE | NO_EXECUTE)];
    Paging {
        cr4: 0x220,
        efer: 0x800,
        tables: vec![
            (1, vec![(0, BASE + 0x2001), (3, BASE + 0x3001)]),
            (2, first),
            (3, last),
            (4, low_pages()),
        ],
        entry_bytes: 8,
    }
}

fn four_levels() -> Paging {
    let top = vec![
        (0, (BASE + 0x2000) | TABLE),
        (511, (BASE + 0x2000) | TABLE & !WRITABLE),
    ];
    let second = vec![
        (0, (BASE + 0x3000) | TABLE),
        (3, 0xc000_0000 | PAGE | LARGE | WRITABLE | NO_EXECUTE),
    ];
    let third = vec![
        (0, (BASE + 0x4000) | TABLE),
        (1, 0x20_0000 | PAGE | LARGE | WRITABLE | USER | GLOBAL),
    ];
    Paging {
        cr4: 0x220,
        efer: 0x900,
        tables: vec![(1, top), (2, second), (3, third), (4, low_pages())],
        entry_bytes: 8,
    }
}

/// 16-bit code that sets up controllers and paging and halts.
fn code(paging: &Paging) -> Vec<u8> {
    let mut code = Vec::new();
    let out = |code: &mut Vec<u8>, port: u8, value: u8| code.extend([0xb0, value, 0xe6, port]);
    let mov_eax = |code: &mut Vec<u8>, value: u32| {
        code.extend([0x66, 0xb8]);
        code.extend(value.to_le_bytes());
    };
    // The 8259 pair: vectors 0x20 and 0x28, one input open, some level triggered.
    for (port, value) in [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 4),
        (0x21, 1),
        (0x21, 0xfb),
    ] {
        out(&mut code, port, value);
    }
    for (port, value) in [
        (0xa0, 0x11),
        (0xa1, 0x28),
        (0xa1, 2),
        (0xa1, 1),
        (0xa1, 0xfe),
    ] {
        out(&mut code, port, value);
    }
    code.extend([0xba, 0xd1, 0x04, 0xb0, 0x0c, 0xee]);
    let root = u32::try_from(BASE).expect("below 1 MiB") + 0x1000;
    mov_eax(&mut code, root);
    code.extend([0x0f, 0x22, 0xd8]);
    mov_eax(&mut code, paging.cr4);
    code.extend([0x0f, 0x22, 0xe0]);
    if paging.efer != 0 {
        code.extend([0x66, 0xb9, 0x80, 0, 0, 0xc0, 0x66, 0x31, 0xd2]);
        mov_eax(&mut code, paging.efer);
        code.extend([0x0f, 0x30]);
    }
    mov_eax(&mut code, 0x8000_0011);
    code.extend([0x0f, 0x22, 0xc0]);
    // fninit, fld1, fldpi; movd xmm1, eax
    code.extend([0xdb, 0xe3, 0xd9, 0xe8, 0xd9, 0xeb, 0x66, 0x0f, 0x6e, 0xc8]);
    // Local APIC on page 8: on, table, command; I/O APIC on page 9: input 5.
    for (at, value) in [
        (0x80f0_u16, 0x1ff_u32),
        (0x8350, 0x8700),
        (0x8360, 0x400),
        (0x8320, 0x3_0030),
        (0x8370, 0x31),
        (0x83e0, 3),
        (0x80d0, 0x0100_0000),
        (0x8080, 0x20),
        (0x8310, 0x0600_0000),
        (0x8300, 0x4841),
        (0x9000, 0x1a),
        (0x9010, 0x1_a931),
        (0x9000, 0x1b),
        (0x9010, 0x0300_0000),
    ] {
        code.extend([0x66, 0xc7, 0x06]);
        code.extend(at.to_le_bytes());
        code.extend(value.to_le_bytes());
    }
    code.extend([0xf4, 0xeb, 0xfd]);
    code
}

/// A firmware of 64 KiB that begins with this code.
fn image(code: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 0x1_0000];
    image[..code.len()].copy_from_slice(code);
    image[0xfff0..0xfff5].copy_from_slice(&[0xea, 0, 0, 0, 0xf0]);
    image
}

/// A firmware with its page tables.
fn firmware(scratch: &Scratch, paging: &Paging) -> String {
    let mut image = image(&code(paging));
    for (page, entries) in &paging.tables {
        for (n, entry) in entries {
            let at = page * 0x1000 + n * paging.entry_bytes;
            let bytes = entry.to_le_bytes();
            image[at..at + paging.entry_bytes].copy_from_slice(&bytes[..paging.entry_bytes]);
        }
    }
    let path = scratch.path("firmware");
    fs::write(&path, image).expect("the scratch folder can be written");
    path.display().to_string()
}

const ITEMS: [&str; 6] = [
    "info registers",
    "info mem",
    "info tlb",
    "info pic",
    "info lapic",
    "info irq",
];

/// Lets the firmware run to its halt; gives what the monitor shows then. The timer may have ticked.
fn look(program: &Path, bios: &str, scratch: &Scratch) -> Vec<String> {
    let options = ["-nodefaults", "-display", "none", "-m", "16", "-bios", bios];
    let mut machine = Machine::start(program, &options, scratch.dir());
    let halted = (0..6000).any(|_| machine.human("info registers").contains("HLT=1"));
    assert!(halted, "{}", machine.human("info registers"));
    machine.ok("stop", &json!({}));
    let items = ITEMS.iter().filter(|item| **item != "info irq");
    items
        .map(|item| machine.human(item).replace("pic0: irr=01", "pic0: irr=00"))
        .collect()
}

#[test]
fn a_halted_guest_looks_as_on_the_reference() {
    let real = require!(find("qemu-system-x86_64", "qemu-system-x86"));
    for (name, paging) in [
        ("two levels", two_levels()),
        ("three levels", three_levels()),
        ("four levels", four_levels()),
    ] {
        let scratch = Scratch::new();
        let bios = firmware(&scratch, &paging);
        let ours = look(&built("qsystem-x86_64"), &bios, &scratch);
        let real = look(&real, &bios, &scratch);
        for ((item, ours), real) in ITEMS.iter().zip(ours).zip(real) {
            assert_eq!(ours, real, "{name}: {item}");
        }
    }
}

/// Without what ours has as the processor's manual says it is after power-on, and the reference as software sets it first of all:
/// the x87 control and tag words, and the boot processor's way to the 8259 pair.
fn without_power_on(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("FCW=") && !line.starts_with("LVT0"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_machine_that_was_never_started_looks_as_on_the_reference() {
    let real = require!(find("qemu-system-x86_64", "qemu-system-x86"));
    let scratch = Scratch::new();
    let options = ["-S", "-nodefaults", "-display", "none", "-smp", "2"];
    let look = |program: &Path| {
        let mut machine = Machine::start(program, &options, scratch.dir());
        let more = [
            "info lapic 1",
            "info lapic 7",
            "info registers -a",
            "info registers 1",
        ];
        let items = ITEMS.iter().chain(&more);
        items
            .map(|item| (*item, without_power_on(&machine.human(item))))
            .collect::<Vec<_>>()
    };
    assert_eq!(look(&built("qsystem-x86_64")), look(&real));
}

#[test]
fn a_clock_that_the_guest_sets_is_told() {
    let scratch = Scratch::new();
    let mut code = Vec::new();
    // Held, year 30, let go.
    for (register, value) in [(0x0b, 0x82), (0x09, 0x30), (0x32, 0x20), (0x0b, 0x02)] {
        code.extend([0xb0, register, 0xe6, 0x70, 0xb0, value, 0xe6, 0x71]);
    }
    code.extend([0xf4, 0xeb, 0xfd]);
    fs::write(scratch.path("bios"), image(&code)).expect("written");
    let options =
        "-nodefaults -display none -m 16 -bios bios -rtc base=2020-01-01T00:00:00 -S -smp 2";
    let words: Vec<&str> = options.split_whitespace().collect();
    let mut machine = Machine::start(&built("qsystem-x86_64"), &words, scratch.dir());
    machine.ok("cont", &json!({}));
    let told = machine.event("RTC_CHANGE");
    // The path is the reference's with as many processors.
    assert_eq!(told["qom-path"], "/machine/unattached/device[4]/rtc");
    let offset = told["offset"].as_i64().expect("a number");
    // Ten years; a second may begin in between.
    assert!((offset - 315_619_200).abs() <= 1, "{told}");
}
