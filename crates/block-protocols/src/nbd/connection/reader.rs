//! What comes in: heads by way of a small buffer, long payloads straight to where they go. Every step can be given up
//! and gone on with later.

use std::io;

use nbd_proto::{ChunkHead, SimpleReply};
use tokio::io::AsyncReadExt;

use super::{Broken, Mode};
use crate::nbd::wire::Incoming;

/// Room for heads and short replies that come together.
const BUFFER: usize = 32 << 10;
/// Payloads grow in such steps while they come in.
const STEP: usize = 64 << 10;

/// The head of a reply, or of a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) cookie: u64,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The whole reply, with the number of an error as it came.
    Simple(u32),
    /// A part.
    Chunk { kind: u16, last: bool, len: u64 },
}

impl Head {
    pub(super) fn last(&self) -> bool {
        match self.kind {
            Kind::Simple(_) => true,
            Kind::Chunk { last, .. } => last,
        }
    }
}

/// The reading half of a connection.
pub(super) struct Reader {
    io: Incoming,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The head whose payload has not been read to its end.
    pub(super) head: Option<Head>,
    /// Bytes of that payload that are still to come.
    pub(super) owed: u64,
}

impl Reader {
    pub(super) fn new(io: Incoming) -> Self {
        Self {
            io,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            head: None,
            owed: 0,
        }
    }

    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Waits until there are so many bytes in the buffer; at most its size.
    async fn fill(&mut self, want: usize) -> Result<(), Broken> {
        while self.end - self.start < want {
            if self.start > 0 && self.buffer.len() - self.start < want {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            let read = self.io.read(&mut self.buffer[self.end..]).await;
            match read.map_err(|e| Broken::of(&e))? {
                0 => return Err(Broken::of(&io::ErrorKind::UnexpectedEof.into())),
                read => self.end += read,
            }
        }
        Ok(())
    }

    /// Reads the next head.
    pub(super) async fn read_head(&mut self, mode: Mode) -> Result<(), Broken> {
        self.fill(4).await?;
        let mut magic = [0; 4];
        magic.copy_from_slice(&self.buffered()[..4]);
        let magic = u32::from_be_bytes(magic);
        let extended = mode == Mode::Extended;
        let len = match magic {
            SimpleReply::MAGIC if extended => {
                return Err(Broken::lied(
                    "Protocol error: simple reply after extended headers were agreed on",
                ));
            }
            SimpleReply::MAGIC => SimpleReply::LEN,
            ChunkHead::MAGIC if mode == Mode::Structured => ChunkHead::LEN,
            ChunkHead::EXTENDED_MAGIC if extended => ChunkHead::EXTENDED_LEN,
            ChunkHead::MAGIC | ChunkHead::EXTENDED_MAGIC => {
                return Err(Broken::lied("unexpected structured reply"));
            }
            other => {
                let words = format!("invalid magic (got {other:#x})");
                return Err(Broken::lied(words));
            }
        };
        self.fill(len).await?;
        let rest = &self.buffered()[4..len];
        let (head, owed) = if magic == SimpleReply::MAGIC {
            let reply = SimpleReply::decode(rest)?;
            let kind = Kind::Simple(reply.error);
            (
                Head {
                    cookie: reply.cookie,
                    kind,
                },
                0,
            )
        } else {
            let chunk = ChunkHead::decode(rest, extended)?;
            let kind = Kind::Chunk {
                kind: chunk.kind,
                last: chunk.done,
                len: chunk.len,
            };
            (
                Head {
                    cookie: chunk.cookie,
                    kind,
                },
                chunk.len,
            )
        };
        self.consume(len);
        (self.head, self.owed) = (Some(head), owed);
        Ok(())
    }

    /// Fills `out` with bytes of the payload, which has as many.
    pub(super) async fn take_into(&mut self, out: &mut [u8]) -> Result<(), Broken> {
        let here = out.len().min(self.end - self.start);
        out[..here].copy_from_slice(&self.buffered()[..here]);
        self.consume(here);
        self.owed -= here as u64;
        let mut done = here;
        while done < out.len() {
            let read = self.io.read(&mut out[done..]).await;
            match read.map_err(|e| Broken::of(&e))? {
                0 => return Err(Broken::of(&io::ErrorKind::UnexpectedEof.into())),
                read => {
                    done += read;
                    self.owed -= read as u64;
                }
            }
        }
        Ok(())
    }

    /// All that is left of the payload, if that is no more than `most` bytes.
    pub(super) async fn take_all(&mut self, most: u64) -> Result<Vec<u8>, Broken> {
        if self.owed > most {
            return Err(Broken::lied("Payload too large"));
        }
        let mut out = Vec::new();
        while self.owed > 0 {
            let step = usize::try_from(self.owed).unwrap_or(STEP).min(STEP);
            let start = out.len();
            out.resize(start + step, 0);
            self.take_into(&mut out[start..]).await?;
        }
        Ok(out)
    }

    /// Drops what is left of the payload.
    pub(super) async fn skip(&mut self) -> Result<(), Broken> {
        while self.owed > 0 {
            self.fill(1).await?;
            let here = self.end - self.start;
            let now = usize::try_from(self.owed).unwrap_or(here).min(here);
            self.consume(now);
            self.owed -= now as u64;
        }
        Ok(())
    }
}
