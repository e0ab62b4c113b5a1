use std::sync::{Arc, Mutex};

use backend_core::disk::{MemoryDisk, Op};
use hw_core::irq::{Lines, Signal};
use hw_core::pci::Function;

use super::{VirtioPci, Wiring};
use crate::blk::{Blk, BlkOptions, PCI};
use crate::testing::{AVAILABLE, DESCRIPTORS, Guest, SIZE, USED};

mod window;

type SharedDisk = Arc<Mutex<MemoryDisk>>;

struct Bench {
    guest: Guest,
    disk: SharedDisk,
    lines: Lines,
    function: VirtioPci,
}

fn bench() -> Bench {
    let guest = Guest::new();
    let disk: SharedDisk = Arc::new(Mutex::new(MemoryDisk::new(1 << 20)));
    let lines = Lines::new(4);
    let options = BlkOptions {
        queue_size: SIZE,
        serial: "QM1".to_owned(),
        ..BlkOptions::default()
    };
    let blk = Blk::new(Box::new(Arc::clone(&disk)), options);
    let wiring = Wiring {
        line: lines.line(2),
        lines: lines.clone(),
        memory: Arc::clone(&guest.memory),
    };
    let mut function = VirtioPci::new("virtio-blk-pci", PCI, Box::new(blk), wiring);
    // I/O, memory and bus master on.
    function.config_mut().write(4, 2, 7);
    Bench {
        guest,
        disk,
        lines,
        function,
    }
}

impl Bench {
    fn common(&mut self, at: u64, bytes: usize, value: u64) {
        self.function.window_write(4, at, bytes, value);
    }

    /// A modern driver's way to a running device.
    fn start(&mut self) {
        self.common(20, 1, 1);
        self.common(20, 1, 3);
        self.common(8, 4, 1);
        self.common(12, 4, 1);
        self.common(8, 4, 0);
        self.common(12, 4, 0xffff_ffff);
        self.common(20, 1, 11);
        assert_eq!(self.function.window_read(4, 20, 1), 11);
        self.common(22, 2, 0);
        for (at, place) in [(32, DESCRIPTORS), (40, AVAILABLE), (48, USED)] {
            self.common(at, 4, place);
            self.common(at + 4, 4, 0);
        }
        self.common(28, 2, 1);
        self.common(20, 1, 15);
    }

    fn kick(&mut self) {
        self.function.window_write(4, 0x3000, 2, 0);
    }

    /// Sends a request; gives its status byte.
    fn ask(&mut self, kind: u32, sector: u64, out: &[(u64, u32)], room: &[(u64, u32)]) -> u8 {
        let mut header = Vec::new();
        header.extend(kind.to_le_bytes());
        header.extend(0_u32.to_le_bytes());
        header.extend(sector.to_le_bytes());
        self.guest.put(0x4000, &header);
        self.guest.put(0x4100, &[0xee]);
        let mut readable = vec![(0x4000, 16)];
        readable.extend(out);
        let mut writable = room.to_vec();
        writable.push((0x4100, 1));
        self.guest.offer(&readable, &writable);
        self.kick();
        self.function.completed();
        self.guest.get(0x4100, 1)[0]
    }
}

#[test]
fn a_modern_driver_reads_and_writes() {
    let mut bench = bench();
    bench.start();
    bench.guest.put(0x8000, &[0x5a; 1024]);
    assert_eq!(bench.ask(1, 3, &[(0x8000, 1024)], &[]), 0);
    assert_eq!(bench.guest.given_back(), [(0, 1)]);
    assert_eq!(bench.lines.take(), [Signal::Wire(2, true)]);
    assert_eq!(bench.function.window_read(4, 0x1000, 1), 1);
    assert_eq!(bench.lines.take(), [Signal::Wire(2, false)]);
    assert_eq!(bench.ask(0, 4, &[], &[(0x9000, 512)]), 0);
    assert_eq!(bench.guest.get(0x9000, 512), [0x5a; 512]);
    assert_eq!(bench.guest.given_back(), [(3, 513)]);
    assert_eq!(bench.ask(8, 0, &[], &[(0xa000, 20)]), 0);
    assert_eq!(bench.guest.get(0xa000, 4), b"QM1\0");
}

#[test]
fn ranges_are_discarded_and_zeroed() {
    let mut bench = bench();
    bench.start();
    let range = |bench: &Bench, sector: u64, sectors: u32, flags: u32| {
        let mut raw = Vec::new();
        raw.extend(sector.to_le_bytes());
        raw.extend(sectors.to_le_bytes());
        raw.extend(flags.to_le_bytes());
        bench.guest.put(0x8000, &raw);
    };
    range(&bench, 8, 8, 1);
    assert_eq!(bench.ask(13, 0, &[(0x8000, 16)], &[]), 0);
    assert_eq!(bench.ask(11, 0, &[(0x8000, 16)], &[]), 2);
    range(&bench, 8, 8, 0);
    assert_eq!(bench.ask(11, 0, &[(0x8000, 16)], &[]), 0);
    let log = bench.disk.lock().unwrap().log.clone();
    assert_eq!(
        log,
        [
            (Op::Zeroes { unmap: true }, 4096, 4096),
            (Op::Discard, 4096, 4096)
        ]
    );
    range(&bench, 2048, 1, 0);
    assert_eq!(bench.ask(13, 0, &[(0x8000, 16)], &[]), 1);
    range(&bench, 0, u32::MAX, 0);
    assert_eq!(bench.ask(13, 0, &[(0x8000, 16)], &[]), 1);
}

#[test]
fn requests_that_make_no_sense_are_answered() {
    let mut bench = bench();
    bench.start();
    assert_eq!(bench.ask(77, 0, &[], &[]), 2);
    assert_eq!(bench.ask(0, 2048, &[], &[(0x9000, 512)]), 1);
    assert_eq!(bench.ask(0, u64::MAX, &[], &[(0x9000, 512)]), 1);
    assert_eq!(bench.ask(0, 0, &[], &[(0x9000, 511)]), 1);
    assert_eq!(bench.ask(1, 0, &[(0x9000, 100)], &[]), 1);
    assert_eq!(bench.ask(0, 0, &[], &[(0x9000, u32::MAX - 1023)]), 1);
    // Memory that is not there.
    assert_eq!(bench.ask(1, 0, &[(1 << 30, 512)], &[]), 1);
    assert_eq!(bench.ask(0, 0, &[], &[(1 << 30, 512)]), 1);
    // No room for a status, no header: given back all the same.
    let before = bench.guest.given_back().len();
    bench.guest.offer(&[(0x4000, 16)], &[]);
    bench.guest.offer(&[(0x4000, 3)], &[(0x4100, 1)]);
    bench.kick();
    assert_eq!(bench.guest.given_back().len(), 2);
    assert_eq!(before, 8);
    assert_eq!(bench.disk.lock().unwrap().log.len(), 1);
}

#[test]
fn a_disk_that_fails_is_told() {
    let mut bench = bench();
    bench.start();
    bench.disk.lock().unwrap().failing = Some(5);
    assert_eq!(bench.ask(0, 0, &[], &[(0x9000, 512)]), 1);
    assert_eq!(bench.ask(4, 0, &[], &[]), 1);
}

#[test]
fn what_ends_after_a_reset_touches_nothing() {
    let mut bench = bench();
    bench.start();
    bench.disk.lock().unwrap().held = true;
    bench.disk.lock().unwrap().bytes.fill(7);
    assert_eq!(bench.ask(0, 0, &[], &[(0x9000, 512)]), 0xee);
    bench.common(20, 1, 0);
    bench.disk.lock().unwrap().let_go();
    bench.function.completed();
    assert_eq!(bench.guest.get(0x9000, 512), [0; 512]);
    assert!(bench.guest.given_back().is_empty());
}

#[test]
fn a_broken_ring_stops_the_device_until_its_reset() {
    let mut bench = bench();
    bench.start();
    bench.guest.publish(SIZE + 1);
    bench.kick();
    assert_eq!(bench.function.window_read(4, 20, 1), 15 | 64);
    assert_eq!(bench.function.window_read(4, 0x1000, 1), 2);
    bench.common(20, 1, 0);
    assert_eq!(bench.function.window_read(4, 20, 1), 0);
}

#[test]
fn the_rings_stay_where_they_are_while_the_device_is_on() {
    let mut bench = bench();
    bench.start();
    for (at, bytes) in [(24, 2), (32, 4), (40, 8), (48, 4), (28, 2)] {
        bench.common(at, bytes, 0x7777);
    }
    assert_eq!(bench.function.window_read(4, 32, 4), DESCRIPTORS);
    assert_eq!(bench.function.window_read(4, 40, 4), AVAILABLE);
    assert_eq!(bench.ask(4, 0, &[], &[]), 0);
}

#[test]
fn a_modern_driver_must_take_version_1() {
    let mut bench = bench();
    bench.common(20, 1, 3);
    bench.common(12, 4, 0xffff_ffff);
    bench.common(20, 1, 11);
    assert_eq!(bench.function.window_read(4, 20, 1), 3);
}

#[test]
fn a_legacy_driver_reads() {
    let mut bench = bench();
    let io = |bench: &mut Bench, at, bytes, value| bench.function.window_write(0, at, bytes, value);
    let features = bench.function.window_read(0, 0, 4);
    assert_ne!(features & 1 << 9, 0);
    io(&mut bench, 18, 1, 3);
    io(&mut bench, 4, 4, features & !(1 << 29));
    io(&mut bench, 14, 2, 0);
    assert_eq!(bench.function.window_read(0, 12, 2), u64::from(SIZE));
    // Eight entries from page 1: 128 bytes of descriptors, the available ring behind them, the used ring in page 2.
    io(&mut bench, 8, 4, 1);
    io(&mut bench, 18, 1, 7);
    assert_eq!(bench.function.window_read(0, 20, 8), 2048);
    bench.disk.lock().unwrap().bytes[..512].fill(9);
    bench.guest.descriptor(DESCRIPTORS, 0, 0x4000, 16, 1, 1);
    bench.guest.descriptor(DESCRIPTORS, 1, 0x9000, 512, 3, 2);
    bench.guest.descriptor(DESCRIPTORS, 2, 0x4100, 1, 2, 0);
    bench.guest.put(0x4000, &[0; 16]);
    bench.guest.put(DESCRIPTORS + 128, &[0, 0, 1, 0, 0, 0]);
    io(&mut bench, 16, 2, 0);
    assert_eq!(bench.guest.get(0x9000, 512), [9; 512]);
    assert_eq!(bench.guest.get(0x2002, 2), [1, 0]);
    assert_eq!(bench.function.window_read(0, 19, 1), 1);
    io(&mut bench, 18, 1, 0);
    assert_eq!(bench.function.window_read(0, 8, 4), 0);
}

#[test]
fn messages_go_to_the_queues_vector() {
    let mut bench = bench();
    bench.start();
    bench.function.config_mut().write(0x9a, 2, 0x8000);
    bench.common(26, 2, 1);
    bench.common(16, 2, 9);
    assert_eq!(bench.function.window_read(4, 26, 2), 1);
    assert_eq!(bench.function.window_read(4, 16, 2), 0xffff);
    bench.function.window_write(1, 16, 8, 0xfee0_0000);
    bench.function.window_write(1, 24, 8, 0x41);
    assert_eq!(bench.ask(4, 0, &[], &[]), 0);
    assert_eq!(bench.lines.take(), [Signal::Message(0xfee0_0000, 0x41)]);
}

#[test]
fn saved_state_goes_on() {
    let mut first = bench();
    first.start();
    assert_eq!(first.ask(4, 0, &[], &[]), 0);
    let mut second = bench();
    second.guest = first.guest;
    let dma = second.function.config().dma(&second.guest.memory);
    second.function.core.dma = dma;
    let saved = first.function.save();
    second.function.restore(&saved).expect("the same device");
    assert_eq!(second.function.save(), saved);
    second.disk.lock().unwrap().bytes[..512].fill(3);
    assert_eq!(second.ask(0, 0, &[], &[(0x9000, 512)]), 0);
    assert_eq!(second.guest.get(0x9000, 512), [3; 512]);
    second.function.reset();
    assert_eq!(second.function.save(), bench().function.save());
    assert!(second.function.restore(&serde_json::Value::Null).is_err());
}

#[test]
fn any_access_is_answered() {
    let mut bench = bench();
    let mut seed = 1_u64;
    let mut next = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        seed >> 20
    };
    for _ in 0..200_000 {
        let bar = u8::try_from(next() % 6).unwrap();
        let bytes = [1, 2, 4, 8][usize::try_from(next() % 4).unwrap()];
        let offset = match next() % 4 {
            0 => next() % 64,
            1 => next() % 0x4000,
            2 => 0x3000 + next() % 16,
            _ => next(),
        };
        let value = match next() % 3 {
            0 => next() % 16,
            1 => next(),
            _ => u64::MAX,
        };
        bench.function.window_read(bar, offset, bytes);
        bench.function.window_write(bar, offset, bytes, value);
        bench.function.completed();
    }
}
