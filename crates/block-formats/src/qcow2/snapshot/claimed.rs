//! New clusters written before anything points at them, given back when the work fails.

use std::io;

use block_core::WriteFlags;

use crate::qcow2::Qcow2;

/// Clusters allocated so far.
pub(in crate::qcow2) struct Claimed<'a> {
    image: &'a Qcow2,
    places: Vec<(u64, u64)>,
}

impl<'a> Claimed<'a> {
    /// None yet.
    pub(in crate::qcow2) fn new(image: &'a Qcow2) -> Self {
        Self {
            image,
            places: Vec::new(),
        }
    }

    /// Allocates room for `bytes`, writes them and gives back where; 0 when there are none.
    pub(in crate::qcow2) async fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let len = bytes.len() as u64;
        let offset = self.image.allocate_bytes(len).await?;
        self.places.push((offset, len));
        let file = self.image.file();
        file.write(offset, bytes, WriteFlags::default()).await?;
        Ok(offset)
    }

    /// Gives all back, as far as the file takes it.
    pub(in crate::qcow2) async fn release(self) {
        for (offset, len) in self.places {
            if self.image.free_bytes(offset, len).await.is_err() {
                return;
            }
        }
        // What could not be written is a leak; the caller reports the failure before it.
        let _ = self.image.write_out().await;
    }
}
