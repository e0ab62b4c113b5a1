//! Small values that requests and answers are made of. All offsets and lengths are bytes.

use std::future::Future;
use std::pin::Pin;

/// What the object-safe async methods return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a write is to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteFlags {
    /// On stable storage when the write is reported done.
    pub fua: bool,
    /// The guest-visible content does not change (copy-on-read, commit of equal data).
    pub unchanged: bool,
}

/// How zeroes are to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ZeroFlags {
    /// The space may be given back.
    pub may_unmap: bool,
    /// Fail with `ENOTSUP` rather than write a buffer of zeroes.
    pub no_fallback: bool,
    /// On stable storage when reported done.
    pub fua: bool,
}

/// What a leaf asks of its callers and tells about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Offsets and lengths must be multiples of this (power of two, 1 if none).
    pub request_alignment: u32,
    /// Largest single transfer in bytes (0 if none).
    pub max_transfer: u32,
    /// Space past the end of the file reads as zeroes once the file grows over it.
    pub zero_beyond_end: bool,
    /// Writes past the end make the file grow.
    pub growable: bool,
    /// Transfers shorter than this cost more than they must (0: any length is as good).
    pub best_transfer: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_alignment: 1,
            max_transfer: 0,
            zero_beyond_end: true,
            growable: true,
            best_transfer: 0,
        }
    }
}

/// Preallocation modes, by QEMU's names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preallocation {
    /// Nothing beyond what the format needs.
    #[default]
    Off,
    /// Metadata maps everything, data is sparse.
    Metadata,
    /// Space reserved by `fallocate`.
    Falloc,
    /// Space reserved by writing zeroes.
    Full,
}

impl Preallocation {
    /// Reads QEMU's name for a mode.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "off" => Self::Off,
            "metadata" => Self::Metadata,
            "falloc" => Self::Falloc,
            "full" => Self::Full,
            _ => return None,
        })
    }

    /// QEMU's name of the mode.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Metadata => "metadata",
            Self::Falloc => "falloc",
            Self::Full => "full",
        }
    }
}

/// `cache=`: how writes reach stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// `writeback`: through the page cache, stable after a flush.
    #[default]
    Writeback,
    /// `none`: O_DIRECT, stable after a flush.
    None,
    /// `writethrough`: through the page cache, stable when a write is done.
    Writethrough,
    /// `directsync`: O_DIRECT, stable when a write is done.
    Directsync,
    /// `unsafe`: flushes do nothing.
    Unsafe,
}

impl CacheMode {
    /// Reads QEMU's name (`off` is an old word for `none`).
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "writeback" => Self::Writeback,
            "none" | "off" => Self::None,
            "writethrough" => Self::Writethrough,
            "directsync" => Self::Directsync,
            "unsafe" => Self::Unsafe,
            _ => return None,
        })
    }

    /// The page cache is gone around.
    pub fn direct(self) -> bool {
        matches!(self, Self::None | Self::Directsync)
    }

    /// Flushes do nothing.
    pub fn no_flush(self) -> bool {
        self == Self::Unsafe
    }

    /// Every write is stable when done.
    pub fn writethrough(self) -> bool {
        matches!(self, Self::Writethrough | Self::Directsync)
    }
}

/// `aio=`: how requests reach a file of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aio {
    /// By threads.
    Threads,
    /// By the kernel, around the page cache only.
    Native,
    /// By the kernel's ring.
    IoUring,
}

impl Aio {
    /// Reads QEMU's name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "threads" => Self::Threads,
            "native" => Self::Native,
            "io_uring" => Self::IoUring,
            _ => return None,
        })
    }
}

/// `detect-zeroes=`: what to do with a write of zeroes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DetectZeroes {
    /// Write it as data.
    #[default]
    Off,
    /// Write it by `write_zeroes`.
    On,
    /// Write it by `write_zeroes` and let the space go.
    Unmap,
}

/// Which of a node's children holds the bytes: an index into the edges the driver opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

impl Slot {
    /// The child called `file`, always the first.
    pub const FILE: Self = Self(0);
}

/// Bytes in a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which child.
    pub slot: Slot,
    /// Where in it, in bytes.
    pub offset: u64,
}

/// What a format says of the bytes from some guest offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// For how many bytes from the asked offset the answer holds; never 0, never more than asked.
    pub len: u64,
    /// The answer.
    pub kind: ExtentKind,
}

/// Where guest bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// Plain bytes in a child, contiguous for the whole extent.
    Data {
        /// Where the extent's first byte is.
        at: Place,
        /// The child may know of holes in here (metadata preallocation): block status asks it.
        recurse: bool,
    },
    /// Reads as zeroes, whatever the backing file says.
    Zero {
        /// Space that is kept for it, if any.
        at: Option<Place>,
    },
    /// Not in this layer: look in the backing file; zeroes when there is none.
    Backing {
        /// Space that is kept for it, if any.
        at: Option<Place>,
    },
    /// Part of one packed cluster, to be unpacked by [`crate::Format::decompress`].
    Compressed {
        /// Where the packed bytes start.
        at: Place,
        /// Upper bound of the packed length in bytes (bytes past the child's end count as zeroes).
        packed_len: u32,
        /// Guest offset of the cluster's first byte.
        cluster_start: u64,
        /// Unpacked length in bytes.
        cluster_len: u32,
    },
}

/// A format's fixed numbers; `size` changes by resize only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Virtual disk size in bytes.
    pub size: u64,
    /// Unit of allocation in bytes (power of two).
    pub cluster_size: u32,
    /// Unit in which `zero` and `discard` work without touching data (cluster or subcluster).
    pub zero_granularity: u32,
}

/// A place the format found for guest bytes `[guest, guest + len)`.
///
/// The engine writes `[guest - cow_head, guest + len + cow_tail)` at `at.offset - cow_head`, taking
/// what lies outside the request from the old content, and then commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Guest offset of the payload, in bytes.
    pub guest: u64,
    /// Payload length in bytes; never 0, never more than asked.
    pub len: u64,
    /// Where the byte at `guest` goes.
    pub at: Place,
    /// Bytes before the payload that the new place needs too.
    pub cow_head: u64,
    /// Bytes after the payload that the new place needs too.
    pub cow_tail: u64,
    /// Newly allocated: needs [`crate::Format::commit`] or [`crate::Format::cancel`]. False: in place.
    pub fresh: bool,
    /// The place is known to read as zeroes now, so zero bytes of old content need not be written.
    pub zeroed: bool,
}
