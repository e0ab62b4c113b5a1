//! Generic netlink messages (`linux/netlink.h`, `linux/genetlink.h`), all in host byte order:
//!
//! ```text
//! len u32 | type u16 | flags u16 | sequence u32 | port u32 | command u8 | version u8 | 0 u16 | attribute...
//! attribute = len u16 | type u16 | bytes | padding to 4
//! ```
//! The top two bits of an attribute's type are flags ("nested", "big endian") and no part of it.

/// Bytes before the attributes.
pub(super) const HEADER: usize = 20;
/// Bytes before an attribute's value.
const ATTRIBUTE: usize = 4;
const NESTED: u16 = 0x8000;
const TYPE: u16 = 0x3fff;
const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
/// Type of a message that carries an errno (0: done).
pub(super) const ERROR: u16 = 2;
/// Type of the message after the last of several.
pub(super) const DONE: u16 = 3;

/// A message that grows by attributes, or attributes alone.
#[derive(Debug)]
pub(super) struct Message {
    bytes: Vec<u8>,
    whole: bool,
}

impl Message {
    /// A request to a family.
    pub(super) fn new(family: u16, command: u8) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(family.to_ne_bytes());
        bytes.extend((FLAG_REQUEST | FLAG_ACK).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend([command, 1, 0, 0]);
        Self { bytes, whole: true }
    }

    /// Attributes to be put into others.
    pub(super) fn attributes() -> Self {
        Self {
            bytes: Vec::new(),
            whole: false,
        }
    }

    fn put(mut self, kind: u16, value: &[u8]) -> Self {
        // Values are ours: numbers, and texts that were cut to a page before.
        let len = u16::try_from(value.len() + ATTRIBUTE).unwrap_or(u16::MAX);
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// A text with its final zero; longer ones than a page are cut.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut end = value.len().min(4000);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = value.as_bytes()[..end].to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    pub(super) fn nested(self, kind: u16, inside: Vec<Self>) -> Self {
        let bytes: Vec<u8> = inside.into_iter().flat_map(|m| m.bytes).collect();
        self.put(kind | NESTED, &bytes)
    }

    /// The bytes of attributes.
    #[cfg(test)]
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes to send.
    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        debug_assert!(self.whole);
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// One message out of what was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received<'a> {
    pub(super) kind: u16,
    pub(super) sequence: u32,
    /// What follows the message's own header of 16 bytes.
    pub(super) body: &'a [u8],
}

/// Cuts a datagram into messages; ends at the first that does not fit.
pub(super) fn split(mut bytes: &[u8]) -> Vec<Received<'_>> {
    let mut all = Vec::new();
    while bytes.len() >= 16 {
        let len = word(bytes, 0) as usize;
        if len < 16 || len > bytes.len() {
            break;
        }
        all.push(Received {
            kind: half(bytes, 4),
            sequence: word(bytes, 8),
            body: &bytes[16..len],
        });
        bytes = &bytes[len.next_multiple_of(4).min(bytes.len())..];
    }
    all
}

/// The errno (positive; 0 for none) of a message of type [`ERROR`].
pub(super) fn errno(body: &[u8]) -> i32 {
    match body.first_chunk::<4>() {
        Some(code) => i32::from_ne_bytes(*code).saturating_neg(),
        None => libc::EIO,
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Attributes of a received message.
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Those of a whole message's body (after the command).
    pub(super) fn of(body: &'a [u8]) -> Self {
        Self(body.get(HEADER - 16..).unwrap_or_default())
    }

    /// Those inside an attribute.
    pub(super) fn in_list(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// All types and values inside an attribute.
    pub(super) fn nested(bytes: &'a [u8]) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = bytes;
        std::iter::from_fn(move || {
            if rest.len() < ATTRIBUTE {
                return None;
            }
            let len = usize::from(half(rest, 0));
            let kind = half(rest, 2) & TYPE;
            let value = rest.get(ATTRIBUTE..len)?;
            rest = &rest[len.next_multiple_of(4).min(rest.len())..];
            Some((kind, value))
        })
    }

    pub(super) fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        Self::nested(self.0)
            .find(|(k, _)| *k == kind)
            .map(|(_, v)| v)
    }

    pub(super) fn u8(&self, kind: u16) -> Option<u8> {
        self.bytes(kind)?.first().copied()
    }

    pub(super) fn u16(&self, kind: u16) -> Option<u16> {
        let bytes = self.bytes(kind)?.first_chunk::<2>()?;
        Some(u16::from_ne_bytes(*bytes))
    }

    pub(super) fn u32(&self, kind: u16) -> Option<u32> {
        let bytes = self.bytes(kind)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out() {
        let message = Message::new(30, 5).u32(1, 7).text(10, "abc").u64(2, 9);
        let bytes = message.finish(4);
        assert!(bytes.len().is_multiple_of(4));
        let all = split(&bytes);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].kind, all[0].sequence), (30, 4));
        let attributes = Attributes::of(all[0].body);
        assert_eq!(attributes.u32(1), Some(7));
        assert_eq!(attributes.bytes(10), Some(&b"abc\0"[..]));
        assert_eq!(attributes.u32(3), None);
    }

    #[test]
    fn lying_lengths_end_the_reading() {
        let mut bytes = Message::new(30, 5).u32(1, 7).finish(1);
        bytes[0] = 200;
        assert!(split(&bytes).is_empty());
        bytes[0] = 3;
        assert!(split(&bytes).is_empty());
        for len in [0_u16, 1, 3, 5, 200] {
            let mut attribute = len.to_ne_bytes().to_vec();
            attribute.extend([1, 0]);
            assert_eq!(Attributes::nested(&attribute).count(), 0, "{len}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let bytes = Message::attributes().text(1, &"é".repeat(3000));
        let text = Attributes::in_list(bytes.payload()).bytes(1).unwrap();
        assert!(std::str::from_utf8(text).is_ok() && text.len() < 4002);
    }
}
