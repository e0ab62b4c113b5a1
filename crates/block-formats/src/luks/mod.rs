//! luks: a disk encrypted as LUKS 1 does it (LUKS On-Disk Format Specification 1.2.3), its header in the same file or in
//! another one (`header`).
//!
//! ```text
//! header and key slots, payload_offset bytes | the disk, sector by sector
//! ```
//!
//! The IV of a sector comes from its number on the disk. Every sector is enciphered, zeroes too, so the format
//! knows no holes, no zeroes and nothing unallocated.

mod create;
mod options;
pub(crate) mod volume;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use block_core::{
    Amend, AmendRequest, BoxFuture, Cipher, CreateRequest, Edge, Extent, ExtentKind, Format,
    FormatDriver, FormatInfo, Geometry, MeasureRequest, MeasureResult, OpenRequest, Opened, Place,
    Placement, ProbeInput, Resize, ResizeRequest, Role, Slot,
};
use crypto::SectorCipher;
use crypto::luks::Header;
use qapi::{Dict, Error, Result};

pub(crate) use options::{EncryptOptions, Given, describe, too_large};
use volume::Area;

use crate::make::number;

/// luks
pub static DRIVER: FormatDriver = FormatDriver {
    name: "luks",
    probe,
    open: |request: OpenRequest<'_>| -> BoxFuture<'_, Result<Opened>> { Box::pin(open(request)) },
    create: Some(|request: CreateRequest<'_>| -> BoxFuture<'_, Result<()>> {
        Box::pin(create::create(request))
    }),
    create_options: options::CREATE,
    amend_options: options::AMEND,
    measure: Some(measure),
    supports_backing: false,
};

const SECTOR: u64 = 512;

fn probe(input: &ProbeInput<'_>) -> u8 {
    if crypto::luks::is_luks(input.head) {
        100
    } else {
        0
    }
}

/// What en- and deciphers, if the image was opened with a key.
pub(crate) struct Sealed {
    cipher: Option<SectorCipher>,
    /// The IV comes from where a sector is in the file, not from where it is on the disk.
    by_place: bool,
}

impl Sealed {
    pub(crate) fn new(cipher: Option<SectorCipher>, by_place: bool) -> Self {
        Self { cipher, by_place }
    }

    fn sector(&self, guest: u64, host: u64) -> u64 {
        (if self.by_place { host } else { guest }) / SECTOR
    }

    fn cipher(&self) -> io::Result<&SectorCipher> {
        self.cipher
            .as_ref()
            .ok_or_else(|| io::Error::from_raw_os_error(EIO))
    }
}

const EIO: i32 = 5;

impl Cipher for Sealed {
    fn encrypt(&self, guest: u64, host: u64, buf: &mut [u8]) -> io::Result<()> {
        self.cipher()?.encrypt(self.sector(guest, host), buf);
        Ok(())
    }

    fn decrypt(&self, guest: u64, host: u64, buf: &mut [u8]) -> io::Result<()> {
        self.cipher()?.decrypt(self.sector(guest, host), buf);
        Ok(())
    }

    fn ignores_place(&self) -> bool {
        !self.by_place
    }
}

/// An open image.
struct Luks {
    file: Arc<Edge>,
    /// Where the header is.
    area: Area,
    header: tokio::sync::Mutex<Header>,
    payload: u64,
    size: AtomicU64,
    sealed: Sealed,
    /// The secret that opened it.
    secret: String,
}

async fn open(request: OpenRequest<'_>) -> Result<Opened> {
    let file = request.file;
    let mut edges = vec![Arc::clone(&file)];
    if let Some(given) = request.options.remove("header") {
        let gate = request.gate;
        let header = gate.open_child(Role::File, "header", Some(given), None);
        edges.push(header.await?);
    }
    let mut own = Dict::new();
    if let Some(secret) = request.options.remove("key-secret") {
        own.insert("key-secret", secret);
    }
    let given = Given {
        options: &own,
        prefix: "",
    };
    let find = |id: &str| request.gate.object(id);
    let passphrase = if request.no_io {
        None
    } else {
        Some(volume::passphrase(&find, given.key_secret()?)?)
    };
    let detached = edges.len() > 1;
    let area = Area {
        file: Arc::clone(edges.last().unwrap_or(&file)),
        base: 0,
        len: None,
    };
    let header = volume::load(&area, detached).await?;
    let cipher = match passphrase {
        None => None,
        Some(passphrase) => {
            let key = volume::unlock(&area, &header, &passphrase).await?;
            Some(header.cipher(&key)?)
        }
    };
    let payload = header.payload_offset;
    let size = payload_size(&file, payload)?;
    let image = Luks {
        file,
        area,
        header: tokio::sync::Mutex::new(header),
        payload,
        size: AtomicU64::new(size),
        sealed: Sealed::new(cipher, false),
        secret: given.key_secret().unwrap_or_default().to_owned(),
    };
    Ok(Opened {
        format: Box::new(image),
        edges,
        backing: None,
    })
}

/// The disk's size: what the file has behind the header, in whole sectors.
fn payload_size(file: &Edge, payload: u64) -> Result<u64> {
    let failed = |e: &io::Error| Error::from_io("Could not refresh total sector count", e);
    let length = file.node().length().map_err(|e| failed(&e))?;
    match length.checked_sub(payload) {
        Some(size) => Ok(size.next_multiple_of(SECTOR)),
        None => Err(failed(&io::Error::from_raw_os_error(EIO))),
    }
}

fn measure(request: &MeasureRequest<'_>) -> Result<MeasureResult> {
    let given = Given {
        options: request.options,
        prefix: "",
    };
    let size = match &request.source {
        Some(source) => source.length,
        None => number(request.options, "size", 0),
    };
    let options = given.create()?;
    volume::passphrase(request.object, given.key_secret()?)?;
    options.check()?;
    let all = options
        .header_bytes()
        .checked_add(size)
        .ok_or_else(too_large)?;
    Ok(MeasureResult {
        required: all,
        fully_allocated: all,
        bitmaps: None,
    })
}

impl Luks {
    fn placement(&self, offset: u64, len: u64) -> Placement {
        Placement {
            guest: offset,
            len,
            at: Place {
                slot: Slot::FILE,
                offset: self.payload + offset,
            },
            cow_head: 0,
            cow_tail: 0,
            fresh: false,
            zeroed: false,
        }
    }

    fn extent(&self, offset: u64, len: u64) -> Extent {
        let at = self.placement(offset, len).at;
        Extent {
            len,
            kind: ExtentKind::Data { at, recurse: false },
        }
    }
}

impl Format for Luks {
    fn geometry(&self) -> Geometry {
        Geometry {
            size: self.size.load(Ordering::Acquire),
            cluster_size: 512,
            zero_granularity: 512,
        }
    }

    fn map(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Extent>> {
        Box::pin(std::future::ready(Ok(self.extent(offset, len))))
    }

    fn map_cached(&self, offset: u64, len: u64) -> Option<Extent> {
        Some(self.extent(offset, len))
    }

    fn prepare(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Placement>> {
        Box::pin(std::future::ready(Ok(self.placement(offset, len))))
    }

    fn prepare_cached(&self, offset: u64, len: u64) -> Option<Placement> {
        Some(self.placement(offset, len))
    }

    fn commit<'a>(&'a self, _placement: &'a Placement) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn cancel<'a>(&'a self, _placement: &'a Placement) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn opaque(&self) -> bool {
        true
    }

    fn cipher(&self) -> Option<&dyn Cipher> {
        Some(&self.sealed)
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        self.file.flush()
    }

    fn info(&self) -> BoxFuture<'_, Result<FormatInfo>> {
        Box::pin(async {
            let header = self.header.lock().await;
            Ok(FormatInfo {
                encrypted: true,
                dirty: Some(false),
                specific: Some(describe(&header)),
                ..FormatInfo::default()
            })
        })
    }

    fn resize(&self) -> Option<&dyn Resize> {
        Some(self)
    }

    fn amend(&self) -> Option<&dyn Amend> {
        Some(self)
    }
}

impl Resize for Luks {
    fn resize(&self, request: ResizeRequest) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let end = request.size.checked_add(self.payload);
            let end = end.filter(|end| i64::try_from(*end).is_ok());
            let end = end.ok_or_else(too_large)?;
            self.file.truncate(end, request.preallocation).await?;
            let size = payload_size(&self.file, self.payload)?;
            self.size.store(size, Ordering::Release);
            Ok(())
        })
    }
}

impl Amend for Luks {
    fn amend<'a>(&'a self, request: AmendRequest<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let given = Given {
                options: request.options,
                prefix: "",
            };
            let change = given.change(&self.secret, request.force, request.object)?;
            let mut header = self.header.lock().await;
            volume::change(&self.area, &mut header, &change).await
        })
    }
}
