//! The CD drive, first of the second channel.

use super::{Bench, DRQ, ERR, bench};
use hw_core::pci::Function;

impl Bench {
    fn cd(&mut self, offset: u64) -> u64 {
        self.ide.window_read(2, offset, 1)
    }

    /// Sends a packet; `dma` or pieces of `limit` bytes.
    fn packet(&mut self, bytes: &[u8], dma: bool, limit: u64) {
        for (at, value) in [
            (1, u64::from(dma)),
            (4, limit & 0xff),
            (5, limit >> 8),
            (6, 0),
            (7, 0xa0),
        ] {
            self.out(2, at, value);
        }
        assert_eq!(self.cd(7) & DRQ, DRQ);
        assert_eq!(self.cd(2), 1);
        let mut packet = bytes.to_vec();
        packet.resize(12, 0);
        for pair in packet.chunks(2) {
            let value = u16::from_le_bytes(pair.try_into().unwrap());
            self.ide.window_write(2, 0, 2, value.into());
        }
        self.ide.completed();
    }

    /// Reads an answer to its end, piece by piece.
    fn answer(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        while self.cd(7) & DRQ != 0 {
            assert_eq!(self.cd(2), 2);
            let piece = self.cd(4) | self.cd(5) << 8;
            for _ in 0..piece.div_ceil(2) {
                data.extend(&self.ide.window_read(2, 0, 2).to_le_bytes()[..2]);
                self.ide.completed();
            }
        }
        assert_eq!(self.cd(2), 3);
        data
    }

    fn ask(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.packet(bytes, false, 0xfffe);
        self.answer()
    }

    fn sense(&mut self) -> [u8; 3] {
        let data = self.ask(&[3, 0, 0, 0, 18]);
        [data[2], data[12], data[13]]
    }
}

/// A drive whose guest has heard that there is a disc.
fn ready() -> Bench {
    let mut bench = bench();
    bench.packet(&[0], false, 0);
    assert_eq!(bench.sense(), [6, 0x28, 0]);
    bench
}

#[test]
fn it_shows_by_its_registers_what_it_is() {
    let mut bench = bench();
    assert_eq!((bench.cd(4), bench.cd(5)), (0x14, 0xeb));
    bench.out(2, 7, 0xec);
    assert_eq!(bench.cd(7) & ERR, ERR);
    assert_eq!((bench.cd(4), bench.cd(5)), (0x14, 0xeb));
    bench.out(2, 7, 0xa1);
    assert_eq!(bench.cd(7) & DRQ, DRQ);
    assert!(bench.lines.level(15) || bench.cd(7) & DRQ != 0);
}

#[test]
fn a_new_disc_is_told_once() {
    let mut bench = ready();
    bench.packet(&[0], false, 0);
    assert_eq!(bench.cd(7) & ERR, 0);
    let inquiry = bench.ask(&[0x12, 0, 0, 0, 36]);
    assert_eq!(&inquiry[8..32], b"QEMU    QEMU DVD-ROM    ");
    assert_eq!(bench.ask(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8])[4..6], [2, 2]);
    assert_eq!(bench.ask(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8])[4..6], [0, 2]);
}

#[test]
fn sectors_come_in_pieces() {
    let mut bench = ready();
    assert_eq!(bench.ask(&[0x25]), [0, 0, 3, 0xe7, 0, 0, 8, 0]);
    bench.packet(&[0x28, 0, 0, 0, 0, 2, 0, 0, 40], false, 2048);
    let data = bench.answer();
    assert_eq!(
        data,
        bench.disc.lock().unwrap().bytes[4096..4096 + 40 * 2048]
    );
    bench.packet(&[0x28, 0, 0, 0, 3, 0xe7, 0, 0, 2], false, 2048);
    assert_eq!(bench.cd(7) & ERR, ERR);
    assert_eq!(bench.sense(), [5, 0x21, 0]);
}

#[test]
fn sectors_come_by_the_bus_master() {
    let mut bench = ready();
    bench.packet(&[0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 40], true, 0);
    bench.master(8, true, &[(0x1_0000, 0), (0x2_0000, 0x4000)]);
    assert_eq!(bench.cd(7) & (ERR | DRQ), 0);
    assert_eq!(bench.ide.window_read(4, 10, 1) & 7, 4);
    let expected = bench.disc.lock().unwrap().bytes[2048..2048 + 0x1_4000].to_vec();
    assert_eq!(bench.memory(0x1_0000, 0x1_4000), expected);
}

#[test]
fn the_table_of_contents_has_one_track() {
    let mut bench = ready();
    let toc = bench.ask(&[0x43, 0, 0, 0, 0, 0, 0, 0, 100]);
    assert_eq!(toc[..4], [0, 18, 1, 1]);
    assert_eq!(toc[16..20], 1000_u32.to_be_bytes());
    let minutes = bench.ask(&[0x43, 2, 0, 0, 0, 0, 0xaa, 0, 100]);
    assert_eq!(minutes[8..12], [0, 0, 15, 25]);
}

#[test]
fn without_a_disc_it_says_so() {
    let mut bench = ready();
    bench.packet(&[0x1e, 0, 0, 0, 1], false, 0);
    assert!(bench.ide.drive(1, 0).unwrap().is_locked());
    bench.packet(&[0x1b, 0, 0, 0, 2], false, 0);
    assert_eq!(bench.sense(), [5, 0x53, 2]);
    bench.packet(&[0x1e, 0, 0, 0, 0], false, 0);
    bench.ide.drive(1, 0).unwrap().change_disc(None);
    bench.packet(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1], false, 0);
    assert_eq!(bench.cd(7) & ERR, ERR);
    assert_eq!(bench.sense(), [2, 0x3a, 0]);
}

#[test]
fn unknown_packets_are_refused() {
    let mut bench = ready();
    bench.packet(&[0xff], false, 0);
    assert_eq!(bench.sense(), [5, 0x20, 0]);
    bench.packet(&[0x5a, 0, 0x3e, 0, 0, 0, 0, 0, 100], false, 0);
    assert_eq!(bench.sense(), [5, 0x24, 0]);
}
