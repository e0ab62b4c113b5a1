//! What snapshots and amend need of an open image: its metadata standing still, and a new start from a changed header.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::frozen::Frozen;
use crate::qcow2::Qcow2;
use crate::qcow2::header::{self, Header};
use crate::qcow2::open;

impl Qcow2 {
    /// Keeps other changes of this kind out while the guard lives. The caller has drained requests.
    pub(in crate::qcow2) async fn stand_still(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.work.lock().await
    }

    /// The header, now.
    pub(in crate::qcow2) async fn header(&self) -> Header {
        self.meta.lock().await.header.clone()
    }

    /// L1 entries that a disk of `size` bytes needs.
    pub(in crate::qcow2) fn l1_len(&self, size: u64) -> usize {
        let entries = header::l1_entries(size, self.layout.cluster_bits, self.layout.extended);
        usize::try_from(entries).unwrap_or(usize::MAX)
    }

    /// Writes out what is in memory, and takes the roots of the metadata.
    pub(in crate::qcow2) async fn freeze(&self) -> io::Result<Frozen> {
        self.write_out().await?;
        let meta = self.meta.lock().await;
        Ok(Frozen {
            file: Arc::clone(&self.file),
            header: meta.header.clone(),
            l1: meta.l1.clone(),
            refcount_table: meta.refcounts.table().to_vec(),
        })
    }

    /// Writes a changed header between two flushes.
    pub(in crate::qcow2) async fn change_header(
        &self,
        change: impl FnOnce(&mut Header) + Send,
    ) -> io::Result<()> {
        let mut meta = self.meta.lock().await;
        let mut new = meta.header.clone();
        change(&mut new);
        self.file.flush().await?;
        self.store_header(&mut meta, new).await?;
        self.file.flush().await
    }

    /// Forgets all metadata but the header, and reads its roots again.
    pub(in crate::qcow2) async fn reload(&self) -> io::Result<()> {
        let mut meta = self.meta.lock().await;
        let l1_len = usize::try_from(meta.header.l1_size).unwrap_or(0);
        let l1 = open::read_words(&self.file, meta.header.l1_offset, l1_len).await?;
        meta.refcounts = open::read_refcounts(&self.file, &meta.header).await?;
        meta.refcounts.set_budget(self.options.refcount_cache);
        meta.l1 = l1;
        meta.packed_end = 0;
        self.size.store(meta.header.size, Ordering::Release);
        self.slices.clear();
        Self::survey(&mut meta);
        Ok(())
    }

    /// Shows another mapping than the active one; the image is read-only.
    pub(in crate::qcow2) async fn show_l1(&self, l1: Vec<u64>) {
        self.meta.lock().await.l1 = l1;
        self.slices.clear();
    }
}
