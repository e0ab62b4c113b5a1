use super::*;
use hw_core::{Lines, Signal};

fn pit() -> (Pit, Clock, Lines) {
    let (clock, lines) = (Clock::stopped(), Lines::new(1));
    (Pit::new(clock.clone(), lines.line(0)), clock, lines)
}

fn program(pit: &mut Pit, control: u64, channel: u64, count: u64) {
    pit.write(0, 3, 1, control);
    pit.write(0, channel, 1, count & 0xff);
    pit.write(0, channel, 1, count >> 8);
}

#[test]
fn a_periodic_channel_interrupts_each_period() {
    let (mut pit, clock, lines) = pit();
    program(&mut pit, 0x34, 0, 1193);
    lines.take();
    for n in 1..4 {
        let at = pit.deadline().expect("running");
        assert_eq!(at, nanoseconds(1193 * n, HERTZ));
        clock.advance(at - clock.now());
        pit.tick(at);
        assert_eq!(
            lines.take(),
            [Signal::Wire(0, false), Signal::Wire(0, true)]
        );
    }
}

#[test]
fn a_count_is_latched_and_read_low_byte_first() {
    let (mut pit, clock, _) = pit();
    program(&mut pit, 0x34, 0, 0x1000);
    clock.advance(nanoseconds(0x123, HERTZ));
    pit.write(0, 3, 1, 0);
    clock.advance(1_000_000);
    assert_eq!((pit.read(0, 0, 1), pit.read(0, 0, 1)), (0xdd, 0x0e));
}

#[test]
fn the_speaker_port_gates_and_shows_the_third_channel() {
    let (mut pit, clock, _) = pit();
    pit.write(1, 0, 1, 0);
    program(&mut pit, 0xb0, 2, 100);
    pit.write(1, 0, 1, 1);
    assert_eq!(pit.read(1, 0, 1) & 0x21, 1);
    clock.advance(nanoseconds(100, HERTZ));
    assert_eq!(pit.read(1, 0, 1) & 0x21, 0x21);
}

#[test]
fn the_read_back_command_latches_status() {
    let (mut pit, ..) = pit();
    program(&mut pit, 0x36, 0, 0);
    pit.write(0, 3, 1, 0xe2);
    assert_eq!(pit.read(0, 0, 1), 0xb6);
}
