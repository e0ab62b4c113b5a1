//! Commands for what the open disk cannot do.

use super::{Command, Running};
use crate::number::Failed;
use crate::shell::{Call, Shell};
use qapi::out;

const ENOTSUP: i32 = 95;

fn refuse(what: &str) -> Result<(), Failed> {
    out::line(format!("{what}: {}", qapi::strerror(ENOTSUP)));
    Err(Failed)
}

// No driver of ours has zones.

#[expect(clippy::needless_pass_by_value, reason = "what all commands look like")]
fn zones<'a>(_: &'a mut Shell, call: Call<'a>) -> Running<'a> {
    Box::pin(async move {
        let name = call.command.names.first().copied().unwrap_or_default();
        refuse(&format!("{} failed", name.replace('_', " ")))
    })
}

macro_rules! zone {
    ($constant:ident, $name:literal, $short:literal, $args:literal, $count:expr, $about:literal) => {
        pub(super) const $constant: Command = Command {
            args: $args,
            count: $count,
            ..Command::plain(&[$name, $short], $about, zones)
        };
    };
}

zone!(
    ZONE_REPORT,
    "zone_report",
    "zrp",
    "offset number",
    (2, Some(2)),
    "report zone information"
);
zone!(
    ZONE_OPEN,
    "zone_open",
    "zo",
    "offset len",
    (2, Some(2)),
    "explicit open a range of zones in zone block device"
);
zone!(
    ZONE_CLOSE,
    "zone_close",
    "zc",
    "offset len",
    (2, Some(2)),
    "close a range of zones in zone block device"
);
zone!(
    ZONE_FINISH,
    "zone_finish",
    "zf",
    "offset len",
    (2, Some(2)),
    "finish a range of zones in zone block device"
);
zone!(
    ZONE_RESET,
    "zone_reset",
    "zrs",
    "offset len",
    (2, Some(2)),
    "reset a zone write pointer in zone block device"
);
zone!(
    ZONE_APPEND,
    "zone_append",
    "zap",
    "offset len [len..]",
    (2, None),
    "append write a number of bytes at a specified offset"
);
