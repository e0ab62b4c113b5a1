//! Replies of the transmission phase.

use crate::bytes::{Reader, cut, len32};
use crate::{ProtoError, Result};

/// A reply without chunks; the data of a read follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimpleReply {
    /// [`crate::errno`], 0 when it went well.
    pub error: u32,
    /// Of the request.
    pub cookie: u64,
}

impl SimpleReply {
    /// Its bytes.
    pub const LEN: usize = 16;
    /// Its first bytes.
    pub const MAGIC: u32 = 0x6744_6698;

    /// Reads what follows the magic number.
    ///
    /// # Errors
    /// When there are too few bytes.
    pub fn decode(rest: &[u8]) -> Result<Self> {
        let mut reader = Reader(rest);
        Ok(Self {
            error: reader.u32()?,
            cookie: reader.u64()?,
        })
    }

    /// Its bytes.
    pub fn encode(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..4].copy_from_slice(&Self::MAGIC.to_be_bytes());
        out[4..8].copy_from_slice(&self.error.to_be_bytes());
        out[8..].copy_from_slice(&self.cookie.to_be_bytes());
        out
    }
}

/// Kinds of chunk.
pub mod chunk {
    /// Nothing: the reply is done.
    pub const NONE: u16 = 0;
    /// Bytes behind their offset.
    pub const OFFSET_DATA: u16 = 1;
    /// Zeroes: offset and length.
    pub const OFFSET_HOLE: u16 = 2;
    /// Extents of a context.
    pub const BLOCK_STATUS: u16 = 5;
    /// The same with 64 bits.
    pub const BLOCK_STATUS_EXT: u16 = 6;
    /// All errors have this bit.
    pub const ERROR_BIT: u16 = 1 << 15;
    /// Failed.
    pub const ERROR: u16 = ERROR_BIT + 1;
    /// Failed at an offset.
    pub const ERROR_OFFSET: u16 = ERROR_BIT + 2;
}

/// Head of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHead {
    /// The last one of its reply.
    pub done: bool,
    /// [`chunk`]
    pub kind: u16,
    /// Of the request.
    pub cookie: u64,
    /// Bytes that follow; not checked against a limit.
    pub len: u64,
}

impl ChunkHead {
    /// Bytes of a head.
    pub const LEN: usize = 20;
    /// Bytes of a head after `EXTENDED_HEADERS`.
    pub const EXTENDED_LEN: usize = 32;
    /// First bytes of a head.
    pub const MAGIC: u32 = 0x668e_33ef;
    /// First bytes of a head after `EXTENDED_HEADERS`.
    pub const EXTENDED_MAGIC: u32 = 0x6e8a_278c;

    const DONE: u16 = 1;

    /// Reads what follows the magic number.
    ///
    /// # Errors
    /// When there are too few bytes.
    pub fn decode(rest: &[u8], extended: bool) -> Result<Self> {
        let mut reader = Reader(rest);
        let flags = reader.u16()?;
        let kind = reader.u16()?;
        let cookie = reader.u64()?;
        let len = if extended {
            reader.u64()?;
            reader.u64()?
        } else {
            reader.u32()?.into()
        };
        Ok(Self {
            done: flags & Self::DONE != 0,
            kind,
            cookie,
            len,
        })
    }
}

/// Puts a chunk's head behind what `out` holds; `offset` is the request's.
pub fn encode_chunk_head(head: &ChunkHead, extended: bool, offset: u64, out: &mut Vec<u8>) {
    let magic = if extended {
        ChunkHead::EXTENDED_MAGIC
    } else {
        ChunkHead::MAGIC
    };
    let flags = if head.done { ChunkHead::DONE } else { 0 };
    out.extend_from_slice(&magic.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&head.kind.to_be_bytes());
    out.extend_from_slice(&head.cookie.to_be_bytes());
    if extended {
        out.extend_from_slice(&offset.to_be_bytes());
        out.extend_from_slice(&head.len.to_be_bytes());
    } else {
        let len = u32::try_from(head.len).unwrap_or(u32::MAX);
        out.extend_from_slice(&len.to_be_bytes());
    }
}

/// A run of bytes of one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// In bytes.
    pub len: u64,
    /// What the context says of it.
    pub flags: u64,
}

/// Payload of a block status: the context's number and its extents.
pub fn encode_extents(context: u32, extents: &[Extent], extended: bool) -> Vec<u8> {
    let mut out = context.to_be_bytes().to_vec();
    if extended {
        out.extend_from_slice(&len32(extents.len()).to_be_bytes());
    }
    for extent in extents {
        if extended {
            out.extend_from_slice(&extent.len.to_be_bytes());
            out.extend_from_slice(&extent.flags.to_be_bytes());
        } else {
            let len = u32::try_from(extent.len).unwrap_or(u32::MAX);
            let flags = u32::try_from(extent.flags).unwrap_or(u32::MAX);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&flags.to_be_bytes());
        }
    }
    out
}

/// Reads the payload of a block status: the context's number and its extents, none of which is empty.
///
/// # Errors
/// When its length does not fit, or an extent is empty.
pub fn decode_extents(payload: &[u8], extended: bool) -> Result<(u32, Vec<Extent>)> {
    let mut reader = Reader(payload);
    let context = reader.u32()?;
    let each = if extended { 16 } else { 8 };
    if extended {
        let count = reader.u32()? as usize;
        if reader.0.len() != count.saturating_mul(each) {
            return Err(ProtoError::new("wrong number of extents"));
        }
    }
    if reader.0.is_empty() || !reader.0.len().is_multiple_of(each) {
        return Err(ProtoError::new("invalid length of block status"));
    }
    let mut extents = Vec::with_capacity(reader.0.len() / each);
    while !reader.0.is_empty() {
        let (len, flags) = if extended {
            (reader.u64()?, reader.u64()?)
        } else {
            (reader.u32()?.into(), reader.u32()?.into())
        };
        if len == 0 {
            return Err(ProtoError::new("extent of no length"));
        }
        extents.push(Extent { len, flags });
    }
    Ok((context, extents))
}

/// A chunk that tells of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorChunk {
    /// [`crate::errno`], never 0.
    pub error: u32,
    /// For people.
    pub message: String,
    /// Where, if that is known.
    pub offset: Option<u64>,
}

impl ErrorChunk {
    /// Reads the payload of a chunk of this kind.
    ///
    /// # Errors
    /// When its lengths do not fit or it is no error.
    pub fn decode(kind: u16, payload: &[u8]) -> Result<Self> {
        let mut reader = Reader(payload);
        let error = reader.u32()?;
        let len = reader.u16()?;
        let message = String::from_utf8_lossy(reader.take(len.into())?).into_owned();
        let offset = match kind {
            chunk::ERROR_OFFSET => Some(reader.u64()?),
            _ => None,
        };
        if error == 0 {
            return Err(ProtoError::new("an error that is none"));
        }
        Ok(Self {
            error,
            message,
            offset,
        })
    }

    /// The chunk's payload.
    pub fn encode(&self) -> Vec<u8> {
        let message = cut(&self.message);
        let mut out = self.error.to_be_bytes().to_vec();
        let len = u16::try_from(message.len()).unwrap_or(0);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(message.as_bytes());
        if let Some(offset) = self.offset {
            out.extend_from_slice(&offset.to_be_bytes());
        }
        out
    }
}

/// A decoded chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Nothing.
    None,
    /// Bytes follow for this offset.
    Data(u64),
    /// Zeroes: offset and length.
    Hole(u64, u32),
    /// Extents of a context.
    Status(u32, Vec<Extent>),
    /// A failure.
    Error(ErrorChunk),
}

impl Chunk {
    /// Reads a payload; of data only the offset is expected here.
    ///
    /// # Errors
    /// When it does not fit its kind, or the kind is not known.
    pub fn decode(kind: u16, payload: &[u8]) -> Result<Self> {
        let mut reader = Reader(payload);
        Ok(match kind {
            chunk::NONE => Self::None,
            chunk::OFFSET_DATA => Self::Data(reader.u64()?),
            chunk::OFFSET_HOLE => Self::Hole(reader.u64()?, reader.u32()?),
            chunk::BLOCK_STATUS | chunk::BLOCK_STATUS_EXT => {
                let (context, extents) = decode_extents(payload, kind == chunk::BLOCK_STATUS_EXT)?;
                Self::Status(context, extents)
            }
            kind if kind & chunk::ERROR_BIT != 0 => Self::Error(ErrorChunk::decode(kind, payload)?),
            other => return Err(ProtoError::new(format!("unknown chunk type {other}"))),
        })
    }
}
