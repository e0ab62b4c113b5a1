//! Self-monitoring (SMART, ATA/ATAPI-6, 8.41) of a disk that never fails: attributes, their limits, and self-tests that pass.
//!
//! ```text
//! data:    0 version, 2 attributes of 12 bytes { id, flags u16, value, worst, raw[6] }, 362 collection status (bit 7: saved by
//!          itself), 363 result of the last test, 364 seconds of a collection, 367 abilities, 368 saving, 370 error log,
//!          372 minutes of each test, 511 makes the sum of all bytes zero
//! limits:  the same with { id, limit }
//! tests:   0 version, 2 tests of 24 bytes { kind, result, hours u16 }, 508 the latest
//! ```

use serde::{Deserialize, Serialize};

use super::drive::Drive;
use super::taskfile::error;

/// Tests that the log has room for; the next takes the first place.
const TESTS: u8 = 21;
/// Hours that the drive has run, whenever one asks.
const HOURS: [u8; 2] = 0x1234_u16.to_le_bytes();

/// An attribute: id, flags, value and worst value, limit, raw.
type Attribute = (u8, u8, u8, u8, [u8; 6]);

const ATTRIBUTES: &[Attribute] = &[
    // Read errors, spin-up time, starts and stops, remapped sectors, hours, power cycles, temperature of the air.
    (0x01, 0x03, 0x64, 0x06, [0, 0, 0, 0, 0, 0]),
    (0x03, 0x03, 0x64, 0x00, [0x10, 0, 0, 0, 0, 0]),
    (0x04, 0x02, 0x64, 0x14, [0x64, 0, 0, 0, 0, 0]),
    (0x05, 0x03, 0x64, 0x24, [0, 0, 0, 0, 0, 0]),
    (0x09, 0x03, 0x64, 0x00, [0x01, 0, 0, 0, 0, 0]),
    (0x0c, 0x03, 0x64, 0x00, [0, 0, 0, 0, 0, 0]),
    (0xbe, 0x03, 0x45, 0x32, [0x1f, 0, 0x1f, 0x1f, 0, 0]),
];

/// What the drive remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Smart {
    on: bool,
    /// Attributes are saved without being asked for.
    saves: bool,
    /// Kinds of the tests in the log.
    tests: Vec<u8>,
    /// Which of them is the latest, counted from one.
    latest: u8,
}

impl Default for Smart {
    fn default() -> Self {
        Self {
            on: true,
            saves: true,
            tests: Vec::new(),
            latest: 0,
        }
    }
}

impl Smart {
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// Whether a saved one can be.
    pub(super) fn is_sound(&self) -> bool {
        let most = usize::from(TESTS);
        self.tests.len() <= most && usize::from(self.latest) <= self.tests.len()
    }

    fn test(&mut self, kind: u8) {
        self.latest = self.latest % TESTS + 1;
        let place = usize::from(self.latest - 1);
        match self.tests.get_mut(place) {
            Some(test) => *test = kind,
            None => self.tests.push(kind),
        }
    }

    fn data(&self) -> Vec<u8> {
        let mut page = page();
        for (place, (id, flags, value, _, raw)) in page[2..].chunks_mut(12).zip(ATTRIBUTES) {
            place[..5].copy_from_slice(&[*id, *flags, 0, *value, *value]);
            place[5..11].copy_from_slice(raw);
        }
        page[362] = 0x02 | u8::from(self.saves) << 7;
        page[364..366].copy_from_slice(&[0x20, 0x01]);
        page[367] = 1 << 4 | 1 << 3 | 1;
        page[368] = 3;
        page[370] = 1;
        page[372..375].copy_from_slice(&[2, 54, 1]);
        page
    }

    fn log(&self) -> Vec<u8> {
        let mut page = page();
        for (place, kind) in page[2..].chunks_mut(24).zip(&self.tests) {
            place[0] = *kind;
            place[2..4].copy_from_slice(&HOURS);
        }
        page[508] = self.latest;
        page
    }
}

/// A page of its first version.
fn page() -> Vec<u8> {
    let mut page = vec![0; 512];
    page[0] = 1;
    page
}

fn limits() -> Vec<u8> {
    let mut page = page();
    for (place, (id, _, _, limit, _)) in page[2..].chunks_mut(12).zip(ATTRIBUTES) {
        place[..2].copy_from_slice(&[*id, *limit]);
    }
    page
}

/// Sets the last byte so that all together are zero.
pub(super) fn sum_to_zero(page: &mut [u8]) {
    if let Some((last, others)) = page.split_last_mut() {
        let sum = others
            .iter()
            .fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
        *last = sum.wrapping_neg();
    }
}

/// What the host hears.
enum Answer {
    Done,
    Page(Vec<u8>),
    Refused,
}

/// The command; the feature register says what it does.
pub(super) fn command(drive: &mut Drive, _: u8) {
    let regs = &drive.state.regs;
    let key = (regs.lba[1].now, regs.lba[2].now);
    let (feature, which) = (regs.feature.now, regs.lba[0].now);
    let answer = match key {
        (0x4f, 0xc2) => answer(&mut drive.state.smart, feature, which),
        _ => Answer::Refused,
    };
    match answer {
        Answer::Done => drive.succeed(),
        Answer::Page(mut page) => {
            sum_to_zero(&mut page);
            drive.give(page);
        }
        Answer::Refused => drive.fail(error::ABRT),
    }
}

fn answer(smart: &mut Smart, feature: u8, which: u8) -> Answer {
    const ENABLE: u8 = 0xd8;
    if !smart.on && feature != ENABLE {
        return Answer::Refused;
    }
    match (feature, which) {
        (0xd0, _) => return Answer::Page(smart.data()),
        (0xd1, _) => return Answer::Page(limits()),
        (0xd2, 0x00) => smart.saves = false,
        (0xd2, 0xf1) => smart.saves = true,
        // All data at once, the short test, the long one.
        (0xd4, 0..=2) => smart.test(which),
        // Errors: none.
        (0xd5, 0x01) => return Answer::Page(page()),
        (0xd5, 0x06) => return Answer::Page(smart.log()),
        (ENABLE, _) => smart.on = true,
        (0xd9, _) => smart.on = false,
        // Status: the registers keep the key, which says that nothing is over its limit.
        (0xda, _) => {}
        _ => return Answer::Refused,
    }
    Answer::Done
}
