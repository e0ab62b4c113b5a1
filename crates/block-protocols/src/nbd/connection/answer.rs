//! A reply on its way in: each part is checked against what was asked before it is believed.

use nbd_proto::{Chunk, Extent, chunk, errno};

use super::reader::{Kind, Reader};
use super::{Broken, Failure};
use crate::nbd::handshake::Mode;

/// Longest payload of a chunk without data: an error with its text.
const MOST_WORDS: u64 = 8192;
/// Longest payload of a block status.
const MOST_EXTENTS: u64 = 4 << 20;
/// Parts that lie apart in a read, at any time.
const MOST_PARTS: usize = 4096;

/// Where a reply's content goes.
pub(in crate::nbd) enum Sink<'a> {
    /// There is none.
    Nothing,
    /// A read: the offset of its first byte, and where to put them.
    Data(u64, &'a mut [u8]),
    /// A block status.
    Extents(&'a mut Vec<Extent>),
}

impl Sink<'_> {
    /// The same place once more.
    pub(in crate::nbd) fn again(&mut self) -> Sink<'_> {
        match self {
            Self::Nothing => Sink::Nothing,
            Self::Data(start, buf) => Sink::Data(*start, buf),
            Self::Extents(out) => Sink::Extents(out),
        }
    }

    /// Bytes that follow a simple reply.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Data(_, buf) => buf.len() as u64,
            Self::Nothing | Self::Extents(_) => 0,
        }
    }
}

/// A reply as far as it came.
pub(super) struct Answer<'a> {
    sink: Sink<'a>,
    mode: Mode,
    context: Option<u32>,
    parts: Parts,
    /// The first error, as the number came.
    error: Option<u32>,
    /// A block status has been told.
    told: bool,
}

fn outside() -> Broken {
    Broken::lied("Protocol error: server sent chunk exceeding requested region")
}

fn misshapen(kind: &str) -> Broken {
    Broken::lied(format!("Protocol error: invalid payload for {kind}"))
}

impl<'a> Answer<'a> {
    pub(super) fn new(sink: Sink<'a>, mode: Mode, context: Option<u32>) -> Self {
        Self {
            sink,
            mode,
            context,
            parts: Parts::default(),
            error: None,
            told: false,
        }
    }

    /// Takes in the part whose head was read. True: it was the last one.
    ///
    /// # Errors
    /// When it breaks the protocol, or the connection ends.
    pub(super) async fn take(&mut self, reader: &mut Reader) -> Result<bool, Broken> {
        let Some(head) = reader.head else {
            return Ok(false);
        };
        match head.kind {
            Kind::Simple(0) => {
                if let Sink::Data(_, buf) = &mut self.sink {
                    reader.take_into(buf).await?;
                    let whole = self.parts.add(0, buf.len() as u64);
                    whole.ok_or_else(outside)?;
                }
            }
            Kind::Simple(error) => self.error = Some(error),
            Kind::Chunk { kind, last, len } => {
                if kind & chunk::ERROR_BIT != 0 {
                    self.take_error(kind, reader).await?;
                } else {
                    self.take_chunk(kind, len, last, reader).await?;
                }
            }
        }
        reader.head = None;
        if head.last() {
            self.check_whole(matches!(head.kind, Kind::Simple(_)))?;
        }
        Ok(head.last())
    }

    async fn take_error(&mut self, kind: u16, reader: &mut Reader) -> Result<(), Broken> {
        let payload = reader.take_all(MOST_WORDS).await?;
        if let Chunk::Error(error) = Chunk::decode(kind, &payload)? {
            tracing::debug!(number = error.error, words = ?error.message, "server refused a request");
            self.error.get_or_insert(error.error);
        }
        Ok(())
    }

    async fn take_chunk(
        &mut self,
        kind: u16,
        len: u64,
        last: bool,
        reader: &mut Reader,
    ) -> Result<(), Broken> {
        let status = if self.mode == Mode::Extended {
            chunk::BLOCK_STATUS_EXT
        } else {
            chunk::BLOCK_STATUS
        };
        match (kind, &mut self.sink) {
            (chunk::NONE, _) if len != 0 => Err(Broken::lied(
                "Protocol error: NBD_REPLY_TYPE_NONE chunk with nonzero length",
            )),
            (chunk::NONE, _) if !last => Err(Broken::lied(
                "Protocol error: NBD_REPLY_TYPE_NONE chunk without NBD_REPLY_FLAG_DONE flag set",
            )),
            (chunk::NONE, _) => Ok(()),
            (chunk::OFFSET_DATA, Sink::Data(start, buf)) => {
                let size = len.checked_sub(8).filter(|size| *size > 0);
                let size = size.ok_or_else(|| misshapen("NBD_REPLY_TYPE_OFFSET_DATA"))?;
                let mut at = [0; 8];
                reader.take_into(&mut at).await?;
                let place = self
                    .parts
                    .place(*start, buf, u64::from_be_bytes(at), size)?;
                reader.take_into(place).await
            }
            (chunk::OFFSET_HOLE, Sink::Data(start, buf)) => {
                if len != 12 {
                    return Err(misshapen("NBD_REPLY_TYPE_OFFSET_HOLE"));
                }
                let payload = reader.take_all(12).await?;
                let Chunk::Hole(at, size) = Chunk::decode(kind, &payload)? else {
                    return Err(misshapen("NBD_REPLY_TYPE_OFFSET_HOLE"));
                };
                self.parts.place(*start, buf, at, size.into())?.fill(0);
                Ok(())
            }
            (kind, Sink::Extents(_)) if kind == status => self.take_extents(kind, reader).await,
            (kind, _) => Err(Broken::lied(format!("Unexpected reply type: {kind}"))),
        }
    }

    async fn take_extents(&mut self, kind: u16, reader: &mut Reader) -> Result<(), Broken> {
        if std::mem::replace(&mut self.told, true) {
            return Err(Broken::lied("Several BLOCK_STATUS chunks in reply"));
        }
        let payload = reader.take_all(MOST_EXTENTS).await?;
        let Chunk::Status(id, extents) = Chunk::decode(kind, &payload)? else {
            return Err(misshapen("NBD_REPLY_TYPE_BLOCK_STATUS"));
        };
        if Some(id) != self.context {
            return Err(Broken::lied(format!(
                "Protocol error: unexpected context id {id} for NBD_REPLY_TYPE_BLOCK_STATUS, when negotiated context id is {}",
                self.context.unwrap_or_default()
            )));
        }
        if let Sink::Extents(out) = &mut self.sink {
            **out = extents;
        }
        Ok(())
    }

    /// A reply without an error has everything that was asked for.
    fn check_whole(&self, simple: bool) -> Result<(), Broken> {
        if self.error.is_some() {
            return Ok(());
        }
        match &self.sink {
            Sink::Data(_, buf) if !self.parts.is_all(buf.len() as u64) => Err(Broken::lied(
                "Protocol error: server did not send all that was asked for",
            )),
            Sink::Extents(_) if simple || !self.told => {
                Err(Broken::lied("Server did not reply with any status extents"))
            }
            _ => Ok(()),
        }
    }

    /// What the server made of it.
    ///
    /// # Errors
    /// When it refused.
    pub(super) fn result(self) -> Result<(), Failure> {
        match self.error {
            None => Ok(()),
            Some(number) => Err(Failure::Refused(errno::from_wire(number))),
        }
    }
}

/// Which parts of a read have come: ranges (start, end) from its beginning, ascending and apart.
#[derive(Default)]
struct Parts(Vec<(u64, u64)>);

impl Parts {
    /// The place of a part in a read from `start`.
    fn place<'b>(
        &mut self,
        start: u64,
        buf: &'b mut [u8],
        at: u64,
        len: u64,
    ) -> Result<&'b mut [u8], Broken> {
        let from = at.checked_sub(start).ok_or_else(outside)?;
        let end = from.checked_add(len).ok_or_else(outside)?;
        if len == 0 || end > buf.len() as u64 {
            return Err(outside());
        }
        self.add(from, end).ok_or_else(|| {
            Broken::lied("Protocol error: server sent the same part of a read twice")
        })?;
        let range = usize::try_from(from).ok().zip(usize::try_from(end).ok());
        let (from, end) = range.ok_or_else(outside)?;
        buf.get_mut(from..end).ok_or_else(outside)
    }

    /// Notes a part; `None` when some of it was there, or there are too many.
    fn add(&mut self, from: u64, end: u64) -> Option<()> {
        if from == end {
            return Some(());
        }
        let at = self.0.partition_point(|(start, _)| *start < from);
        let before = at.checked_sub(1).and_then(|i| self.0.get(i)).copied();
        let after = self.0.get(at).copied();
        if before.is_some_and(|(_, e)| e > from) || after.is_some_and(|(s, _)| s < end) {
            return None;
        }
        let joins_before = before.is_some_and(|(_, e)| e == from);
        let joins_after = after.is_some_and(|(s, _)| s == end);
        match (joins_before, joins_after) {
            (true, true) => {
                let (_, end) = self.0.remove(at);
                self.0[at - 1].1 = end;
            }
            (true, false) => self.0[at - 1].1 = end,
            (false, true) => self.0[at].0 = from,
            (false, false) if self.0.len() >= MOST_PARTS => return None,
            (false, false) => self.0.insert(at, (from, end)),
        }
        Some(())
    }

    fn is_all(&self, len: u64) -> bool {
        len == 0 || self.0 == [(0, len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_join_in_any_order_and_never_overlap() {
        let mut parts = Parts::default();
        for (from, end) in [(4, 6), (0, 2), (8, 9), (2, 4)] {
            assert_eq!(parts.add(from, end), Some(()));
        }
        assert_eq!(parts.0, [(0, 6), (8, 9)]);
        for (from, end) in [(5, 7), (0, 1), (7, 9), (3, 20)] {
            assert_eq!(parts.add(from, end), None);
        }
        assert_eq!(parts.add(6, 8), Some(()));
        assert!(parts.is_all(9) && !parts.is_all(10));
    }

    #[test]
    fn scattered_parts_are_bounded() {
        let mut parts = Parts::default();
        let most = (0..2 * MOST_PARTS as u64).step_by(2);
        assert!(most.clone().all(|at| parts.add(at, at + 1).is_some()));
        assert_eq!(parts.add(1 << 40, (1 << 40) + 1), None);
    }
}
