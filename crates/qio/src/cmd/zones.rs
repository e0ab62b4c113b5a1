//! Commands for zoned devices. No driver of ours has zones, so what is left is to read the words and to refuse.

use qapi::getopt::Opt;
use qapi::out;

use super::{Command, Running};
use crate::number::{self, Failed};
use crate::shell::{Call, Shell};

const ENOTSUP: i32 = 95;

// GAP: no zones of host devices; every command that is well formed is refused as by a device that has none.
fn refuse(call: &Call<'_>) -> Failed {
    let name = call.command.names.first().copied().unwrap_or_default();
    out::line(format!(
        "{} failed: {}",
        name.replace('_', " "),
        qapi::strerror(ENOTSUP)
    ));
    Failed
}

fn report<'a>(_: &'a mut Shell, call: Call<'a>) -> Running<'a> {
    Box::pin(async move {
        let [offset, count] = call.operands() else {
            return Err(call.usage());
        };
        number::number(offset)?;
        if u32::try_from(number::number(count)?).is_err() {
            out::line("Number of zones must be less than 2^32");
            return Err(Failed);
        }
        Err(refuse(&call))
    })
}

fn manage<'a>(_: &'a mut Shell, call: Call<'a>) -> Running<'a> {
    Box::pin(async move {
        for word in call.operands() {
            number::number(word)?;
        }
        Err(refuse(&call))
    })
}

fn append<'a>(_: &'a mut Shell, call: Call<'a>) -> Running<'a> {
    Box::pin(async move {
        let [offset, lens @ ..] = call.operands() else {
            return Err(Failed);
        };
        number::number(offset)?;
        number::lengths(lens)?;
        Err(refuse(&call))
    })
}

pub(super) const REPORT: Command = Command {
    args: "offset number",
    count: (2, Some(2)),
    ..Command::plain(&["zone_report", "zrp"], "report zone information", report)
};

pub(super) const OPEN: Command = Command {
    args: "offset len",
    count: (2, Some(2)),
    ..Command::plain(
        &["zone_open", "zo"],
        "explicit open a range of zones in zone block device",
        manage,
    )
};

pub(super) const CLOSE: Command = Command {
    args: "offset len",
    count: (2, Some(2)),
    ..Command::plain(
        &["zone_close", "zc"],
        "close a range of zones in zone block device",
        manage,
    )
};

pub(super) const FINISH: Command = Command {
    args: "offset len",
    count: (2, Some(2)),
    ..Command::plain(
        &["zone_finish", "zf"],
        "finish a range of zones in zone block device",
        manage,
    )
};

pub(super) const RESET: Command = Command {
    args: "offset len",
    count: (2, Some(2)),
    ..Command::plain(
        &["zone_reset", "zrs"],
        "reset a zone write pointer in zone block device",
        manage,
    )
};

pub(super) const APPEND: Command = Command {
    args: "offset len [len..]",
    count: (3, Some(4)),
    options: &[Opt::short('p', false)],
    ..Command::plain(
        &["zone_append", "zap"],
        "append write a number of bytes at a specified offset",
        append,
    )
};
