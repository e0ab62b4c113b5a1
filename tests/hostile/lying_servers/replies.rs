//! Lies after the handshake.

use house_tests::ours;
use house_tests::tools::our_io;

use super::liar::{
    Asked, BLOCK_STATUS, CONTEXT, DONE, Form, Liar, Lie, READ, SIZE, chunk, data, extents, hole,
    no_lie, no_option_lie, simple, whole,
};

/// Lies about reads.
fn reads(form: Form, lie: Lie, words: &str) {
    Liar::new(form, no_option_lie, lie).read_fails(words);
}

#[test]
fn cve_2021_20286_an_honest_server_is_believed() {
    for form in [Form::Simple, Form::Chunks, Form::Extended] {
        let liar = Liar::new(form, no_option_lie, no_lie);
        let output = liar.run(
            &our_io(),
            &["-r", "-f", "raw", "-c", "read -P 120 4096 64k"],
        );
        assert_eq!(output.code, Some(0), "{}", output.report());
        let output = liar.run(&ours(), &["map", "-f", "raw"]);
        assert_eq!(output.code, Some(0), "{}", output.report());
    }
}

#[test]
fn cve_2021_20286_parts_that_do_not_fit() {
    const OUTSIDE: &str = "server sent chunk exceeding requested region";
    let lies: [(Lie, &str); 12] = [
        (
            |a| (a.command == READ && a.len > 512).then(|| data(a, a.offset - 1, 512, DONE)),
            OUTSIDE,
        ),
        (
            |a| (a.command == READ && a.len > 512).then(|| data(a, a.offset + a.len, 512, DONE)),
            OUTSIDE,
        ),
        (
            |a| (a.command == READ && a.len > 512).then(|| data(a, u64::MAX, 512, DONE)),
            OUTSIDE,
        ),
        (
            |a| (a.command == READ && a.len > 512).then(|| data(a, a.offset, 65537, DONE)),
            OUTSIDE,
        ),
        (
            |a| (a.command == READ && a.len > 512).then(|| hole(a, a.offset, 0, DONE)),
            OUTSIDE,
        ),
        (
            |a| (a.command == READ && a.len > 512).then(|| hole(a, a.offset, u32::MAX, DONE)),
            OUTSIDE,
        ),
        (
            |a| (a.command == READ && a.len > 512).then(|| data(a, a.offset, 0, DONE)),
            "invalid payload",
        ),
        (
            |a| (a.command == READ && a.len > 512).then(|| data(a, a.offset, 512, DONE)),
            "did not send all",
        ),
        (
            |a| {
                (a.command == READ && a.len > 512).then(|| {
                    let mut out = data(a, a.offset, 4096, 0);
                    out.extend(hole(a, a.offset + 2048, 4096, 0));
                    out.extend(data(a, a.offset, 65536, DONE));
                    out
                })
            },
            "same part of a read twice",
        ),
        (
            |a| {
                (a.command == READ && a.len > 512).then(|| {
                    (0..10_000)
                        .flat_map(|n| hole(a, a.offset + 2 * n, 1, 0))
                        .collect()
                })
            },
            "same part of a read twice",
        ),
        (
            |a| (a.command == READ && a.len > 512).then(|| whole(Form::Chunks, a, DONE, 0, &[0])),
            "nonzero length",
        ),
        (
            |a| (a.command == READ && a.len > 512).then(|| whole(Form::Chunks, a, 0, 0, &[])),
            "without",
        ),
    ];
    for (lie, words) in lies {
        reads(Form::Chunks, lie, words);
    }
}

#[test]
fn cve_2021_20286_replies_of_another_kind() {
    let lies: [(Form, Lie, &str); 10] = [
        (
            Form::Chunks,
            |a| (a.len > 512).then(|| simple(a.cookie, 0, &[0; 65536])),
            "simple reply when structured",
        ),
        (
            Form::Extended,
            |a| (a.len > 512).then(|| simple(a.cookie, 0, &[])),
            "simple reply",
        ),
        (
            Form::Simple,
            |a| (a.len > 512).then(|| data(a, a.offset, 512, DONE)),
            "unexpected structured reply",
        ),
        (
            Form::Extended,
            |a| (a.len > 512).then(|| data(a, a.offset, 512, DONE)),
            "unexpected structured reply",
        ),
        (
            Form::Simple,
            |a| (a.len > 512).then(|| simple(a.cookie + 1, 0, &[])),
            "unexpected cookie value",
        ),
        (
            Form::Chunks,
            |a| (a.len > 512).then(|| data(Asked { cookie: 99, ..a }, a.offset, 512, DONE)),
            "unexpected cookie value",
        ),
        (
            Form::Chunks,
            |a| (a.len > 512).then(|| vec![0xff; 64]),
            "invalid magic",
        ),
        (
            Form::Chunks,
            |a| (a.len > 512).then(|| extents(a, CONTEXT, &[(65536, 0)])),
            "Unexpected reply type",
        ),
        (
            Form::Chunks,
            |a| (a.len > 512).then(|| whole(Form::Chunks, a, DONE, 77, &[])),
            "Unexpected reply type",
        ),
        // It leaves.
        (
            Form::Chunks,
            |a| (a.len > 512).then(Vec::new),
            "Input/output error",
        ),
    ];
    for (form, lie, words) in lies {
        reads(form, lie, words);
    }
}

#[test]
fn cve_2021_20286_lengths_of_gigabytes() {
    let lies: [(Form, Lie, &str); 5] = [
        (
            Form::Chunks,
            |a| (a.len > 512).then(|| chunk(Form::Chunks, a, DONE, 1, u32::MAX.into(), &[0; 4096])),
            "exceeding requested region",
        ),
        (
            Form::Extended,
            |a| (a.len > 512).then(|| chunk(Form::Extended, a, DONE, 1, u64::MAX, &[0; 4096])),
            "exceeding requested region",
        ),
        (
            Form::Extended,
            |a| (a.len > 512).then(|| chunk(Form::Extended, a, DONE, 0x8001, u64::MAX, &[0; 4096])),
            "Payload too large",
        ),
        (
            Form::Chunks,
            |a| {
                (a.len > 512)
                    .then(|| chunk(Form::Chunks, a, DONE, 0x8001, u32::MAX.into(), &[0; 4096]))
            },
            "Payload too large",
        ),
        (
            Form::Chunks,
            |a| (a.len > 512).then(|| chunk(Form::Chunks, a, DONE, 2, u32::MAX.into(), &[0; 4096])),
            "invalid payload",
        ),
    ];
    for (form, lie, words) in lies {
        reads(form, lie, words);
    }
}

#[test]
fn cve_2020_10761_errors_that_are_none_or_do_not_fit() {
    let lies: [(Lie, &str); 4] = [
        (
            |a| (a.len > 512).then(|| whole(Form::Chunks, a, DONE, 0x8001, &[0; 6])),
            "an error that is none",
        ),
        (
            |a| (a.len > 512).then(|| whole(Form::Chunks, a, DONE, 0x8001, &[0; 3])),
            "too short",
        ),
        (
            |a| {
                (a.len > 512).then(|| {
                    whole(
                        Form::Chunks,
                        a,
                        DONE,
                        0x8001,
                        &[0, 0, 0, 5, 0xff, 0xff, b'x'],
                    )
                })
            },
            "too short",
        ),
        // A number that nobody knows is a wrong argument.
        (
            |a| {
                (a.len > 512).then(|| {
                    whole(
                        Form::Chunks,
                        a,
                        DONE,
                        0x8002,
                        &[0, 0, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                    )
                })
            },
            "Invalid argument",
        ),
    ];
    for (lie, words) in lies {
        reads(Form::Chunks, lie, words);
    }
}

#[test]
fn cve_2021_20286_extents() {
    let lies: [(Lie, &str); 6] = [
        (
            |a| (a.command == BLOCK_STATUS).then(|| extents(a, CONTEXT, &[(0, 0)])),
            "no length",
        ),
        (
            |a| (a.command == BLOCK_STATUS).then(|| extents(a, CONTEXT, &[])),
            "block status",
        ),
        (
            |a| (a.command == BLOCK_STATUS).then(|| extents(a, 77, &[(4096, 0)])),
            "unexpected context id 77",
        ),
        (
            |a| (a.command == BLOCK_STATUS).then(|| simple(a.cookie, 0, &[])),
            "any status extents",
        ),
        (
            |a| {
                (a.command == BLOCK_STATUS).then(|| {
                    let mut out = extents(a, CONTEXT, &[(4096, 0)]);
                    // Not the last one after all.
                    out[5] = 0;
                    out.extend(extents(a, CONTEXT, &[(4096, 0)]));
                    out
                })
            },
            "Several BLOCK_STATUS chunks",
        ),
        (
            |a| {
                (a.command == BLOCK_STATUS)
                    .then(|| chunk(Form::Chunks, a, DONE, 5, u32::MAX.into(), &[0; 4096]))
            },
            "Payload too large",
        ),
    ];
    for (lie, words) in lies {
        Liar::new(Form::Chunks, no_option_lie, lie).map_fails(words);
    }
}

#[test]
fn cve_2021_20286_extents_longer_than_asked_are_cut() {
    let lie: Lie =
        |a| (a.command == BLOCK_STATUS).then(|| extents(a, CONTEXT, &[(u32::MAX, 3), (512, 0)]));
    let liar = Liar::new(Form::Chunks, no_option_lie, lie);
    let output = liar.run(&ours(), &["map", "-f", "raw", "--output=json"]);
    let map = output.json();
    assert_eq!(map[0]["length"], SIZE, "{}", output.report());
    assert_eq!(map[0]["zero"], true, "{}", output.report());
}
