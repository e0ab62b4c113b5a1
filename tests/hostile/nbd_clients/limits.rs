//! Row 11: how many clients there are, how long they may take to begin, and what they leave behind.

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::served::{Client, GO, Served, named, option};

/// What memory may grow by: allocators keep some.
const SLACK: u64 = 4 << 20;

/// Bytes that visitors send before they leave: none, a part, a handshake, rubbish.
fn visits() -> [Vec<u8>; 5] {
    let mut whole = vec![0, 0, 0, 3];
    whole.extend(option(GO, &named(b"")));
    let mut part = whole.clone();
    part.truncate(17);
    let mut lost = vec![0, 0, 0, 3];
    lost.extend(option(GO, &named(&[b'x'; 4000])));
    [Vec::new(), part, whole, lost, vec![0xff; 64]]
}

#[test]
fn cve_2024_7409_ten_thousand_visitors_leave_nothing_behind() {
    for shared in ["0", "8"] {
        let served = Served::start(&["-t", "-e", shared]);
        let visits = visits();
        let visit = |n: usize| {
            let mut client = Client(served.connect());
            let bytes = &visits[n % visits.len()];
            // It may have hung up on rubbish.
            let _ = std::io::Write::write_all(&mut client.0, bytes);
            if n.is_multiple_of(7) {
                client.0.read_exact(&mut [0; 18]).expect("a greeting");
            }
        };
        let mut other = Client::ready(&served);
        other.read_something();
        let beginning = served.holds();
        (0..1000).for_each(visit);
        served.settles_at(beginning.descriptors);
        let before = served.holds();
        let over = AtomicBool::new(false);
        let slowest = std::thread::scope(|scope| {
            let faithful = scope.spawn(|| {
                let mut slowest = Duration::ZERO;
                while !over.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    other.read_something();
                    slowest = slowest.max(start.elapsed());
                }
                slowest
            });
            (0..10_000).for_each(visit);
            over.store(true, Ordering::Relaxed);
            faithful.join().expect("it was served all the time")
        });
        served.settles_at(beginning.descriptors);
        let after = served.holds();
        eprintln!("-e {shared}: {before:?}, then {after:?}; slowest read {slowest:?}");
        assert!(after.memory < before.memory + SLACK, "{before:?} {after:?}");
        assert_eq!(after.threads, before.threads);
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
        served.serves();
    }
}

#[test]
fn cve_2024_7409_silent_clients_are_shown_out_in_time() {
    let served = Served::start(&["-t", "-e", "4", "--handshake-limit", "1"]);
    let start = Instant::now();
    let visits = visits();
    let mut silent: Vec<Client> = [0, 1, 1]
        .map(|n: usize| {
            let mut client = Client(served.connect());
            client.send(&visits[n]);
            client
        })
        .into();
    // The fourth place is free, and whoever is through the handshake may be silent.
    let mut quiet = Client::ready(&served);
    for client in &mut silent {
        let mut rest = Vec::new();
        client.0.read_to_end(&mut rest).expect("it hangs up");
        let took = start.elapsed();
        assert!(took > Duration::from_millis(800), "{took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    quiet.read_something();
}

#[test]
fn cve_2024_7409_a_drip_of_bytes_does_not_stretch_the_time() {
    let served = Served::start(&["-t", "--handshake-limit", "1"]);
    let mut client = Client::greeted(&served);
    let start = Instant::now();
    for byte in option(GO, &named(&[b'x'; 1000])) {
        if std::io::Write::write_all(&mut client.0, &[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "it waits for ever"
        );
    }
    served.serves();
}

#[test]
fn cve_2024_7409_no_more_clients_than_allowed() {
    let served = Served::start(&["-t", "-e", "2"]);
    let (first, mut second) = (Client::ready(&served), Client::ready(&served));
    let descriptors = served.holds().descriptors;
    // The rest wait, and take nothing of the server's.
    let mut waiting: Vec<Client> = (0..20).map(|_| Client(served.connect())).collect();
    let third = &mut waiting[0].0;
    third
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a time");
    let read = third.read(&mut [0; 18]);
    assert!(
        read.as_ref()
            .is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        "{read:?}"
    );
    assert_eq!(served.holds().descriptors, descriptors);
    second.read_something();
    drop(first);
    third
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time");
    third.read_exact(&mut [0; 18]).expect("its turn");
    second.read_something();
}
