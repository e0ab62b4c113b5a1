//! Both ends of NBD against a peer that says anything.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use block_core::testing::MemoryFile;
use block_core::{Perms, Root};
use block_export::{Export, Server};
use nbd_proto::flags::{BASE_ALLOCATION, command, handshake, option, option_reply};
use nbd_proto::{
    ChunkHead, Command, Extent, GoRequest, Greeting, Info, MetaContext, MetaRequest, Request,
    chunk, encode_chunk_head, encode_extents, encode_option, encode_option_reply,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// Length of the disk that is served.
const LEN: usize = 64 << 10;
/// Length of the read that the client does.
const READ: usize = 4096;

/// A peer whose words are written down, and who hears nothing.
struct Script(Vec<u8>, usize);

impl Script {
    fn new(words: &[u8]) -> Self {
        Self(words.to_vec(), 0)
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.0[self.1..];
        let now = left.len().min(buf.remaining());
        buf.put_slice(&left[..now]);
        self.1 += now;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The client hears these bytes from a server.
pub(crate) fn client(data: &[u8]) {
    let mut buf = vec![0xaa; READ];
    let session = block_protocols::nbd::testing::session(Script::new(data), 512, &mut buf);
    // Only how it fails is of interest: not by a panic.
    let _ = reactor::run_light(session).expect("a runtime");
}

/// The server hears these bytes from a client.
pub(crate) fn server(data: &[u8]) {
    let done = reactor::run_light(async {
        let node = MemoryFile::new(vec![7; LEN]).node("disk", false);
        let used = Perms::CONSISTENT_READ | Perms::WRITE;
        let root = Root::attach(node, used, Perms::ALL).expect("nobody else has it");
        let export = Export {
            name: String::new(),
            description: None,
            root: Arc::new(root),
            writable: true,
            shared: true,
            allocation_depth: true,
            bitmaps: Vec::new(),
        };
        let (_stop, stopped) = watch::channel(false);
        let server = Server {
            exports: vec![Arc::new(export)],
            tls: None,
            handshake_limit: Some(Duration::from_secs(1)),
            stop: stopped,
        };
        server.serve(Script::new(data)).await;
    });
    done.expect("a runtime");
}

/// An honest server in each form, as the client hears it.
pub(crate) fn client_seeds() -> Vec<Vec<u8>> {
    [false, true].into_iter().map(honest_server).collect()
}

fn honest_server(extended: bool) -> Vec<u8> {
    let mut out = Greeting::encode(handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES).to_vec();
    let mut say = |number, kind, payload: &[u8]| {
        out.extend(encode_option_reply(number, kind, payload));
    };
    if extended {
        say(option::EXTENDED_HEADERS, option_reply::ACK, &[]);
    } else {
        say(option::EXTENDED_HEADERS, option_reply::ERR_UNSUP, &[]);
        say(option::STRUCTURED_REPLY, option_reply::ACK, &[]);
    }
    let context = MetaContext {
        id: 5,
        name: BASE_ALLOCATION.to_owned(),
    };
    let number = option::SET_META_CONTEXT;
    say(number, option_reply::META_CONTEXT, &context.encode());
    say(number, option_reply::ACK, &[]);
    let size = LEN as u64;
    let info = Info::Export { size, flags: 1 };
    say(option::GO, option_reply::INFO, &info.encode());
    say(option::GO, option_reply::ACK, &[]);
    let mut part = |cookie, kind, done, payload: &[u8]| {
        let len = payload.len() as u64;
        let head = ChunkHead {
            done,
            kind,
            cookie,
            len,
        };
        encode_chunk_head(&head, extended, 512, &mut out);
        out.extend(payload);
    };
    let mut data = 512_u64.to_be_bytes().to_vec();
    data.resize(8 + READ / 2, b'x');
    part(1, chunk::OFFSET_DATA, false, &data);
    let half = u32::try_from(READ / 2).expect("a small buffer");
    let mut hole = (512 + u64::from(half)).to_be_bytes().to_vec();
    hole.extend(half.to_be_bytes());
    part(1, chunk::OFFSET_HOLE, true, &hole);
    let extents = [Extent {
        len: READ as u64,
        flags: 3,
    }];
    let kind = if extended {
        chunk::BLOCK_STATUS_EXT
    } else {
        chunk::BLOCK_STATUS
    };
    part(2, kind, true, &encode_extents(5, &extents, extended));
    out
}

/// Honest clients in each form, as the server hears them.
pub(crate) fn server_seeds() -> Vec<Vec<u8>> {
    [
        &[][..],
        &[option::STRUCTURED_REPLY],
        &[option::EXTENDED_HEADERS],
    ]
    .into_iter()
    .map(honest_client)
    .collect()
}

fn honest_client(forms: &[u32]) -> Vec<u8> {
    let mut out = 3_u32.to_be_bytes().to_vec();
    for form in forms {
        out.extend(encode_option(*form, &[]));
    }
    let request = MetaRequest {
        export: String::new(),
        queries: vec![BASE_ALLOCATION.to_owned()],
    };
    out.extend(encode_option(option::SET_META_CONTEXT, &request.encode()));
    let request = GoRequest {
        name: String::new(),
        infos: vec![nbd_proto::flags::info::BLOCK_SIZE],
    };
    out.extend(encode_option(option::GO, &request.encode()));
    let extended = forms.contains(&option::EXTENDED_HEADERS);
    for (cookie, command, flags) in [
        (1, Command::Write, command::FUA),
        (2, Command::Read, 0),
        (3, Command::WriteZeroes, command::NO_HOLE),
        (4, Command::Trim, 0),
        (5, Command::BlockStatus, command::REQ_ONE),
        (6, Command::Cache, 0),
        (7, Command::Flush, 0),
        (8, Command::Disconnect, 0),
    ] {
        let write = command == Command::Write;
        let with_payload = extended && write;
        let request = Request {
            command,
            flags: flags
                | if with_payload {
                    command::PAYLOAD_LEN
                } else {
                    0
                },
            cookie,
            offset: 4096,
            len: if command == Command::Flush { 0 } else { 1024 },
        };
        request.encode(extended, &mut out);
        if write {
            out.extend([b'y'; 1024]);
        }
    }
    out
}
