use std::sync::Arc;
use std::time::Duration;

use block_core::testing::MemoryFile;
use block_core::{Perms, Root};
use nbd_proto::flags::{command, export, handshake, option, option_reply};
use nbd_proto::{
    ChunkHead, Command, GoRequest, OPTION_REPLY_HEAD, OptionReplyHead, Request, SimpleReply, chunk,
    encode_option, errno,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;

use crate::{Export, Outcome, Server};

/// A client that talks to a server over memory.
struct Peer {
    stream: DuplexStream,
    served: tokio::task::JoinHandle<Outcome>,
    stop: watch::Sender<bool>,
}

fn start(writable: bool) -> Peer {
    let file = MemoryFile::new(vec![7; 1 << 20]);
    let node = file.node("disk", !writable);
    let used = if writable {
        Perms::CONSISTENT_READ | Perms::WRITE
    } else {
        Perms::CONSISTENT_READ
    };
    let root = Arc::new(Root::attach(node, used, Perms::ALL).unwrap());
    let export = Export {
        name: "disk".to_owned(),
        description: None,
        root,
        writable,
        shared: false,
        allocation_depth: false,
        bitmaps: Vec::new(),
    };
    let (stop, stopped) = watch::channel(false);
    let server = Server {
        exports: vec![Arc::new(export)],
        tls: None,
        handshake_limit: Some(Duration::from_secs(60)),
        stop: stopped,
    };
    let (stream, theirs) = duplex(64 << 10);
    let served = tokio::spawn(async move { server.serve(theirs).await });
    Peer {
        stream,
        served,
        stop,
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

impl Peer {
    async fn greet(&mut self) {
        let mut greeting = [0; 18];
        self.stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting[..8], b"NBDMAGIC");
        let flags = u32::from(handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES);
        self.stream.write_u32(flags).await.unwrap();
    }

    async fn option(&mut self, number: u32, payload: &[u8]) -> (u32, Vec<u8>) {
        let bytes = encode_option(number, payload);
        self.stream.write_all(&bytes).await.unwrap();
        self.reply().await
    }

    async fn reply(&mut self) -> (u32, Vec<u8>) {
        let mut head = [0; OPTION_REPLY_HEAD];
        self.stream.read_exact(&mut head).await.unwrap();
        let head = OptionReplyHead::decode(&head).unwrap();
        let mut payload = vec![0; head.len as usize];
        self.stream.read_exact(&mut payload).await.unwrap();
        (head.kind, payload)
    }

    /// Chooses the export; gives back its flags.
    async fn go(&mut self) -> u16 {
        let request = GoRequest {
            name: "disk".to_owned(),
            infos: Vec::new(),
        };
        let mut answer = self.option(option::GO, &request.encode()).await;
        let mut flags = 0;
        while answer.0 == option_reply::INFO {
            if answer.1[..2] == [0, 0] {
                flags = u16::from_be_bytes([answer.1[10], answer.1[11]]);
            }
            answer = self.reply().await;
        }
        assert_eq!(answer.0, option_reply::ACK);
        flags
    }

    async fn send(&mut self, command: Command, flags: u16, offset: u64, len: u64) {
        let mut bytes = Vec::new();
        let request = Request {
            command,
            flags,
            cookie: offset,
            offset,
            len,
        };
        request.encode(false, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn simple(&mut self) -> u32 {
        let mut bytes = [0; SimpleReply::LEN];
        self.stream.read_exact(&mut bytes).await.unwrap();
        SimpleReply::decode(&bytes[4..]).unwrap().error
    }
}

#[test]
fn wrong_options_are_answered_and_the_talk_goes_on() {
    run(async {
        let mut peer = start(true);
        peer.greet().await;
        let (kind, _) = peer.option(999, b"anything").await;
        assert_eq!(kind, option_reply::ERR_UNSUP);
        let (kind, _) = peer.option(option::LIST, b"x").await;
        assert_eq!(kind, option_reply::ERR_INVALID);
        let (kind, _) = peer.option(option::STARTTLS, b"").await;
        assert_eq!(kind, option_reply::ERR_POLICY);
        let (kind, _) = peer.option(option::GO, &[0, 0, 0, 9]).await;
        assert_eq!(kind, option_reply::ERR_INVALID);
        let request = GoRequest {
            name: "n".repeat(3000),
            infos: Vec::new(),
        };
        let (kind, words) = peer.option(option::GO, &request.encode()).await;
        assert_eq!(kind, option_reply::ERR_UNKNOWN);
        assert!(words.starts_with(b"export 'nnn") && words.len() < 200);
        let (kind, _) = peer.option(option::LIST, &vec![0; 2 << 20]).await;
        assert_eq!(kind, option_reply::ERR_TOO_BIG);
        assert_eq!(peer.go().await & export::READ_ONLY, 0);
    });
}

#[test]
fn an_endless_option_ends_the_connection() {
    run(async {
        let mut peer = start(true);
        peer.greet().await;
        let mut head = encode_option(option::LIST, b"");
        head[12..].copy_from_slice(&u32::MAX.to_be_bytes());
        peer.stream.write_all(&head).await.unwrap();
        assert_eq!(peer.served.await.unwrap(), Outcome::Refused);
    });
}

#[test]
fn writes_come_back_and_bounds_hold() {
    run(async {
        let mut peer = start(true);
        peer.greet().await;
        peer.go().await;
        peer.send(Command::Write, command::FUA, 4096, 512).await;
        peer.stream.write_all(&[9; 512]).await.unwrap();
        assert_eq!(peer.simple().await, 0);
        peer.send(Command::Read, 0, 4096, 1024).await;
        assert_eq!(peer.simple().await, 0);
        let mut data = [0; 1024];
        peer.stream.read_exact(&mut data).await.unwrap();
        assert_eq!((data[0], data[511], data[512]), (9, 9, 7));
        peer.send(Command::Read, 0, 1 << 20, 1).await;
        assert_eq!(peer.simple().await, errno::EINVAL);
        peer.send(Command::Write, 0, u64::MAX, 1).await;
        peer.stream.write_all(&[9]).await.unwrap();
        assert_eq!(peer.simple().await, errno::ENOSPC);
        peer.send(Command::Flush, 0x40, 0, 0).await;
        assert_eq!(peer.simple().await, errno::EINVAL);
        peer.send(Command::Other(77), 0, 0, 0).await;
        assert_eq!(peer.simple().await, errno::EINVAL);
        peer.send(Command::BlockStatus, 0, 0, 512).await;
        assert_eq!(peer.simple().await, errno::EINVAL);
        peer.send(Command::Disconnect, 0, 0, 0).await;
        assert_eq!(peer.served.await.unwrap(), Outcome::Negotiated);
    });
}

#[test]
fn a_read_only_export_is_not_written() {
    run(async {
        let mut peer = start(false);
        peer.greet().await;
        assert_ne!(peer.go().await & export::READ_ONLY, 0);
        peer.send(Command::Write, 0, 0, 4).await;
        peer.stream.write_all(b"data").await.unwrap();
        assert_eq!(peer.simple().await, errno::EPERM);
        peer.send(Command::WriteZeroes, 0, 0, 512).await;
        assert_eq!(peer.simple().await, errno::EPERM);
    });
}

#[test]
fn structured_reads_come_in_chunks_that_end() {
    run(async {
        let mut peer = start(true);
        peer.greet().await;
        let (kind, _) = peer.option(option::STRUCTURED_REPLY, b"").await;
        assert_eq!(kind, option_reply::ACK);
        peer.go().await;
        peer.send(Command::Read, command::DF, 512, 600).await;
        let mut head = [0; ChunkHead::LEN];
        peer.stream.read_exact(&mut head).await.unwrap();
        let head = ChunkHead::decode(&head[4..], false).unwrap();
        assert!(head.done);
        assert_eq!((head.kind, head.len), (chunk::OFFSET_DATA, 608));
    });
}

#[test]
fn a_payload_that_cannot_be_followed_is_the_last() {
    run(async {
        let mut peer = start(true);
        peer.greet().await;
        peer.go().await;
        peer.send(Command::Write, 0, 0, u64::from(u32::MAX)).await;
        assert_eq!(peer.simple().await, errno::EINVAL);
        assert_eq!(peer.served.await.unwrap(), Outcome::Negotiated);
    });
}

#[test]
fn stopping_ends_clients_wherever_they_are() {
    run(async {
        let mut early = start(true);
        early.stop.send_replace(true);
        assert_eq!(early.served.await.unwrap(), Outcome::Refused);
        early = start(true);
        early.greet().await;
        early.go().await;
        early.stop.send_replace(true);
        assert_eq!(early.served.await.unwrap(), Outcome::Negotiated);
    });
}
