//! Formats that keep their data enciphered: it is deciphered in the reader's buffer, and enciphered on its way out.
//!
//! Ciphers work on whole units, so a read of parts of one reads all of it, and a write of parts is a read, a change
//! and a write.

use std::io;

use super::{Mapped, bad_answer};
use crate::{CIPHER_UNIT, Cipher, Event, Place, Placement, WriteFlags};

/// Bytes that are enciphered for one write.
const PIECE: usize = 1 << 20;

/// Old content around the payload and the payload go out in one write up to this size.
const MAX_JOINED: usize = 256 << 10;

/// What a write brings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// Bytes as the guest sees them.
    Plain,
    /// Whole units, enciphered already.
    Enciphered,
}

fn whole_units(offset: u64, len: usize) -> bool {
    (offset | len as u64).is_multiple_of(CIPHER_UNIT)
}

impl Mapped {
    /// Reads bytes at `at`, which the guest sees at `offset`.
    pub(super) async fn read_enciphered(
        &self,
        cipher: &dyn Cipher,
        (offset, at): (u64, Place),
        buf: &mut [u8],
    ) -> io::Result<()> {
        self.event(Event::ReadAio).await;
        let child = self.child(at.slot)?;
        if whole_units(offset, buf.len()) {
            child.read(at.offset, buf).await?;
            return cipher.decrypt(offset, at.offset, buf);
        }
        let before = offset % CIPHER_UNIT;
        let guest = offset - before;
        let host = at.offset.checked_sub(before).ok_or_else(bad_answer)?;
        let from = usize::try_from(before).map_err(|_| bad_answer())?;
        let unit = usize::try_from(CIPHER_UNIT).map_err(|_| bad_answer())?;
        let mut units = vec![0; (from + buf.len()).next_multiple_of(unit)];
        child.read(host, &mut units).await?;
        cipher.decrypt(guest, host, &mut units)?;
        buf.copy_from_slice(&units[from..from + buf.len()]);
        Ok(())
    }

    /// Writes any bytes: whole units straight, else with what is around them.
    pub(super) async fn write_units(
        &self,
        offset: u64,
        buf: &[u8],
        flags: WriteFlags,
    ) -> io::Result<()> {
        let start = offset - offset % CIPHER_UNIT;
        let end = (offset + buf.len() as u64).next_multiple_of(CIPHER_UNIT);
        if whole_units(offset, buf.len()) {
            let _units = self.units.shared(start, end).await;
            return self.write_all(offset, buf, flags, Payload::Plain).await;
        }
        let _units = self.units.exclusive(start, end).await;
        let mut units = vec![0; usize::try_from(end - start).map_err(|_| bad_answer())?];
        let unit = usize::try_from(CIPHER_UNIT).map_err(|_| bad_answer())?;
        let from = usize::try_from(offset - start).map_err(|_| bad_answer())?;
        let last = units.len() - unit;
        self.read(start, &mut units[..unit]).await?;
        if last > 0 {
            self.read(end - CIPHER_UNIT, &mut units[last..]).await?;
        }
        units[from..from + buf.len()].copy_from_slice(buf);
        self.write_all(start, &units, flags, Payload::Plain).await
    }

    /// The cipher, if data can be enciphered before its place is known.
    pub(crate) fn cipher_ahead(&self) -> Option<&dyn Cipher> {
        self.format.cipher().filter(|c| c.ignores_place())
    }

    /// Writes whole units that [`Mapped::cipher_ahead`] has enciphered.
    pub(crate) async fn write_enciphered(
        &self,
        offset: u64,
        buf: &[u8],
        flags: WriteFlags,
    ) -> io::Result<()> {
        if self.cipher_ahead().is_none() || !whole_units(offset, buf.len()) {
            return Err(bad_answer());
        }
        let _units = self.units.shared(offset, offset + buf.len() as u64).await;
        self.write_all(offset, buf, flags, Payload::Enciphered)
            .await
    }

    /// Writes a placement's payload with the old content around it.
    pub(super) async fn place_enciphered(
        &self,
        cipher: &dyn Cipher,
        place: &Placement,
        (payload, kind): (&[u8], Payload),
        flags: WriteFlags,
    ) -> io::Result<()> {
        let child = self.child(place.at.slot)?;
        let host = place.at.offset;
        if place.cow_head > 0 || place.cow_tail > 0 {
            self.event(Event::CowRead).await;
        }
        let (guest, head_len) = (place.guest - place.cow_head, place.cow_head);
        let mut head = self.old_content(guest, head_len, false).await?;
        let host_head = host.checked_sub(head_len).ok_or_else(bad_answer)?;
        let (guest_tail, host_tail) = (place.guest + place.len, host + place.len);
        let mut tail = self.old_content(guest_tail, place.cow_tail, false).await?;
        cipher.encrypt(guest, host_head, &mut head)?;
        cipher.encrypt(guest_tail, host_tail, &mut tail)?;
        self.event(Event::WriteAio).await;
        if head.len() + tail.len() > 0 && head.len() + payload.len() + tail.len() <= MAX_JOINED {
            let from = head.len();
            let mut joined = [&head, payload, &tail].concat();
            if kind == Payload::Plain {
                cipher.encrypt(place.guest, host, &mut joined[from..from + payload.len()])?;
            }
            return child.write(host_head, &joined, flags).await;
        }
        if !head.is_empty() {
            child.write(host_head, &head, flags).await?;
        }
        if kind == Payload::Enciphered {
            child.write(host, payload, flags).await?;
        } else {
            let mut bounce = Vec::with_capacity(payload.len().min(PIECE));
            for (piece, at) in payload.chunks(PIECE).zip((0..).step_by(PIECE)) {
                bounce.clear();
                bounce.extend_from_slice(piece);
                cipher.encrypt(place.guest + at, host + at, &mut bounce)?;
                child.write(host + at, &bounce, flags).await?;
            }
        }
        if !tail.is_empty() {
            child.write(host_tail, &tail, flags).await?;
        }
        Ok(())
    }
}
