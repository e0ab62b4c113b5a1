//! Bitmaps between memory and the image.
//!
//! Storing writes bits, tables and directory to new clusters, switches to them by one header write, then frees
//! the old ones. Marking in use changes only flag words of the directory in place, each inside one sector.

use std::io;
use std::sync::Arc;

use block_core::{Edge, WriteFlags};
use qapi::{Error, Result};

use super::bits::{self, Bits};
use super::directory::{self, Entry, FLAG_AUTO, FLAG_IN_USE, Location};
use super::set::{Bitmap, State, inconsistent};
use crate::qcow2::Qcow2;
use crate::qcow2::header::{autoclear, extension};
use crate::qcow2::snapshot::claimed::Claimed;

const EINVAL: i32 = 22;
/// Bits of a table entry that must be 0.
const TABLE_RESERVED: u64 = 0xff00_0000_0000_01fe;
/// Table entry without a cluster: all bits are set.
const ALL_ONES: u64 = 1;

impl Qcow2 {
    /// Records a write in the bitmaps; the first one marks them in use in the image.
    pub(in crate::qcow2) async fn record_write(&self, offset: u64, len: u64) -> io::Result<()> {
        if self.bitmaps.mark_dirty(offset, len) {
            return Ok(());
        }
        let _io = self.bitmaps.io.lock().await;
        if !self.bitmaps.mark_dirty(offset, len) {
            self.arm(trusted).await?;
            if !self.bitmaps.mark_dirty(offset, len) {
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(())
    }

    /// Before the disk's size changes: bitmaps are in memory, and the image does not vouch for its own any more.
    ///
    /// # Errors
    /// In the reference's words when a bitmap is inconsistent.
    pub(in crate::qcow2) async fn prepare_bitmaps_for_resize(&self) -> Result<()> {
        let infos = self.bitmaps.infos();
        if infos.is_empty() {
            return Ok(());
        }
        if let Some(bad) = infos.iter().find(|b| b.inconsistent) {
            return Err(inconsistent(&bad.name));
        }
        for info in &infos {
            self.bits_of(&info.name).await?;
        }
        let _io = self.bitmaps.io.lock().await;
        self.arm(|_, _| true)
            .await
            .map_err(|e| Error::from_io("Could not mark bitmaps in use", &e))
    }

    /// After the disk's size has changed to `size`.
    pub(in crate::qcow2) fn finish_bitmaps_resize(&self, size: u64) {
        for bitmap in &mut self.bitmaps.state().list {
            if let Some(bits) = bitmap.bits.take().filter(|_| !bitmap.inconsistent) {
                bitmap.bits = Some(Arc::new(bits.resized(size)));
                bitmap.stored = None;
            }
        }
        self.bitmaps.refresh_phase();
    }

    /// The bits of a bitmap that can be used, read from the image when they are not yet in memory.
    pub(super) async fn bits_of(&self, name: &str) -> Result<Arc<Bits>> {
        let _io = self.bitmaps.io.lock().await;
        let bitmap = self.bitmaps.usable(name)?;
        self.load_bits(&bitmap).await
    }

    async fn load_bits(&self, bitmap: &Bitmap) -> Result<Arc<Bits>> {
        if let Some(bits) = &bitmap.bits {
            return Ok(Arc::clone(bits));
        }
        let bits = Arc::new(Bits::new(self.size(), bitmap.granularity_bits));
        if let Some(entry) = &bitmap.stored {
            let name = entry.shown_name();
            let failed = |what: &str, e: &io::Error| {
                Error::from_io(format!("Could not read {what} '{name}'"), e)
            };
            let table = read_table(self.file(), entry, self.cluster_size())
                .await
                .map_err(|e| failed("bitmap_table table from image for bitmap", &e))?;
            read_bits(self.file(), &table, &bits, self.cluster_size())
                .await
                .map_err(|e| failed("bitmap", &e))?;
        }
        let mut state = self.bitmaps.state();
        let found = state.list.iter_mut().find(|b| b.name == bitmap.name);
        if let Some(found) = found {
            found.bits = Some(Arc::clone(&bits));
        }
        Ok(bits)
    }

    /// Gets ready to record: bits in memory, stored entries that `untrue` names marked in use. Called with `io` held.
    async fn arm(&self, untrue: impl Fn(&Entry, &State) -> bool) -> io::Result<()> {
        let recording: Vec<Bitmap> = {
            let state = self.bitmaps.state();
            state.list.iter().filter(|b| b.records()).cloned().collect()
        };
        for bitmap in &recording {
            self.load_bits(bitmap)
                .await
                .map_err(|e| io::Error::from_raw_os_error(e.errno_value().unwrap_or(EINVAL)))?;
        }
        let (location, marked) = {
            let state = self.bitmaps.state();
            let mut marked = state.directory.clone();
            for entry in &mut marked {
                if untrue(entry, &state) {
                    entry.flags |= FLAG_IN_USE;
                }
            }
            let differs = marked != state.directory;
            (state.location.filter(|_| differs), marked)
        };
        if let Some(location) = location {
            let bytes = directory::encode(&marked);
            let file = self.file();
            file.write(location.offset, &bytes, WriteFlags::default())
                .await?;
            file.flush().await?;
        }
        let mut state = self.bitmaps.state();
        state.directory = marked;
        state.in_use = true;
        state.changed = true;
        for bitmap in state.list.iter_mut().filter(|b| b.records()) {
            bitmap.stored = None;
        }
        drop(state);
        self.bitmaps.refresh_phase();
        Ok(())
    }

    /// Stores what has changed. On failure the image is as it was: bitmaps that writes made untrue are inconsistent.
    pub(in crate::qcow2) async fn store_bitmaps(&self) -> Result<()> {
        let _io = self.bitmaps.io.lock().await;
        let mut list = {
            let state = self.bitmaps.state();
            if !state.changed {
                return Ok(());
            }
            state.list.clone()
        };
        // As in the reference, all are stored anew, so that they lie together; what cannot be read stays where it is.
        for bitmap in &mut list {
            if bitmap.stored.is_some() && !bitmap.inconsistent {
                bitmap.bits = self.load_bits(bitmap).await.ok();
            }
        }
        self.store_list(&list).await.map_err(|e| {
            let node = self.file().node();
            e.prefix(format!(
                "Lost persistent bitmaps during inactivation of node '{}': ",
                node.name()
            ))
            .errno(EINVAL)
        })
    }

    /// Takes all bitmaps out of the image (version 2 has none).
    pub(in crate::qcow2) async fn drop_bitmaps(&self) -> Result<()> {
        for info in self.bitmaps.infos() {
            self.bitmaps.remove(&info.name)?;
        }
        self.store_bitmaps().await
    }

    /// The header write that makes a stored directory (or none) the image's.
    async fn switch_bitmaps(&self, location: Option<Location>) -> io::Result<()> {
        self.change_header(|header| {
            let payload = location.map(|l| l.encode());
            if payload.is_some() {
                header.autoclear |= autoclear::BITMAPS;
            } else {
                header.autoclear &= !autoclear::BITMAPS;
            }
            header.set_extension(extension::BITMAPS, payload);
        })
        .await
    }

    async fn store_list(&self, list: &[Bitmap]) -> Result<()> {
        let mut claimed = Claimed::new(self);
        let (location, entries) = match self.write_list(list, &mut claimed).await {
            Ok(written) => written,
            Err(error) => {
                claimed.release().await;
                return Err(error);
            }
        };
        self.switch_bitmaps(location)
            .await
            .map_err(|e| not_updated(&e))?;
        let (old_location, old) = {
            let mut state = self.bitmaps.state();
            for (bitmap, entry) in state.list.iter_mut().zip(&entries) {
                bitmap.stored = Some(entry.clone());
            }
            state.changed = false;
            state.in_use = false;
            let old = std::mem::replace(&mut state.directory, entries.clone());
            (std::mem::replace(&mut state.location, location), old)
        };
        self.bitmaps.refresh_phase();
        for entry in &old {
            let kept = entries.iter().any(|e| e.table_offset == entry.table_offset);
            if !kept {
                self.free_bitmap(entry).await.map_err(|e| not_updated(&e))?;
            }
        }
        if let Some(old) = old_location {
            let freed = self.free_bytes(old.offset, old.size).await;
            freed.map_err(|e| not_updated(&e))?;
        }
        self.write_out().await.map_err(|e| not_updated(&e))
    }

    /// Writes what is not in the image, and a directory of all.
    async fn write_list(
        &self,
        list: &[Bitmap],
        claimed: &mut Claimed<'_>,
    ) -> Result<(Option<Location>, Vec<Entry>)> {
        let mut entries = Vec::new();
        for bitmap in list {
            let failed = |e: io::Error| {
                Error::from_io(
                    format!(
                        "Failed to write bitmap '{}' to file",
                        String::from_utf8_lossy(&bitmap.name)
                    ),
                    &e,
                )
            };
            let stored = match (&bitmap.stored, &bitmap.bits) {
                (_, Some(bits)) if !bitmap.inconsistent => self
                    .write_bitmap(bitmap, bits, claimed)
                    .await
                    .map_err(failed)?,
                (Some(entry), _) => entry.clone(),
                (None, _) => return Err(failed(io::ErrorKind::InvalidData.into())),
            };
            entries.push(Entry {
                flags: bitmap.flags(),
                ..stored
            });
        }
        if entries.is_empty() {
            return Ok((None, entries));
        }
        let location = self.write_directory(&entries, claimed).await;
        Ok((Some(location.map_err(|e| not_updated(&e))?), entries))
    }

    async fn write_directory(
        &self,
        entries: &[Entry],
        claimed: &mut Claimed<'_>,
    ) -> io::Result<Location> {
        let bytes = directory::encode(entries);
        let location = Location {
            count: u32::try_from(entries.len()).map_err(|_| io::ErrorKind::InvalidData)?,
            size: bytes.len() as u64,
            offset: claimed.write(&bytes).await?,
        };
        self.write_out().await?;
        Ok(location)
    }

    async fn write_bitmap(
        &self,
        bitmap: &Bitmap,
        bits: &Bits,
        claimed: &mut Claimed<'_>,
    ) -> io::Result<Entry> {
        let cluster_size = self.cluster_size();
        let len = bits::table_len(bits.size(), bitmap.granularity_bits, cluster_size);
        let mut table = Vec::new();
        for index in 0..len {
            let offset = match bits.store(index, cluster_size) {
                Some(bytes) => claimed.write(&bytes).await?,
                None => 0,
            };
            table.extend_from_slice(&offset.to_be_bytes());
        }
        Ok(Entry {
            table_offset: claimed.write(&table).await?,
            table_size: u32::try_from(len).map_err(|_| io::ErrorKind::InvalidData)?,
            flags: 0,
            granularity_bits: bitmap.granularity_bits,
            name: bitmap.name.clone(),
        })
    }

    async fn free_bitmap(&self, entry: &Entry) -> io::Result<()> {
        // A table that cannot be read is left as a leak.
        if let Ok(table) = read_table(self.file(), entry, self.cluster_size()).await {
            for offset in table.into_iter().filter(|o| *o > ALL_ONES) {
                self.free_bytes(offset, self.cluster_size()).await?;
            }
        }
        self.free_bytes(entry.table_offset, u64::from(entry.table_size) * 8)
            .await
    }
}

fn not_updated(error: &io::Error) -> Error {
    Error::from_io("Failed to update bitmap extension", error)
}

/// Whether a write makes a stored bitmap untrue: readers take it for current, or it records now.
fn trusted(entry: &Entry, state: &State) -> bool {
    let records = |b: &Bitmap| b.name == entry.name && b.records();
    entry.flags & FLAG_AUTO != 0 || state.list.iter().any(records)
}

/// The table of a bitmap: offsets of clusters, 0 or [`ALL_ONES`].
async fn read_table(file: &Edge, entry: &Entry, cluster_size: u64) -> io::Result<Vec<u64>> {
    let len = usize::try_from(entry.table_size).unwrap_or(0) * 8;
    let mut bytes = vec![0; len];
    file.read(entry.table_offset, &mut bytes).await?;
    let mut table = Vec::with_capacity(len / 8);
    for word in bytes.chunks_exact(8) {
        let word = word.try_into().map_or(0, u64::from_be_bytes);
        let offset = word & !ALL_ONES;
        let both = word & ALL_ONES != 0 && offset != 0;
        if word & TABLE_RESERVED != 0 || both || !offset.is_multiple_of(cluster_size) {
            return Err(io::Error::from_raw_os_error(EINVAL));
        }
        table.push(word);
    }
    Ok(table)
}

async fn read_bits(file: &Edge, table: &[u64], bits: &Bits, cluster_size: u64) -> io::Result<()> {
    let mut cluster = vec![0; usize::try_from(cluster_size).unwrap_or(0)];
    for (index, offset) in (0..).zip(table) {
        match *offset {
            0 => {}
            ALL_ONES => bits.load_ones(index, cluster_size),
            offset => {
                file.read(offset, &mut cluster).await?;
                bits.load(index, &cluster);
            }
        }
    }
    Ok(())
}
