//! Writes through a mapping: in place where the bytes are already ours, else prepare, copy on write, commit.

use std::io;

use super::enciphered::Payload;
use super::{Mapped, bad_answer, is_zero};
use crate::{Event, ExtentKind, Placement, WriteFlags};

/// One allocation step covers at most this many bytes, so that others get a turn.
const MAX_ALLOCATION: u64 = 16 << 20;

/// Head, payload and tail of a copy on write go out in one write up to this size.
const MAX_JOINED: u64 = 256 << 10;

impl Mapped {
    /// Writes `buf` at `offset`, which is in bounds.
    pub(crate) async fn write(&self, offset: u64, buf: &[u8], flags: WriteFlags) -> io::Result<()> {
        if self.format.packs_all() {
            return Box::pin(self.write_compressed(offset, buf)).await;
        }
        if self.format.cipher().is_some() {
            return self.write_units(offset, buf, flags).await;
        }
        self.write_all(offset, buf, flags, Payload::Plain).await
    }

    pub(super) async fn write_all(
        &self,
        mut offset: u64,
        mut buf: &[u8],
        flags: WriteFlags,
        kind: Payload,
    ) -> io::Result<()> {
        while !buf.is_empty() {
            let done = match self.write_in_place(offset, (buf, kind), flags).await? {
                0 => self.write_allocating(offset, (buf, kind), flags).await?,
                done => done,
            };
            let len = usize::try_from(done).map_err(|_| bad_answer())?;
            buf = buf.get(len..).ok_or_else(bad_answer)?;
            offset += done;
        }
        self.wrote();
        if flags.fua {
            self.format.flush().await?;
        }
        Ok(())
    }

    /// Overwrites as much as is known to be ours; 0 if nothing.
    async fn write_in_place(
        &self,
        offset: u64,
        (buf, kind): (&[u8], Payload),
        flags: WriteFlags,
    ) -> io::Result<u64> {
        let len = buf.len() as u64;
        let _range = self.ranges.shared(offset, offset + len).await;
        let Some(place) = self.format.prepare_cached(offset, len) else {
            return Ok(0);
        };
        self.write_placement(&place, (buf, kind), flags).await?;
        Ok(place.len)
    }

    async fn write_allocating(
        &self,
        offset: u64,
        (buf, kind): (&[u8], Payload),
        flags: WriteFlags,
    ) -> io::Result<u64> {
        let len = (buf.len() as u64).min(MAX_ALLOCATION);
        let (start, end) = self.clusters(offset, len);
        let _range = self.ranges.exclusive(start, end).await;
        let place = self.format.prepare(offset, len).await?;
        if place.len == 0 || place.len > len || place.guest != offset || place.cow_head > offset {
            return Err(bad_answer());
        }
        let written = self.write_placement(&place, (buf, kind), flags).await;
        if !place.fresh {
            return written.map(|()| place.len);
        }
        match written {
            Ok(()) => self.format.commit(&place).await?,
            Err(error) => {
                self.format.cancel(&place).await;
                return Err(error);
            }
        }
        Ok(place.len)
    }

    /// The range widened to whole clusters.
    pub(super) fn clusters(&self, offset: u64, len: u64) -> (u64, u64) {
        let cluster = u64::from(self.format.geometry().cluster_size);
        let start = offset - offset % cluster;
        (start, (offset + len).next_multiple_of(cluster))
    }

    /// Writes a placement's payload with the old content around it.
    async fn write_placement(
        &self,
        place: &Placement,
        (buf, kind): (&[u8], Payload),
        flags: WriteFlags,
    ) -> io::Result<()> {
        let payload_len = usize::try_from(place.len).map_err(|_| bad_answer())?;
        let payload = buf.get(..payload_len).ok_or_else(bad_answer)?;
        let child = self.child(place.at.slot)?;
        let host = place.at.offset;
        let flags = WriteFlags {
            fua: false,
            ..flags
        };
        if let Some(cipher) = self.format.cipher() {
            return self
                .place_enciphered(cipher, place, (payload, kind), flags)
                .await;
        }
        if place.cow_head == 0 && place.cow_tail == 0 {
            self.event(Event::WriteAio).await;
            return child.write(host, payload, flags).await;
        }
        self.event(Event::CowRead).await;
        let head = self
            .old_content(place.guest - place.cow_head, place.cow_head, place.zeroed)
            .await?;
        let tail = self
            .old_content(place.guest + place.len, place.cow_tail, place.zeroed)
            .await?;
        if (head.len() + tail.len()) as u64 + place.len <= MAX_JOINED {
            let joined = [&head, payload, &tail].concat();
            self.event(Event::WriteAio).await;
            return child.write(host - head.len() as u64, &joined, flags).await;
        }
        self.event(Event::CowWrite).await;
        if !head.is_empty() {
            child.write(host - place.cow_head, &head, flags).await?;
        }
        self.event(Event::WriteAio).await;
        child.write(host, payload, flags).await?;
        if !tail.is_empty() {
            child.write(host + place.len, &tail, flags).await?;
        }
        Ok(())
    }

    /// The bytes a fresh place needs around the payload. Empty when they are zeroes and the place reads so already.
    pub(super) async fn old_content(
        &self,
        offset: u64,
        len: u64,
        zeroed: bool,
    ) -> io::Result<Vec<u8>> {
        if len == 0 || (zeroed && self.reads_as_zero(offset, len).await?) {
            return Ok(Vec::new());
        }
        let mut old = vec![0; usize::try_from(len).map_err(|_| bad_answer())?];
        self.read(offset, &mut old).await?;
        if zeroed && is_zero(&old) {
            old.clear();
        }
        Ok(old)
    }

    /// Whether the mapping (and backing block status) says that a range reads as zeroes.
    pub(super) async fn reads_as_zero(&self, mut offset: u64, mut len: u64) -> io::Result<bool> {
        if self.format.vm_state_offset().is_none_or(|at| offset < at) {
            len = len.min(self.format.geometry().size.saturating_sub(offset));
        }
        while len > 0 {
            let extent = self.extent(offset, len).await?;
            let zero = match extent.kind {
                ExtentKind::Zero { .. } => true,
                ExtentKind::Backing { .. } => self.backing_is_zero(offset, extent.len).await?,
                _ => false,
            };
            if !zero {
                return Ok(false);
            }
            offset += extent.len;
            len -= extent.len;
        }
        Ok(true)
    }
}
