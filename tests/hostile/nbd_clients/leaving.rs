//! Row 11: a server that stops with a client at any byte, and a client that leaves at any byte.

use std::io::Read;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::served::{
    Client, GO, READ, SET_META_CONTEXT, STRUCTURED_REPLY, Served, WRITE, contexts, named, option,
    request,
};

/// Longest that a server may take to stop, on a machine with other work.
const PROMPT: Duration = Duration::from_secs(5);

/// All that a client sends: handshake, a read, a write.
fn script() -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 3];
    bytes.extend(option(STRUCTURED_REPLY, &[]));
    let queries: &[&[u8]] = &[b"base:allocation"];
    bytes.extend(option(SET_META_CONTEXT, &contexts(b"", queries)));
    bytes.extend(option(GO, &named(b"")));
    bytes.extend(request(READ, 1, 0, 65536));
    bytes.extend(request(WRITE, 2, 4096, 64));
    bytes.extend([0x5a; 64]);
    bytes
}

#[test]
fn cve_2024_7409_a_server_stops_with_a_client_at_each_byte() {
    let script = script();
    let mut served = Served::start(&["-t"]);
    for len in 0..=script.len() {
        let mut client = Client(served.connect());
        client.send(&script[..len]);
        if len % 2 == 1 {
            // The server has seen at least some of it.
            client.0.read_exact(&mut [0; 18]).expect("a greeting");
        }
        let (status, took) = served.stop();
        assert_eq!(status.code(), Some(0), "{len} bytes: {status:?}");
        assert!(took < PROMPT, "{len} bytes: {took:?}");
        assert!(!served.socket().exists(), "{len} bytes");
        // Whoever waits is told.
        let mut rest = Vec::new();
        let _ = client.0.read_to_end(&mut rest);
        if len < script.len() {
            served.again(&["-t"]);
        }
    }
}

/// Its buffers are full of replies that nobody takes, and its memory of requests.
#[test]
fn cve_2024_7409_a_server_stops_although_a_client_never_reads() {
    for (extra, requests) in [(&[][..], 64), (&["-e", "0"], 1000)] {
        let mut words = vec!["-t"];
        words.extend(extra);
        let mut served = Served::start(&words);
        let mut client = Client::ready(&served);
        let writer = client.0.try_clone().expect("a descriptor");
        let writing = std::thread::spawn(move || {
            let mut writer = Client(writer);
            for n in 0..requests {
                let bytes = request(READ, n, 0, 1 << 20);
                if std::io::Write::write_all(&mut writer.0, &bytes).is_err() {
                    return;
                }
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        let memory = served.holds().memory;
        assert!(memory < 100 << 20, "{memory} bytes");
        let (status, took) = served.stop();
        assert_eq!(status.code(), Some(0), "{status:?}");
        assert!(took < PROMPT, "{took:?}");
        let mut rest = Vec::new();
        let _ = client.0.read_to_end(&mut rest);
        writing.join().expect("it ends");
    }
}

/// In both ways: a client that says that it sends no more, and one that is gone with replies unread.
#[test]
fn cve_2017_10664_a_client_leaves_at_each_byte() {
    let script = script();
    let served = Served::start(&["-t", "-e", "4"]);
    let mut other = Client::ready(&served);
    served.settles_at(usize::MAX);
    let before = served.holds();
    for len in 0..=script.len() {
        let mut client = Client(served.connect());
        client.send(&script[..len]);
        drop(client);
        let mut client = Client(served.connect());
        client.send(&script[..len]);
        client.0.shutdown(Shutdown::Write).expect("a half");
        let mut rest = Vec::new();
        let start = Instant::now();
        client.0.read_to_end(&mut rest).expect("it hangs up");
        assert!(start.elapsed() < PROMPT, "{len} bytes");
        other.read_something();
    }
    served.settles_at(before.descriptors);
    served.serves();
    assert_eq!(served.holds().threads, before.threads);
}
