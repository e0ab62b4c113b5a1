use super::*;

#[test]
fn percent_is_of_the_total() {
    let state = |done, total| State {
        done,
        total,
        shown: None,
    };
    assert!((state(1, 4).percent() - 25.0).abs() < 1e-9);
    assert!((state(0, 0).percent() - 100.0).abs() < 1e-9);
    assert!((state(9, 4).percent() - 100.0).abs() < 1e-9);
}

#[test]
fn steps_below_the_smallest_are_not_shown() {
    let meter = Meter {
        style: Style::None,
        step: 2.0,
        state: Mutex::default(),
        bar: None,
        stop: AtomicBool::new(false),
        quiet: true,
    };
    let shown = |done| {
        meter.show(done, 1000);
        meter.lock().shown.unwrap()
    };
    assert!(shown(0) < 0.01);
    assert!(shown(19) < 0.01);
    assert!((shown(20) - 2.0).abs() < 1e-9);
    assert!((shown(5) - 2.0).abs() < 1e-9);
    assert!((shown(1000) - 100.0).abs() < 1e-9);
}
