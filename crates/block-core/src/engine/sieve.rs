//! Requests on a filter that asks for alignment or short requests: widened with a read-modify-write, and cut.

use std::io;
use std::sync::Arc;

use super::{is_unsupported, unsupported};
use crate::{Event, Filter, FilterLimits, Node, RangeLock, Status, WriteFlags, ZeroFlags};

/// Zeroes that a filter cannot make by itself are written in pieces of this size.
const ZERO_BUFFER: u64 = 1 << 20;

/// A filter with its limits.
pub(crate) struct Sieve<'a> {
    filter: &'a dyn Filter,
    align: u64,
    max_transfer: u64,
    limits: FilterLimits,
    ranges: &'a RangeLock,
}

fn or_huge(n: u32) -> u64 {
    if n == 0 { u64::MAX } else { u64::from(n) }
}

fn align_down(n: u64, unit: u64) -> u64 {
    n - n % unit
}

impl<'a> Sieve<'a> {
    /// For a filter that has limits or hears of events.
    pub(crate) fn of(filter: &'a dyn Filter, ranges: &'a RangeLock) -> Option<Self> {
        let limits = filter.limits()?;
        let align = u64::from(limits.request_alignment.max(1));
        Some(Self {
            filter,
            align,
            max_transfer: align_down(or_huge(limits.max_transfer), align).max(align),
            limits,
            ranges,
        })
    }

    async fn event(&self, event: Event) {
        if let Some(sink) = self.filter.events() {
            sink.raise(event).await;
        }
    }

    fn widen(&self, offset: u64, len: u64) -> io::Result<(u64, u64)> {
        let end = offset
            .checked_add(len)
            .and_then(|end| end.checked_next_multiple_of(self.align));
        Ok((align_down(offset, self.align), end.ok_or_else(invalid)?))
    }

    fn fits(&self, offset: u64, len: u64) -> bool {
        offset.is_multiple_of(self.align) && len.is_multiple_of(self.align)
    }

    pub(crate) async fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.fits(offset, buf.len() as u64) {
            return self.read_pieces(offset, buf).await;
        }
        let (start, end) = self.widen(offset, buf.len() as u64)?;
        let mut whole = vec![0; to_usize(end - start)?];
        self.read_pieces(start, &mut whole).await?;
        let from = to_usize(offset - start)?;
        buf.copy_from_slice(&whole[from..from + buf.len()]);
        Ok(())
    }

    async fn read_pieces(&self, mut offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let most = usize::try_from(self.max_transfer).unwrap_or(usize::MAX);
        for piece in buf.chunks_mut(most) {
            let len = piece.len() as u64;
            self.filter.read(offset, piece).await?;
            offset += len;
        }
        Ok(())
    }

    pub(crate) async fn write(&self, offset: u64, buf: &[u8], flags: WriteFlags) -> io::Result<()> {
        let (start, end) = self.widen(offset, buf.len() as u64)?;
        if self.fits(offset, buf.len() as u64) {
            let _range = self.ranges.shared(start, end).await;
            return self.write_pieces(offset, buf, flags).await;
        }
        let _range = self.ranges.exclusive(start, end).await;
        let whole = self.around(offset, buf, (start, end)).await?;
        self.write_pieces(start, &whole, flags).await
    }

    /// The bytes with what is around them up to the next unit.
    async fn around(
        &self,
        offset: u64,
        buf: &[u8],
        (start, end): (u64, u64),
    ) -> io::Result<Vec<u8>> {
        let mut whole = vec![0; to_usize(end - start)?];
        let unit = to_usize(self.align)?;
        let from = to_usize(offset - start)?;
        let head = from > 0;
        let tail = from + buf.len() < whole.len();
        let last = whole.len() - unit;
        if last == 0 || (head && tail && last == unit) {
            self.told(head, Event::PwritevRmwHead).await;
            self.told(tail, Event::PwritevRmwTail).await;
            self.read_pieces(start, &mut whole).await?;
            self.told(head, Event::PwritevRmwAfterHead).await;
            self.told(tail, Event::PwritevRmwAfterTail).await;
        } else {
            if head {
                self.event(Event::PwritevRmwHead).await;
                self.read_pieces(start, &mut whole[..unit]).await?;
                self.event(Event::PwritevRmwAfterHead).await;
            }
            if tail {
                self.event(Event::PwritevRmwTail).await;
                let at = start + last as u64;
                self.read_pieces(at, &mut whole[last..]).await?;
                self.event(Event::PwritevRmwAfterTail).await;
            }
        }
        whole[from..from + buf.len()].copy_from_slice(buf);
        Ok(whole)
    }

    async fn told(&self, happens: bool, event: Event) {
        if happens {
            self.event(event).await;
        }
    }

    async fn write_pieces(&self, mut offset: u64, buf: &[u8], flags: WriteFlags) -> io::Result<()> {
        self.event(Event::Pwritev).await;
        let most = usize::try_from(self.max_transfer).unwrap_or(usize::MAX);
        let mut result = Ok(());
        for piece in buf.chunks(most) {
            result = self.filter.write(offset, piece, flags).await;
            if result.is_err() {
                break;
            }
            offset += piece.len() as u64;
        }
        self.event(Event::PwritevDone).await;
        result
    }

    pub(crate) async fn zero(&self, offset: u64, len: u64, flags: ZeroFlags) -> io::Result<()> {
        let (start, end) = self.widen(offset, len)?;
        if self.fits(offset, len) {
            let _range = self.ranges.shared(start, end).await;
            return self.zero_aligned(offset, len, flags).await;
        }
        let _range = self.ranges.exclusive(start, end).await;
        let as_data = WriteFlags {
            fua: flags.fua,
            unchanged: false,
        };
        let to = offset + len;
        let mut at = offset;
        let head = (start + self.align).min(to);
        if at != start || end - start == self.align {
            self.zero_part(at, head, as_data).await?;
            at = head;
        }
        let middle = align_down(to, self.align);
        if at < middle {
            self.zero_aligned(at, middle - at, flags).await?;
            at = middle;
        }
        if at < to {
            self.zero_part(at, to, as_data).await?;
        }
        Ok(())
    }

    /// Zeroes a part of one unit.
    async fn zero_part(&self, from: u64, to: u64, flags: WriteFlags) -> io::Result<()> {
        let zeroes = vec![0; to_usize(to - from)?];
        let place = self.widen(from, to - from)?;
        let whole = self.around(from, &zeroes, place).await?;
        self.write_pieces(place.0, &whole, flags).await
    }

    async fn zero_aligned(&self, offset: u64, len: u64, flags: ZeroFlags) -> io::Result<()> {
        self.event(Event::PwritevZero).await;
        let result = self.zero_pieces(offset, len, flags).await;
        self.event(Event::PwritevDone).await;
        result
    }

    async fn zero_pieces(&self, mut at: u64, len: u64, flags: ZeroFlags) -> io::Result<()> {
        let unit = u64::from(self.limits.zero_alignment).max(self.align);
        let most = align_down(or_huge(self.limits.max_zero), unit).max(unit);
        let buffer = self.max_transfer.min(ZERO_BUFFER.max(self.align));
        let end = at + len;
        let tail = end % unit;
        while at < end {
            let mut now = end - at;
            if !at.is_multiple_of(unit) {
                now = now.min(buffer).min(unit - at % unit);
            } else if tail > 0 && now > unit {
                now -= tail;
            }
            now = now.min(most);
            match self.filter.write_zeroes(at, now, flags).await {
                Err(error) if is_unsupported(&error) && !flags.no_fallback => {
                    now = now.min(buffer);
                    let zeroes = vec![0; to_usize(now)?];
                    let flags = WriteFlags {
                        fua: flags.fua,
                        unchanged: false,
                    };
                    self.filter.write(at, &zeroes, flags).await?;
                }
                Err(error) if is_unsupported(&error) => return Err(unsupported()),
                other => other?,
            }
            at += now;
        }
        Ok(())
    }

    pub(crate) async fn discard(&self, mut at: u64, len: u64) -> io::Result<()> {
        let unit = u64::from(self.limits.discard_alignment).max(self.align);
        let most = align_down(or_huge(self.limits.max_discard), unit).max(unit);
        let end = at.checked_add(len).ok_or_else(invalid)?;
        let tail = end % unit;
        while at < end {
            let mut now = end - at;
            if !at.is_multiple_of(unit) {
                now = now.min(unit - at % unit);
                if !now.is_multiple_of(self.align) {
                    now %= self.align;
                }
            } else if tail > 0 && now > unit {
                now -= tail;
            } else if tail > 0 && !tail.is_multiple_of(self.align) && tail > self.align {
                now -= tail % self.align;
            }
            now = now.min(most);
            match self.filter.discard(at, now).await {
                Err(error) if is_unsupported(&error) => {}
                Err(error) if error.raw_os_error() == Some(EINVAL) && !at.is_multiple_of(unit) => {}
                other => other?,
            }
            at += now;
        }
        Ok(())
    }

    pub(crate) async fn status(&self, offset: u64, len: u64) -> io::Result<Status> {
        let (start, end) = self.widen(offset, len)?;
        let end = end.min(self.filter.length()?.max(offset + len));
        let mut status = self.filter.status(start, end - start).await?;
        let skipped = offset - start;
        if status.len <= skipped {
            return self.filter.status(offset, len).await;
        }
        status.len = (status.len - skipped).min(len);
        status.at = status
            .at
            .map(|(at, node): (u64, Arc<Node>)| (at + skipped, node));
        Ok(status)
    }
}

const EINVAL: i32 = 22;

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(EINVAL)
}

fn to_usize(n: u64) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| invalid())
}
