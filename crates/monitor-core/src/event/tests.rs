use std::time::Duration;

use qapi::Dict;

use super::{Event, Limiter};

fn event(ms: u64, node: &str) -> Event {
    let mut data = Dict::new();
    data.insert("node", node);
    data.insert("at", ms);
    Event {
        name: "QUORUM_REPORT_BAD",
        data: Some(data),
        time: Duration::from_millis(ms),
    }
}

#[test]
fn the_last_of_a_second_goes_out_when_it_is_over() {
    let mut limiter = Limiter::default();
    let offer = |limiter: &mut Limiter, ms| limiter.offer(event(ms, "a"), Some("node"));
    assert!(offer(&mut limiter, 0).is_some());
    assert!(offer(&mut limiter, 100).is_none());
    assert!(offer(&mut limiter, 900).is_none());
    assert_eq!(limiter.next(), Some(Duration::from_secs(1)));
    assert!(limiter.due(Duration::from_millis(999)).is_empty());
    assert_eq!(limiter.due(Duration::from_secs(1)), [event(900, "a")]);
    assert!(offer(&mut limiter, 1500).is_none());
    assert_eq!(limiter.due(Duration::from_secs(2)), [event(1500, "a")]);
    assert!(limiter.due(Duration::from_secs(3)).is_empty());
    assert_eq!(limiter.next(), None);
}

#[test]
fn other_nodes_and_unlimited_events_do_not_wait() {
    let mut limiter = Limiter::default();
    assert!(limiter.offer(event(0, "a"), Some("node")).is_some());
    assert!(limiter.offer(event(1, "b"), Some("node")).is_some());
    assert!(limiter.offer(event(2, "a"), None).is_some());
    assert!(limiter.offer(event(3, "a"), None).is_some());
}
