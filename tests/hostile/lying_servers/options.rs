//! Lies in the handshake.

use std::os::unix::net::UnixListener;

use house_tests::{Scratch, ours};

use super::liar::{
    CONTEXT, ERR_UNSUP, Form, Liar, OptionLie, SIZE, export_info, no_lie, no_option_lie,
    option_reply, reply, serve,
};

/// Lies about options.
fn options(lie: OptionLie, words: &str) {
    Liar::new(Form::Chunks, lie, no_lie).open_fails(words);
}

#[test]
fn cve_2017_15119_option_replies_that_do_not_fit() {
    let lies: [(OptionLie, &str); 9] = [
        (
            |o| (o == 7).then(|| option_reply(o, 3, u32::MAX, &[0; 4096])),
            "too long",
        ),
        (
            |o| (o == 7).then(|| option_reply(o, ERR_UNSUP + 5, u32::MAX, &[0; 4096])),
            "too long",
        ),
        (
            |o| (o == 7).then(|| reply(6, 1, &[])),
            "Unexpected option type",
        ),
        (
            |o| (o == 7).then(|| vec![0xff; 20]),
            "Unexpected option reply magic",
        ),
        (|o| (o == 7).then(|| reply(o, 3, &[])), "too short"),
        (|o| (o == 7).then(|| reply(o, 3, &[0, 0, 1])), "too short"),
        (
            |o| (o == 7).then(|| reply(o, 1, &[])),
            "broken server omitted NBD_INFO_EXPORT",
        ),
        (
            |o| (o == 7).then(|| reply(o, 2, &[])),
            "Unexpected reply type",
        ),
        (|o| (o == 7).then(Vec::new), ""),
    ];
    for (lie, words) in &lies[..8] {
        options(*lie, words);
    }
}

#[test]
fn cve_2017_15119_sizes_that_make_no_sense() {
    fn sizes(min: u32, preferred: u32, max: u32, size: u64) -> Vec<u8> {
        let mut blocks = vec![0, 3];
        for number in [min, preferred, max] {
            blocks.extend(number.to_be_bytes());
        }
        let mut out = reply(7, 3, &blocks);
        out.extend(reply(7, 3, &export_info(size, 3)));
        out.extend(reply(7, 1, &[]));
        out
    }
    let lies: [(OptionLie, &str); 6] = [
        (
            |o| (o == 7).then(|| sizes(0, 0, 0, SIZE)),
            "minimum block size 0",
        ),
        (
            |o| (o == 7).then(|| sizes(3, 4096, 1 << 25, SIZE)),
            "minimum block size 3",
        ),
        (
            |o| (o == 7).then(|| sizes(512, 256, 1 << 25, SIZE)),
            "preferred block size 256",
        ),
        (
            |o| (o == 7).then(|| sizes(512, 4096, 256, SIZE)),
            "maximum block size 256",
        ),
        (
            |o| (o == 7).then(|| sizes(512, 4096, 1 << 25, 1000)),
            "not multiple",
        ),
        (
            |o| (o == 7).then(|| sizes(1, 4096, 1 << 25, u64::MAX)),
            "too large",
        ),
    ];
    for (lie, words) in lies {
        options(lie, words);
    }
}

#[test]
fn cve_2017_15119_servers_that_do_not_stop() {
    let lies: [(OptionLie, &str); 3] = [
        (
            |o| (o == 7).then(|| reply(o, 3, &export_info(SIZE, 3)).repeat(20_000)),
            "does not stop",
        ),
        (
            |o| {
                (o == 10).then(|| {
                    let mut named = CONTEXT.to_be_bytes().to_vec();
                    named.extend(b"base:allocation");
                    reply(o, 4, &named).repeat(20_000)
                })
            },
            "more than one context",
        ),
        (
            |o| {
                (o == 10).then(|| {
                    let mut named = CONTEXT.to_be_bytes().to_vec();
                    named.extend([b'x'; 4000]);
                    reply(o, 4, &named)
                })
            },
            "different context",
        ),
    ];
    for (lie, words) in lies {
        options(lie, words);
    }
}

#[test]
fn cve_2017_15118_long_names_are_sent_or_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            serve(&mut stream, Form::Chunks, no_option_lie, no_lie);
        }
    });
    for (len, code) in [(3000, 0), (4096, 0), (4097, 1)] {
        let name = "x".repeat(len);
        let uri = format!("nbd+unix:///{name}?socket={}", path.display());
        let output = ours().run(scratch.dir(), &["info", &uri]).civil();
        assert_eq!(output.code, Some(code), "{len}: {}", output.report());
        if code == 1 {
            let words = "export name too long to send to server";
            assert!(output.stderr.contains(words), "{}", output.report());
        }
    }
}
