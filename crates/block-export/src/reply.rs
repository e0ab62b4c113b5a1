//! Replies to requests, put together in one buffer each so that they go out in one write.

use std::io;

use nbd_proto::{
    ChunkHead, ErrorChunk, Extent, SimpleReply, chunk, encode_chunk_head, encode_extents, errno,
};

use crate::handshake::Mode;
use crate::outbox::Buffer;

/// A failed request: what goes over the wire, and words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) errno: u32,
    pub(crate) words: String,
}

impl Failure {
    pub(crate) fn new(errno: u32, words: impl Into<String>) -> Self {
        Self {
            errno,
            words: words.into(),
        }
    }

    /// An error of the disk.
    pub(crate) fn of(error: &io::Error, doing: &str) -> Self {
        let number = match error.raw_os_error() {
            Some(number) => errno::to_wire(number),
            None if error.kind() == io::ErrorKind::Unsupported => errno::ENOTSUP,
            None => errno::EIO,
        };
        Self::new(number, doing)
    }
}

/// A reply that grows.
pub(crate) struct Reply {
    pub(crate) mode: Mode,
    pub(crate) cookie: u64,
    /// Offset of the request.
    pub(crate) offset: u64,
    pub(crate) bytes: Buffer,
}

impl Reply {
    pub(crate) fn new(mode: Mode, cookie: u64, offset: u64, bytes: Buffer) -> Self {
        Self {
            mode,
            cookie,
            offset,
            bytes,
        }
    }

    fn head(&mut self, kind: u16, len: u64, done: bool) {
        let head = ChunkHead {
            done,
            kind,
            cookie: self.cookie,
            len,
        };
        let extended = self.mode == Mode::Extended;
        let mut bytes = Vec::with_capacity(32);
        encode_chunk_head(&head, extended, self.offset, &mut bytes);
        self.bytes.put(&bytes);
    }

    fn simple(&mut self, error: u32) {
        let reply = SimpleReply {
            error,
            cookie: self.cookie,
        };
        self.bytes.put(&reply.encode());
    }

    /// It went well, and there is nothing to tell.
    pub(crate) fn done(&mut self) {
        if self.mode == Mode::Extended {
            self.head(chunk::NONE, 0, true);
        } else {
            self.simple(0);
        }
    }

    /// The end of a reply in chunks whose parts were told.
    pub(crate) fn end(&mut self) {
        self.head(chunk::NONE, 0, true);
    }

    /// It failed. Chunks that were put in before stay.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        if self.mode == Mode::Simple {
            self.bytes.truncate(0);
            self.simple(failure.errno);
            return;
        }
        let payload = ErrorChunk {
            error: failure.errno,
            message: failure.words.clone(),
            offset: None,
        }
        .encode();
        self.head(chunk::ERROR, payload.len() as u64, true);
        self.bytes.put(&payload);
    }

    /// Room for bytes of a read that begin at `offset`: where to put them.
    pub(crate) fn data(&mut self, offset: u64, len: usize, done: bool) -> &mut [u8] {
        if self.mode == Mode::Simple {
            self.simple(0);
        } else {
            self.head(chunk::OFFSET_DATA, len as u64 + 8, done);
            self.bytes.put(&offset.to_be_bytes());
        }
        self.bytes.room(len)
    }

    /// Bytes of a read that are zeroes.
    pub(crate) fn hole(&mut self, offset: u64, len: u32, done: bool) {
        self.head(chunk::OFFSET_HOLE, 12, done);
        self.bytes.put(&offset.to_be_bytes());
        self.bytes.put(&len.to_be_bytes());
    }

    /// What a context says.
    pub(crate) fn extents(&mut self, context: u32, extents: &[Extent], done: bool) {
        let extended = self.mode == Mode::Extended;
        let kind = if extended {
            chunk::BLOCK_STATUS_EXT
        } else {
            chunk::BLOCK_STATUS
        };
        let payload = encode_extents(context, extents, extended);
        self.head(kind, payload.len() as u64, done);
        self.bytes.put(&payload);
    }
}
