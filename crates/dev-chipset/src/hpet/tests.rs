use super::*;
use hw_core::Signal;

fn hpet() -> (Hpet, Clock, Lines) {
    let (clock, lines) = (Clock::stopped(), Lines::new(24));
    (Hpet::new(clock.clone(), &lines, 4), clock, lines)
}

#[test]
fn the_counter_runs_when_it_is_on() {
    let (mut hpet, clock, _) = hpet();
    assert_eq!(hpet.read(0, 4, 4), 10_000_000);
    clock.advance(1000);
    assert_eq!(hpet.read(0, 0xf0, 8), 0);
    hpet.write(0, 0x10, 4, 1);
    clock.advance(1000);
    assert_eq!(hpet.read(0, 0xf0, 4), 100);
    hpet.write(0, 0x10, 4, 0);
    clock.advance(1000);
    assert_eq!(hpet.read(0, 0xf0, 8), 100);
}

#[test]
fn a_periodic_comparator_in_legacy_mode_is_the_timer() {
    let (mut hpet, clock, lines) = hpet();
    hpet.write(0, 0x100, 4, T_ON | T_PERIODIC | T_SET);
    hpet.write(0, 0x108, 8, 100);
    hpet.write(0, 0x10, 4, 3);
    assert!(hpet.legacy().load(Ordering::Acquire));
    for n in 1..4 {
        assert_eq!(hpet.deadline(), Some(n * 1000));
        clock.advance(1000);
        hpet.tick(n * 1000);
        assert_eq!(
            lines.take(),
            [Signal::Wire(0, true), Signal::Wire(0, false)]
        );
    }
}

#[test]
fn a_level_comparator_holds_its_line_until_it_is_cleared() {
    let (mut hpet, clock, lines) = hpet();
    hpet.write(0, 0x140, 4, T_ON | T_LEVEL | 2 << 9);
    hpet.write(0, 0x148, 8, 50);
    hpet.write(0, 0x10, 4, 1);
    clock.advance(500);
    hpet.tick(500);
    assert!(lines.level(2));
    assert_eq!(hpet.read(0, 0x20, 8), 4);
    hpet.write(0, 0x20, 4, 4);
    assert!(!lines.level(2));
}
