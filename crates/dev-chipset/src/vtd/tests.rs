use guest_mem::Ram;
use hw_core::memory::{AddressSpace, Backing, Dma, Master, Shared, change};
use hw_core::{Device, Lines, Signal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16};

use super::{Choices, Vtd};
use crate::interrupts::MessageRemap;

const ROOT: u64 = 0x1000;
const CONTEXT: u64 = 0x2000;
const PAGES: u64 = 0x3000;
const QUEUE: u64 = 0x8000;
const TABLE: u64 = 0x9000;
const SOURCE: u16 = 0x18;

struct Rig {
    vtd: Vtd,
    ram: Ram,
    memory: Shared,
    lines: Lines,
}

fn rig() -> Rig {
    let (memory, lines) = (AddressSpace::shared(), Lines::new(1));
    let ram = Ram::new(1 << 20).expect("memory");
    let backing = Backing::Ram {
        ram: ram.clone(),
        offset: 0,
    };
    change(&memory).map(0, 1 << 20, 0, backing);
    let choices = Choices {
        interrupts: true,
        address_bits: 39,
    };
    Rig {
        vtd: Vtd::new(choices, &memory, &lines),
        ram,
        memory,
        lines,
    }
}

impl Rig {
    fn put(&self, at: u64, value: u64) {
        self.ram.write_uint(at, 8, value).expect("in RAM");
    }

    fn set(&mut self, offset: u64, value: u64) {
        self.vtd.write(0, offset, 4, value & 0xffff_ffff);
        self.vtd.write(0, offset + 4, 4, value >> 32);
    }

    fn get(&mut self, offset: u64) -> u64 {
        self.vtd.read(0, offset, 4)
    }

    /// Three levels, of which the last maps address 0x5000 to 0xa000 for reading alone.
    fn translate(&mut self) {
        self.put(ROOT, CONTEXT | 1);
        self.put(CONTEXT + u64::from(SOURCE) * 16, PAGES | 1);
        self.put(CONTEXT + u64::from(SOURCE) * 16 + 8, 1);
        self.put(PAGES, (PAGES + 0x1000) | 3);
        self.put(PAGES + 0x1000, (PAGES + 0x2000) | 3);
        self.put(PAGES + 0x2000 + 5 * 8, 0xa000 | 1);
        self.set(0x20, ROOT);
        self.vtd.write(0, 0x18, 4, 1 << 30);
        self.vtd.write(0, 0x18, 4, 1 << 31 | 1 << 30);
    }

    fn dma(&self, translated: bool) -> Dma {
        let master = Master {
            on: AtomicBool::new(true),
            source: AtomicU16::new(SOURCE),
        };
        Dma::of(&self.memory, Arc::new(master), translated)
    }
}

#[test]
fn the_unit_says_what_the_reference_s_says() {
    let mut rig = rig();
    let words = [0x00, 0x08, 0x0c, 0x10, 0x38, 0xa0].map(|at| rig.get(at));
    let wanted = [
        0x10,
        0x2226_0206,
        0x00d2_008c,
        0x00f0_0f4a,
        1 << 31,
        1 << 31,
    ];
    assert_eq!(words, wanted);
}

#[test]
fn transfers_go_where_the_pages_say() {
    let mut rig = rig();
    rig.put(0xa010, 0x1122);
    rig.put(0x5010, 0x3344);
    assert_eq!(rig.dma(true).read_uint(0x5010, 2), Ok(0x3344));
    rig.translate();
    assert_eq!(rig.get(0x1c), 0xc000_0000);
    assert_eq!(rig.dma(true).read_uint(0x5010, 2), Ok(0x1122));
    assert_eq!(rig.dma(false).read_uint(0x5010, 2), Ok(0x3344));
    assert_eq!(rig.get(0x34), 0);
}

#[test]
fn what_is_refused_is_recorded_and_told() {
    let mut rig = rig();
    rig.translate();
    rig.set(0x40, 0xfee0_0000);
    rig.vtd.write(0, 0x3c, 4, 0x51);
    assert!(rig.dma(true).write(0x5008, &[1]).is_err());
    // Masked: it waits.
    assert!(rig.lines.take().is_empty());
    assert_eq!(rig.get(0x38), 0xc000_0000);
    rig.vtd.write(0, 0x38, 4, 0);
    assert_eq!(rig.lines.take(), [Signal::Message(0xfee0_0000, 0x51)]);
    assert_eq!((rig.get(0x34), rig.get(0x220)), (2, 0x5000));
    assert_eq!(
        (rig.get(0x228), rig.get(0x22c)),
        (u64::from(SOURCE), 0x8000_0005)
    );
    // A second one has no room; the first is cleared by a one.
    assert!(rig.dma(true).read_uint(0x6000, 1).is_err());
    assert_eq!(rig.get(0x34), 3);
    rig.vtd.write(0, 0x22c, 4, 1 << 31);
    rig.vtd.write(0, 0x34, 4, 1);
    assert_eq!(rig.get(0x34), 0);
    assert!(rig.dma(true).read_uint(1 << 39, 1).is_err());
    assert_eq!(rig.get(0x22c), 0xc000_0004);
}

#[test]
fn the_queue_is_answered_in_order() {
    let mut rig = rig();
    rig.put(QUEUE, 2);
    rig.put(QUEUE + 16, 0x77 << 32 | 1 << 5 | 5);
    rig.put(QUEUE + 24, 0xb000);
    rig.put(QUEUE + 32, 0xf);
    rig.set(0x90, QUEUE);
    rig.vtd.write(0, 0x18, 4, 1 << 26);
    rig.vtd.write(0, 0x88, 4, 0x20);
    assert_eq!(
        (rig.get(0x80), rig.ram.read_uint(0xb000, 4)),
        (0x20, Ok(0x77))
    );
    rig.vtd.write(0, 0x88, 4, 0x30);
    assert_eq!((rig.get(0x80), rig.get(0x34)), (0x20, 0x10));
}

#[test]
fn messages_go_where_the_table_says() {
    let mut rig = rig();
    rig.set(0xb8, TABLE);
    rig.vtd.write(0, 0x18, 4, 1 << 24);
    rig.vtd.write(0, 0x18, 4, 1 << 25);
    rig.put(TABLE + 16, 3 << 40 | 0xee << 16 | 1);
    let handle = |index: u64| 0xfee0_0010 | index << 5;
    assert_eq!(rig.vtd.remap(handle(1), 0), Some((0xfee0_3000, 0xee)));
    // Handle and subhandle.
    assert_eq!(rig.vtd.remap(handle(0) | 8, 1), Some((0xfee0_3000, 0xee)));
    assert_eq!(rig.vtd.remap(0xfee0_1000, 0x41), Some((0xfee0_1000, 0x41)));
    assert_eq!(rig.vtd.remap(handle(0), 0), None);
    assert_eq!(rig.get(0x22c), 0x8000_0022);
    rig.vtd.write(0, 0x22c, 4, 1 << 31);
    assert_eq!(rig.vtd.remap(handle(2), 0), None);
    assert_eq!(rig.get(0x22c), 0x8000_0021);
}
