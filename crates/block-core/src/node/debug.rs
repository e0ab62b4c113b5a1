//! Ways down from a node: events, what filters show, and reads that keep what they got from below.

use std::io;
use std::sync::Arc;

use super::{Kind, Node};
use crate::{Event, EventSink, RangeLock, WriteFlags, ZeroFlags, engine};

/// Most bytes that one copy takes along.
const MAX_COPY: u64 = 16 << 20;

impl Node {
    fn sink(&self) -> Option<&dyn EventSink> {
        match &self.kind {
            Kind::Filter(filter) => filter.events(),
            _ => None,
        }
    }

    /// Whether anybody hears of events raised here.
    pub fn hears(&self) -> bool {
        self.sink().is_some()
    }

    /// An event comes to pass at this node; ends when the request may go on.
    pub async fn raise(&self, event: Event) {
        if let Some(sink) = self.sink() {
            sink.raise(event).await;
        }
    }

    /// Calls `act` with the first node below, by way of main children, that hears of events; `None`: there is none.
    pub fn with_events<T>(self: &Arc<Self>, act: impl FnOnce(&dyn EventSink) -> T) -> Option<T> {
        self.hearing().and_then(|node| node.sink().map(act))
    }

    /// The first node from here down, by way of main children, that hears of events.
    pub fn hearing(self: &Arc<Self>) -> Option<Arc<Self>> {
        let mut node = Arc::clone(self);
        while !node.hears() {
            let child = node.children().first()?.node();
            node = child;
        }
        Some(node)
    }

    /// Whether a node below, by way of main children, watches requests for tests.
    pub fn is_tested(&self) -> bool {
        match &self.kind {
            Kind::Filter(filter) if filter.is_for_tests() => true,
            _ => self
                .children()
                .first()
                .is_some_and(|child| child.node().is_tested()),
        }
    }

    /// Ends when a request is held back under `tag`.
    pub async fn suspended(&self, tag: &str) {
        if let Some(sink) = self.sink() {
            sink.suspended(tag).await;
        }
    }

    /// What a filter shows; `None` for other nodes.
    pub fn filtered(&self) -> Option<Arc<Self>> {
        match &self.kind {
            Kind::Filter(filter) if filter.is_transparent() => Some(filter.child().node()),
            _ => None,
        }
    }

    /// The node below all filters from here down; itself when it is none.
    pub fn under_filters(self: &Arc<Self>) -> Arc<Self> {
        let mut node = Arc::clone(self);
        while let Kind::Filter(filter) = &node.kind {
            let child = filter.child().node();
            node = child;
        }
        node
    }

    /// Fills `buf` from `position` in the area for VM state of the first format below.
    pub(crate) async fn read_vm_state(&self, position: u64, buf: &mut [u8]) -> io::Result<()> {
        match &self.kind {
            Kind::Format(mapped) => mapped.read_vm_state(position, buf).await,
            _ => match self.children().first() {
                Some(child) => Box::pin(child.node().read_vm_state(position, buf)).await,
                None => Err(engine::unsupported()),
            },
        }
    }

    /// Writes `buf` at `position` in the area for VM state of the first format below.
    pub(crate) async fn write_vm_state(&self, position: u64, buf: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        match &self.kind {
            Kind::Format(mapped) => mapped.write_vm_state(position, buf).await,
            _ => match self.children().first() {
                Some(child) => Box::pin(child.node().write_vm_state(position, buf)).await,
                None => Err(engine::unsupported()),
            },
        }
    }

    /// Unit in which content is taken over from a backing file, in bytes.
    fn copy_unit(&self) -> u64 {
        match &self.kind {
            Kind::Protocol(_) => 1,
            Kind::Format(mapped) => u64::from(mapped.format.geometry().zero_granularity),
            Kind::Filter(filter) => filter.child().node().copy_unit(),
        }
    }

    /// Unit of allocation in bytes, if there is one.
    pub fn cluster_size(&self) -> Option<u32> {
        match &self.kind {
            Kind::Protocol(_) => None,
            Kind::Format(mapped) => Some(mapped.format.geometry().cluster_size),
            Kind::Filter(_) => self.filtered().and_then(|node| node.cluster_size()),
        }
    }

    /// Whether whole clusters can be written packed.
    pub fn can_compress(&self) -> bool {
        match &self.kind {
            Kind::Protocol(_) => false,
            Kind::Format(mapped) => mapped.format.compress().is_some(),
            Kind::Filter(filter) => filter.can_compress(),
        }
    }

    /// Reads, and writes what this layer does not hold itself to it on the way, in whole units. `ranges`
    /// keeps writers out meanwhile.
    pub(crate) async fn read_copying(
        self: &Arc<Self>,
        ranges: &RangeLock,
        offset: u64,
        buf: &mut [u8],
    ) -> io::Result<()> {
        if buf.is_empty() {
            return Ok(());
        }
        let unit = self.copy_unit();
        let wanted = offset + buf.len() as u64;
        let end = wanted
            .next_multiple_of(unit)
            .min(self.length()?.max(wanted));
        let mut at = offset - offset % unit;
        let _range = ranges.exclusive(at, end).await;
        while at < end {
            let status = self.status(at, (end - at).min(MAX_COPY)).await?;
            let next = at + status.len.clamp(1, end - at);
            let (from, to) = (at.max(offset), next.min(wanted));
            if status.allocated {
                if from < to {
                    self.read(from, part(buf, offset, from, to)?).await?;
                }
            } else {
                let mut copied = vec![0; to_usize(next - at)?];
                self.read(at, &mut copied).await?;
                self.keep(at, &copied).await?;
                if from < to {
                    let start = to_usize(from - at)?;
                    let len = to_usize(to - from)?;
                    part(buf, offset, from, to)?.copy_from_slice(&copied[start..start + len]);
                }
            }
            at = next;
        }
        Ok(())
    }

    /// Writes what was read from below to this layer.
    async fn keep(&self, offset: u64, copied: &[u8]) -> io::Result<()> {
        self.raise(Event::CorWrite).await;
        if engine::is_zero(copied) {
            let flags = ZeroFlags::default();
            return self.write_zeroes(offset, copied.len() as u64, flags).await;
        }
        let flags = WriteFlags {
            unchanged: true,
            ..WriteFlags::default()
        };
        self.write(offset, copied, flags).await
    }
}

/// The bytes `[from, to)` of a buffer that begins at `offset`.
fn part(buf: &mut [u8], offset: u64, from: u64, to: u64) -> io::Result<&mut [u8]> {
    let range = to_usize(from - offset)?..to_usize(to - offset)?;
    buf.get_mut(range).ok_or_else(engine::bad_answer)
}

fn to_usize(n: u64) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| engine::bad_answer())
}
