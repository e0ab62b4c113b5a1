//! Content ids: an image has a new one after each session that wrote to it, and an overlay names that of its parent.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use block_core::{Node, Preallocation, WriteFlags};

use super::Vmdk;
use super::descriptor::{EMBEDDED, EMBEDDED_AT, MAX, text, with_cid};
use crate::blocks::errno;
use crate::make::uuid;

/// The ids of an image.
pub(super) struct Ids {
    pub(super) own: AtomicU32,
    pub(super) parent: u32,
    /// The parent has another id than it had: its content is not what the overlay was made over.
    stale: AtomicBool,
    /// The own one is new.
    changed: AtomicBool,
    changing: tokio::sync::Mutex<()>,
}

/// A random id.
pub(super) fn random() -> qapi::Result<u32> {
    let bytes = uuid()?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

impl Ids {
    /// Those of a descriptor.
    pub(super) fn new(own: u32, parent: u32) -> Self {
        Self {
            own: AtomicU32::new(own),
            parent,
            stale: AtomicBool::new(false),
            changed: AtomicBool::new(false),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// Whether this session has its id already.
    pub(super) fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// Fails when the backing file is not what it was.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.stale.load(Ordering::Acquire) {
            return Err(errno(22));
        }
        Ok(())
    }
}

impl Vmdk {
    /// Compares the id of the backing file with the one that is named.
    pub(super) async fn meet(&self, backing: &Node) {
        let id = match backing.format().filter(|_| backing.driver() == "vmdk") {
            Some(format) => format.info().await.ok().and_then(|info| info.specific),
            None => None,
        };
        let id = id.and_then(|specific| match specific.get("cid") {
            Some(qapi::Value::Uint(id)) => u32::try_from(*id).ok(),
            Some(qapi::Value::Int(id)) => u32::try_from(*id).ok(),
            _ => None,
        });
        let stale = id != Some(self.ids.parent);
        self.ids.stale.store(stale, Ordering::Release);
    }

    /// Gives the image a new id at the first write.
    pub(super) async fn renew(&self) -> io::Result<()> {
        if self.ids.changed.load(Ordering::Acquire) {
            return Ok(());
        }
        let _changing = self.ids.changing.lock().await;
        if self.ids.changed.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.read_only.load(Ordering::Acquire) {
            return Err(errno(1));
        }
        let id = random().map_err(|_| errno(5))?;
        self.write_id(id).await?;
        self.ids.own.store(id, Ordering::Release);
        self.ids.changed.store(true, Ordering::Release);
        Ok(())
    }

    async fn write_id(&self, id: u32) -> io::Result<()> {
        let (at, len) = if self.own_file {
            (0, self.file.node().length()?.min(MAX))
        } else {
            (EMBEDDED_AT, EMBEDDED as u64)
        };
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| errno(27))?];
        self.file.read(at, &mut bytes).await?;
        let mut new = with_cid(&text(&bytes), id)
            .ok_or_else(|| errno(22))?
            .into_bytes();
        if !self.own_file {
            // The room inside an extent is fixed; a text that fills it loses its last byte to no one.
            new.resize(EMBEDDED, 0);
        }
        self.file.write(at, &new, WriteFlags::default()).await?;
        if self.own_file && (new.len() as u64) < len {
            let cut = self
                .file
                .truncate(new.len() as u64, Preallocation::Off)
                .await;
            cut.map_err(|e| errno(e.errno_value().unwrap_or(5)))?;
        }
        self.file.flush().await
    }
}
