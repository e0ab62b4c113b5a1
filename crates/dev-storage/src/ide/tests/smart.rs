use super::*;

const ABRT: u64 = 0x04;

impl Bench {
    /// SMART with its feature, and what the sector register has; gives error and status.
    fn smart(&mut self, feature: u64, which: u64) -> (u64, u64) {
        self.out(0, 1, feature);
        self.command(0xb0, 0xc2_4f00 | which, 1);
        (self.ide.window_read(0, 1, 1), self.status())
    }

    /// A page of 512 bytes whose sum is zero.
    fn page(&mut self, feature: u64, which: u64) -> Vec<u8> {
        assert_eq!(self.smart(feature, which), (0, IDLE | DRQ));
        let page = self.read_words(512);
        assert_eq!(self.status(), IDLE);
        let sum = page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!(sum, 0, "{feature:#x} {which}");
        page
    }
}

/// The last byte of each page is what the reference's disk has there: the sum of all others.
#[test]
fn pages_add_up_to_those_of_the_reference() {
    let mut bench = bench();
    assert_eq!(bench.page(0xd0, 0)[511], 0x06);
    assert_eq!(bench.page(0xd1, 0)[511], 0xaf);
    assert_eq!(bench.page(0xd5, 1)[511], 0xff);
    assert_eq!(bench.page(0xd5, 6)[511], 0xff);
    // Attributes are no longer saved.
    assert_eq!(bench.smart(0xd2, 0), (0, IDLE));
    let data = bench.page(0xd0, 0);
    assert_eq!((data[362], data[511]), (0x02, 0x86));
    assert_eq!(data[2..14], [1, 3, 0, 100, 100, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn self_tests_pass_and_are_logged() {
    let mut bench = bench();
    for kind in [0, 1, 2] {
        assert_eq!(bench.smart(0xd4, kind), (0, IDLE));
    }
    let log = bench.page(0xd5, 6);
    assert_eq!(log[26..30], [1, 0, 0x34, 0x12]);
    assert_eq!((log[508], log[511]), (3, 0x27));
    for _ in 3..22 {
        bench.smart(0xd4, 2);
    }
    // The 22nd takes the first place.
    let log = bench.page(0xd5, 6);
    assert_eq!((log[2], log[508]), (2, 1));
}

#[test]
fn what_a_disk_cannot_do_is_refused() {
    let mut bench = bench();
    for (feature, which) in [
        (0xd5, 0),
        (0xd2, 5),
        (0xd4, 3),
        (0xd4, 0x81),
        (0xd3, 0),
        (0xd6, 6),
        (0xdb, 0),
    ] {
        let (error, status) = bench.smart(feature, which);
        assert_eq!((error, status & ERR), (ABRT, ERR), "{feature:#x} {which}");
    }
    // The key is missing.
    bench.out(0, 1, 0xda);
    bench.command(0xb0, 0, 1);
    assert_eq!(bench.status() & ERR, ERR);
}

#[test]
fn nothing_is_answered_while_it_is_off() {
    let mut bench = bench();
    let enabled = |bench: &mut Bench| {
        bench.command(0xec, 0, 0);
        bench.read_words(512)[170] & 1
    };
    assert_eq!(enabled(&mut bench), 1);
    assert_eq!(bench.smart(0xd9, 0), (0, IDLE));
    assert_eq!(enabled(&mut bench), 0);
    assert_eq!(bench.smart(0xda, 0).0, ABRT);
    assert_eq!(bench.smart(0xd8, 0), (0, IDLE));
    // Status: the key stays as it was, so nothing is over its limit.
    assert_eq!(bench.smart(0xda, 0), (0, IDLE));
    assert_eq!(
        (
            bench.ide.window_read(0, 4, 1),
            bench.ide.window_read(0, 5, 1)
        ),
        (0x4f, 0xc2)
    );
}

#[test]
fn of_security_only_freezing_is_taken() {
    let mut bench = bench();
    for code in [0xf1, 0xf2, 0xf3, 0xf4, 0xf6] {
        bench.command(code, 0, 0);
        assert_eq!(bench.ide.window_read(0, 1, 1), ABRT, "{code:#x}");
    }
    bench.command(0xf5, 0, 0);
    assert_eq!(bench.status(), IDLE);
    // Logs are for drives that queue commands.
    bench.command(0x2f, 0x10, 1);
    assert_eq!(bench.ide.window_read(0, 1, 1), ABRT);
}
