//! `compress`: writes whole clusters packed, whatever is asked for.

use std::io;
use std::sync::Arc;

use block_core::{BoxFuture, Edge, Filter, FilterDriver, FilterLimits, FilterOpen, WriteFlags};
use qapi::Error;

/// The driver.
pub(crate) const COMPRESS: FilterDriver = FilterDriver {
    name: "compress",
    parse_filename: None,
    open: |request| Box::pin(open(request)),
    strong: &[],
    files: &[],
    plain_name: |_, _| None,
};

struct Compress {
    file: Arc<Edge>,
    cluster: u32,
}

async fn open(request: FilterOpen<'_>) -> qapi::Result<Box<dyn Filter>> {
    let options = request.options.remove("file");
    let file = request
        .gate
        .open_filtered("file", options, None, false)
        .await?;
    let node = file.node();
    if !node.can_compress() {
        return Err(Error::new(format!(
            "Compression is not supported for underlying format: {}",
            node.driver()
        ))
        .errno(95));
    }
    let cluster = node.cluster_size().unwrap_or(1);
    Ok(Box::new(Compress { file, cluster }))
}

impl Filter for Compress {
    fn child(&self) -> &Arc<Edge> {
        &self.file
    }

    fn limits(&self) -> Option<FilterLimits> {
        Some(FilterLimits {
            request_alignment: self.cluster,
            ..FilterLimits::default()
        })
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.file.write_compressed(offset, buf).await?;
            if flags.fua {
                self.file.flush().await?;
            }
            Ok(())
        })
    }
}
