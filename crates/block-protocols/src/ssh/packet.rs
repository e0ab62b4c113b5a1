//! Packets of SFTP version 3.
//!
//! ```text
//! packet  = u32 length | u8 type | u32 id (not in INIT, VERSION) | fields       numbers are big-endian
//! string  = u32 length | bytes
//! attrs   = u32 flags | [u64 size] | [u32 uid, u32 gid] | [u32 permissions] | [u32 atime, u32 mtime] | [extensions]
//! ```

/// The version that is spoken.
pub(super) const VERSION: u32 = 3;
/// Longest packet that is taken, without its length. OpenSSH sends no longer ones.
pub(super) const MAX_PACKET: u32 = 256 << 10;
/// Longest handle (section 6.2).
const MAX_HANDLE: usize = 256;
/// Longest message of a server that is shown.
const MAX_MESSAGE: usize = 256;

/// `pflags` of opening.
pub(super) mod open {
    pub(in crate::ssh) const READ: u32 = 1;
    pub(in crate::ssh) const WRITE: u32 = 2;
    pub(in crate::ssh) const CREATE: u32 = 8;
    pub(in crate::ssh) const TRUNCATE: u32 = 16;
}

/// Codes of a status.
pub(super) mod status {
    pub(in crate::ssh) const OK: u32 = 0;
    pub(in crate::ssh) const EOF: u32 = 1;
    pub(in crate::ssh) const NO_SUCH_FILE: u32 = 2;
    pub(in crate::ssh) const PERMISSION_DENIED: u32 = 3;
    pub(in crate::ssh) const OP_UNSUPPORTED: u32 = 8;
}

/// Flags of attributes.
mod attrs {
    pub(super) const SIZE: u32 = 1;
    pub(super) const PERMISSIONS: u32 = 4;
}

mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const READ: u8 = 5;
    pub(super) const WRITE: u8 = 6;
    pub(super) const FSTAT: u8 = 8;
    pub(super) const FSETSTAT: u8 = 10;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
}

/// The extension that flushes.
const FSYNC: &str = "fsync@openssh.com";

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Open {
        path: &'a str,
        flags: u32,
        /// Of a file that is made.
        permissions: u32,
    },
    Read {
        handle: &'a [u8],
        offset: u64,
        len: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        data: &'a [u8],
    },
    Fstat {
        handle: &'a [u8],
    },
    /// Sets the length.
    Fsetstat {
        handle: &'a [u8],
        size: u64,
    },
    Fsync {
        handle: &'a [u8],
    },
}

/// A packet in the making.
struct Packet(Vec<u8>);

impl Packet {
    fn new(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    fn u32(&mut self, number: u32) {
        self.0.extend(number.to_be_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn string(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("requests carry at most a piece or a path");
        self.u32(len);
        self.0.extend(bytes);
    }

    fn done(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len() - 4).expect("as above");
        self.0[..4].copy_from_slice(&len.to_be_bytes());
        self.0
    }
}

/// The client's first packet.
pub(super) fn init() -> Vec<u8> {
    let mut packet = Packet::new(kind::INIT);
    packet.u32(VERSION);
    packet.done()
}

impl Request<'_> {
    /// The packet.
    pub(super) fn encode(&self, id: u32) -> Vec<u8> {
        let head = |kind, handle: &[u8]| {
            let mut packet = Packet::new(kind);
            packet.u32(id);
            packet.string(handle);
            packet
        };
        let packet = match *self {
            Self::Open {
                path,
                flags,
                permissions,
            } => {
                let mut packet = head(kind::OPEN, path.as_bytes());
                packet.u32(flags);
                packet.u32(attrs::PERMISSIONS);
                packet.u32(permissions);
                packet
            }
            Self::Read {
                handle,
                offset,
                len,
            } => {
                let mut packet = head(kind::READ, handle);
                packet.u64(offset);
                packet.u32(len);
                packet
            }
            Self::Write {
                handle,
                offset,
                data,
            } => {
                let mut packet = head(kind::WRITE, handle);
                packet.u64(offset);
                packet.string(data);
                packet
            }
            Self::Fstat { handle } => head(kind::FSTAT, handle),
            Self::Fsetstat { handle, size } => {
                let mut packet = head(kind::FSETSTAT, handle);
                packet.u32(attrs::SIZE);
                packet.u64(size);
                packet
            }
            Self::Fsync { handle } => {
                let mut packet = head(kind::EXTENDED, FSYNC.as_bytes());
                packet.string(handle);
                packet
            }
        };
        packet.done()
    }
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Status {
        code: u32,
        /// In the server's words, fit to be shown.
        message: String,
    },
    Handle(Vec<u8>),
    Data(Vec<u8>),
    /// The length, when it is among what is told.
    Attrs(Option<u64>),
}

/// What a server says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version: u32,
    /// It can flush.
    pub(super) fsync: bool,
}

/// A packet that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

type Parsed<T> = Result<T, Malformed>;

/// What is left of a packet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Parsed<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Parsed<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Parsed<u32> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn u64(&mut self) -> Parsed<u64> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    fn string(&mut self) -> Parsed<&'a [u8]> {
        let len = self.u32()?;
        self.take(usize::try_from(len).map_err(|_| Malformed)?)
    }
}

/// A server's first packet, without its length.
pub(super) fn parse_hello(packet: &[u8]) -> Parsed<Hello> {
    let mut fields = Fields(packet);
    if fields.u8()? != kind::VERSION {
        return Err(Malformed);
    }
    let version = fields.u32()?;
    let mut fsync = false;
    while !fields.0.is_empty() {
        let (name, value) = (fields.string()?, fields.string()?);
        fsync |= name == FSYNC.as_bytes() && value == b"1";
    }
    Ok(Hello { version, fsync })
}

/// A reply with the number of its request, without its length.
pub(super) fn parse_reply(packet: &[u8]) -> Parsed<(u32, Reply)> {
    let mut fields = Fields(packet);
    let (kind, id) = (fields.u8()?, fields.u32()?);
    let reply = match kind {
        kind::STATUS => {
            let code = fields.u32()?;
            // Servers of the drafts before this one leave the words out.
            let message = if fields.0.is_empty() {
                String::new()
            } else {
                shown(fields.string()?)
            };
            return Ok((id, Reply::Status { code, message }));
        }
        kind::HANDLE => {
            let handle = fields.string()?;
            if handle.len() > MAX_HANDLE {
                return Err(Malformed);
            }
            Reply::Handle(handle.to_vec())
        }
        kind::DATA => Reply::Data(fields.string()?.to_vec()),
        kind::ATTRS => {
            let flags = fields.u32()?;
            let size = (flags & attrs::SIZE != 0).then(|| fields.u64());
            // Nothing behind it is of interest.
            return Ok((id, Reply::Attrs(size.transpose()?)));
        }
        _ => return Err(Malformed),
    };
    match fields.0 {
        [] => Ok((id, reply)),
        _ => Err(Malformed),
    }
}

/// A stranger's words without what a terminal would act on.
pub(super) fn shown(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let plain = text.trim().chars().filter(|c| !c.is_control());
    plain.take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests;
