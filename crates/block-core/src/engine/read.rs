//! Reads through a mapping.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::{Mapped, Unpacked, bad_answer};
use crate::{Event, Extent, ExtentKind, Place};

/// Clusters longer than this are unpacked one at a time when only parts of them are wanted.
const LARGE: usize = 2 << 20;

/// A packed cluster that a read meets.
struct Packed {
    at: Place,
    packed_len: u32,
    cluster_start: u64,
    cluster_len: u32,
}

impl Mapped {
    /// Fills `buf` from `offset`, which is in bounds; bytes past the disk's end are zeroes.
    pub(crate) async fn read(&self, offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        let mut size = self.format.geometry().size;
        if self.format.vm_state_offset().is_some_and(|at| offset >= at) {
            size = u64::MAX;
        }
        let inside = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        if buf.len() > inside {
            let (kept, beyond) = buf.split_at_mut(inside);
            beyond.fill(0);
            buf = kept;
        }
        self.read_anywhere(offset, buf).await
    }

    /// Fills `buf` from `offset`, also behind the disk.
    pub(super) async fn read_anywhere(
        &self,
        mut offset: u64,
        mut buf: &mut [u8],
    ) -> io::Result<()> {
        while !buf.is_empty() {
            let extent = self.extent(offset, buf.len() as u64).await?;
            let len = usize::try_from(extent.len).map_err(|_| bad_answer())?;
            let (now, later) = buf.split_at_mut(len);
            self.read_extent(offset, now, extent.kind).await?;
            buf = later;
            offset += extent.len;
        }
        Ok(())
    }

    /// The mapping at `offset`, checked to make progress and not to answer more than was asked.
    pub(super) async fn extent(&self, offset: u64, len: u64) -> io::Result<Extent> {
        let extent = match self.format.map_cached(offset, len) {
            Some(extent) => extent,
            None => self.format.map(offset, len).await?,
        };
        if extent.len == 0 || extent.len > len {
            return Err(bad_answer());
        }
        Ok(extent)
    }

    async fn read_extent(&self, offset: u64, buf: &mut [u8], kind: ExtentKind) -> io::Result<()> {
        match kind {
            ExtentKind::Data { at, .. } => {
                if let Some(cipher) = self.format.cipher() {
                    return self.read_enciphered(cipher, (offset, at), buf).await;
                }
                self.event(Event::ReadAio).await;
                self.child(at.slot)?.read(at.offset, buf).await
            }
            ExtentKind::Zero { .. } => {
                buf.fill(0);
                Ok(())
            }
            ExtentKind::Backing { .. } => self.read_backing(offset, buf).await,
            ExtentKind::Compressed {
                at,
                packed_len,
                cluster_start,
                cluster_len,
            } => {
                let packed = Packed {
                    at,
                    packed_len,
                    cluster_start,
                    cluster_len,
                };
                self.read_packed(offset, buf, &packed).await
            }
        }
    }

    /// Reads from the backing file; zeroes without one and past its end.
    async fn read_backing(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let Some(backing) = self.backing.load_full() else {
            buf.fill(0);
            return Ok(());
        };
        let length = backing.node().length()?;
        let inside = usize::try_from(length.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let (kept, beyond) = buf.split_at_mut(inside);
        beyond.fill(0);
        if kept.is_empty() {
            return Ok(());
        }
        self.event(Event::ReadBackingAio).await;
        backing.read(offset, kept).await
    }

    /// Unpacks a cluster: straight into `buf` when all of it is wanted, else by way of the last-cluster cache.
    async fn read_packed(&self, offset: u64, buf: &mut [u8], packed: &Packed) -> io::Result<()> {
        let from = usize::try_from(offset - packed.cluster_start).map_err(|_| bad_answer())?;
        let cluster_len = packed.cluster_len as usize;
        if from == 0 && buf.len() == cluster_len {
            return self.unpack(packed, buf).await;
        }
        // Many readers of one large cluster would each unpack all of it at once.
        let _alone = if cluster_len > LARGE {
            Some(self.unpacking.lock().await)
        } else {
            None
        };
        let bytes = match self.unpacked_before(packed.cluster_start) {
            Ok(bytes) => bytes,
            Err(writes) => {
                let mut cluster = vec![0; cluster_len];
                self.unpack(packed, &mut cluster).await?;
                let bytes = Arc::new(cluster);
                *self.unpacked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Unpacked {
                    cluster_start: packed.cluster_start,
                    writes,
                    bytes: Arc::clone(&bytes),
                });
                bytes
            }
        };
        let wanted = bytes.get(from..from + buf.len()).ok_or_else(bad_answer)?;
        buf.copy_from_slice(wanted);
        Ok(())
    }

    /// The cluster at `cluster_start` if it was unpacked last and nothing was written since; else the count of
    /// writes that an unpacking now is to carry.
    fn unpacked_before(&self, cluster_start: u64) -> Result<Arc<Vec<u8>>, u64> {
        let writes = self.writes.load(Ordering::Acquire);
        match &*self.unpacked.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(c) if c.cluster_start == cluster_start && c.writes == writes => {
                Ok(Arc::clone(&c.bytes))
            }
            _ => Err(writes),
        }
    }

    async fn unpack(&self, packed: &Packed, cluster: &mut [u8]) -> io::Result<()> {
        let mut bytes = vec![0; packed.packed_len as usize];
        self.event(Event::ReadCompressed).await;
        self.child(packed.at.slot)?
            .read(packed.at.offset, &mut bytes)
            .await?;
        self.format
            .decompress_at(packed.cluster_start, &bytes, cluster)
    }
}
