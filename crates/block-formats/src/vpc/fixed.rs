//! Fixed disks: the bytes as they are.

use std::io;
use std::sync::Arc;

use block_core::{
    BoxFuture, Edge, Extent, ExtentKind, Format, FormatInfo, Geometry, Opened, Place, Placement,
    Slot, ZeroFlags,
};
use qapi::Result;

use crate::blocks::errno;

/// The unit in which requests are told apart; the format has none.
const UNIT: u32 = 65536;

struct Fixed {
    file: Arc<Edge>,
    size: u64,
    /// Bytes before the footer.
    there: u64,
    id: String,
}

/// Opens a disk of `size` bytes in a file of `length` bytes.
pub(super) fn open(file: Arc<Edge>, size: u64, length: u64, id: String) -> Opened {
    let there = length.saturating_sub(super::FOOTER as u64).min(size);
    let fixed = Fixed {
        file: Arc::clone(&file),
        size,
        there,
        id,
    };
    Opened {
        format: Box::new(fixed),
        edges: vec![file],
        backing: None,
    }
}

fn at(offset: u64) -> Place {
    Place {
        slot: Slot::FILE,
        offset,
    }
}

impl Fixed {
    fn look(&self, offset: u64, len: u64) -> Extent {
        // A geometry may promise more than the file has; the footer is not part of the disk.
        if offset >= self.there {
            let kind = ExtentKind::Zero { at: None };
            return Extent { len, kind };
        }
        Extent {
            len: len.min(self.there - offset),
            kind: ExtentKind::Data {
                at: at(offset),
                recurse: true,
            },
        }
    }

    fn find(&self, offset: u64, len: u64) -> io::Result<Placement> {
        if offset >= self.there {
            return Err(errno(28));
        }
        Ok(Placement {
            guest: offset,
            len: len.min(self.there - offset),
            at: at(offset),
            cow_head: 0,
            cow_tail: 0,
            fresh: false,
            zeroed: false,
        })
    }
}

impl Format for Fixed {
    fn geometry(&self) -> Geometry {
        Geometry {
            size: self.size,
            cluster_size: UNIT,
            zero_granularity: 512,
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        Box::pin(std::future::ready(Ok(self.look(offset, len))))
    }

    fn map_cached(&self, offset: u64, len: u64) -> Option<Extent> {
        Some(self.look(offset, len))
    }

    fn prepare(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Placement>> {
        Box::pin(std::future::ready(self.find(offset, len)))
    }

    fn prepare_cached(&self, offset: u64, len: u64) -> Option<Placement> {
        self.find(offset, len).ok()
    }

    fn commit<'a>(&'a self, _placement: &'a Placement) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn cancel<'a>(&'a self, _placement: &'a Placement) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn zero(&self, offset: u64, len: u64, may_unmap: bool) -> BoxFuture<'_, io::Result<()>> {
        let flags = ZeroFlags {
            may_unmap,
            ..ZeroFlags::default()
        };
        let len = len.min(self.there.saturating_sub(offset));
        self.file.write_zeroes(offset, len, flags)
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        self.file.flush()
    }

    fn info(&self) -> BoxFuture<'_, Result<FormatInfo>> {
        Box::pin(std::future::ready(Ok(FormatInfo {
            dirty: Some(false),
            content_id: Some(self.id.clone()),
            uses: vec![
                "fixed disk of Virtual PC: plain data with a footer of 512 bytes".to_owned(),
            ],
            ..FormatInfo::default()
        })))
    }
}
