//! `alloc` and `map`: what this layer of the disk allocates.

use std::io;

use block::Root;
use qapi::{Error, strerror};

use super::Command;
use super::write::errno;
use crate::number::{self, Failed};
use crate::report::bytes;
use crate::shell::Call;
use qapi::out;

pub(super) const ALLOC: Command = Command {
    args: "offset [count]",
    count: (1, Some(2)),
    ..Command::plain(
        &["alloc", "a"],
        "checks if offset is allocated in the file",
        |_, call| Box::pin(async move { alloc(&call).await }),
    )
};

pub(super) const MAP: Command = Command::plain(
    &["map"],
    "prints the allocated areas of a file",
    |_, call| Box::pin(async move { map(&call).await }),
);

/// Whether bytes from `offset` on are allocated, and for how many that holds.
async fn allocated(root: &Root, offset: u64, len: u64) -> io::Result<(bool, u64)> {
    let first = root.status(offset, len).await?;
    let mut end = offset + first.len;
    while end < offset + len {
        let next = root.status(end, offset + len - end).await?;
        if next.allocated != first.allocated {
            break;
        }
        end += next.len;
    }
    Ok((first.allocated, end - offset))
}

async fn alloc(call: &Call<'_>) -> Result<(), Failed> {
    let (offset, count) = match call.operands() {
        [offset] => (number::number(offset)?, 512),
        [offset, count] => (number::number(offset)?, number::number(count)?),
        _ => return Err(call.usage()),
    };
    let root = call.disk()?.root;
    let end = root.length().map_err(|_| Failed)?;
    let asked = count.min(end.saturating_sub(offset));
    let (mut at, mut sum) = (offset, 0);
    while at < offset + asked {
        match allocated(&root, at, offset + asked - at).await {
            Ok((yes, len)) => {
                sum += if yes { len } else { 0 };
                at += len;
            }
            Err(error) => {
                out::line(format!("is_allocated failed: {}", strerror(errno(&error))));
                return Err(Failed);
            }
        }
    }
    out::line(format!(
        "{sum}/{asked} bytes allocated at offset {}",
        bytes(offset)
    ));
    Ok(())
}

async fn map(call: &Call<'_>) -> Result<(), Failed> {
    let root = call.disk()?.root;
    let end = root.length().map_err(|error| {
        qapi::report(&Error::from_io("Failed to query image length", &error));
        Failed
    })?;
    let mut at = 0;
    while at < end {
        let (yes, len) = allocated(&root, at, end - at).await.map_err(|error| {
            qapi::report(&Error::from_io("Failed to get allocation status", &error));
            Failed
        })?;
        let word = if yes {
            "    allocated"
        } else {
            "not allocated"
        };
        out::line(format!(
            "{} (0x{len:x}) bytes {word} at offset {} (0x{at:x})",
            bytes(len),
            bytes(at)
        ));
        at += len;
    }
    Ok(())
}
