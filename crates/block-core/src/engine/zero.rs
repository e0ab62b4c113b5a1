//! Zeroes and discards through a mapping.

use std::io;

use super::{Mapped, is_unsupported, unsupported};
use crate::{WriteFlags, ZeroFlags};

/// Buffers of zeroes are written in pieces of this size.
const ZERO_BUFFER: u64 = 1 << 20;

impl Mapped {
    /// Makes a range read as zeroes: whole granules by the mapping, their ragged ends too when the rest
    /// of the granule is zero already, else as data.
    pub(crate) async fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> io::Result<()> {
        let geometry = self.format.geometry();
        let granule = u64::from(geometry.zero_granularity);
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let granule_start = at - at % granule;
            let granule_end = (granule_start + granule).min(geometry.size);
            let next = if at == granule_start && end >= granule_end {
                let whole = if end == geometry.size {
                    end
                } else {
                    end - end % granule
                };
                self.zero_whole(at, whole - at, flags).await?;
                whole
            } else {
                let next = granule_end.min(end);
                self.zero_part(at, next, (granule_start, granule_end), flags)
                    .await?;
                next
            };
            at = next;
        }
        self.wrote();
        if flags.fua {
            self.format.flush().await?;
        }
        Ok(())
    }

    async fn zero_whole(&self, offset: u64, len: u64, flags: ZeroFlags) -> io::Result<()> {
        let (start, end) = self.clusters(offset, len);
        let result = {
            let _range = self.ranges.exclusive(start, end).await;
            self.format.zero(offset, len, flags.may_unmap).await
        };
        match result {
            Err(error) if is_unsupported(&error) => self.zero_as_data(offset, len, flags).await,
            other => other,
        }
    }

    async fn zero_part(
        &self,
        from: u64,
        to: u64,
        granule: (u64, u64),
        flags: ZeroFlags,
    ) -> io::Result<()> {
        let (start, end) = granule;
        let result = {
            let (first, last) = self.clusters(start, end - start);
            let _range = self.ranges.exclusive(first, last).await;
            if self.reads_as_zero(start, from - start).await?
                && self.reads_as_zero(to, end - to).await?
            {
                self.format.zero(start, end - start, flags.may_unmap).await
            } else {
                Err(unsupported())
            }
        };
        match result {
            Err(error) if is_unsupported(&error) => self.zero_as_data(from, to - from, flags).await,
            other => other,
        }
    }

    async fn zero_as_data(
        &self,
        mut offset: u64,
        mut len: u64,
        flags: ZeroFlags,
    ) -> io::Result<()> {
        if flags.no_fallback {
            return Err(unsupported());
        }
        let zeroes = vec![0; usize::try_from(len.min(ZERO_BUFFER)).unwrap_or(0)];
        while len > 0 {
            let now = len.min(ZERO_BUFFER);
            let piece = &zeroes[..usize::try_from(now).unwrap_or(0)];
            self.write(offset, piece, WriteFlags::default()).await?;
            offset += now;
            len -= now;
        }
        Ok(())
    }

    /// Drops the whole clusters inside a range.
    pub(crate) async fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let geometry = self.format.geometry();
        let cluster = u64::from(geometry.cluster_size);
        let start = offset.next_multiple_of(cluster);
        let end = offset + len;
        let end = if end == geometry.size {
            end
        } else {
            end - end % cluster
        };
        if start >= end {
            return Ok(());
        }
        let (first, last) = self.clusters(start, end - start);
        let _range = self.ranges.exclusive(first, last).await;
        let result = self.format.discard(start, end - start).await;
        self.wrote();
        result
    }
}
