//! Big-endian numbers out of slices, in order, never past their end.

use crate::{MAX_STRING, ProtoError, Result};

/// What is left of a message.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| ProtoError::new("message is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        let mut out = [0; N];
        out.copy_from_slice(bytes);
        Ok(out)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A text behind its length of 32 bits.
    pub(crate) fn string(&mut self) -> Result<String> {
        let len = self.u32()? as usize;
        if len > MAX_STRING {
            return Err(ProtoError::new("name is too long"));
        }
        text(self.take(len)?)
    }

    pub(crate) fn end(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(ProtoError::new("message is too long"))
    }
}

/// A text of the protocol: UTF-8 without NUL.
pub(crate) fn text(bytes: &[u8]) -> Result<String> {
    if bytes.len() > MAX_STRING {
        return Err(ProtoError::new("name is too long"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(ProtoError::new("text is not UTF-8")),
    }
}

/// At most [`MAX_STRING`] bytes of a text, cut between characters.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_STRING);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Length of something that was checked to be short.
pub(crate) fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    let text = cut(text);
    out.extend_from_slice(&len32(text.len()).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
