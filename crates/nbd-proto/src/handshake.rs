//! Greeting and options.

use crate::bytes::{Reader, cut, len32, put_string, text};
use crate::flags::{NBD_MAGIC, OLD_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, info};
use crate::{MAX_OPTION, MAX_STRING, ProtoError, Result};

/// Bytes of an option's head.
pub const OPTION_HEAD: usize = 16;
/// Bytes of the head of an option's reply.
pub const OPTION_REPLY_HEAD: usize = 20;

/// What a server says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// Options follow; the flags are [`crate::flags::handshake`]'s.
    New(u16),
    /// One export, told at once: an [`OldExport`] follows.
    Old,
}

impl Greeting {
    /// Bytes of the two magic numbers.
    pub const HEAD: usize = 16;

    /// The style, from the two magic numbers; the flags of newstyle follow in two bytes of their own.
    ///
    /// # Errors
    /// When it is no NBD server.
    pub fn style(bytes: &[u8; Self::HEAD]) -> Result<Self> {
        let mut reader = Reader(bytes);
        let magic = reader.u64()?;
        if magic != NBD_MAGIC {
            let words = format!("Bad initial magic received: {magic:#x}");
            return Err(ProtoError(words));
        }
        match reader.u64()? {
            OPTION_MAGIC => Ok(Self::New(0)),
            OLD_MAGIC => Ok(Self::Old),
            magic => Err(ProtoError(format!("Bad server magic received: {magic:#x}"))),
        }
    }

    /// What a newstyle server sends.
    pub fn encode(flags: u16) -> [u8; 18] {
        let mut out = [0; 18];
        out[..8].copy_from_slice(&NBD_MAGIC.to_be_bytes());
        out[8..16].copy_from_slice(&OPTION_MAGIC.to_be_bytes());
        out[16..].copy_from_slice(&flags.to_be_bytes());
        out
    }
}

/// What an oldstyle server tells of its export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldExport {
    /// Length in bytes.
    pub size: u64,
    /// [`crate::flags::export`]
    pub flags: u16,
}

impl OldExport {
    /// Bytes of it, with 124 reserved ones.
    pub const LEN: usize = 136;

    /// Reads it.
    ///
    /// # Errors
    /// When flags are set that no server has.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Result<Self> {
        let mut reader = Reader(bytes);
        let size = reader.u64()?;
        let flags = reader.u32()?;
        let flags = u16::try_from(flags)
            .map_err(|_| ProtoError::new(format!("Unexpected export flags {flags:#x}")))?;
        Ok(Self { size, flags })
    }
}

/// Head of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionHead {
    /// [`crate::flags::option`]
    pub option: u32,
    /// Bytes that follow; not checked against a limit.
    pub len: u32,
}

impl OptionHead {
    /// Reads it.
    ///
    /// # Errors
    /// When the magic number is wrong.
    pub fn decode(bytes: &[u8; OPTION_HEAD]) -> Result<Self> {
        let mut reader = Reader(bytes);
        if reader.u64()? != OPTION_MAGIC {
            return Err(ProtoError::new("Bad magic received"));
        }
        Ok(Self {
            option: reader.u32()?,
            len: reader.u32()?,
        })
    }
}

/// An option with its payload.
pub fn encode_option(option: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(OPTION_HEAD + payload.len());
    out.extend_from_slice(&OPTION_MAGIC.to_be_bytes());
    out.extend_from_slice(&option.to_be_bytes());
    out.extend_from_slice(&len32(payload.len()).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Head of a reply to an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionReplyHead {
    /// The option it answers.
    pub option: u32,
    /// [`crate::flags::option_reply`]
    pub kind: u32,
    /// Bytes that follow, at most [`MAX_OPTION`].
    pub len: u32,
}

impl OptionReplyHead {
    /// Reads it.
    ///
    /// # Errors
    /// When the magic number is wrong or the payload too long.
    pub fn decode(bytes: &[u8; OPTION_REPLY_HEAD]) -> Result<Self> {
        let mut reader = Reader(bytes);
        if reader.u64()? != OPTION_REPLY_MAGIC {
            return Err(ProtoError::new("Unexpected option reply magic"));
        }
        let head = Self {
            option: reader.u32()?,
            kind: reader.u32()?,
            len: reader.u32()?,
        };
        if head.len > MAX_OPTION {
            return Err(ProtoError::new(format!(
                "option reply of {} bytes is too long",
                head.len
            )));
        }
        Ok(head)
    }
}

/// A reply to an option with its payload.
pub fn encode_option_reply(option: u32, kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(OPTION_REPLY_HEAD + payload.len());
    out.extend_from_slice(&OPTION_REPLY_MAGIC.to_be_bytes());
    out.extend_from_slice(&option.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&len32(payload.len()).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// What `INFO` and `GO` ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoRequest {
    /// Name of the export.
    pub name: String,
    /// Kinds of information that are wanted.
    pub infos: Vec<u16>,
}

impl GoRequest {
    /// Reads an option's payload.
    ///
    /// # Errors
    /// When its lengths do not fit.
    pub fn decode(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader(payload);
        let name = reader.string()?;
        let count = reader.u16()?;
        let infos = (0..count).map(|_| reader.u16()).collect::<Result<_>>()?;
        reader.end()?;
        Ok(Self { name, infos })
    }

    /// The option's payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(&mut out, &self.name);
        let count = u16::try_from(self.infos.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for info in self.infos.iter().take(count.into()) {
            out.extend_from_slice(&info.to_be_bytes());
        }
        out
    }
}

/// Something about an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Info {
    /// Size in bytes and [`crate::flags::export`].
    Export {
        /// In bytes.
        size: u64,
        /// What it can do.
        flags: u16,
    },
    /// Its name.
    Name(String),
    /// A text about it.
    Description(String),
    /// Sizes of requests in bytes.
    BlockSize {
        /// Smallest.
        min: u32,
        /// Best.
        preferred: u32,
        /// Largest.
        max: u32,
    },
    /// Something else.
    Other(u16),
}

impl Info {
    /// Reads a reply's payload.
    ///
    /// # Errors
    /// When its length does not fit its kind.
    pub fn decode(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader(payload);
        let info = match reader.u16()? {
            info::EXPORT => Self::Export {
                size: reader.u64()?,
                flags: reader.u16()?,
            },
            info::NAME => return Ok(Self::Name(text(reader.0)?)),
            info::DESCRIPTION => return Ok(Self::Description(text(reader.0)?)),
            info::BLOCK_SIZE => Self::BlockSize {
                min: reader.u32()?,
                preferred: reader.u32()?,
                max: reader.u32()?,
            },
            other => return Ok(Self::Other(other)),
        };
        reader.end()?;
        Ok(info)
    }

    /// The reply's payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Export { size, flags } => {
                out.extend_from_slice(&info::EXPORT.to_be_bytes());
                out.extend_from_slice(&size.to_be_bytes());
                out.extend_from_slice(&flags.to_be_bytes());
            }
            Self::Name(name) => {
                out.extend_from_slice(&info::NAME.to_be_bytes());
                out.extend_from_slice(cut(name).as_bytes());
            }
            Self::Description(text) => {
                out.extend_from_slice(&info::DESCRIPTION.to_be_bytes());
                out.extend_from_slice(cut(text).as_bytes());
            }
            Self::BlockSize {
                min,
                preferred,
                max,
            } => {
                out.extend_from_slice(&info::BLOCK_SIZE.to_be_bytes());
                for size in [min, preferred, max] {
                    out.extend_from_slice(&size.to_be_bytes());
                }
            }
            Self::Other(kind) => out.extend_from_slice(&kind.to_be_bytes()),
        }
        out
    }
}

/// What a client knows of an export once it has chosen or asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportInfo {
    /// Its name.
    pub name: String,
    /// A text about it, if there is one.
    pub description: Option<String>,
    /// In bytes.
    pub size: u64,
    /// [`crate::flags::export`]
    pub flags: u16,
    /// Smallest, best and largest request in bytes, if the server tells.
    pub block_sizes: Option<(u32, u32, u32)>,
    /// Names of its metadata contexts.
    pub contexts: Vec<String>,
}

impl ExportInfo {
    /// Takes in what a server tells.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn take(&mut self, info: Info) -> Result<()> {
        match info {
            Info::Export { size, flags } => (self.size, self.flags) = (size, flags),
            Info::Name(name) => self.name = name,
            Info::Description(text) => self.description = Some(text),
            Info::BlockSize {
                min,
                preferred,
                max,
            } => {
                if !min.is_power_of_two() {
                    let words = format!("server minimum block size {min} is not a power of two");
                    return Err(ProtoError::new(words));
                }
                if !preferred.is_power_of_two() || preferred < min {
                    return Err(ProtoError::new(format!(
                        "server preferred block size {preferred} is not valid"
                    )));
                }
                if max < min {
                    return Err(ProtoError::new(format!(
                        "server maximum block size {max} is not valid"
                    )));
                }
                self.block_sizes = Some((min, preferred, max));
            }
            Info::Other(_) => {}
        }
        Ok(())
    }
}

/// Payload of an entry of a list: name and description.
pub fn encode_list_entry(name: &str, description: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, name);
    out.extend_from_slice(cut(description).as_bytes());
    out
}

/// Reads an entry of a list.
///
/// # Errors
/// When its lengths do not fit.
pub fn parse_list_entry(payload: &[u8]) -> Result<(String, String)> {
    let mut reader = Reader(payload);
    let name = reader.string()?;
    if reader.0.len() > MAX_STRING {
        return Err(ProtoError::new("description is too long"));
    }
    Ok((name, text(reader.0)?))
}
