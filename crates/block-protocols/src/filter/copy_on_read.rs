//! `copy-on-read`: what a read gets from below the child's own layer is written to that layer.

use std::io;
use std::sync::Arc;

use block_core::{
    BoxFuture, Edge, Filter, FilterDriver, FilterOpen, Perms, RangeLock, WriteFlags, ZeroFlags,
};
use qapi::{Error, opts};

/// The driver.
pub(crate) const COPY_ON_READ: FilterDriver = FilterDriver {
    name: "copy-on-read",
    parse_filename: None,
    open: |request| Box::pin(open(request)),
    strong: &[],
    files: &[],
    plain_name: |_, _| None,
};

struct CopyOnRead {
    file: Arc<Edge>,
    /// Reads that copy, exclusive; writes, shared.
    ranges: RangeLock,
}

async fn open(request: FilterOpen<'_>) -> qapi::Result<Box<dyn Filter>> {
    let options = request.options;
    let file = request
        .gate
        .open_filtered("file", options.remove("file"), None, false)
        .await?;
    if let Some(bottom) = opts::take_str(options, "bottom")? {
        // GAP: copying only from above a node; tools open no nodes that could be named here.
        return Err(Error::new(format!("Bottom node '{bottom}' not found")).errno(22));
    }
    Ok(Box::new(CopyOnRead {
        file,
        ranges: RangeLock::default(),
    }))
}

impl Filter for CopyOnRead {
    fn child(&self) -> &Arc<Edge> {
        &self.file
    }

    fn child_perms(&self, _child: &Edge, used: Perms, shared: Perms) -> (Perms, Perms) {
        (
            used | Perms::WRITE_UNCHANGED,
            shared | Perms::WRITE_UNCHANGED,
        )
    }

    fn can_compress(&self) -> bool {
        self.file.node().can_compress()
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        self.file.read_copying(&self.ranges, offset, buf)
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let end = offset.saturating_add(buf.len() as u64);
            let _range = self.ranges.shared(offset, end).await;
            self.file.write(offset, buf, flags).await
        })
    }

    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let _range = self.ranges.shared(offset, offset.saturating_add(len)).await;
            self.file.write_zeroes(offset, len, flags).await
        })
    }

    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let _range = self.ranges.shared(offset, offset.saturating_add(len)).await;
            self.file.discard(offset, len).await
        })
    }

    fn write_compressed<'a>(&'a self, offset: u64, buf: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let end = offset.saturating_add(buf.len() as u64);
            let _range = self.ranges.shared(offset, end).await;
            self.file.write_compressed(offset, buf).await
        })
    }
}
