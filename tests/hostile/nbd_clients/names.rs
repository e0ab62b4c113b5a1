//! Rows 9 and 10: names, options and their lengths.

use std::time::{Duration, Instant};

use house_tests::{Limits, ours};

use super::served::{
    ABORT, ACK, Client, EXPORT_NAME, GO, INFO, LIST, LIST_META_CONTEXT, REFUSED, SET_META_CONTEXT,
    STRUCTURED_REPLY, Served, contexts, named, option,
};

const LENGTHS: [usize; 5] = [300, 3000, 4096, 4097, 1 << 20];

#[test]
fn cve_2017_15118_long_names_are_refused_and_the_next_client_is_served() {
    let served = Served::start(&["-t"]);
    for len in LENGTHS {
        let name = vec![b'n'; len];
        let mut client = Client::greeted(&served);
        client.send(&option(EXPORT_NAME, &name));
        client.is_dropped();
        for number in [INFO, GO] {
            let mut client = Client::greeted(&served);
            client.send(&option(number, &named(&name)));
            assert!(client.answer().0 >= REFUSED, "{len} bytes");
            // It may still choose better.
            client.send(&option(GO, &named(b"")));
            while client.answer().0 != ACK {}
            client.read_something();
        }
        served.serves();
    }
}

#[test]
fn cve_2017_15118_our_client_tells_what_is_wrong_with_a_name() {
    let served = Served::start(&["-t"]);
    for len in [3000, 4096, 4097] {
        let name = "n".repeat(len);
        let uri = format!("nbd+unix:///{name}?socket={}", served.socket().display());
        let limits = Limits {
            time: Duration::from_secs(20),
            ..Limits::default()
        };
        let args = ["info", uri.as_str()];
        let output = ours().run_limited(served.scratch().dir(), &args, limits);
        let words = if len > 4096 {
            "too long"
        } else {
            "not available"
        };
        assert!(output.stderr.contains(words), "{}", output.report());
        output.expect_code(1);
    }
    served.serves();
}

#[test]
fn cve_2017_15119_a_huge_option_does_not_hold_the_server() {
    let served = Served::start(&["-t", "-e", "0"]);
    let before = served.holds();
    let mut open = Vec::new();
    for len in [u32::MAX, 1 << 31, (32 << 20) + 1] {
        let mut client = Client::greeted(&served);
        let mut head = option(LIST, &[]);
        head[12..16].copy_from_slice(&len.to_be_bytes());
        client.send(&head);
        client.is_dropped();
    }
    // Lengths that are still allowed, of which the bytes never come.
    for _ in 0..50 {
        let mut client = Client::greeted(&served);
        let mut head = option(GO, &[]);
        head[12..16].copy_from_slice(&(32_u32 << 20).to_be_bytes());
        client.send(&head);
        client.send(&[0; 1000]);
        open.push(client);
    }
    served.serves();
    let after = served.holds();
    assert!(
        after.memory < before.memory + (16 << 20),
        "{before:?} {after:?}"
    );
}

#[test]
fn cve_2017_15119_ten_thousand_options_are_answered_without_memory() {
    let served = Served::start(&["-t", "-e", "2"]);
    let mut other = Client::ready(&served);
    let mut client = Client::greeted(&served);
    let numbers = [LIST, INFO, STRUCTURED_REPLY, SET_META_CONTEXT, 99, u32::MAX];
    let start = Instant::now();
    let mut memory = 0;
    for n in 0..10_000 {
        let number = numbers[n % numbers.len()];
        client.send(&option(number, &[]));
        while client.answer().0 == 2 {}
        if n % 100 == 0 {
            other.read_something();
        }
        if n == 1000 {
            memory = served.holds().memory;
        }
    }
    let after = served.holds().memory;
    assert!(after < memory + (4 << 20), "{memory} became {after}");
    assert!(start.elapsed() < Duration::from_secs(60));
    client.send(&option(ABORT, &[]));
    assert_eq!(client.answer().0, ACK);
    client.is_dropped();
}

/// Whatever is wrong with an option that is full of names, the words of the answer are short.
#[test]
fn cve_2020_10761_errors_about_long_names_are_short() {
    let served = Served::start(&["-t"]);
    let mut client = Client::greeted(&served);
    client.send(&option(STRUCTURED_REPLY, &[]));
    assert_eq!(client.answer().0, ACK);
    // The last kind of name has characters of several bytes, which a careless cut would split.
    for name in ["n", "\0", "%s", "\u{1f980}"] {
        let long = name.repeat(4096 / name.len()).into_bytes();
        let bad = vec![0xff; 4096];
        let mut cut = named(&long);
        cut.truncate(100);
        let payloads = [
            (INFO, named(&long)),
            (GO, named(&long)),
            (GO, named(&bad)),
            (GO, cut),
            (GO, long.clone()),
            (SET_META_CONTEXT, contexts(&long, &[&long])),
            (SET_META_CONTEXT, contexts(b"", &[&long, &bad])),
            (LIST_META_CONTEXT, contexts(&long, &[long.as_slice(); 20])),
            (LIST_META_CONTEXT, contexts(&bad, &[&bad])),
            (SET_META_CONTEXT, long.clone()),
            (LIST, long.clone()),
            (STRUCTURED_REPLY, long.clone()),
            (99, long.clone()),
        ];
        for (number, payload) in payloads {
            client.send(&option(number, &payload));
            let (kind, text) = client.answer();
            assert!(text.len() <= 4096, "option {number}: {} bytes", text.len());
            assert!(std::str::from_utf8(&text).is_ok(), "option {number}");
            assert!(kind >= REFUSED || kind == ACK, "option {number}: {kind}");
        }
    }
    served.serves();
}
