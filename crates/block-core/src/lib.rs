//! The block layer's contracts and the machinery around them: the node graph, permissions, the
//! mapping engine, range locks and drain.
//!
//! Three small traits describe everything that can stand in a tree: a [`Protocol`] moves bytes, a
//! [`Format`] only says where bytes are, a [`Filter`] passes requests on. This crate alone does
//! bounds, alignment, copy on write, overlap waiting, zero detection, drain and permission checks.
//!
//! Lock order: graph, then node options, then a format's own locks, then a range lock's table. No lock
//! but an async one made for it is held across `.await`.
#![forbid(unsafe_code)]

mod driver;
mod edge;
mod engine;
mod event;
mod filter;
mod format;
mod graph;
mod node;
mod perm;
mod protocol;
mod range_lock;
mod root;
#[cfg(any(test, feature = "contract-tests"))]
pub mod testing;
mod types;

pub use driver::{
    CreateRequest, FilterDriver, FilterOpen, FindObject, FormatDriver, Gate, MeasureRequest,
    MeasureResult, MeasureSource, OpenRequest, Opened, ProbeInput, Progress, ProtocolDriver,
    ProtocolOpen,
};
pub use edge::{Edge, Role};
pub use engine::{Mapped, is_zero};
pub use event::{Event, EventSink};
pub use filter::{Filter, FilterLimits};
pub use format::{
    Amend, AmendRequest, BackingLink, BitmapInfo, Bitmaps, CIPHER_UNIT, ChangeBacking, Check,
    CheckReport, CheckRequest, Cipher, Compress, Empty, Fix, Format, FormatInfo, Resize,
    ResizeRequest, SnapshotInfo, Snapshots,
};
pub use graph::Graph;
pub use node::{Kind, Node, NodeSpec, Status};
pub use perm::Perms;
pub use protocol::{LeafStatus, Protocol};
pub use qapi::{OptionDesc, OptionKind};
pub use range_lock::{RangeGuard, RangeLock};
pub use root::Root;
pub use types::{
    Aio, BoxFuture, CacheMode, DetectZeroes, Extent, ExtentKind, Geometry, Limits, Place,
    Placement, Preallocation, Slot, WriteFlags, ZeroFlags,
};
