//! Packed clusters: packing apart from storing, so that callers may pack on many threads and store in order.

use std::io;

use super::{Mapped, bad_answer, unsupported};
use crate::{Event, WriteFlags};

impl Mapped {
    /// Packs one whole cluster, or what is left of the disk in the last one, onto the end of `out`. `false`: it
    /// does not get smaller and is to be written plain.
    pub(crate) fn pack(&self, offset: u64, buf: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        let compress = self.format.compress().ok_or_else(unsupported)?;
        let geometry = self.format.geometry();
        let cluster = geometry.cluster_size as usize;
        let last = offset + buf.len() as u64 == geometry.size;
        if !offset.is_multiple_of(cluster as u64)
            || buf.len() > cluster
            || (buf.len() < cluster && !last)
        {
            return Err(io::Error::from_raw_os_error(22));
        }
        let start = out.len();
        let smaller = if buf.len() == cluster {
            compress.pack(buf, out)?
        } else {
            let mut padded = buf.to_vec();
            padded.resize(cluster, 0);
            compress.pack(&padded, out)?
        };
        if smaller {
            compress.seal(offset, &mut out[start..]);
        }
        Ok(smaller)
    }

    /// Stores what [`Mapped::pack`] made of the cluster at `offset`.
    pub(crate) async fn store_packed(&self, offset: u64, packed: &[u8]) -> io::Result<()> {
        let compress = self.format.compress().ok_or_else(unsupported)?;
        let cluster = u64::from(self.format.geometry().cluster_size);
        let len = u32::try_from(packed.len()).map_err(|_| bad_answer())?;
        let _range = self.ranges.exclusive(offset, offset + cluster).await;
        let at = compress.place(offset, len).await?;
        self.event(Event::WriteCompressed).await;
        self.child(at.slot)?
            .write(at.offset, packed, WriteFlags::default())
            .await?;
        compress.commit_packed(offset, at, len).await?;
        self.wrote();
        Ok(())
    }

    /// Writes whole clusters packed, or plain where packing does not help.
    pub(crate) async fn write_compressed(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let cluster = self.format.geometry().cluster_size as usize;
        let mut packed = Vec::new();
        for (part, at) in buf.chunks(cluster).zip((offset..).step_by(cluster)) {
            packed.clear();
            if self.pack(at, part, &mut packed)? {
                self.store_packed(at, &packed).await?;
            } else {
                self.write(at, part, WriteFlags::default()).await?;
            }
        }
        Ok(())
    }
}
