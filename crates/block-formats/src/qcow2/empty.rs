//! Dropping all content, so that the backing file shows.
//!
//! An L1 table of zeroes takes effect by one header write, as with snapshots. Without snapshots and bitmaps nothing but
//! metadata is left then, which moves to the front of the file by a second one, and the file is cut behind it.

use std::io;

use block_core::{BoxFuture, Empty, Event, Preallocation};
use qapi::{Error, Result};

use super::Qcow2;
use super::refcount::set;
use super::snapshot::frozen::Frozen;
use super::snapshot::shadow::Shadow;
use super::snapshot::switch;
use super::write_out::words;

impl Empty for Qcow2 {
    fn make_empty(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let failed = |e: io::Error| Error::from_io("Could not empty the image", &e);
            let _still = self.stand_still().await;
            {
                let mut meta = self.meta.lock().await;
                self.begin_write(&mut meta, 0, 0).await.map_err(failed)?;
                if self.has_data_file() {
                    let end = self.size().next_multiple_of(self.cluster_size());
                    self.drop_range(&mut meta, 0, end).await.map_err(failed)?;
                    return self.write_out_locked(&mut meta).await.map_err(failed);
                }
            }
            drop_all(self).await.map_err(failed)?;
            // What compacting moves to the front would overwrite a LUKS header.
            let movable = self.bitmaps.is_empty() && self.encryption.is_none();
            if movable && self.snapshots.get().entries.is_empty() {
                compact(self).await.map_err(failed)?;
            }
            Ok(())
        })
    }
}

async fn drop_all(image: &Qcow2) -> io::Result<()> {
    let frozen = image.freeze().await?;
    let l1 = frozen.l1.clone();
    let place = (frozen.header.l1_offset, frozen.l1_bytes());
    let mut shadow = Shadow::new(frozen).await?;
    let prepared = async {
        shadow.count(&l1, -1).await?;
        shadow.free(place.0, place.1)?;
        shadow.write(&words(&vec![0; l1.len()])).await
    };
    match prepared.await {
        Ok(offset) => {
            let new = image.snapshots.get();
            switch(image, shadow, (offset, l1.len()), image.size(), new).await
        }
        Err(error) => {
            shadow.abandon().await;
            Err(error)
        }
    }
}

/// Where metadata goes in a file that holds nothing else: header, refcount table, refcount blocks, L1 table.
struct Front {
    table: u64,
    blocks: u64,
    end: u64,
}

impl Front {
    /// In clusters.
    fn new(frozen: &Frozen) -> Self {
        let cluster = 1_u64 << frozen.bits();
        let l1 = frozen.l1_bytes().div_ceil(cluster).max(1);
        let (mut table, mut blocks) = (1, 1);
        loop {
            let end = 1 + table + blocks + l1;
            let more_blocks = end.div_ceil(frozen.per_block());
            let more_table = (more_blocks * 8).div_ceil(cluster);
            if more_blocks <= blocks && more_table <= table {
                return Self { table, blocks, end };
            }
            (table, blocks) = (more_table.max(table), more_blocks.max(blocks));
        }
    }

    fn l1_start(&self) -> u64 {
        1 + self.table + self.blocks
    }

    /// Whether nothing is there yet.
    async fn is_free(&self, frozen: &Frozen) -> io::Result<bool> {
        for cluster in 1..self.end {
            if frozen.refcount(cluster).await? != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

async fn compact(image: &Qcow2) -> io::Result<()> {
    let frozen = image.freeze().await?;
    frozen.file.event(Event::EmptyImagePrepare).await;
    let front = Front::new(&frozen);
    if !front.is_free(&frozen).await? {
        return Ok(());
    }
    let bits = frozen.bits();
    let cluster = 1_usize << bits;
    let per_block = frozen.per_block();
    let mut table = Vec::new();
    for block in 0..front.blocks {
        let mut bytes = vec![0; cluster];
        let used = front.end.saturating_sub(block * per_block).min(per_block);
        for index in 0..usize::try_from(used).unwrap_or(0) {
            set(&mut bytes, index, frozen.order(), 1);
        }
        let offset = (1 + front.table + block) << bits;
        frozen.write(offset, &bytes).await?;
        table.push(offset);
    }
    table.resize(usize::try_from(front.table << bits).unwrap_or(0) / 8, 0);
    frozen.write(1 << bits, &words(&table)).await?;
    let l1_clusters = usize::try_from(front.end - front.l1_start()).unwrap_or(0);
    let zeroes = vec![0; l1_clusters << bits];
    frozen.write(front.l1_start() << bits, &zeroes).await?;
    image
        .change_header(|header| {
            header.l1_offset = front.l1_start() << bits;
            header.refcount_table_offset = 1 << bits;
            header.refcount_table_clusters = u32::try_from(front.table).unwrap_or(1);
        })
        .await?;
    image.reload().await?;
    frozen
        .file
        .truncate(front.end << bits, Preallocation::Off)
        .await
        .or_else(|error| {
            // A longer file is no harm.
            tracing::warn!(%error, "cannot cut the file behind the emptied image");
            Ok(())
        })
}
