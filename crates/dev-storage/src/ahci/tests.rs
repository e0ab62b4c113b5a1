use backend_core::disk::Op;
use guest_mem::Ram;
use hw_core::irq::{Lines, Signal};
use hw_core::pci::Function;

use super::Ahci;
use crate::testing::{self, SharedDisk, disc_bytes};

mod queued;

const MEMORY: u64 = 4 << 20;
/// Where the guest has its data.
const DATA: u64 = 0x10_0000;

struct Bench {
    ram: Ram,
    lines: Lines,
    disk: SharedDisk,
    ahci: Ahci,
}

/// A hard disk of 4096 sectors at port 0, a CD of 1000 sectors at port 2; both ports run.
fn bench() -> Bench {
    let (ram, memory) = testing::memory(MEMORY);
    let lines = Lines::new(16);
    let (disk, hd) = testing::hard_disk();
    let (_, cd) = testing::cd();
    let drives = [Some(hd), None, Some(cd), None, None, None];
    let mut ahci = Ahci::new(drives, lines.line(5), &lines, &memory);
    ahci.config_mut().write(4, 2, 7);
    let mut bench = Bench {
        ram,
        lines,
        disk,
        ahci,
    };
    bench.set(0x04, 1 << 31 | 2);
    for port in [0, 2] {
        bench.set_port(port, 0x00, list(port));
        bench.set_port(port, 0x08, list(port) + 0x400);
        bench.set_port(port, 0x14, u32::MAX.into());
        bench.set_port(port, 0x18, 0x11);
    }
    bench
}

/// A port's list of commands; its frames lie behind.
fn list(port: u64) -> u64 {
    0x1_0000 * (port + 1)
}

/// A frame with a command: code, feature, sector, count.
fn frame(code: u8, feature: u8, sector: u64, count: u16) -> [u8; 20] {
    let s = sector.to_le_bytes();
    let [low, high] = count.to_le_bytes();
    [
        0x27, 0x80, code, feature, s[0], s[1], s[2], 0x40, s[3], s[4], s[5], 0, low, high, 0, 0, 0,
        0, 0, 0,
    ]
}

impl Bench {
    fn get(&mut self, offset: u64) -> u64 {
        self.ahci.window_read(5, offset, 4)
    }

    fn set(&mut self, offset: u64, value: u64) {
        self.ahci.window_write(5, offset, 4, value);
    }

    fn port(&mut self, port: u64, register: u64) -> u64 {
        self.get(0x100 + port * 0x80 + register)
    }

    fn set_port(&mut self, port: u64, register: u64, value: u64) {
        self.set(0x100 + port * 0x80 + register, value);
    }

    /// Writes a command into a slot, without starting it.
    fn prepare(
        &mut self,
        port: u64,
        slot: u64,
        frame: &[u8],
        packet: &[u8],
        pieces: &[(u64, u32)],
    ) {
        let table = list(port) + 0x1000 + slot * 0x400;
        let header = list(port) + slot * 32;
        let put = |at: u64, value: u64| self.ram.write_uint(at, 8, value).expect("inside");
        put(header, 5 | (pieces.len() as u64) << 16);
        put(header + 8, table);
        for (n, (address, bytes)) in (0..).zip(pieces) {
            put(table + 0x80 + n * 16, *address);
            put(table + 0x88 + n * 16, u64::from(bytes - 1) << 32);
        }
        self.ram.write(table, frame).expect("inside");
        self.ram.write(table + 0x40, packet).expect("inside");
    }

    fn go(&mut self, port: u64, slots: u64) {
        self.set_port(port, 0x38, slots);
        for _ in 0..300 {
            self.ahci.completed();
        }
    }

    fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.ram.read(at, &mut bytes).expect("inside");
        bytes
    }

    fn moved(&self, port: u64, slot: u64) -> u64 {
        self.ram.read_uint(list(port) + slot * 32 + 4, 4).unwrap()
    }
}

#[test]
fn ports_show_what_is_behind_them() {
    let mut bench = bench();
    assert_eq!(bench.get(0x0c), 0x3f);
    assert_eq!(bench.port(0, 0x24), 0x0000_0101);
    assert_eq!(bench.port(2, 0x24), 0xeb14_0101);
    assert_eq!(bench.port(1, 0x24), 0xffff_ffff);
    assert_eq!((bench.port(0, 0x28), bench.port(1, 0x28)), (0x113, 0));
    assert_eq!((bench.port(0, 0x20), bench.port(1, 0x20)), (0x150, 0x7f));
    // The same by index and data.
    bench.ahci.window_write(4, 0x10, 4, 0x124);
    assert_eq!(bench.ahci.window_read(4, 0x14, 4), 0x101);
}

#[test]
fn identify_comes_over_the_data_port() {
    let mut bench = bench();
    bench.prepare(0, 0, &frame(0xec, 0, 0, 0), &[], &[(DATA, 512)]);
    bench.go(0, 1);
    assert_eq!(bench.port(0, 0x38), 0);
    assert_eq!(bench.moved(0, 0), 512);
    assert_eq!(bench.bytes(DATA + 54, 4), *b"EQUM");
    // Frame of the port: before with data, afterwards without.
    let setup = bench.bytes(list(0) + 0x420, 18);
    assert_eq!((setup[0], setup[2], setup[15]), (0x5f, 0x58, 0x50));
    assert_eq!(setup[16..], [0, 2]);
    assert_eq!(bench.port(0, 0x10), 2);
    assert_eq!(bench.get(8), 1);
    assert_eq!(bench.lines.take().last(), Some(&Signal::Wire(5, true)));
    bench.set_port(0, 0x10, 2);
    assert_eq!(bench.lines.take().last(), Some(&Signal::Wire(5, false)));
}

#[test]
fn sectors_go_to_and_from_scattered_memory() {
    let mut bench = bench();
    let data: Vec<u8> = (0..2048_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
    bench.ram.write(DATA, &data).unwrap();
    let pieces = [(DATA, 512), (DATA + 512, 1024), (DATA + 1536, 512)];
    bench.prepare(0, 3, &frame(0x35, 0, 100, 4), &[], &pieces);
    bench.prepare(
        0,
        4,
        &frame(0x25, 0, 100, 4),
        &[],
        &[(DATA + 0x4000, 100), (DATA + 0x8000, 1948)],
    );
    bench.go(0, 1 << 3 | 1 << 4);
    assert_eq!(bench.port(0, 0x38), 0);
    assert_eq!((bench.moved(0, 3), bench.moved(0, 4)), (2048, 2048));
    assert_eq!(bench.bytes(DATA + 0x4000, 100), data[..100]);
    assert_eq!(bench.bytes(DATA + 0x8000, 1948), data[100..]);
    assert_eq!(bench.port(0, 0x10), 1);
    let log = bench.disk.lock().unwrap().log.clone();
    assert_eq!(log, [(Op::Write, 51200, 2048), (Op::Read, 51200, 2048)]);
}

#[test]
fn an_error_stops_the_port_until_it_is_started_again() {
    let mut bench = bench();
    bench.prepare(0, 0, &frame(0x25, 0, 4096, 1), &[], &[(DATA, 512)]);
    bench.prepare(0, 1, &frame(0x25, 0, 0, 1), &[], &[(DATA, 512)]);
    bench.go(0, 3);
    // The second was started first: slots go round.
    assert_eq!(bench.port(0, 0x38), 1);
    assert_eq!(bench.port(0, 0x20), 0x1051);
    assert_eq!(bench.port(0, 0x10) & 1 << 30, 1 << 30);
    bench.go(0, 2);
    assert_eq!(bench.port(0, 0x38), 3);
    bench.set_port(0, 0x18, 0x10);
    assert_eq!(bench.port(0, 0x38), 0);
    bench.set_port(0, 0x18, 0x11);
    bench.go(0, 2);
    assert_eq!(bench.port(0, 0x38), 0);
}

#[test]
fn a_read_without_room_for_it_is_an_error() {
    let mut bench = bench();
    bench.prepare(0, 0, &frame(0x25, 0, 0, 2), &[], &[(DATA, 512)]);
    bench.go(0, 1);
    assert_eq!(bench.port(0, 0x20) & 0xff, 0x51);
    assert_eq!(bench.port(0, 0x10) & 1 << 24, 1 << 24);
}

#[test]
fn packets_read_a_disc_by_port_and_by_dma() {
    let mut bench = bench();
    // The medium is new; the first command says so.
    bench.prepare(2, 0, &frame(0xa0, 0, 0x20_0000, 0), &[0; 12], &[]);
    bench.go(2, 1);
    assert_eq!(bench.port(2, 0x20) & 0xff, 0x51);
    bench.set_port(2, 0x18, 0x10);
    bench.set_port(2, 0x18, 0x11);
    let read = [0x28, 0, 0, 0, 0, 10, 0, 0, 2, 0, 0, 0];
    let mut by_port = frame(0xa0, 0, 0, 0);
    // At most 2048 bytes a piece.
    (by_port[5], by_port[6]) = (0, 8);
    bench.prepare(2, 1, &by_port, &read, &[(DATA, 4096)]);
    bench.prepare(2, 2, &frame(0xa0, 1, 0, 0), &read, &[(DATA + 0x8000, 4096)]);
    bench.go(2, 6);
    assert_eq!(bench.port(2, 0x38), 0);
    let wanted: Vec<u8> = disc_bytes().skip(20480).take(4096).collect();
    assert_eq!(bench.bytes(DATA, 4096), wanted);
    assert_eq!(bench.bytes(DATA + 0x8000, 4096), wanted);
}

#[test]
fn a_reset_by_frames_gives_the_signature() {
    let mut bench = bench();
    let mut control = [0; 20];
    (control[0], control[15]) = (0x27, 4);
    bench.prepare(0, 0, &control, &[], &[]);
    control[15] = 0;
    bench.prepare(0, 1, &control, &[], &[]);
    bench.go(0, 1);
    assert_eq!(bench.port(0, 0x20) & 0x80, 0x80);
    bench.go(0, 2);
    assert_eq!(bench.port(0, 0x20), 0x150);
    let registers = bench.bytes(list(0) + 0x440, 13);
    assert_eq!((registers[0], registers[2], registers[4]), (0x34, 0x50, 1));
    bench.set_port(0, 0x2c, 1);
    assert_eq!(bench.port(0, 0x28), 0);
    bench.set_port(0, 0x2c, 0);
    assert_eq!((bench.port(0, 0x28), bench.port(0, 0x20)), (0x113, 0x150));
}

#[test]
fn a_message_is_sent_for_each_fresh_cause() {
    let mut bench = bench();
    bench.ahci.config_mut().write(0x84, 4, 0xfee0_0000);
    bench.ahci.config_mut().write(0x8c, 2, 0x31);
    bench.ahci.config_mut().write(0x82, 2, 1);
    bench.prepare(0, 0, &frame(0xe7, 0, 0, 0), &[], &[]);
    bench.lines.take();
    bench.go(0, 1);
    assert_eq!(bench.lines.take(), [Signal::Message(0xfee0_0000, 0x31)]);
    bench.set_port(0, 0x10, 1);
    bench.go(0, 1);
    assert_eq!(bench.lines.take(), [Signal::Message(0xfee0_0000, 0x31)]);
}

#[test]
fn a_saved_controller_goes_on_where_it_was() {
    let mut bench = bench();
    bench.disk.lock().unwrap().held = true;
    bench.disk.lock().unwrap().bytes[512] = 77;
    bench.prepare(0, 5, &frame(0x25, 0, 1, 1), &[], &[(DATA, 512)]);
    bench.go(0, 1 << 5);
    assert_eq!(bench.port(0, 0x38), 1 << 5);
    let saved = bench.ahci.save();
    bench.ahci.reset();
    bench.disk.lock().unwrap().held = false;
    bench.ahci.restore(&saved).expect("its own state");
    for _ in 0..10 {
        bench.ahci.completed();
    }
    assert_eq!(bench.port(0, 0x38), 0);
    assert_eq!(bench.bytes(DATA, 1), [77]);
    assert!(bench.ahci.restore(&serde_json::Value::Null).is_err());
}

#[test]
fn whatever_is_written_the_controller_answers() {
    let mut bench = bench();
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for round in 0..20_000_u64 {
        let value = next();
        if round % 16 == 0 {
            let at = list(0) + value % 0x2000;
            self::poke(&bench, at & !7, next());
        }
        let offset = (value >> 32) % 0x500;
        bench.ahci.window_write(5, offset, 4, value);
        bench.ahci.window_read(5, next() % 0x1100, 4);
        if round % 8 == 0 {
            bench.ahci.completed();
        }
    }
}

fn poke(bench: &Bench, at: u64, value: u64) {
    bench.ram.write_uint(at, 8, value).expect("inside");
}
