//! What goes out comes back, and no bytes make a decoder fail otherwise than by an error.

use proptest::prelude::*;

use crate::*;

#[test]
fn greetings_are_told_apart() {
    let bytes = Greeting::encode(3);
    let head: [u8; 16] = bytes[..16].try_into().expect("it has 18");
    assert_eq!(Greeting::style(&head), Ok(Greeting::New(0)));
    assert!(Greeting::style(&[0; 16]).is_err());
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let long = "ä".repeat(3000);
    let bytes = Info::Description(long).encode();
    assert!(bytes.len() <= 2 + MAX_STRING);
    assert!(Info::decode(&bytes).is_ok());
}

fn commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::Read),
        Just(Command::Write),
        Just(Command::Flush),
        Just(Command::BlockStatus),
        (8..u16::MAX).prop_map(Command::Other),
    ]
}

proptest! {
    #[test]
    fn requests_read_back(
        command in commands(),
        flags: u16,
        cookie: u64,
        offset: u64,
        len: u32,
        extended: bool,
    ) {
        let request = Request { command, flags, cookie, offset, len: len.into() };
        let mut bytes = Vec::new();
        request.encode(extended, &mut bytes);
        let head = if extended { Request::EXTENDED_HEAD } else { Request::HEAD };
        prop_assert_eq!(bytes.len(), head);
        prop_assert_eq!(Request::decode(&bytes, extended), Ok(request));
    }

    #[test]
    fn chunks_read_back(done: bool, cookie: u64, len: u32, extended: bool) {
        let head = ChunkHead { done, kind: chunk::OFFSET_DATA, cookie, len: len.into() };
        let mut bytes = Vec::new();
        encode_chunk_head(&head, extended, 7, &mut bytes);
        let len = if extended { ChunkHead::EXTENDED_LEN } else { ChunkHead::LEN };
        prop_assert_eq!(bytes.len(), len);
        prop_assert_eq!(ChunkHead::decode(&bytes[4..], extended), Ok(head));
    }

    #[test]
    fn extents_read_back(
        lens in prop::collection::vec(1..u32::MAX, 1..20),
        context: u32,
        extended: bool,
    ) {
        let extents: Vec<_> = lens.iter().map(|len| Extent { len: (*len).into(), flags: 3 }).collect();
        let bytes = encode_extents(context, &extents, extended);
        prop_assert_eq!(decode_extents(&bytes, extended), Ok((context, extents)));
    }

    #[test]
    fn names_read_back(name in "\\PC{0,40}", infos in prop::collection::vec(any::<u16>(), 0..5)) {
        let request = GoRequest { name: name.clone(), infos };
        prop_assert_eq!(GoRequest::decode(&request.encode()), Ok(request));
        let meta = MetaRequest { export: name.clone(), queries: vec![name.clone(), String::new()] };
        prop_assert_eq!(MetaRequest::decode(&meta.encode()), Ok(meta));
        let entry = encode_list_entry(&name, "about");
        prop_assert_eq!(parse_list_entry(&entry), Ok((name, "about".to_owned())));
    }

    #[test]
    fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200), kind: u16) {
        let _ = GoRequest::decode(&bytes);
        let _ = MetaRequest::decode(&bytes);
        let _ = MetaContext::decode(&bytes);
        let _ = Info::decode(&bytes);
        let _ = parse_list_entry(&bytes);
        let _ = Chunk::decode(kind, &bytes);
        let _ = Request::decode(&bytes, false);
        let _ = ChunkHead::decode(&bytes, true);
    }
}
