//! What a driver tells of itself: entries of the FORMATS, PROTOCOLS and FILTERS lists.

use std::any::Any;
use std::sync::Arc;

use qapi::{Dict, OptionDesc, Value};

use crate::{
    Aio, BackingLink, BitmapInfo, BoxFuture, CacheMode, Edge, Filter, Format, Node, Protocol, Role,
};

/// What format probing looks at.
pub struct ProbeInput<'a> {
    /// The file's first bytes, at most 512.
    pub head: &'a [u8],
    /// The file's name as the user gave it.
    pub filename: &'a str,
}

/// Finds an object (`--object`) by its id.
pub type FindObject<'a> = &'a (dyn Fn(&str) -> Option<Arc<dyn Any + Send + Sync>> + Send + Sync);

/// How far long work is; called from any thread.
pub trait Progress: Send + Sync {
    /// `done` of `total` work units.
    fn set(&self, done: u64, total: u64);
}

/// Opens what a driver or an image names. The caller of open supplies it, so that it decides what a name inside an
/// image may reach.
pub trait Gate: Send + Sync {
    /// Opens the child `role` of a node: from `options` (keys `role` or `role.*` already nested as
    /// [`Value::Dict`] or a node name) or, when there are none, from `named_by_image`, a plain path found in the image.
    fn open_child<'a>(
        &'a self,
        role: Role,
        name: &'static str,
        options: Option<Value>,
        named_by_image: Option<&'a str>,
    ) -> BoxFuture<'a, qapi::Result<Arc<Edge>>>;

    /// Opens the child `name` of a filter from `options` (as for [`Gate::open_child`]), or the file called
    /// `filename`, with these options for it. `guess`: its format is guessed when no option says it.
    fn open_filtered<'a>(
        &'a self,
        name: &'static str,
        _options: Option<Value>,
        _filename: Option<&'a str>,
        _guess: bool,
    ) -> BoxFuture<'a, qapi::Result<Arc<Edge>>> {
        Box::pin(std::future::ready(Err(qapi::Error::new(format!(
            "A block device must be specified for \"{name}\""
        )))))
    }

    /// The object (`--object`) called `id`, if there is one.
    fn object(&self, _id: &str) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// Creates a plain file of this length at the protocol layer and opens it read-write (create of formats).
    fn create_file<'a>(
        &'a self,
        filename: &'a str,
        options: &'a Dict,
    ) -> BoxFuture<'a, qapi::Result<Arc<Node>>>;
}

/// What a format is opened with.
pub struct OpenRequest<'a> {
    /// The child called `file`, opened already.
    pub file: Arc<Edge>,
    /// Options of this node, `file` and `backing` taken out. The driver removes those it knows; what is left is
    /// an error made by the caller.
    pub options: &'a mut Dict,
    /// Open for writing.
    pub read_write: bool,
    /// Open only to look (`info`, `check`): the image may be damaged, nothing is repaired on the way.
    pub check_only: bool,
    /// Space that becomes free is given back to what is below.
    pub unmap: bool,
    /// Do not open what the image names beside backing (data file): `info`.
    pub no_io: bool,
    /// Opens other children.
    pub gate: &'a dyn Gate,
}

/// What a driver's `open` gives back.
pub struct Opened {
    /// The mapping.
    pub format: Box<dyn Format>,
    /// Children by [`crate::Slot`]; `file` first.
    pub edges: Vec<Arc<Edge>>,
    /// The backing file named in the image; the caller opens it.
    pub backing: Option<BackingLink>,
}

/// What an image is made from.
pub struct CreateRequest<'a> {
    /// The file it goes to, as the user gave it.
    pub filename: &'a str,
    /// Create options by name, typed as [`FormatDriver::create_options`] says.
    pub options: &'a Dict,
    /// Creates the file and opens it.
    pub gate: &'a dyn Gate,
}

/// What to measure.
pub struct MeasureRequest<'a> {
    /// Create options as for create; `size` is there when no source is.
    pub options: &'a Dict,
    /// The image to be converted.
    pub source: Option<MeasureSource>,
    /// Finds secrets.
    pub object: FindObject<'a>,
}

/// What measuring needs to know of a source.
#[derive(Debug, Clone, Default)]
pub struct MeasureSource {
    /// Length of the disk in bytes.
    pub length: u64,
    /// Ranges (offset, length in bytes) with data, ascending.
    pub data: Vec<(u64, u64)>,
    /// Its persistent bitmaps; `None` when its format has none.
    pub bitmaps: Option<Vec<BitmapInfo>>,
}

/// What `measure` prints, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeasureResult {
    /// For the content there is.
    pub required: u64,
    /// If every cluster was written.
    pub fully_allocated: u64,
    /// For the source's bitmaps.
    pub bitmaps: Option<u64>,
}

type OpenFn = for<'a> fn(OpenRequest<'a>) -> BoxFuture<'a, qapi::Result<Opened>>;
type CreateFn = for<'a> fn(CreateRequest<'a>) -> BoxFuture<'a, qapi::Result<()>>;
type MeasureFn = fn(&MeasureRequest<'_>) -> qapi::Result<MeasureResult>;

/// One image format.
pub struct FormatDriver {
    /// `driver=` name.
    pub name: &'static str,
    /// Score from 0 (no) to 100 (certain) that the bytes are of this format.
    pub probe: fn(&ProbeInput<'_>) -> u8,
    /// Opens an image.
    pub open: OpenFn,
    /// Makes an image, if the format can be written.
    pub create: Option<CreateFn>,
    /// In any order; printed sorted.
    pub create_options: &'static [OptionDesc],
    /// Empty when amend is not supported.
    pub amend_options: &'static [OptionDesc],
    /// Size prediction.
    pub measure: Option<MeasureFn>,
    /// Images can name a backing file.
    pub supports_backing: bool,
}

/// How a leaf is opened.
pub struct ProtocolOpen<'a> {
    /// Options of the node; the driver removes those it knows.
    pub options: &'a mut Dict,
    /// Open for writing.
    pub read_write: bool,
    /// `cache=`
    pub cache: CacheMode,
    /// How requests are made when no option says it.
    pub aio: Option<Aio>,
    /// Take no locks against others (`-U`).
    pub force_share: bool,
    /// What cannot be written may be opened for reading instead.
    pub auto_read_only: bool,
    /// `discard=unmap`: space that becomes free goes back to what is below.
    pub unmap: bool,
    /// The object (`--object`) of an id.
    pub object: FindObject<'a>,
}

type ProtocolOpenFn =
    for<'a> fn(ProtocolOpen<'a>) -> BoxFuture<'a, qapi::Result<Box<dyn Protocol>>>;
type ProtocolCreateFn = for<'a> fn(&'a str, &'a Dict) -> BoxFuture<'a, qapi::Result<()>>;
type FilterOpenFn = for<'a> fn(FilterOpen<'a>) -> BoxFuture<'a, qapi::Result<Box<dyn Filter>>>;

/// One protocol.
pub struct ProtocolDriver {
    /// `driver=` name.
    pub name: &'static str,
    /// Prefixes of file names that mean it (`nbd:`), without the colon.
    pub prefixes: &'static [&'static str],
    /// Turns a file name into options (`filename`, `host`, ...).
    pub parse_filename: fn(&str, &mut Dict) -> qapi::Result<()>,
    /// Opens it.
    pub open: ProtocolOpenFn,
    /// Creates it (`filename`, typed options with `size`), if it can.
    pub create: Option<ProtocolCreateFn>,
    /// Options of create.
    pub create_options: &'static [OptionDesc],
    /// Options that are part of its name where no plain name says all; a record's name ends with a dot.
    pub strong: &'static [&'static str],
    /// The plain name of a node with these options.
    pub plain_name: fn(&Dict) -> Option<String>,
}

/// What a filter is opened with.
pub struct FilterOpen<'a> {
    /// Options of the node, those of its children nested; the driver removes those it knows.
    pub options: &'a mut Dict,
    /// Open for writing.
    pub read_write: bool,
    /// Opens children.
    pub gate: &'a dyn Gate,
}

/// One filter.
pub struct FilterDriver {
    /// `driver=` name.
    pub name: &'static str,
    /// Turns a file name that begins with the driver's name and `:` into options; `None`: it has no such names.
    pub parse_filename: Option<fn(&str, &mut Dict) -> qapi::Result<()>>,
    /// Opens it; removes the options it knows.
    pub open: FilterOpenFn,
    /// Options that change what is seen through it: they are part of its name, and a list's or record's
    /// name ends with a dot.
    pub strong: &'static [&'static str],
    /// Options that name files which it reads or writes for itself.
    pub files: &'static [&'static str],
    /// The plain name of a node with these options, over children with these names.
    pub plain_name: fn(&Dict, &[&str]) -> Option<String>,
}
