use super::*;
use backend_core::chars::Capture;
use hw_core::Lines;

fn port() -> (Serial, Clock, Lines, Capture) {
    let (clock, lines, capture) = (Clock::stopped(), Lines::new(1), Capture::default());
    let sink = Box::new(capture.clone());
    (
        Serial::new(clock.clone(), lines.line(0), sink),
        clock,
        lines,
        capture,
    )
}

#[test]
fn bytes_go_out_and_the_empty_interrupt_is_said_once() {
    let (mut port, _, lines, capture) = port();
    port.write(0, 1, 1, 2);
    assert!(lines.level(0), "empty from the start");
    assert_eq!(port.read(0, 2, 1), 2);
    assert_eq!(port.read(0, 2, 1), 1);
    for byte in *b"ok" {
        port.write(0, 0, 1, u64::from(byte));
    }
    assert_eq!(capture.text(), "ok");
    assert!(lines.level(0));
}

#[test]
fn received_bytes_wait_for_the_trigger_or_for_time() {
    let (mut port, clock, lines, _) = port();
    port.write(0, 2, 1, 0x41);
    port.write(0, 1, 1, 1);
    assert_eq!(port.receive(b"abc"), 3);
    assert!(!lines.level(0));
    let at = port.deadline().expect("waits");
    clock.advance(at);
    port.tick(at);
    assert_eq!(port.read(0, 2, 1), 0xcc);
    assert_eq!(port.receive(&[b'x'; 40]), 13);
    assert_eq!(port.read(0, 2, 1), 0xc4);
    assert_eq!(port.read(0, 5, 1), 0x61);
    assert_eq!(port.read(0, 0, 1), u64::from(b'a'));
}

#[test]
fn the_loop_brings_bytes_and_modem_lines_back() {
    let (mut port, _, _, capture) = port();
    port.write(0, 4, 1, 0x1b);
    port.write(0, 0, 1, 0x55);
    assert_eq!(port.read(0, 0, 1), 0x55);
    assert_eq!(port.read(0, 6, 1), 0xb0);
    assert_eq!(port.receive(b"z"), 0);
    assert_eq!(capture.text(), "");
}

#[test]
fn the_divisor_hides_behind_its_bit() {
    let (mut port, ..) = port();
    port.write(0, 3, 1, 0x83);
    port.write(0, 0, 1, 0x34);
    port.write(0, 1, 1, 0x12);
    assert_eq!((port.read(0, 0, 1), port.read(0, 1, 1)), (0x34, 0x12));
    port.write(0, 3, 1, 3);
    assert_eq!(port.read(0, 1, 1), 0);
}
