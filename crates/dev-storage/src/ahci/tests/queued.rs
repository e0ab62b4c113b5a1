use super::*;

const READ: u8 = 0x60;
const WRITE: u8 = 0x61;

/// A queued command: sector, count, slot.
fn queued(code: u8, sector: u64, count: u16, slot: u8) -> [u8; 20] {
    let [low, high] = count.to_le_bytes();
    let mut frame = frame(code, low, sector, u16::from(slot) << 3);
    frame[11] = high;
    frame
}

impl Bench {
    fn queue(&mut self, slots: u64) {
        self.set_port(0, 0x34, slots);
        self.set_port(0, 0x38, slots);
    }

    fn device_bits(&self) -> Vec<u8> {
        self.bytes(list(0) + 0x458, 8)
    }

    fn let_go(&mut self) {
        self.disk.lock().unwrap().let_go();
        for _ in 0..300 {
            self.ahci.completed();
            self.disk.lock().unwrap().let_go();
        }
    }

    fn restart(&mut self) {
        self.set_port(0, 0x18, 0x10);
        self.set_port(0, 0x10, u32::MAX.into());
        self.set_port(0, 0x18, 0x11);
    }
}

#[test]
fn controller_and_drive_say_that_they_queue() {
    let mut bench = bench();
    assert_eq!(bench.get(0) >> 30 & 1, 1);
    bench.prepare(0, 0, &frame(0xec, 0, 0, 0), &[], &[(DATA, 512)]);
    bench.go(0, 1);
    let words = bench.bytes(DATA + 150, 4);
    assert_eq!(words[..2], [31, 0]);
    assert_eq!(words[3] & 1, 1);
}

#[test]
fn queued_commands_are_at_work_at_once_and_finish_together() {
    let mut bench = bench();
    bench.disk.lock().unwrap().held = true;
    for (slot, sector) in [(0, 10), (7, 20), (31, 30)] {
        let start = usize::try_from(sector).unwrap() * 512;
        bench.disk.lock().unwrap().bytes[start] = 100 + u8::try_from(sector).unwrap();
        let at = DATA + u64::from(slot) * 0x1000;
        let frame = queued(READ, sector, 2, slot);
        bench.prepare(0, slot.into(), &frame, &[], &[(at, 600), (at + 0x800, 424)]);
    }
    let slots = 1 | 1 << 7 | 1 << 31;
    bench.queue(slots);
    // The drive has taken them: nothing to do is left, and nothing has finished.
    assert_eq!((bench.port(0, 0x38), bench.port(0, 0x34)), (0, slots));
    assert_eq!(bench.port(0, 0x10), 0);
    assert_eq!(bench.disk.lock().unwrap().log.len(), 3);
    bench.let_go();
    assert_eq!(bench.port(0, 0x34), 0);
    assert_eq!(bench.port(0, 0x10), 1 << 3);
    let [a, b, c, d] = u32::try_from(slots).unwrap().to_le_bytes();
    assert_eq!(bench.device_bits(), [0xa1, 0x40, 0x50, 0, a, b, c, d]);
    for (slot, value) in [(0_u64, 110), (7, 120), (31, 130)] {
        assert_eq!(bench.bytes(DATA + slot * 0x1000, 1), [value]);
    }
}

#[test]
fn a_long_queued_write_goes_in_pieces() {
    let mut bench = bench();
    let data: Vec<u8> = (0..2000 * 512_u32)
        .map(|n| (n >> 9).to_le_bytes()[0] ^ 0x33)
        .collect();
    bench.ram.write(DATA, &data).unwrap();
    let frame = queued(WRITE, 7, 2000, 3);
    bench.prepare(
        0,
        3,
        &frame,
        &[],
        &[(DATA, 0x1_0000), (DATA + 0x1_0000, 2000 * 512 - 0x1_0000)],
    );
    bench.queue(1 << 3);
    bench.let_go();
    assert_eq!(bench.port(0, 0x34), 0);
    let disk = bench.disk.lock().unwrap();
    let log = [
        (Op::Write, 7 * 512, 1024 * 512),
        (Op::Write, 1031 * 512, 976 * 512),
    ];
    assert_eq!(disk.log, log);
    assert_eq!(disk.bytes[7 * 512..2007 * 512], data);
}

#[test]
fn a_write_that_has_to_be_safe_ends_with_a_flush() {
    let mut bench = bench();
    let mut frame = queued(WRITE, 0, 1, 0);
    frame[7] |= 0x80;
    bench.prepare(0, 0, &frame, &[], &[(DATA, 512)]);
    bench.queue(1);
    bench.let_go();
    let log = bench.disk.lock().unwrap().log.clone();
    assert_eq!(log, [(Op::Write, 0, 512), (Op::Flush, 0, 0)]);
}

#[test]
fn a_queued_command_that_fails_stops_all_and_the_log_says_why() {
    let mut bench = bench();
    bench.disk.lock().unwrap().held = true;
    bench.prepare(0, 4, &queued(READ, 0, 1, 4), &[], &[(DATA, 512)]);
    bench.prepare(0, 5, &queued(READ, 4095, 2, 5), &[], &[(DATA, 1024)]);
    bench.queue(1 << 4 | 1 << 5);
    assert_eq!(bench.device_bits(), [0xa1, 0x40, 0x51, 0x10, 0, 0, 0, 0]);
    assert_eq!(bench.port(0, 0x10), 1 << 30 | 1 << 3);
    assert_eq!(bench.port(0, 0x34), 1 << 4 | 1 << 5);
    // What was at work brings nothing any more.
    bench.let_go();
    assert_eq!(bench.port(0, 0x34), 1 << 4 | 1 << 5);
    bench.disk.lock().unwrap().held = false;
    bench.restart();
    assert_eq!(bench.port(0, 0x34), 0);
    let mut log = frame(0x2f, 0, 0x10, 1);
    bench.prepare(0, 0, &log, &[], &[(DATA, 512)]);
    bench.go(0, 1);
    let page = bench.bytes(DATA, 512);
    assert_eq!(
        page[..13],
        [5, 0, 0x51, 0x10, 0xff, 0x0f, 0, 0x40, 0, 0, 0, 0, 5 << 3]
    );
    assert_eq!(
        page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)),
        0
    );
    // It is told once; other logs there are not.
    bench.go(0, 1);
    assert_eq!(bench.bytes(DATA, 1), [0x80]);
    log[4] = 0x11;
    bench.prepare(0, 0, &log, &[], &[(DATA, 512)]);
    bench.go(0, 1);
    assert_eq!(bench.port(0, 0x20), 0x451);
}

#[test]
fn a_disk_that_fails_fails_the_queued_command() {
    let mut bench = bench();
    bench.disk.lock().unwrap().failing = Some(5);
    bench.prepare(0, 0, &queued(READ, 0, 1, 0), &[], &[(DATA, 512)]);
    bench.queue(1);
    bench.let_go();
    assert_eq!(bench.port(0, 0x20), 0x4051);
    bench.restart();
    bench.prepare(0, 0, &queued(WRITE, 0, 1, 0), &[], &[(DATA, 512)]);
    bench.queue(1);
    bench.let_go();
    assert_eq!(bench.port(0, 0x20), 0x451);
}

#[test]
fn a_queued_command_without_room_or_memory_is_an_error() {
    let mut bench = bench();
    bench.prepare(0, 0, &queued(READ, 0, 2, 0), &[], &[(DATA, 512)]);
    bench.queue(1);
    bench.let_go();
    assert_eq!(bench.port(0, 0x10) & (1 << 24 | 1 << 30), 1 << 24 | 1 << 30);
    bench.restart();
    bench.prepare(0, 0, &queued(WRITE, 0, 1, 0), &[], &[(MEMORY, 512)]);
    bench.queue(1);
    assert_eq!(bench.port(0, 0x10) & 1 << 29, 1 << 29);
}

#[test]
fn a_reset_gives_queued_commands_up() {
    for stop in [(0x2c, 1), (0x18, 0x10)] {
        let mut bench = bench();
        bench.disk.lock().unwrap().held = true;
        bench.prepare(0, 0, &queued(READ, 0, 1, 0), &[], &[(DATA, 512)]);
        bench.ram.write(DATA, &[9]).unwrap();
        bench.queue(1);
        bench.set_port(0, stop.0, stop.1);
        assert_eq!(bench.port(0, 0x34), 0);
        bench.let_go();
        assert_eq!(bench.bytes(DATA, 1), [9]);
        assert_eq!(bench.port(0, 0x10), 0);
    }
}

#[test]
fn saved_queued_commands_begin_again() {
    let mut bench = bench();
    bench.disk.lock().unwrap().held = true;
    bench.disk.lock().unwrap().bytes[512] = 77;
    bench.ram.write(DATA + 0x1000, &[88]).unwrap();
    bench.prepare(0, 1, &queued(READ, 1, 1, 1), &[], &[(DATA, 512)]);
    bench.prepare(0, 2, &queued(WRITE, 2, 1, 2), &[], &[(DATA + 0x1000, 512)]);
    bench.queue(6);
    let saved = bench.ahci.save();
    bench.ahci.reset();
    assert_eq!(bench.port(0, 0x34), 0);
    bench.ahci.restore(&saved).expect("its own state");
    assert_eq!(bench.ahci.save(), saved);
    bench.let_go();
    assert_eq!(bench.port(0, 0x34), 0);
    assert_eq!(bench.bytes(DATA, 1), [77]);
    assert_eq!(bench.disk.lock().unwrap().bytes[1024], 88);
}
