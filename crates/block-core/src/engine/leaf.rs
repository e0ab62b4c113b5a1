//! Requests on a leaf: aligned where it asks for it, with a read-modify-write of the ragged ends.

use std::io;
use std::sync::Arc;

use super::{is_unsupported, unsupported};
use crate::{Node, Protocol, RangeLock, Status, WriteFlags, ZeroFlags};

/// Zeroes that a leaf cannot make by itself are written in pieces of this size.
const ZERO_BUFFER: u64 = 1 << 20;

fn aligned(leaf: &dyn Protocol, offset: u64, len: u64) -> Option<(u64, u64)> {
    let align = u64::from(leaf.limits().request_alignment);
    if align <= 1 || (offset.is_multiple_of(align) && len.is_multiple_of(align)) {
        return None;
    }
    Some((
        offset - offset % align,
        (offset + len).next_multiple_of(align),
    ))
}

pub(crate) async fn leaf_read(leaf: &dyn Protocol, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    let Some((start, end)) = aligned(leaf, offset, buf.len() as u64) else {
        return leaf.read(offset, buf).await;
    };
    let mut whole = vec![0; to_usize(end - start)?];
    leaf.read(start, &mut whole).await?;
    let from = to_usize(offset - start)?;
    buf.copy_from_slice(&whole[from..from + buf.len()]);
    Ok(())
}

pub(crate) async fn leaf_write(
    leaf: &dyn Protocol,
    ranges: &RangeLock,
    offset: u64,
    buf: &[u8],
    flags: WriteFlags,
) -> io::Result<()> {
    let len = buf.len() as u64;
    let align = leaf.limits().request_alignment;
    if align <= 1 {
        return leaf.write(offset, buf, flags).await;
    }
    let Some((start, end)) = aligned(leaf, offset, len) else {
        let _range = ranges.shared(offset, offset + len).await;
        return leaf.write(offset, buf, flags).await;
    };
    let _range = ranges.exclusive(start, end).await;
    let mut whole = vec![0; to_usize(end - start)?];
    let align = align as usize;
    let from = to_usize(offset - start)?;
    let last = whole.len() - align;
    leaf.read(start, &mut whole[..align]).await?;
    if last > 0 {
        leaf.read(start + last as u64, &mut whole[last..]).await?;
    }
    whole[from..from + buf.len()].copy_from_slice(buf);
    leaf.write(start, &whole, flags).await
}

pub(crate) async fn leaf_zero(
    leaf: &dyn Protocol,
    ranges: &RangeLock,
    offset: u64,
    len: u64,
    flags: ZeroFlags,
) -> io::Result<()> {
    if aligned(leaf, offset, len).is_none() {
        match leaf.write_zeroes(offset, len, flags).await {
            Err(error) if is_unsupported(&error) => {}
            other => return other,
        }
    }
    if flags.no_fallback {
        return Err(unsupported());
    }
    let zeroes = vec![0; to_usize(len.min(ZERO_BUFFER))?];
    let mut done = 0;
    while done < len {
        let now = (len - done).min(ZERO_BUFFER);
        let flags = WriteFlags {
            fua: flags.fua,
            unchanged: false,
        };
        leaf_write(
            leaf,
            ranges,
            offset + done,
            &zeroes[..to_usize(now)?],
            flags,
        )
        .await?;
        done += now;
    }
    Ok(())
}

pub(crate) async fn leaf_discard(leaf: &dyn Protocol, offset: u64, len: u64) -> io::Result<()> {
    let align = u64::from(leaf.limits().request_alignment);
    let start = offset.next_multiple_of(align);
    let end = (offset + len) - (offset + len) % align;
    if start >= end {
        return Ok(());
    }
    leaf.discard(start, end - start).await
}

pub(crate) async fn leaf_status(
    node: &Arc<Node>,
    leaf: &dyn Protocol,
    offset: u64,
    len: u64,
) -> io::Result<Status> {
    let answer = leaf.status(offset, len).await?;
    // A server may tell of a hole that it does not read as zeroes: nothing is there, and what it reads as is not known.
    let allocated = answer.data || answer.zero;
    Ok(Status {
        len: answer.len,
        allocated,
        data: answer.data,
        zero: answer.zero,
        compressed: false,
        at: allocated.then(|| (offset, Arc::clone(node))),
    })
}

fn to_usize(n: u64) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| io::Error::from_raw_os_error(22))
}
