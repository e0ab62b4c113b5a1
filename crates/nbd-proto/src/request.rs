//! Requests of the transmission phase.

use crate::bytes::Reader;
use crate::flags::command;
use crate::{ProtoError, Result};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Bytes.
    Read,
    /// Takes bytes.
    Write,
    /// The end; no reply.
    Disconnect,
    /// What was written is stable.
    Flush,
    /// Not needed any more.
    Trim,
    /// Read ahead.
    Cache,
    /// Zeroes.
    WriteZeroes,
    /// What is there.
    BlockStatus,
    /// Something else.
    Other(u16),
}

impl Command {
    fn number(self) -> u16 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Disconnect => 2,
            Self::Flush => 3,
            Self::Trim => 4,
            Self::Cache => 5,
            Self::WriteZeroes => 6,
            Self::BlockStatus => 7,
            Self::Other(number) => number,
        }
    }

    fn of(number: u16) -> Self {
        match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Disconnect,
            3 => Self::Flush,
            4 => Self::Trim,
            5 => Self::Cache,
            6 => Self::WriteZeroes,
            7 => Self::BlockStatus,
            other => Self::Other(other),
        }
    }
}

/// Head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What it asks.
    pub command: Command,
    /// [`crate::flags::command`]
    pub flags: u16,
    /// What the reply carries to be known by.
    pub cookie: u64,
    /// In bytes.
    pub offset: u64,
    /// In bytes: of the range, or of the payload with `PAYLOAD_LEN`.
    pub len: u64,
}

impl Request {
    /// Bytes of a head.
    pub const HEAD: usize = 28;
    /// Bytes of a head after `EXTENDED_HEADERS`.
    pub const EXTENDED_HEAD: usize = 32;

    const MAGIC: u32 = 0x2560_9513;
    const EXTENDED_MAGIC: u32 = 0x21e4_1c71;

    /// Reads a head of either length.
    ///
    /// # Errors
    /// When the magic number is wrong.
    pub fn decode(bytes: &[u8], extended: bool) -> Result<Self> {
        let mut reader = Reader(bytes);
        let magic = reader.u32()?;
        let wanted = if extended {
            Self::EXTENDED_MAGIC
        } else {
            Self::MAGIC
        };
        if magic != wanted {
            return Err(ProtoError::new(format!("invalid magic (got {magic:#x})")));
        }
        Ok(Self {
            flags: reader.u16()?,
            command: Command::of(reader.u16()?),
            cookie: reader.u64()?,
            offset: reader.u64()?,
            len: if extended {
                reader.u64()?
            } else {
                reader.u32()?.into()
            },
        })
    }

    /// The head's bytes, put behind what `out` holds.
    pub fn encode(&self, extended: bool, out: &mut Vec<u8>) {
        let magic = if extended {
            Self::EXTENDED_MAGIC
        } else {
            Self::MAGIC
        };
        out.extend_from_slice(&magic.to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.command.number().to_be_bytes());
        out.extend_from_slice(&self.cookie.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        if extended {
            out.extend_from_slice(&self.len.to_be_bytes());
        } else {
            let len = u32::try_from(self.len).unwrap_or(u32::MAX);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }

    /// Bytes that follow the head.
    pub fn payload_len(&self, extended: bool) -> u64 {
        let told = extended && self.flags & command::PAYLOAD_LEN != 0;
        if told || (!extended && self.command == Command::Write) {
            self.len
        } else {
            0
        }
    }
}
