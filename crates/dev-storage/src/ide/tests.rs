use backend_core::disk::Op;
use guest_mem::Ram;
use hw_core::irq::Lines;
use hw_core::pci::Function;

use super::PiixIde;
use crate::testing::{self, SharedDisk};

mod cd;
mod smart;

const BSY: u64 = 0x80;
const DRQ: u64 = 0x08;
const ERR: u64 = 0x01;
const IDLE: u64 = 0x50;

struct Bench {
    ram: Ram,
    lines: Lines,
    disk: SharedDisk,
    disc: SharedDisk,
    ide: PiixIde,
}

/// A hard disk of 4096 sectors as the first drive, a CD of 1000 sectors as the first of the second channel.
fn bench() -> Bench {
    let (ram, memory) = testing::memory(1 << 20);
    let lines = Lines::new(16);
    let (disk, hd) = testing::hard_disk();
    let (disc, cd) = testing::cd();
    let mut ide = PiixIde::new(
        [[Some(hd), None], [Some(cd), None]],
        [lines.line(14), lines.line(15)],
        &memory,
    );
    ide.config_mut().write(4, 2, 7);
    Bench {
        ram,
        lines,
        disk,
        disc,
        ide,
    }
}

impl Bench {
    fn out(&mut self, window: u8, offset: u64, value: u64) {
        self.ide.window_write(window, offset, 1, value);
    }

    fn status(&mut self) -> u64 {
        self.ide.window_read(0, 7, 1)
    }

    /// A command with its sector and count, 28 bits wide.
    fn command(&mut self, code: u64, sector: u64, count: u64) {
        for (at, value) in [
            (2, count),
            (3, sector & 0xff),
            (4, sector >> 8 & 0xff),
            (5, sector >> 16 & 0xff),
            (6, 0x40 | sector >> 24),
            (7, code),
        ] {
            self.out(0, at, value);
        }
        self.ide.completed();
    }

    fn read_words(&mut self, bytes: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < bytes {
            let value = self.ide.window_read(0, 0, 2);
            data.extend(&value.to_le_bytes()[..2]);
            self.ide.completed();
        }
        data
    }

    fn write_words(&mut self, data: &[u8]) {
        for pair in data.chunks(4) {
            let value = u32::from_le_bytes(pair.try_into().unwrap());
            self.ide.window_write(0, 0, 4, value.into());
            self.ide.completed();
        }
    }

    /// A table of regions for the bus master, and the start of it.
    fn master(&mut self, base: u64, to_memory: bool, regions: &[(u32, u16)]) {
        for (n, (address, bytes)) in regions.iter().enumerate() {
            let last = u64::from(n + 1 == regions.len()) << 63;
            let entry = u64::from(*address) | u64::from(*bytes) << 32 | last;
            self.ram
                .write_uint(0x1000 + n as u64 * 8, 8, entry)
                .unwrap();
        }
        self.ide.window_write(4, base + 4, 4, 0x1000);
        self.ide.window_write(4, base + 2, 1, 0x66);
        let way = if to_memory { 8 } else { 0 };
        self.ide.window_write(4, base, 1, way);
        self.ide.window_write(4, base, 1, way | 1);
        for _ in 0..1000 {
            self.ide.completed();
        }
    }

    fn memory(&self, at: u64, bytes: usize) -> Vec<u8> {
        let mut data = vec![0; bytes];
        self.ram.read(at, &mut data).unwrap();
        data
    }
}

#[test]
fn a_drive_says_who_it_is() {
    let mut bench = bench();
    assert_eq!(bench.status(), IDLE);
    bench.command(0xec, 0, 0);
    assert_eq!(bench.status() & DRQ, DRQ);
    let words = bench.read_words(512);
    assert_eq!(&words[54..68], b"EQUMH RADDSI K");
    assert_eq!(words[120..124], 4096_u32.to_le_bytes());
    assert_eq!(words[200..208], 4096_u64.to_le_bytes());
    assert_eq!(bench.status(), IDLE);
    // The second drive is not there.
    bench.out(0, 6, 0xb0);
    assert_eq!(bench.status(), 0);
}

#[test]
fn sectors_go_over_the_data_port() {
    let mut bench = bench();
    let data: Vec<u8> = (0..1024_u32)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();
    bench.command(0x30, 5, 2);
    assert_eq!(bench.status() & (BSY | DRQ), DRQ);
    assert!(!bench.lines.level(14));
    bench.write_words(&data);
    assert!(bench.lines.level(14));
    assert_eq!(bench.status(), IDLE);
    assert!(!bench.lines.level(14));
    assert_eq!(bench.disk.lock().unwrap().bytes[2560..3584], data);
    bench.command(0x20, 5, 2);
    assert!(bench.lines.level(14));
    assert_eq!(bench.read_words(1024), data);
    assert_eq!(bench.status(), IDLE);
    // Blocks of READ MULTIPLE: one interrupt for both.
    bench.command(0xc4, 5, 2);
    assert_eq!(bench.read_words(1024), data);
    assert_eq!(bench.status(), IDLE);
}

#[test]
fn cylinders_heads_and_sectors_name_the_same() {
    let mut bench = bench();
    bench.disk.lock().unwrap().bytes[(63 * 16 + 63 + 4) * 512] = 77;
    for (at, value) in [(2, 1), (3, 5), (4, 1), (5, 0), (6, 1), (7, 0x20)] {
        bench.out(0, at, value);
    }
    bench.ide.completed();
    assert_eq!(bench.read_words(512)[0], 77);
}

#[test]
fn forty_eight_bits_are_taken() {
    let mut bench = bench();
    for (at, value) in [
        (2, 0),
        (3, 0),
        (4, 0),
        (5, 0),
        (2, 3),
        (3, 0xfd),
        (4, 0x0f),
        (5, 0),
        (6, 0x40),
        (7, 0x24),
    ] {
        bench.out(0, at, value);
    }
    bench.ide.completed();
    bench.read_words(3 * 512);
    assert_eq!(bench.status(), IDLE);
    let log = bench.disk.lock().unwrap().log.clone();
    assert_eq!(log[0], (Op::Read, 0xffd * 512, 512));
    // One sector further there is nothing.
    for (at, value) in [(2, 0), (3, 1), (2, 1), (3, 0), (4, 0), (5, 0), (7, 0x24)] {
        bench.out(0, at, value);
    }
    assert_eq!(bench.status() & (ERR | DRQ), ERR);
    assert_eq!(bench.ide.window_read(0, 1, 1), 0x10);
}

#[test]
fn the_bus_master_moves_sectors() {
    let mut bench = bench();
    bench.disk.lock().unwrap().bytes[..300 * 512].fill(3);
    bench.command(0x25, 0, 0);
    bench.command(0xc8, 0, 0);
    bench.master(
        0,
        true,
        &[(0x1_0000, 0), (0x2_0000, 0x8000), (0x3_0000, 0x8000)],
    );
    assert!(bench.lines.level(14));
    assert_eq!(bench.ide.window_read(4, 2, 1) & 7, 4);
    assert_eq!(bench.status(), IDLE);
    assert_eq!(bench.memory(0x1_0000, 0x1_8000), [3; 0x1_8000]);
    assert_eq!(bench.memory(0x2_8000, 0x100), [0; 0x100]);
    // And back, more than one piece.
    bench.ram.write(0x4_0000, &[9; 0x1_0000]).unwrap();
    bench.out(0, 2, 1);
    bench.out(0, 3, 0);
    bench.command(0x35, 100, 44);
    bench.master(
        0,
        false,
        &[(0x4_0000, 0), (0x4_0000, 0), (0x4_0000, 0x5800)],
    );
    assert_eq!(bench.status(), IDLE);
    assert_eq!(
        bench.disk.lock().unwrap().bytes[51200..51200 + 300 * 512],
        [9; 300 * 512]
    );
}

#[test]
fn a_table_that_is_too_short_or_nowhere_ends_the_command() {
    let mut bench = bench();
    bench.command(0xc8, 0, 2);
    bench.master(0, true, &[(0x1_0000, 512)]);
    assert_eq!(bench.status() & (ERR | BSY | DRQ), ERR);
    bench.command(0xc8, 0, 2);
    bench.master(0, true, &[(0xfff0_0000, 1024)]);
    assert_eq!(bench.status() & (ERR | BSY | DRQ), ERR);
    assert_eq!(bench.ide.window_read(4, 2, 1) & 3, 2);
    // A table that is larger than the command leaves the bus master active.
    bench.command(0xc8, 0, 1);
    bench.master(0, true, &[(0x1_0000, 1024)]);
    assert_eq!(bench.status(), IDLE);
    assert_eq!(bench.ide.window_read(4, 2, 1) & 5, 5);
}

#[test]
fn a_disk_that_fails_is_told() {
    let mut bench = bench();
    bench.disk.lock().unwrap().failing = Some(5);
    bench.command(0x20, 7, 1);
    assert_eq!(bench.status() & ERR, ERR);
    assert_eq!(bench.ide.window_read(0, 1, 1), 0x40);
    assert_eq!(bench.ide.window_read(0, 3, 1), 7);
    bench.command(0xe7, 0, 0);
    assert_eq!(bench.status() & ERR, ERR);
}

#[test]
fn nothing_happens_while_the_disk_works_and_a_reset_gives_it_up() {
    let mut bench = bench();
    bench.disk.lock().unwrap().held = true;
    bench.command(0x20, 1, 1);
    assert_eq!(bench.status() & BSY, BSY);
    bench.command(0x20, 2, 1);
    assert_eq!(bench.disk.lock().unwrap().log.len(), 1);
    bench.out(1, 0, 4);
    bench.out(1, 0, 0);
    assert_eq!(bench.status(), IDLE);
    bench.disk.lock().unwrap().let_go();
    bench.ide.completed();
    assert_eq!(bench.status(), IDLE);
    assert_eq!(bench.ide.window_read(0, 1, 1), 1);
}

#[test]
fn writes_without_a_cache_are_flushed() {
    let mut bench = bench();
    bench.out(0, 1, 0x82);
    bench.command(0xef, 0, 0);
    assert_eq!(bench.status(), IDLE);
    bench.command(0x30, 0, 1);
    bench.write_words(&[1; 512]);
    assert_eq!(bench.status(), IDLE);
    let ops: Vec<Op> = bench.disk.lock().unwrap().log.iter().map(|l| l.0).collect();
    assert_eq!(ops, [Op::Write, Op::Flush]);
}

#[test]
fn trimmed_ranges_reach_the_disk() {
    let mut bench = bench();
    let mut block = vec![0; 512];
    block[..8].copy_from_slice(&(8 << 48 | 16_u64).to_le_bytes());
    block[8..16].copy_from_slice(&(1 << 48 | 9999_u64).to_le_bytes());
    bench.ram.write(0x1_0000, &block).unwrap();
    bench.out(0, 1, 1);
    bench.out(0, 2, 0);
    bench.command(0x06, 0, 1);
    bench.master(0, false, &[(0x1_0000, 512)]);
    assert_eq!(bench.status(), IDLE);
    assert_eq!(bench.disk.lock().unwrap().log, [(Op::Discard, 8192, 4096)]);
}

#[test]
fn saved_state_goes_on_in_the_middle_of_a_command() {
    let mut first = bench();
    first.disk.lock().unwrap().bytes.fill(6);
    first.disk.lock().unwrap().held = true;
    first.command(0x20, 3, 2);
    let saved = first.ide.save();
    let mut second = bench();
    second.disk.lock().unwrap().bytes.fill(6);
    second.ide.restore(&saved).expect("the same controller");
    second.ide.completed();
    assert_eq!(second.read_words(1024), [6; 1024]);
    assert_eq!(second.status(), IDLE);
    second.ide.reset();
    assert_eq!(second.ide.save(), bench().ide.save());
    assert!(second.ide.restore(&serde_json::Value::Null).is_err());
}

#[test]
fn any_access_is_answered() {
    let mut bench = bench();
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        seed >> 24
    };
    for _ in 0..300_000 {
        let window = u8::try_from(next() % 5).unwrap();
        let offset = if next() % 8 == 0 { next() } else { next() % 16 };
        let bytes = [1, 2, 4][usize::try_from(next() % 3).unwrap()];
        let value = if next() % 2 == 0 {
            next() & 0xff
        } else {
            next()
        };
        match next() % 3 {
            0 => {
                bench.ide.window_read(window, offset, bytes);
            }
            1 => bench.ide.window_write(window, offset, bytes, value),
            _ => bench.ide.completed(),
        }
    }
    bench.ide.restore(&bench.ide.save()).expect("its own state");
}
