use super::*;

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

fn reply(kind: u8, fields: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, 0, 7];
    out.extend(fields);
    out
}

#[test]
fn requests_are_as_the_draft_lays_them_out() {
    let handle = b"ab".as_slice();
    let write = Request::Write {
        handle,
        offset: 0x0102,
        data: b"xyz",
    };
    let wanted = [
        &[0, 0, 0, 26, 6, 0, 0, 0, 9, 0, 0, 0, 2, b'a', b'b'][..],
        &[0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, b'x', b'y', b'z'],
    ];
    assert_eq!(write.encode(9), wanted.concat());
    let resize = Request::Fsetstat { handle, size: 5 };
    let wanted = [
        &[0, 0, 0, 23, 10, 0, 0, 0, 9, 0, 0, 0, 2, b'a', b'b'][..],
        &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5],
    ];
    assert_eq!(resize.encode(9), wanted.concat());
}

#[test]
fn a_server_says_whether_it_can_flush() {
    let hello = |extensions: &[&[u8]]| {
        let mut out = vec![kind::VERSION, 0, 0, 0, 3];
        extensions.iter().for_each(|word| out.extend(string(word)));
        parse_hello(&out)
    };
    let flushing: [&[u8]; 4] = [b"other", b"2", FSYNC.as_bytes(), b"1"];
    let of = |fsync| Ok(Hello { version: 3, fsync });
    assert_eq!(hello(&flushing), of(true));
    assert_eq!(hello(&[]), of(false));
    assert_eq!(hello(&[FSYNC.as_bytes(), b"2"]), of(false));
    assert_eq!(hello(&[b"without a value"]), Err(Malformed));
    assert_eq!(parse_hello(&[kind::STATUS, 0, 0, 0, 3]), Err(Malformed));
}

#[test]
fn replies_are_read() {
    let size = [&[0, 0, 0, 5][..], &7_u64.to_be_bytes(), &[0, 0, 1, 0o244]].concat();
    let refused = [&[0, 0, 0, 2][..], &string(b"No\x1b such\n"), &string(b"en")].concat();
    let status = |code, message: &str| Reply::Status {
        code,
        message: message.to_owned(),
    };
    for (packet, wanted) in [
        (
            reply(kind::HANDLE, &string(b"h")),
            Reply::Handle(b"h".to_vec()),
        ),
        (
            reply(kind::DATA, &string(b"abc")),
            Reply::Data(b"abc".to_vec()),
        ),
        (reply(kind::ATTRS, &size), Reply::Attrs(Some(7))),
        (reply(kind::ATTRS, &[0, 0, 0, 0]), Reply::Attrs(None)),
        (reply(kind::STATUS, &refused), status(2, "No such")),
        (reply(kind::STATUS, &[0, 0, 0, 0]), status(0, "")),
    ] {
        assert_eq!(parse_reply(&packet), Ok((7, wanted)));
    }
}

#[test]
fn packets_that_end_early_or_late_are_refused() {
    let data = reply(kind::DATA, &string(b"abc"));
    for len in 0..data.len() {
        assert_eq!(parse_reply(&data[..len]), Err(Malformed), "{len}");
    }
    let late = [&data[..], b"x"].concat();
    assert_eq!(parse_reply(&late), Err(Malformed));
    let endless = reply(kind::DATA, &[0xff, 0xff, 0xff, 0xff, 1]);
    assert_eq!(parse_reply(&endless), Err(Malformed));
    let long = reply(kind::HANDLE, &string(&[0; MAX_HANDLE + 1]));
    assert_eq!(parse_reply(&long), Err(Malformed));
    assert_eq!(parse_reply(&reply(99, &[])), Err(Malformed));
}
