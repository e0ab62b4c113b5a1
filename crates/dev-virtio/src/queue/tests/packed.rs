use super::*;
use crate::feature::RING_PACKED;

const RING: u64 = DESCRIPTORS;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A driver's side of a packed ring.
struct Driver {
    guest: Guest,
    queue: Queue,
    dma: Dma,
    next: u16,
    round: bool,
    seen: u16,
    seen_round: bool,
}

fn driver(features: u64) -> Driver {
    let (guest, queue, dma) = set_up(features | RING_PACKED);
    Driver {
        guest,
        queue,
        dma,
        next: 0,
        round: true,
        seen: 0,
        seen_round: true,
    }
}

fn turn(place: &mut u16, round: &mut bool) {
    *place += 1;
    if *place == SIZE {
        (*place, *round) = (0, !*round);
    }
}

impl Driver {
    /// Writes the descriptors of one request: address, length, flags. The first is made available last.
    fn offer(&mut self, id: u16, pieces: &[(u64, u32, u16)]) {
        let mut first = None;
        for (n, (address, len, flags)) in pieces.iter().enumerate() {
            let more = if n + 1 < pieces.len() { NEXT } else { 0 };
            let turn_bits = if self.round { 1 << 7 } else { 1 << 15 };
            let flags = flags | more | turn_bits;
            self.guest
                .descriptor(RING, self.next, *address, *len, id, 0);
            let at = RING + u64::from(self.next) * 16 + 14;
            match first {
                None => first = Some((at, flags)),
                Some(_) => self.guest.put(at, &flags.to_le_bytes()),
            }
            turn(&mut self.next, &mut self.round);
        }
        let (at, flags) = first.expect("a piece");
        self.guest.put(at, &flags.to_le_bytes());
    }

    /// The request that the device has given back: id and bytes written; `count` descriptors are the driver's again.
    fn given_back(&mut self, count: u16) -> Option<(u16, u32)> {
        let raw = self.guest.get(RING + u64::from(self.seen) * 16, 16);
        let word = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
        let flags = word(14);
        let bits = (flags & 1 << 7 != 0, flags & 1 << 15 != 0);
        if bits != (self.seen_round, self.seen_round) {
            return None;
        }
        for _ in 0..count {
            turn(&mut self.seen, &mut self.seen_round);
        }
        Some((
            word(12),
            u32::from_le_bytes([raw[8], raw[9], raw[10], raw[11]]),
        ))
    }

    fn pop(&mut self) -> Result<Option<crate::Chain>, Broken> {
        self.queue.pop(&self.dma)
    }

    fn push(&mut self, id: u16, written: u32) {
        self.queue.push(&self.dma, id, written).expect("in memory");
    }

    fn interrupts(&mut self) -> bool {
        self.queue.wants_interrupt(&self.dma).expect("in memory")
    }

    /// What the driver wants to hear of.
    fn ask(&self, place: u16, flags: u16) {
        self.guest.put(AVAILABLE, &place.to_le_bytes());
        self.guest.put(AVAILABLE + 2, &flags.to_le_bytes());
    }
}

#[test]
fn requests_come_and_go_over_many_rounds() {
    let mut driver = driver(EVENT_IDX);
    assert_eq!(driver.pop(), Ok(None));
    for round in 0..1000_u32 {
        let id = u16::try_from(round * 7 % 5000).unwrap();
        driver.offer(
            id,
            &[(0x8000, 16, 0), (0x9000, 4, WRITE), (0x9100, 1, WRITE)],
        );
        let chain = driver.pop().unwrap().expect("offered");
        assert_eq!(
            (chain.head, chain.readable_bytes(), chain.writable_bytes()),
            (id, 16, 5)
        );
        assert_eq!(driver.given_back(3), None);
        driver.push(id, round);
        assert_eq!(driver.given_back(3), Some((id, round)));
        assert_eq!(driver.pop(), Ok(None));
    }
}

#[test]
fn requests_are_given_back_in_any_order() {
    let mut driver = driver(0);
    for id in [10, 11, 12] {
        driver.offer(id, &[(0x8000, 16, 0), (0x9000, 1, WRITE)]);
        assert_eq!(driver.pop().unwrap().expect("offered").head, id);
    }
    for id in [12, 10, 11] {
        driver.push(id, 1);
        assert_eq!(driver.given_back(2), Some((id, 1)));
    }
}

#[test]
fn the_device_asks_for_a_kick_at_its_place() {
    let mut driver = driver(EVENT_IDX);
    driver.offer(0, &[(0x8000, 16, 0); 5]);
    driver.pop().unwrap().expect("offered");
    assert_eq!(driver.pop(), Ok(None));
    // Place 5 of the first round, by place.
    assert_eq!(driver.guest.get(USED, 4), [5, 0x80, 2, 0]);
    driver.push(0, 0);
    driver.offer(1, &[(0x8000, 16, 0); 5]);
    driver.pop().unwrap().expect("offered");
    assert_eq!(driver.pop(), Ok(None));
    assert_eq!(driver.guest.get(USED, 4), [2, 0, 2, 0]);
}

#[test]
fn interrupts_are_as_the_driver_asks() {
    let mut driver = driver(EVENT_IDX);
    let mut step = |place: u16, flags: u16| {
        driver.ask(place, flags);
        driver.offer(3, &[(0x8000, 16, 0)]);
        driver.pop().unwrap().expect("offered");
        driver.push(3, 0);
        driver.interrupts()
    };
    // Always, never; then at places: 2 of this round is not 3; 7 comes only after five more.
    assert!(step(0, 0));
    assert!(!step(0, 1));
    assert!(step(2 | 1 << 15, 2));
    assert!(!step(7 | 1 << 15, 2));
    assert!(!step(7 | 1 << 15, 2));
    assert!(!step(7 | 1 << 15, 2));
    assert!(!step(7 | 1 << 15, 2));
    assert!(step(7 | 1 << 15, 2));
    // The next round.
    assert!(!step(1, 2));
    assert!(step(1, 2));
    assert!(!driver.interrupts());
}

#[test]
fn an_indirect_table_has_as_many_pieces_as_its_length_says() {
    let mut driver = driver(INDIRECT_DESC);
    driver.guest.descriptor(0x7000, 0, 0x8000, 16, 0, 0);
    driver.guest.descriptor(0x7000, 1, 0x9000, 32, 0, WRITE);
    driver.offer(9, &[(0x7000, 32, INDIRECT)]);
    let chain = driver.pop().unwrap().expect("offered");
    assert_eq!(
        (chain.head, chain.readable_bytes(), chain.writable_bytes()),
        (9, 16, 32)
    );
    driver.push(9, 1);
    assert_eq!(driver.given_back(1), Some((9, 1)));
}

#[test]
fn what_breaks_the_rules_is_refused() {
    // A chain of the whole ring that goes on; an id that is there; a table where none was agreed on; a table of no length.
    let mut endless = driver(0);
    endless.offer(1, &[(0x8000, 16, NEXT); 8]);
    assert!(endless.pop().is_err());
    let mut twice = driver(0);
    twice.offer(1, &[(0x8000, 16, 0)]);
    twice.offer(1, &[(0x8000, 16, 0)]);
    assert!(twice.pop().is_ok());
    assert!(twice.pop().is_err());
    let mut table = driver(0);
    table.offer(1, &[(0x7000, 16, INDIRECT)]);
    assert!(table.pop().is_err());
    let mut empty = driver(INDIRECT_DESC);
    empty.offer(1, &[(0x7000, 0, INDIRECT)]);
    assert!(empty.pop().is_err());
    let mut mixed = driver(0);
    mixed.offer(1, &[(0x8000, 16, WRITE), (0x8000, 16, 0)]);
    assert!(mixed.pop().is_err());
}

#[test]
fn more_descriptors_than_the_ring_has_are_refused() {
    let mut driver = driver(0);
    driver.offer(1, &[(0x8000, 16, 0); 6]);
    driver.pop().unwrap().expect("offered");
    driver.offer(2, &[(0x8000, 16, 0); 6]);
    assert!(driver.pop().is_err());
}

#[test]
fn a_saved_ring_goes_on() {
    let mut driver = driver(EVENT_IDX);
    driver.offer(5, &[(0x8000, 16, 0), (0x9000, 1, WRITE)]);
    driver.pop().unwrap().expect("offered");
    let saved = serde_json::to_value(&driver.queue).unwrap();
    driver.queue = serde_json::from_value(saved).unwrap();
    assert!(driver.queue.is_sound(SIZE));
    driver.push(5, 1);
    assert_eq!(driver.given_back(2), Some((5, 1)));
    driver.queue.next_available = SIZE;
    assert!(!driver.queue.is_sound(SIZE));
}
