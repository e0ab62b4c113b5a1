//! Block status through a mapping.

use std::io;
use std::sync::Arc;

use super::Mapped;
use crate::{ExtentKind, Kind, Node, Place, Status};

/// The node below filters that only shift, and where `offset` is in it.
pub(crate) fn shifted_leaf(node: &Arc<Node>, mut offset: u64) -> (Arc<Node>, u64) {
    let mut node = Arc::clone(node);
    while let Kind::Filter(filter) = node.kind() {
        let Some(shift) = filter.shift() else { break };
        offset = offset.saturating_add(shift);
        let child = filter.child().node();
        node = child;
    }
    (node, offset)
}

impl Mapped {
    /// What this layer says of `offset`, in bounds.
    pub(crate) async fn status(&self, offset: u64, len: u64) -> io::Result<Status> {
        let mut status = Status {
            len,
            allocated: true,
            data: false,
            zero: false,
            compressed: false,
            at: None,
        };
        if self.format.opaque() {
            status.data = true;
            return Ok(status);
        }
        let extent = self.extent(offset, len).await?;
        status.len = extent.len;
        match extent.kind {
            ExtentKind::Data { at, recurse } => {
                status.data = true;
                if self.format.cipher().is_some() {
                    return Ok(status);
                }
                self.locate(&mut status, at)?;
                if recurse {
                    self.ask_child(&mut status, at).await?;
                }
            }
            ExtentKind::Zero { at } => {
                status.zero = true;
                if let Some(at) = at.filter(|_| self.format.cipher().is_none()) {
                    self.locate(&mut status, at)?;
                }
            }
            ExtentKind::Backing { at } => {
                status.allocated = false;
                if let Some(at) = at {
                    self.locate(&mut status, at)?;
                }
                self.past_backing(&mut status, offset)?;
            }
            ExtentKind::Compressed { .. } => {
                status.data = true;
                status.compressed = true;
            }
        }
        Ok(status)
    }

    /// Follows shifts (raw with an offset) down to the leaf.
    fn locate(&self, status: &mut Status, at: Place) -> io::Result<()> {
        let (leaf, offset) = shifted_leaf(&self.child(at.slot)?.node(), at.offset);
        status.at = Some((offset, leaf));
        Ok(())
    }

    /// Data that may be a hole in the child: known to be zero then.
    async fn ask_child(&self, status: &mut Status, at: Place) -> io::Result<()> {
        let below = self.child(at.slot)?.status(at.offset, status.len).await?;
        status.len = below.len.min(status.len);
        status.zero = below.zero;
        Ok(())
    }

    /// Unallocated bytes are zero without a backing file and past its end.
    fn past_backing(&self, status: &mut Status, offset: u64) -> io::Result<()> {
        let Some(backing) = self.backing.load_full() else {
            status.zero = true;
            return Ok(());
        };
        let length = backing.node().length()?;
        if offset >= length {
            status.zero = true;
        } else {
            status.len = status.len.min(length - offset);
        }
        Ok(())
    }

    /// Whether the backing chain's block status says zero for all of a range.
    pub(super) async fn backing_is_zero(&self, mut offset: u64, len: u64) -> io::Result<bool> {
        let Some(backing) = self.backing.load_full() else {
            return Ok(true);
        };
        let end = backing.node().length()?.min(offset + len);
        while offset < end {
            let status = backing.status(offset, end - offset).await?;
            let zero = match backing.node().kind() {
                Kind::Format(below) if !status.allocated && !status.zero => {
                    Box::pin(below.backing_is_zero(offset, status.len)).await?
                }
                _ => status.zero,
            };
            if !zero {
                return Ok(false);
            }
            offset += status.len;
        }
        Ok(true)
    }
}
