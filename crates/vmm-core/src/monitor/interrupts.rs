//! Interrupt controllers as `info pic`, `info irq` and `info lapic` print them.

use dev_chipset::interrupts::{IoApicView, PicView};
use qapi::{Error, Result};

use super::Vm;

/// Names of delivery modes as the I/O APIC's table has them, and as the local one's.
const DELIVERY: [&str; 8] = [
    "fixed", "lowest", "SMI", "...", "NMI", "INIT", "...", "extINT",
];
const LOCAL_DELIVERY: [&str; 8] = ["Fixed", "...", "SMI", "...", "NMI", "INIT", "...", "ExtINT"];

/// Bits that entries of both tables have.
const ACTIVE_LOW: u64 = 1 << 13;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
const REMOTE: u64 = 1 << 14;

fn has_controllers(vm: &Vm) -> bool {
    let board = machine::find_board(&vm.plan.machine);
    board.is_some_and(|(board, _)| board.name != "none")
}

fn word<'a>(entry: u64, bit: u64, yes: &'a str, no: &'a str) -> &'a str {
    if entry & bit != 0 { yes } else { no }
}

fn delivery(names: [&'static str; 8], entry: u64) -> &'static str {
    let mode = usize::try_from(entry >> 8 & 7).unwrap_or(0);
    names.get(mode).copied().unwrap_or("")
}

/// `info pic`.
pub(super) fn controllers(vm: &Vm) -> String {
    if !has_controllers(vm) {
        return String::new();
    }
    let (io, pics) = vm
        .machine
        .with(|core| (core.interrupts.io_apic(), core.interrupts.pics()));
    let mut text = io_apic(&io);
    for (pic, name) in pics.iter().zip(["pic1", "pic0"]) {
        text.push_str(&pic_line(name, pic));
    }
    text
}

fn pic_line(name: &str, pic: &PicView) -> String {
    format!(
        "{name}: irr={:02x} imr={:02x} isr={:02x} hprio={} irq_base={:02x} rr_sel={} elcr={:02x} fnm={}\n",
        pic.requests,
        pic.mask,
        pic.in_service,
        pic.first,
        pic.base,
        u8::from(pic.read_in_service),
        pic.level,
        u8::from(pic.fully_nested),
    )
}

fn io_apic(io: &IoApicView) -> String {
    let shown = io.select.checked_sub(0x10).map(|n| n / 2);
    let shown = shown.map_or_else(String::new, |n| format!(" (redir[{n}])"));
    let mut text = format!(
        "ioapic0: ver=0x20 id=0x{:02x} sel=0x{:02x}{shown}\n",
        io.id, io.select
    );
    let mut remote = Vec::new();
    for (pin, &entry) in io.table.iter().enumerate() {
        text.push_str(&format!(
            "  pin {pin:<2} 0x{entry:016x} dest={:X} vec={:<3} {} {:<5} {:<6} {:<6} {}\n",
            entry >> 56,
            entry & 0xff,
            word(entry, ACTIVE_LOW, "active-lo", "active-hi"),
            word(entry, LEVEL, "level", "edge"),
            word(entry, MASKED, "masked", ""),
            delivery(DELIVERY, entry),
            word(entry, 1 << 11, "logical", "physical"),
        ));
        if entry & LEVEL != 0 && entry & REMOTE != 0 {
            remote.push(pin);
        }
    }
    let waiting = (0..io.table.len()).filter(|pin| io.requests >> pin & 1 != 0);
    text.push_str(&format!("  IRR      {}\n", list(waiting)));
    text.push_str(&format!("  Remote IRR {}\n", list(remote.into_iter())));
    text
}

fn list(numbers: impl Iterator<Item = usize>) -> String {
    let text: String = numbers.map(|n| format!("{n} ")).collect();
    if text.is_empty() {
        "(none)".to_owned()
    } else {
        text
    }
}

/// `info irq`.
pub(super) fn statistics(vm: &Vm) -> String {
    if !has_controllers(vm) {
        return String::new();
    }
    let (io, pic) = vm.machine.with(|core| {
        let interrupts = &core.interrupts;
        (
            interrupts.io_apic_counts().to_vec(),
            interrupts.pic_counts(),
        )
    });
    let rows = |name: &str, counts: &[u64]| {
        let counts = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let rows: String = counts
            .map(|(n, count)| format!("{n:2}: {count}\n"))
            .collect();
        format!("IRQ statistics for {name}:\n{rows}")
    };
    rows("ioapic", &io) + &rows("isa-i8259", &pic)
}

/// Places of registers in the local controller's page.
mod place {
    pub(super) const TASK_PRIORITY: u64 = 0x80;
    pub(super) const PRIORITY: u64 = 0xa0;
    pub(super) const LOGICAL: u64 = 0xd0;
    pub(super) const FORMAT: u64 = 0xe0;
    pub(super) const SPURIOUS: u64 = 0xf0;
    pub(super) const IN_SERVICE: u64 = 0x100;
    pub(super) const TRIGGER: u64 = 0x180;
    pub(super) const REQUESTS: u64 = 0x200;
    pub(super) const ERRORS: u64 = 0x280;
    pub(super) const COMMAND: u64 = 0x300;
    pub(super) const COMMAND_HIGH: u64 = 0x310;
    pub(super) const TIMER: u64 = 0x320;
    pub(super) const INITIAL: u64 = 0x380;
    pub(super) const CURRENT: u64 = 0x390;
    pub(super) const DIVIDE: u64 = 0x3e0;
    /// The local table in the order of the listing.
    pub(super) const TABLE: [(&str, u64); 6] = [
        ("LVT0", 0x350),
        ("LVT1", 0x360),
        ("LVTPC", 0x340),
        ("LVTERR", 0x370),
        ("LVTTHMR", 0x330),
        ("LVTT", TIMER),
    ];
}

/// `info lapic`.
pub(super) fn local(vm: &Vm, cpu: usize) -> Result<String> {
    let read = |at: u64| {
        let value = vm
            .machine
            .with(|core| core.interrupts.local_register(cpu, at));
        value.ok_or_else(|| Error::new("No CPU available"))
    };
    let mut text = format!("dumping local APIC state for CPU {cpu:<2}\n\n");
    for (name, at) in place::TABLE {
        text.push_str(&local_entry(name, read(at)?, at == place::TIMER));
    }
    let divide = read(place::DIVIDE)?;
    let shift = (((divide & 3) | (divide >> 1 & 4)) + 1) & 7;
    text.push_str(&format!(
        "Timer\t DCR=0x{divide:x} (divide by {}) initial_count = {} current_count = {}\n",
        1_u32 << shift,
        read(place::INITIAL)?,
        read(place::CURRENT)?
    ));
    let spurious = read(place::SPURIOUS)?;
    text.push_str(&format!(
        "SPIV\t 0x{spurious:08x} APIC {}, focus={}, spurious vec {}\n",
        word(spurious.into(), 1 << 8, "enabled", "disabled"),
        word(spurious.into(), 1 << 9, "on", "off"),
        spurious & 0xff
    ));
    let (logical, format) = (read(place::LOGICAL)?, read(place::FORMAT)?);
    let command = (read(place::COMMAND)?, read(place::COMMAND_HIGH)?);
    text.push_str(&command_lines(command, format));
    text.push_str(&format!("ESR\t 0x{:08x}\n", read(place::ERRORS)?));
    let bits = |first: u64| -> Result<Vec<u32>> { (0..8).map(|n| read(first + n * 16)).collect() };
    let trigger = bits(place::TRIGGER)?;
    for (name, first) in [("ISR", place::IN_SERVICE), ("IRR", place::REQUESTS)] {
        text.push_str(&format!("{name}\t {}\n", vectors(&bits(first)?, &trigger)));
    }
    // Arbitration has no meaning here, and nothing sets its register.
    text.push_str(&format!(
        "\nAPR 0x00 TPR 0x{:02x} DFR 0x{:02x} LDR 0x{:02x}",
        read(place::TASK_PRIORITY)?,
        format >> 28,
        logical >> 24
    ));
    if format >> 28 == 0 {
        text.push_str(&format!(
            "(cluster {}: id {})",
            logical >> 28,
            logical >> 24 & 0xf
        ));
    }
    text.push_str(&format!(" PPR 0x{:02x}\n", read(place::PRIORITY)?));
    Ok(text)
}

fn local_entry(name: &str, entry: u32, timer: bool) -> String {
    let bits = u64::from(entry);
    let mode = match entry >> 17 & 3 {
        _ if !timer => "",
        0 => "one-shot",
        2 => "tsc-deadline",
        _ => "periodic",
    };
    let delivery = delivery(LOCAL_DELIVERY, bits);
    let vector = if delivery == "NMI" {
        String::new()
    } else {
        format!(" (vec {})", entry & 0xff)
    };
    format!(
        "{name}\t 0x{entry:08x} {} {:<5} {:<6} {:<7} {mode:<12} {delivery:<6}{vector}\n",
        word(bits, ACTIVE_LOW, "active-lo", "active-hi"),
        word(bits, LEVEL, "level", "edge"),
        word(bits, MASKED, "masked", ""),
        word(bits, 1 << 12, "pending", ""),
    )
}

fn command_lines((low, high): (u32, u32), format: u32) -> String {
    let bits = u64::from(low);
    let logical = low & 1 << 11 != 0;
    let shorthand = (low >> 18 & 3) as usize;
    let words = ["no-shorthand", "self", "all-self", "all"];
    let mut text = format!(
        "ICR\t 0x{low:08x} {} {} {} {}\nICR2\t 0x{high:08x}",
        if logical { "logical" } else { "physical" },
        word(bits, LEVEL, "level", "edge"),
        word(bits, REMOTE, "assert", "de-assert"),
        words[shorthand],
    );
    let destination = high >> 24;
    if shorthand == 0 {
        text.push_str(&match (logical, format >> 28) {
            (false, _) => format!(" cpu {destination} (APIC ID)"),
            (true, 0xf) => format!(" mask {destination:08b} (APIC ID)"),
            (true, _) => format!(
                " cluster {} mask {:04b} (APIC ID)",
                destination >> 4,
                destination & 0xf
            ),
        });
    }
    text.push('\n');
    text
}

/// Vectors whose bits are set; those of levels are marked.
fn vectors(bits: &[u32], levels: &[u32]) -> String {
    let has = |words: &[u32], n: usize| {
        words
            .get(n / 32)
            .is_some_and(|word| word >> (n % 32) & 1 != 0)
    };
    let set = (0..256).filter(|n| has(bits, *n));
    let text: String = set
        .map(|n| format!("{n}{} ", if has(levels, n) { "(level)" } else { "" }))
        .collect();
    if text.is_empty() {
        "(none)".to_owned()
    } else {
        text
    }
}
