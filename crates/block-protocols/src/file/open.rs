//! Opening host files: options, kinds of file, O_DIRECT alignment.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use block_core::{Aio, Protocol, ProtocolOpen};
use qapi::{Dict, Error, Value, opts};
use sys::aligned::AlignedStore;

use super::engine::Engine;
use super::io::{FileKind, HostFile};
use super::locks::{Locking, Locks};
use super::protocol::OpenFile;

const O_DIRECT: i32 = 0o40000;
const O_NONBLOCK: i32 = 0o4000;

/// Opens a regular file; a device is let in where QEMU does.
pub(super) async fn file(mut request: ProtocolOpen<'_>) -> qapi::Result<Box<dyn Protocol>> {
    open(&mut request, "file")
}

/// Opens a device.
pub(super) async fn device(mut request: ProtocolOpen<'_>) -> qapi::Result<Box<dyn Protocol>> {
    open(&mut request, "host_device")
}

/// Options of a host file, taken out of the node's.
struct Options {
    filename: String,
    locking: Locking,
    aio: Option<Aio>,
}

fn take(options: &mut Dict) -> qapi::Result<Options> {
    let filename = match options.remove("filename") {
        Some(Value::Str(name)) if !name.is_empty() => name,
        _ => return Err(Error::new("The 'file' block driver requires a file name")),
    };
    let locking = match opts::take_str(options, "locking")?.as_deref() {
        None | Some("auto") => Locking::Auto,
        Some("on") => Locking::On,
        Some("off") => Locking::Off,
        Some(other) => {
            return Err(Error::new(format!("invalid parameter value: {other}")));
        }
    };
    let aio = opts::take_str(options, "aio")?
        .map(|name| {
            Aio::parse(&name)
                .ok_or_else(|| Error::new(format!("invalid parameter value: {name}")).errno(22))
        })
        .transpose()?;
    if opts::take_str(options, "pr-manager")?.is_some() {
        // GAP: no persistent reservation helper yet.
        return Err(Error::new("pr-manager is not supported"));
    }
    for accepted in ["drop-cache", "x-check-cache-dropped", "aio-max-batch"] {
        options.remove(accepted);
    }
    Ok(Options {
        filename,
        locking,
        aio,
    })
}

fn open(request: &mut ProtocolOpen<'_>, driver: &str) -> qapi::Result<Box<dyn Protocol>> {
    let options = take(request.options)?;
    let name = options.filename;
    if name.starts_with("/dev/fdset/") {
        // GAP: descriptors passed by the caller.
        return Err(Error::new(format!(
            "Could not open '{name}': passed descriptors are not supported"
        )));
    }
    let failed = |error: &io::Error| Error::from_io(format!("Could not open '{name}'"), error);
    let direct = request.cache.direct();
    let aio = options.aio.or(request.aio);
    if aio == Some(Aio::Native) && !direct {
        return Err(Error::new(
            "aio=native was specified, but it requires cache.direct=on, which was not specified.",
        )
        .errno(22));
    }
    let file = OpenOptions::new()
        .read(true)
        .write(request.read_write)
        .custom_flags(if direct { O_DIRECT } else { 0 } | O_NONBLOCK)
        .open(&name)
        .map_err(|e| failed(&e))?;
    let metadata = file.metadata().map_err(|e| failed(&e))?;
    let kind = kind_of(&metadata, driver, &name)?;
    let end = length(&file, kind, &metadata).map_err(|e| failed(&e))?;
    let locking = if kind == FileKind::Regular {
        options.locking
    } else {
        Locking::Off
    };
    let host = Arc::new(HostFile {
        locks: Locks::new(locking, &file)?,
        direct_align: if direct { direct_alignment(&file) } else { 1 },
        no_flush: request.cache.no_flush(),
        unmap: request.unmap,
        kind,
        name,
        end: AtomicU64::new(end),
        no_punch: AtomicBool::new(false),
        no_zero: AtomicBool::new(false),
        lost: AtomicBool::new(false),
        memory: AlignedStore::default(),
        file: Arc::new(file),
    });
    let engine = Engine::new(&host, aio);
    Ok(Box::new(OpenFile::new(host, engine)))
}

fn kind_of(metadata: &Metadata, driver: &str, name: &str) -> qapi::Result<FileKind> {
    let kind = metadata.file_type();
    let device = kind.is_block_device() || kind.is_char_device();
    match (driver, device, kind.is_file()) {
        ("file", false, true) => Ok(FileKind::Regular),
        ("file", ..) => Err(Error::new(format!(
            "'file' driver requires '{name}' to be a regular file"
        ))
        .errno(22)),
        (_, true, _) => Ok(FileKind::Device),
        (driver, ..) => Err(Error::new(format!(
            "'{driver}' driver requires '{name}' to be either a character or block device"
        ))
        .errno(22)),
    }
}

fn length(mut file: &File, kind: FileKind, metadata: &Metadata) -> io::Result<u64> {
    match kind {
        FileKind::Regular => Ok(metadata.len()),
        FileKind::Device => sys::blkdev::size(&file).or_else(|_| file.seek(SeekFrom::End(0))),
    }
}

/// Smallest power of two that a direct read takes, 4096 if none can be found out.
fn direct_alignment(file: &File) -> u32 {
    let mut memory = vec![0; 8192];
    let start = memory.as_ptr().addr().next_multiple_of(4096) - memory.as_ptr().addr();
    for align in [512_u32, 1024, 2048] {
        let part = &mut memory[start..start + align as usize];
        if file.read_at(part, u64::from(align)).is_ok() {
            return align;
        }
    }
    4096
}
