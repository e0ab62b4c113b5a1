//! `throttle`: holds requests back so that a group of nodes keeps its limits.

mod bucket;
mod group;

use std::io;
use std::sync::Arc;

use block_core::{BoxFuture, Edge, Filter, FilterDriver, FilterOpen, WriteFlags, ZeroFlags};
use object::ObjectType;
use qapi::{Error, opts};

use group::{Direction, ThrottleGroup};

/// The object that says the limits.
pub(crate) const GROUP: ObjectType = ObjectType {
    name: "throttle-group",
    make: |options, _| group::create(options),
};

/// The driver.
pub(crate) const THROTTLE: FilterDriver = FilterDriver {
    name: "throttle",
    parse_filename: None,
    open: |request| Box::pin(open(request)),
    strong: &["throttle-group"],
    files: &[],
    plain_name: |_, _| None,
};

struct Throttle {
    file: Arc<Edge>,
    group: Arc<ThrottleGroup>,
}

async fn open(request: FilterOpen<'_>) -> qapi::Result<Box<dyn Filter>> {
    let options = request.options;
    let file = request
        .gate
        .open_filtered("file", options.remove("file"), None, false)
        .await?;
    let name = opts::take_str(options, "throttle-group")?
        .ok_or_else(|| Error::new("Please specify a throttle group").errno(22))?;
    let group = request
        .gate
        .object(&name)
        .and_then(|object| object.downcast::<ThrottleGroup>().ok())
        .ok_or_else(|| Error::new(format!("Throttle group '{name}' does not exist")).errno(22))?;
    Ok(Box::new(Throttle { file, group }))
}

impl Filter for Throttle {
    fn child(&self) -> &Arc<Edge> {
        &self.file
    }

    fn can_compress(&self) -> bool {
        self.file.node().can_compress()
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.group.admit(Direction::Read, buf.len() as u64).await;
            self.file.read(offset, buf).await
        })
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.group.admit(Direction::Write, buf.len() as u64).await;
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
            self.group.admit(Direction::Write, len).await;
            self.file.write_zeroes(offset, len, flags).await
        })
    }

    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.group.admit(Direction::Write, len).await;
            self.file.discard(offset, len).await
        })
    }

    fn write_compressed<'a>(&'a self, offset: u64, buf: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.group.admit(Direction::Write, buf.len() as u64).await;
            self.file.write_compressed(offset, buf).await
        })
    }
}
