use super::*;
use hw_core::Lines;

fn rtc() -> (Rtc, Clock, Lines) {
    let (clock, lines) = (Clock::stopped(), Lines::new(1));
    // 29 February 2024, 23:59:58, a Thursday.
    (
        Rtc::new(1_709_251_198, clock.clone(), lines.line(0), Control::new()),
        clock,
        lines,
    )
}

fn peek(rtc: &mut Rtc, index: u64) -> u64 {
    rtc.write(0, 0, 1, index);
    rtc.read(0, 1, 1)
}

fn poke(rtc: &mut Rtc, index: u64, value: u64) {
    rtc.write(0, 0, 1, index);
    rtc.write(0, 1, 1, value);
}

#[test]
fn the_date_is_shown_in_bcd() {
    let (mut rtc, clock, _) = rtc();
    let shown: Vec<u64> = [0, 2, 4, 6, 7, 8, 9, 0x32]
        .iter()
        .map(|n| peek(&mut rtc, *n))
        .collect();
    assert_eq!(shown, [0x58, 0x59, 0x23, 5, 0x29, 2, 0x24, 0x20]);
    clock.advance(2 * SECOND);
    assert_eq!((peek(&mut rtc, 7), peek(&mut rtc, 8)), (1, 3));
    poke(&mut rtc, 11, 4);
    clock.advance(12 * 3600 * SECOND);
    assert_eq!(peek(&mut rtc, 4), 0x8c, "noon is 12 pm");
}

#[test]
fn a_date_that_is_set_goes_on_from_there() {
    let (mut rtc, clock, _) = rtc();
    poke(&mut rtc, 11, 0x82);
    for (index, value) in [
        (0, 0x59),
        (2, 0x59),
        (4, 0x23),
        (7, 0x31),
        (8, 0x12),
        (9, 0x99),
        (0x32, 0x19),
    ] {
        poke(&mut rtc, index, value);
    }
    clock.advance(9 * SECOND);
    assert_eq!(peek(&mut rtc, 0), 0x59, "held while it is set");
    poke(&mut rtc, 11, 2);
    clock.advance(SECOND);
    assert_eq!(
        (peek(&mut rtc, 0), peek(&mut rtc, 9), peek(&mut rtc, 0x32)),
        (0, 0, 0x20)
    );
}

#[test]
fn interrupts_are_asked_for_acknowledged_and_come_again() {
    let (mut rtc, clock, lines) = rtc();
    poke(&mut rtc, 11, 0x52);
    let at = rtc.deadline().expect("periodic");
    assert_eq!(at, 1_000_000_000 / 1024);
    clock.advance(at);
    rtc.tick(at);
    assert!(lines.level(0));
    assert_eq!(peek(&mut rtc, 12), 0xc0);
    assert!(!lines.level(0));
    clock.advance(SECOND);
    assert_eq!(peek(&mut rtc, 12), 0xd0);
}

#[test]
fn the_alarm_rings_once() {
    let (mut rtc, clock, lines) = rtc();
    for (index, value) in [(1, 1), (3, 0), (5, 0), (11, 0x22)] {
        poke(&mut rtc, index, value);
    }
    for second in 1..6 {
        clock.advance(SECOND);
        rtc.tick(second * SECOND);
        let rings = peek(&mut rtc, 12) & 0x20 != 0;
        assert_eq!(rings, second == 3);
    }
    assert!(!lines.level(0));
}

#[test]
fn interrupts_that_were_lost_follow_where_none_may_be() {
    let (rtc, clock, _) = rtc();
    let mut rtc = rtc.catching_up();
    poke(&mut rtc, 11, 0x42);
    // The rate after power-on is 1024 a second.
    clock.advance(SECOND / 1024 * 5);
    let taken = (0..10).filter(|_| peek(&mut rtc, 12) & 0x40 != 0).count();
    assert!((4..=5).contains(&taken), "{taken}");
    let (mut plain, clock, _) = self::rtc();
    poke(&mut plain, 11, 0x42);
    clock.advance(SECOND / 1024 * 5);
    let taken = (0..10).filter(|_| peek(&mut plain, 12) & 0x40 != 0).count();
    assert_eq!(taken, 1);
}

#[test]
fn a_date_that_the_guest_sets_is_told_as_a_distance() {
    let control = Control::new();
    let (clock, lines) = (Clock::stopped(), Lines::new(1));
    let mut rtc = Rtc::new(0, clock.clone(), lines.line(0), control.clone());
    clock.advance(10 * SECOND);
    poke(&mut rtc, 4, 3);
    assert_eq!(control.take(), Some(Request::ClockSet(3 * 3600)));
    assert_eq!(control.take(), None);
}
