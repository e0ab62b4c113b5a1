use hw_core::memory::Dma;

use super::{Broken, Piece, Queue, passed};
use crate::feature::{EVENT_IDX, INDIRECT_DESC};
use crate::testing::{AVAILABLE, DESCRIPTORS, Guest, SIZE, USED};

mod packed;

fn set_up(features: u64) -> (Guest, Queue, Dma) {
    let guest = Guest::new();
    let queue = guest.queue(features);
    let dma = Dma::new(&guest.memory);
    (guest, queue, dma)
}

#[test]
fn a_request_is_taken_and_given_back() {
    let (mut guest, mut queue, dma) = set_up(0);
    assert_eq!(queue.pop(&dma), Ok(None));
    guest.put(0x8000, b"hello");
    let head = guest.offer(&[(0x8000, 3), (0x8003, 2)], &[(0x9000, 4)]);
    let chain = queue.pop(&dma).unwrap().unwrap();
    assert_eq!(
        (chain.head, chain.readable_bytes(), chain.writable_bytes()),
        (head, 5, 4)
    );
    let mut text = [0; 8];
    assert_eq!(chain.read(&dma, 1, &mut text), Ok(4));
    assert_eq!(&text[..4], b"ello");
    assert_eq!(chain.write(&dma, 1, b"xyzw"), Ok(3));
    assert_eq!(guest.get(0x9000, 5), b"\0xyz\0");
    queue.push(&dma, chain.head, 4).unwrap();
    assert_eq!(guest.given_back(), [(u32::from(head), 4)]);
    assert_eq!(queue.pop(&dma), Ok(None));
}

#[test]
fn the_rings_wrap() {
    let (mut guest, mut queue, dma) = set_up(EVENT_IDX);
    for round in 0..70_000_u32 {
        guest.offer(&[(0x8000, 4)], &[]);
        let chain = queue.pop(&dma).unwrap().expect("offered");
        queue.push(&dma, chain.head, round).unwrap();
    }
    assert_eq!(queue.pop(&dma), Ok(None));
}

#[test]
fn an_indirect_table_is_followed_once() {
    let (mut guest, mut queue, dma) = set_up(INDIRECT_DESC);
    guest.descriptor(0x7000, 0, 0x8000, 16, 1, 1);
    guest.descriptor(0x7000, 1, 0x9000, 32, 2, 0);
    guest.descriptor(DESCRIPTORS, 0, 0x7000, 32, 4, 0);
    guest.publish(0);
    let chain = queue.pop(&dma).unwrap().unwrap();
    assert_eq!(
        chain.readable,
        [Piece {
            address: 0x8000,
            len: 16
        }]
    );
    assert_eq!(
        chain.writable,
        [Piece {
            address: 0x9000,
            len: 32
        }]
    );
    // A table in a table.
    guest.descriptor(0x7000, 0, 0x7000, 32, 4, 0);
    guest.publish(0);
    assert!(queue.pop(&dma).is_err());
}

#[test]
fn what_breaks_the_rules_is_refused() {
    let refused = |prepare: &dyn Fn(&mut Guest), features: u64| -> Broken {
        let (mut guest, mut queue, dma) = set_up(features);
        prepare(&mut guest);
        queue.pop(&dma).expect_err("refused")
    };
    refused(&|g| g.put(AVAILABLE + 2, &9_u16.to_le_bytes()), 0);
    refused(&|g| g.publish(SIZE), 0);
    refused(
        &|g| {
            g.descriptor(DESCRIPTORS, 0, 0, 1, 1, 1);
            g.descriptor(DESCRIPTORS, 1, 0, 1, 1, 0);
            g.publish(0);
        },
        0,
    );
    refused(
        &|g| {
            g.descriptor(DESCRIPTORS, 0, 0, 1, 3, 1);
            g.descriptor(DESCRIPTORS, 1, 0, 1, 0, 0);
            g.publish(0);
        },
        0,
    );
    for (len, features) in [
        (32, 0),
        (0, INDIRECT_DESC),
        (24, INDIRECT_DESC),
        (u32::MAX, INDIRECT_DESC),
    ] {
        refused(
            &|g| {
                g.descriptor(DESCRIPTORS, 0, 0x7000, len, 4, 0);
                g.publish(0);
            },
            features,
        );
    }
}

#[test]
fn rings_outside_memory_are_refused() {
    let (_, mut queue, dma) = set_up(0);
    for place in [0xf_fffe, 1 << 20, u64::MAX - 3, u64::MAX] {
        queue.available = place;
        assert!(queue.pop(&dma).is_err());
        queue.used = place;
        assert!(queue.push(&dma, 0, 0).is_err());
    }
}

#[test]
fn no_more_requests_are_taken_than_the_ring_has_places() {
    let (mut guest, mut queue, dma) = set_up(0);
    for _ in 0..SIZE {
        guest.offer(&[(0x8000, 1)], &[]);
        assert!(queue.pop(&dma).unwrap().is_some());
    }
    guest.offer(&[(0x8000, 1)], &[]);
    assert!(queue.pop(&dma).is_err());
}

#[test]
fn the_guest_hears_when_it_wants_to() {
    let (guest, mut queue, dma) = set_up(0);
    queue.push(&dma, 0, 0).unwrap();
    assert_eq!(queue.wants_interrupt(&dma), Ok(true));
    assert_eq!(queue.wants_interrupt(&dma), Ok(false));
    guest.put(AVAILABLE, &1_u16.to_le_bytes());
    queue.push(&dma, 0, 0).unwrap();
    assert_eq!(queue.wants_interrupt(&dma), Ok(false));
}

#[test]
fn events_by_index_come_once_when_passed() {
    let (guest, mut queue, dma) = set_up(EVENT_IDX);
    let event = |n: u16| guest.put(AVAILABLE + 4 + u64::from(SIZE) * 2, &n.to_le_bytes());
    queue.push(&dma, 0, 0).unwrap();
    assert_eq!(queue.wants_interrupt(&dma), Ok(true));
    event(2);
    queue.push(&dma, 0, 0).unwrap();
    assert_eq!(queue.wants_interrupt(&dma), Ok(false));
    queue.push(&dma, 0, 0).unwrap();
    assert_eq!(queue.wants_interrupt(&dma), Ok(true));
    assert!(passed(0xffff, 0, 0xffff));
    assert!(!passed(1, 1, 0));
}

#[test]
fn a_size_that_is_none_keeps_the_queue_off() {
    for size in [0, 3, 16, u16::MAX] {
        let mut queue = Queue::new(SIZE);
        queue.size = size;
        queue.switch_on(0);
        assert!(!queue.is_on());
    }
    let (_, mut queue, _) = set_up(0);
    assert!(queue.is_on());
    queue.reset();
    assert_eq!(queue, Queue::new(SIZE));
    let _ = USED;
}
