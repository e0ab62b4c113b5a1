use backend_core::Wake;
use hw_core::Device;
use hw_core::irq::Lines;

use super::VirtioMmio;
use crate::rng::Rng;
use crate::testing::{AVAILABLE, DESCRIPTORS, Guest, USED};

#[test]
fn a_driver_gets_random_bytes() {
    let mut guest = Guest::new();
    let lines = Lines::new(1);
    let rng = Rng::new(Wake::nobody());
    let mut slot = VirtioMmio::new(Some(Box::new(rng)), lines.line(0), &guest.memory);
    assert_eq!(slot.read(0, 0, 4), 0x7472_6976);
    assert_eq!(slot.read(0, 8, 4), 4);
    for (at, value) in [
        (0x70, 3),
        (0x24, 1),
        (0x20, 1),
        (0x70, 11),
        (0x30, 0),
        (0x38, 8),
        (0x80, DESCRIPTORS),
        (0x90, AVAILABLE),
        (0xa0, USED),
        (0x44, 1),
        (0x70, 15),
    ] {
        slot.write(0, at, 4, value);
    }
    guest.offer(&[], &[(0x9000, 64)]);
    slot.write(0, 0x50, 4, 0);
    assert_eq!(guest.given_back(), [(0, 64)]);
    assert_ne!(guest.get(0x9000, 64), [0; 64]);
    assert!(lines.level(0));
    assert_eq!(slot.read(0, 0x60, 4), 1);
    slot.write(0, 0x64, 4, 1);
    assert!(!lines.level(0));
    let saved = slot.save();
    slot.reset();
    slot.restore(&saved).expect("its own state");
    assert_eq!(slot.read(0, 0x70, 4), 15);
}

#[test]
fn an_empty_slot_is_no_device() {
    let guest = Guest::new();
    let lines = Lines::new(1);
    let mut slot = VirtioMmio::new(None, lines.line(0), &guest.memory);
    assert_eq!(slot.read(0, 8, 4), 0);
    for at in (0..0x200).step_by(4) {
        slot.write(0, at, 4, u64::MAX);
        slot.read(0, at, 4);
    }
    assert!(!lines.level(0));
}

#[test]
fn a_legacy_driver_places_its_queue_by_page() {
    let guest = Guest::new();
    let lines = Lines::new(1);
    let rng = Rng::new(Wake::nobody());
    let slot = VirtioMmio::new(Some(Box::new(rng)), lines.line(0), &guest.memory);
    let mut slot = slot.for_legacy();
    assert_eq!(slot.read(0, 4, 4), 1);
    let align = 0x1000;
    for (at, value) in [
        (0x70, 3),
        (0x28, 4096),
        (0x24, 0),
        (0x20, 0),
        (0x30, 0),
        (0x38, 8),
        (0x3c, align),
        (0x40, DESCRIPTORS / 4096),
        (0x70, 7),
    ] {
        slot.write(0, at, 4, value);
    }
    assert_eq!(slot.read(0, 0x40, 4), DESCRIPTORS / 4096);
    // The high half of the features and the modern registers are not there.
    slot.write(0, 0x14, 4, 1);
    assert_eq!((slot.read(0, 0x10, 4), slot.read(0, 0x44, 4)), (0, 0));
    let saved = slot.save();
    slot.reset();
    assert_eq!(slot.read(0, 0x40, 4), 0);
    slot.restore(&saved).expect("its own state");
    guest.legacy_offer(DESCRIPTORS, 0x9000, 64);
    slot.write(0, 0x50, 4, 0);
    assert_ne!(guest.get(0x9000, 64), [0; 64]);
    // One was given back, in the used ring at the next multiple of the alignment.
    assert_eq!(guest.get(DESCRIPTORS + align + 2, 2), [1, 0]);
    assert!(lines.level(0));
    slot.write(0, 0x40, 4, 0);
    assert_eq!(slot.read(0, 0x70, 4), 0);
}
