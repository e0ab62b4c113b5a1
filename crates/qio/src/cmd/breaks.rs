//! `break`, `remove_break`, `resume` and `wait_break`: hold requests back at events of a `blkdebug` node.

use std::io;

use block::core::EventSink;
use qapi::out;

use super::Command;
use crate::number::Failed;
use crate::shell::Call;

const ENOTSUP: i32 = 95;
const EIO: i32 = 5;

/// Asks the first node below that hears of events; tells failure after `what`.
fn ask(
    call: &Call<'_>,
    what: &str,
    act: impl FnOnce(&dyn EventSink) -> io::Result<()>,
) -> Result<(), Failed> {
    let result = call.disk()?.root.node().with_events(act);
    let errno = match result {
        Some(Ok(())) => return Ok(()),
        Some(Err(error)) => error.raw_os_error().unwrap_or(EIO),
        None => ENOTSUP,
    };
    out::line(format!("{what}: {}", qapi::strerror(errno)));
    Err(Failed)
}

fn tag(call: &Call<'_>) -> String {
    call.operands().last().cloned().unwrap_or_default()
}

pub(super) const BREAK: Command = Command {
    args: "event tag",
    count: (2, Some(2)),
    waits: false,
    ..Command::plain(
        &["break", "b"],
        "sets a breakpoint on event and tags the stopped request as tag",
        |_, call| {
            Box::pin(async move {
                let event = call.operands().first().cloned().unwrap_or_default();
                let tag = tag(&call);
                ask(&call, "Could not set breakpoint", |events| {
                    events.set_break(&event, &tag)
                })
            })
        },
    )
};

pub(super) const REMOVE_BREAK: Command = Command {
    args: "tag",
    count: (1, Some(1)),
    waits: false,
    ..Command::plain(
        &["remove_break"],
        "remove a breakpoint by tag",
        |_, call| {
            Box::pin(async move {
                let tag = tag(&call);
                let what = format!("Could not remove breakpoint {tag}");
                ask(&call, &what, |events| events.remove_break(&tag))?;
                turn().await;
                Ok(())
            })
        },
    )
};

pub(super) const RESUME: Command = Command {
    args: "tag",
    count: (1, Some(1)),
    waits: false,
    ..Command::plain(
        &["resume"],
        "resumes the request tagged as tag",
        |_, call| {
            Box::pin(async move {
                let tag = tag(&call);
                ask(&call, "Could not resume request", |events| {
                    events.resume(&tag)
                })?;
                turn().await;
                Ok(())
            })
        },
    )
};

pub(super) const WAIT_BREAK: Command = Command {
    args: "tag",
    count: (1, Some(1)),
    ..Command::plain(
        &["wait_break", "wait"],
        "waits for the suspension of a request",
        |_, call| {
            Box::pin(async move {
                if let Some(node) = call.disk()?.root.node().hearing() {
                    node.suspended(&tag(&call)).await;
                }
                Ok(())
            })
        },
    )
};

/// Lets requests that were held back go on before the next command.
async fn turn() {
    reactor::yield_now().await;
}
