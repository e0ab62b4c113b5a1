//! `blklogwrites`: logs every write beside doing it, in the form of Linux' dm-log-writes, so that a crash at any point
//! can be played again.
//!
//! ```text
//! sector 0        magic u64, version u64, entries u64, sector size u32, all little endian
//! then, for each  sector u64, sectors u64, flags u64, length 0; in a sector of its own
//!                 the data, unless it is a discard or nothing
//! ```

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use block_core::{
    BoxFuture, Edge, Filter, FilterDriver, FilterLimits, FilterOpen, Perms, WriteFlags, ZeroFlags,
};
use qapi::{Error, opts};
use tokio::sync::Mutex as Turn;

/// The driver.
pub(crate) const BLKLOGWRITES: FilterDriver = FilterDriver {
    name: "blklogwrites",
    parse_filename: None,
    open: |request| Box::pin(open(request)),
    strong: &["log-append", "log-sector-size"],
    files: &["log"],
    plain_name: |_, _| None,
};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;
const KNOWN_FLAGS: u64 = 15;
const ENTRY_LEN: usize = 32;
const SUPER_LEN: usize = 28;
const SECTOR: u32 = 512;
const DEFAULT_INTERVAL: u64 = 4096;
const EIO: i32 = 5;

/// Where the next entry goes.
#[derive(Debug, Clone, Copy)]
struct Position {
    sector: u64,
    entries: u64,
}

struct LogWrites {
    file: Arc<Edge>,
    log: Arc<Edge>,
    sector_size: u32,
    interval: u64,
    /// Something was written since the last flush: only then is a flush logged.
    unflushed: AtomicBool,
    read_write: bool,
    position: Mutex<Position>,
    /// One writes the first sector at a time; the entries it says.
    head: Turn<u64>,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(text).errno(22)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    if let Some(part) = bytes.get(at..at + 8) {
        word.copy_from_slice(part);
    }
    u64::from_le_bytes(word)
}

fn good_sector_size(size: u64) -> bool {
    size.is_power_of_two() && size >= ENTRY_LEN as u64 && size < 1 << 24
}

async fn open(request: FilterOpen<'_>) -> qapi::Result<Box<dyn Filter>> {
    let (options, gate) = (request.options, request.gate);
    let append = opts::take_bool(options, "log-append")?.unwrap_or(false);
    let asked = opts::take_size(options, "log-sector-size")?;
    let interval =
        opts::take_number(options, "log-super-update-interval")?.unwrap_or(DEFAULT_INTERVAL);
    let file = gate
        .open_filtered("file", options.remove("file"), None, false)
        .await?;
    let log = gate
        .open_filtered("log", options.remove("log"), None, false)
        .await?;
    let (size, position) = if append {
        if asked.is_some() {
            return Err(invalid(
                "log-append and log-sector-size are mutually exclusive",
            ));
        }
        resume(&log).await?
    } else {
        let fresh = Position {
            sector: 1,
            entries: 0,
        };
        (asked.unwrap_or(u64::from(SECTOR)), fresh)
    };
    let sector_size = match u32::try_from(size) {
        Ok(small) if good_sector_size(size) => small,
        _ => return Err(invalid(format!("Invalid log sector size {size}"))),
    };
    if interval == 0 {
        return Err(invalid("Invalid log superblock update interval 0"));
    }
    Ok(Box::new(LogWrites {
        file,
        log,
        sector_size,
        interval,
        unflushed: AtomicBool::new(false),
        read_write: request.read_write,
        position: Mutex::new(position),
        head: Turn::new(0),
    }))
}

/// The sector size of a log that is there, and where it ends.
async fn resume(log: &Edge) -> qapi::Result<(u64, Position)> {
    let failed = |e: &io::Error| Error::from_io("Could not read log superblock", e);
    let fresh = Position {
        sector: 1,
        entries: 0,
    };
    let length = log.node().length().map_err(|e| failed(&e))?;
    if length == 0 {
        return Ok((u64::from(SECTOR), fresh));
    }
    let mut head = [0; SUPER_LEN + 4];
    log.read(0, &mut head[..SUPER_LEN])
        .await
        .map_err(|e| failed(&e))?;
    if word(&head, 0) != MAGIC {
        return Err(invalid("Invalid log superblock magic"));
    }
    if word(&head, 8) != VERSION {
        return Err(invalid(format!(
            "Unsupported log version {}",
            word(&head, 8)
        )));
    }
    let size = word(&head, 24) & u64::from(u32::MAX);
    if !good_sector_size(size) {
        return Ok((size, fresh));
    }
    let entries = word(&head, 16);
    let sector = find_end(log, size, entries, length).await?;
    Ok((size, Position { sector, entries }))
}

/// Walks over the entries; there cannot be more of them than the file has sectors.
async fn find_end(log: &Edge, size: u64, entries: u64, length: u64) -> qapi::Result<u64> {
    let mut sector = 1_u64;
    for index in 0..entries {
        let failed = |e: &io::Error| Error::from_io(format!("Failed to read log entry {index}"), e);
        let offset = sector.checked_mul(size).filter(|at| *at < length);
        let offset = offset.ok_or_else(|| failed(&io::Error::from_raw_os_error(EIO)))?;
        let mut entry = [0; ENTRY_LEN];
        log.read(offset, &mut entry).await.map_err(|e| failed(&e))?;
        let flags = word(&entry, 16);
        if flags & !KNOWN_FLAGS != 0 {
            return Err(invalid(format!(
                "Invalid flags {flags:#x} in log entry {index}"
            )));
        }
        let data = if flags & DISCARD == 0 {
            word(&entry, 8)
        } else {
            0
        };
        sector = sector
            .checked_add(1)
            .and_then(|s| s.checked_add(data))
            .ok_or_else(|| failed(&io::Error::from_raw_os_error(EIO)))?;
    }
    Ok(sector)
}

/// What an entry's data is.
#[derive(Clone, Copy)]
enum Data<'a> {
    None,
    Bytes(&'a [u8]),
    Zeroes(u64),
}

impl LogWrites {
    fn position(&self) -> MutexGuard<'_, Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs one request.
    async fn log(&self, offset: u64, len: u64, flags: u64, data: Data<'_>) -> io::Result<()> {
        let size = u64::from(self.sector_size);
        let data_len = match data {
            Data::None => 0,
            Data::Bytes(bytes) => bytes.len() as u64,
            Data::Zeroes(len) => len,
        };
        let (start, number) = {
            let mut position = self.position();
            let start = position.sector;
            position.sector += 1 + data_len.div_ceil(size);
            position.entries += 1;
            (start, position.entries)
        };
        let at = start.checked_mul(size).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut entry = Vec::new();
        for field in [offset / size, len / size, flags, 0] {
            entry.extend_from_slice(&field.to_le_bytes());
        }
        entry.resize(self.sector_size as usize, 0);
        if let Data::Bytes(bytes) = data {
            entry.extend_from_slice(bytes);
        }
        self.log.write(at, &entry, WriteFlags::default()).await?;
        if let Data::Zeroes(len) = data {
            let flags = ZeroFlags::default();
            self.log.write_zeroes(at + size, len, flags).await?;
        }
        if flags & FLUSH != 0 || number.is_multiple_of(self.interval) {
            self.write_head(number).await?;
        }
        Ok(())
    }

    /// A request is done but for a flush that it asks for, which is about what came before it.
    async fn finish(&self, fua: bool) -> io::Result<()> {
        if fua {
            self.flush().await?;
        }
        self.unflushed.store(true, Ordering::Release);
        Ok(())
    }

    /// Brings the first sector up to date, if nobody has done so since.
    async fn write_head(&self, number: u64) -> io::Result<()> {
        let mut told = self.head.lock().await;
        if *told > number {
            return Ok(());
        }
        let entries = self.position().entries;
        let mut head = Vec::new();
        for field in [MAGIC, VERSION, entries] {
            head.extend_from_slice(&field.to_le_bytes());
        }
        head.extend_from_slice(&self.sector_size.to_le_bytes());
        head.resize(self.sector_size as usize, 0);
        self.log.write(0, &head, WriteFlags::default()).await?;
        *told = number;
        self.log.flush().await
    }
}

impl Filter for LogWrites {
    fn child(&self) -> &Arc<Edge> {
        &self.file
    }

    fn children(&self) -> Vec<Arc<Edge>> {
        vec![Arc::clone(&self.file), Arc::clone(&self.log)]
    }

    fn child_perms(&self, child: &Edge, used: Perms, shared: Perms) -> (Perms, Perms) {
        if child.name() != "log" {
            return (used, shared);
        }
        let storage = Perms::WRITE | Perms::RESIZE;
        let own = if self.read_write {
            storage
        } else {
            Perms::NONE
        };
        (Perms::CONSISTENT_READ | own, Perms::ALL - storage)
    }

    fn is_for_tests(&self) -> bool {
        true
    }

    fn limits(&self) -> Option<FilterLimits> {
        Some(FilterLimits {
            request_alignment: self.sector_size,
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
            let plain = WriteFlags {
                fua: false,
                ..flags
            };
            let done = self.file.write(offset, buf, plain).await;
            let len = buf.len() as u64;
            self.log(offset, len, 0, Data::Bytes(buf)).await?;
            done?;
            self.finish(flags.fua).await
        })
    }

    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let plain = ZeroFlags {
                fua: false,
                ..flags
            };
            let done = self.file.write_zeroes(offset, len, plain).await;
            self.log(offset, len, 0, Data::Zeroes(len)).await?;
            done?;
            self.finish(flags.fua).await
        })
    }

    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let done = self.file.discard(offset, len).await;
            self.log(offset, len, DISCARD, Data::None).await?;
            self.finish(false).await?;
            done
        })
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let done = self.file.flush().await;
            if self.unflushed.swap(false, Ordering::AcqRel) && self.read_write {
                self.log(0, 0, FLUSH, Data::None).await?;
            }
            done
        })
    }

    fn close(&self) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(async move {
            self.flush()
                .await
                .map_err(|e| Error::from_io("Could not write the log", &e))
        })
    }
}
