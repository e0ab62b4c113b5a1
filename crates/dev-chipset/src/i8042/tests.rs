use super::*;
use hw_core::Lines;

fn controller() -> (I8042, Lines, Control) {
    let (lines, control) = (Lines::new(16), Control::new());
    let wires = Wires {
        keyboard: lines.line(1),
        mouse: lines.line(12),
        a20: lines.line(3),
    };
    (I8042::new(wires, control.clone()), lines, control)
}

fn bytes(chip: &mut I8042) -> Vec<u64> {
    let mut read = Vec::new();
    while chip.read(1, 0, 1) & 1 != 0 {
        read.push(chip.read(0, 0, 1));
    }
    read
}

#[test]
fn the_self_test_and_the_mode_byte_answer() {
    let (mut chip, ..) = controller();
    chip.write(1, 0, 1, 0xaa);
    assert_eq!(bytes(&mut chip), [0x55]);
    chip.write(1, 0, 1, 0x60);
    chip.write(0, 0, 1, 0x47);
    chip.write(1, 0, 1, 0x20);
    assert_eq!(bytes(&mut chip), [0x47]);
}

#[test]
fn keys_arrive_translated_or_not() {
    let (mut chip, lines, _) = controller();
    chip.host_event(HostEvent::Key(0x1e, true));
    assert!(lines.level(1));
    chip.host_event(HostEvent::Key(0x1e, false));
    assert_eq!(bytes(&mut chip), [0x1c, 0xf0, 0x1c]);
    chip.write(1, 0, 1, 0x60);
    chip.write(0, 0, 1, 0x43);
    chip.host_event(HostEvent::Key(0xc8, true));
    chip.host_event(HostEvent::Key(0xc8, false));
    assert_eq!(bytes(&mut chip), [0xe0, 0x48, 0xe0, 0xc8]);
    assert!(!lines.level(1));
}

#[test]
fn every_plain_key_translates_to_itself() {
    let (mut chip, ..) = controller();
    chip.write(1, 0, 1, 0x60);
    chip.write(0, 0, 1, 0x43);
    for key in (1..0x54).chain([0x57, 0x58]) {
        chip.host_event(HostEvent::Key(key, true));
        assert_eq!(bytes(&mut chip), [u64::from(key)], "{key:#x}");
    }
}

#[test]
fn the_mouse_becomes_one_with_a_wheel() {
    let (mut chip, lines, _) = controller();
    for value in [0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2, 0xf4] {
        chip.write(1, 0, 1, 0xd4);
        chip.write(0, 0, 1, value);
    }
    assert_eq!(
        bytes(&mut chip),
        [0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 3, 0xfa]
    );
    chip.host_event(HostEvent::MouseMove(5, -3, 1));
    assert!(lines.level(12));
    assert_eq!(bytes(&mut chip), [8, 5, 3, 1]);
}

#[test]
fn reset_and_a20_are_lines_of_the_controller() {
    let (mut chip, lines, control) = controller();
    assert!(lines.level(3));
    chip.write(1, 0, 1, 0xd1);
    chip.write(0, 0, 1, 0xdd);
    assert!(!lines.level(3));
    chip.write(1, 0, 1, 0xfe);
    assert_eq!(control.take(), Some(Request::Reset));
}

#[test]
fn queues_do_not_grow_without_end() {
    let (mut chip, ..) = controller();
    for n in 0..10_000 {
        chip.host_event(HostEvent::Key(0x1e, n % 2 == 0));
        chip.host_event(HostEvent::MouseMove(1, 1, 1));
        chip.write(0, 0, 1, 0xf2);
        chip.write(1, 0, 1, 0xd4);
        chip.write(0, 0, 1, 0xeb);
    }
    assert!(bytes(&mut chip).len() < 80);
}
