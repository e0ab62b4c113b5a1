//! What a session that writes does to an image beside its blocks: new ids at the first change, and every change of the
//! table of blocks by way of the log.
//!
//! A log entry is written under a GUID that the header does not name yet, flushed with the data before it, and counts
//! from the moment a header with its GUID is there. When the table is in its place too, the next header names no
//! log: between two flushes the image is as clean as one that was closed.

use std::io;
use std::sync::Arc;

use block_core::{BoxFuture, Edge, WriteFlags};
use qapi::Result;

use super::header::{Guid, Headers, MIB, SECTOR};
use super::log::{self, Replay};
use crate::blocks::errno;
use crate::make::uuid;
use crate::tables::Journal;

/// The headers of an open image, and its log.
pub(super) struct Session {
    file: Arc<Edge>,
    headers: tokio::sync::Mutex<Headers>,
}

fn random() -> io::Result<Guid> {
    uuid().map_err(|_| errno(5))
}

impl Session {
    pub(super) fn new(file: &Arc<Edge>, headers: Headers) -> Arc<Self> {
        Arc::new(Self {
            file: Arc::clone(file),
            headers: tokio::sync::Mutex::new(headers),
        })
    }

    /// Makes the changes that the log holds.
    ///
    /// # Errors
    /// What the file says, or that the log is damaged.
    pub(super) async fn replay(headers: &mut Headers, replay: Replay) -> Result<()> {
        replay.run().await?;
        let file_write = uuid()?;
        let cleared = headers
            .write(|header| {
                header.log = Guid::default();
                header.file_write = file_write;
            })
            .await;
        cleared.map_err(|e| qapi::Error::from_io("Could not write the VHDX header", &e))
    }

    /// Before the first change: both headers get new ids.
    ///
    /// # Errors
    /// What the file says.
    pub(super) async fn begin(&self) -> io::Result<()> {
        let (file_write, data_write) = (random()?, random()?);
        let mut headers = self.headers.lock().await;
        for _ in 0..2 {
            headers
                .write(|header| {
                    header.file_write = file_write;
                    header.data_write = data_write;
                    header.log = Guid::default();
                })
                .await?;
        }
        Ok(())
    }

    /// Writes sectors of metadata by one entry of the log.
    async fn log(&self, headers: &mut Headers, sectors: &[(u64, &[u8])]) -> io::Result<()> {
        let now = headers.now;
        if u64::from(now.log_length) < MIB {
            return Err(errno(22));
        }
        let guid = random()?;
        let entry = log::entry(&guid, sectors, self.file.node().length()?);
        let flags = WriteFlags::default();
        self.file.write(now.log_offset, &entry, flags).await?;
        self.file.flush().await?;
        headers.write(|header| header.log = guid).await?;
        for (at, bytes) in sectors {
            self.file.write(*at, bytes, flags).await?;
        }
        self.file.flush().await?;
        headers.write(|header| header.log = Guid::default()).await
    }
}

impl Journal for Session {
    fn write<'a>(&'a self, pieces: &'a [(u64, Vec<u8>)]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let mut headers = self.headers.lock().await;
            let mut sectors = Vec::new();
            for (at, bytes) in pieces {
                // The table of blocks is in whole sectors: open saw to that.
                let places = (*at..).step_by(SECTOR);
                sectors.extend(places.zip(bytes.chunks_exact(SECTOR)));
            }
            for some in sectors.chunks(log::PER_ENTRY) {
                self.log(&mut headers, some).await?;
            }
            Ok(())
        })
    }
}
