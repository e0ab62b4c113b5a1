use nbd_proto::{encode_list_entry, encode_option_reply};
use tokio::io::duplex;

use super::*;

/// Lets the client list what a server of these bytes says.
fn list(bytes: &[u8]) -> Result<Vec<ExportInfo>> {
    reactor::run_light(async {
        let (mine, mut theirs) = duplex(1 << 20);
        theirs.write_all(bytes).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut client = Client::start(mine).await?;
        client.upgrade().await?;
        client.list().await
    })
    .unwrap()
}

fn greeting() -> Vec<u8> {
    let mut out = Greeting::encode(3).to_vec();
    let no = option_reply::ERR_UNSUP;
    out.extend(encode_option_reply(option::EXTENDED_HEADERS, no, &[]));
    out.extend(encode_option_reply(option::STRUCTURED_REPLY, no, &[]));
    out
}

#[test]
fn names_are_listed_though_nothing_more_is_told() {
    let mut bytes = greeting();
    for name in ["a", "b"] {
        let entry = encode_list_entry(name, "text");
        bytes.extend(encode_option_reply(
            option::LIST,
            option_reply::SERVER,
            &entry,
        ));
    }
    bytes.extend(encode_option_reply(option::LIST, option_reply::ACK, &[]));
    bytes.extend(encode_option_reply(
        option::INFO,
        option_reply::ERR_UNSUP,
        &[],
    ));
    let all = list(&bytes).unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!((all[1].name.as_str(), all[1].flags), ("b", 0));
    assert_eq!(all[1].description.as_deref(), Some("text"));
}

#[test]
fn a_refusal_carries_the_servers_words() {
    let mut bytes = greeting();
    let no = option_reply::ERR_POLICY;
    bytes.extend(encode_option_reply(option::LIST, no, b"not you\x1b[1m"));
    let error = list(&bytes).unwrap_err();
    assert_eq!(error.message(), "Denied by server for option 3 (list)");
    assert_eq!(error.hint_text(), Some("server reported: not you[1m"));
}

#[test]
fn a_server_that_stops_in_the_middle_is_an_error() {
    let whole = {
        let mut bytes = greeting();
        let entry = encode_list_entry("a", "");
        bytes.extend(encode_option_reply(
            option::LIST,
            option_reply::SERVER,
            &entry,
        ));
        bytes
    };
    for len in 0..=whole.len() {
        let error = list(&whole[..len]).unwrap_err();
        assert!(error.message().contains("end-of-file"), "{len}: {error}");
    }
}

#[test]
fn an_oldstyle_server_has_one_export() {
    let mut bytes = nbd_proto::flags::NBD_MAGIC.to_be_bytes().to_vec();
    bytes.extend(nbd_proto::flags::OLD_MAGIC.to_be_bytes());
    bytes.extend((1_u64 << 20).to_be_bytes());
    bytes.extend(1_u32.to_be_bytes());
    bytes.extend([0; 124]);
    let all = list(&bytes).unwrap();
    assert_eq!((all.len(), all[0].size, all[0].flags), (1, 1 << 20, 1));
}

#[test]
fn a_stranger_is_told_from_a_server() {
    let error = list(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n").unwrap_err();
    assert!(error.message().starts_with("Bad initial magic received"));
}
