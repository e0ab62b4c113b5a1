//! `sleep`, `sigraise` and `abort`: what tests do to the process itself.

use std::process::Command as Process;
use std::time::Duration;

use super::Command;
use crate::number::{self, Failed};
use qapi::out;

pub(super) const SLEEP: Command = Command {
    count: (1, Some(1)),
    without_file: true,
    ..Command::plain(
        &["sleep"],
        "waits for the given value in milliseconds",
        |_, call| {
            Box::pin(async move {
                let Some(text) = call.operands().first() else {
                    return Err(call.usage());
                };
                let Some(ms) = qapi::parse_integer(text).and_then(|n| n.try_into().ok()) else {
                    out::line(format!("{text} is not a valid number"));
                    return Err(Failed);
                };
                reactor::sleep(Duration::from_millis(ms)).await;
                Ok(())
            })
        },
    )
};

pub(super) const SIGRAISE: Command = Command {
    args: "signal",
    more: " Sends the signal of this number to the tool itself.",
    count: (1, Some(1)),
    without_file: true,
    ..Command::plain(&["sigraise"], "raises a signal", |_, call| {
        Box::pin(async move {
            let Some(text) = call.operands().first() else {
                return Err(call.usage());
            };
            let signal = number::number(text)?;
            if signal > LARGEST + 1 {
                out::line(format!(
                    "signal argument '{text}' is too large to be a valid signal"
                ));
                return Err(Failed);
            }
            out::flush();
            raise(signal).await;
            Ok(())
        })
    })
};

pub(super) const ABORT: Command = Command {
    without_file: true,
    ..Command::plain(
        &["abort"],
        "simulate a program crash using abort(3)",
        |_, _| {
            Box::pin(async {
                out::flush();
                std::process::abort()
            })
        },
    )
};

/// The signal of the highest number.
const LARGEST: u64 = 64;
/// Signals that the reference takes for itself: nothing happens when they come.
const TAKEN: [u64; 4] = [7, 10, 14, 29];

/// Sends a signal to this process and gives it time to arrive. A number that is no signal changes nothing.
async fn raise(signal: u64) {
    if signal > LARGEST || TAKEN.contains(&signal) {
        return;
    }
    let own = std::process::id().to_string();
    let sent = Process::new("kill")
        .args([format!("-{signal}"), own])
        .status();
    if sent.is_ok_and(|status| status.success()) {
        reactor::sleep(Duration::from_millis(10)).await;
    }
}
