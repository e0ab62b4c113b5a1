//! The main loop: what the guest, the user and signals ask, until one of them ends the program.

use std::time::Duration;

use hw_core::{HostEvent, Request};
use machine::{Event, Machine, RunState};
use sys::signals::{Signals, Taken};

use crate::plan::{Actions, PanicAction};
use crate::start::Started;

/// How long to wait at most before looking around.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Runs; gives the exit code.
pub(crate) fn run(started: &Started, signals: Signals) -> i32 {
    let machine = &started.machine;
    watch_signals(machine.clone(), signals);
    if !started.stopped {
        machine.start();
    }
    let code = loop {
        let Some(event) = machine.wait(PATIENCE) else {
            continue;
        };
        if let Some(code) = decide(machine, &started.actions, &event) {
            break code;
        }
    };
    machine.end();
    if let Some(path) = &started.pidfile {
        // Someone else may have taken it away.
        let _ = std::fs::remove_file(path);
    }
    code
}

/// Ends the program on the signals that ask for it, and says who sent them.
fn watch_signals(machine: Machine, signals: Signals) {
    std::thread::spawn(move || {
        loop {
            let Taken { signal, pid } = signals.wait();
            let sender = if pid > 0 {
                let name = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = String::from_utf8_lossy(name);
                format!(" from pid {pid} ({name})")
            } else {
                String::new()
            };
            char_backends::stdio::restore();
            let text = format!("terminating on signal {signal}{sender}");
            eprintln!("{}: {text}", qapi::prog_name());
            machine.quit(0);
        }
    });
}

/// What an event leads to; a code ends the program.
fn decide(machine: &Machine, actions: &Actions, event: &Event) -> Option<i32> {
    match event {
        Event::Quit(code) => return Some(*code),
        Event::Guest(Request::Exit(code)) => return Some(*code),
        Event::Guest(Request::Shutdown) => return power_off(machine, actions),
        Event::Guest(Request::Reset | Request::Watchdog) if actions.no_reboot => {
            return power_off(machine, actions);
        }
        Event::Guest(Request::Reset | Request::Watchdog) | Event::Reset => machine.reset(),
        Event::Guest(Request::Suspend) => {
            // GAP: nothing wakes a sleeping guest yet but its power button or a reset, so it wakes at once.
            machine.with(|core| core.host_event(HostEvent::Wake));
            machine.reset();
        }
        Event::Guest(Request::Panicked(_)) => match actions.panic {
            PanicAction::None => {}
            PanicAction::Pause => machine.stop(RunState::GuestPanicked),
            PanicAction::Shutdown => return power_off(machine, actions),
            PanicAction::ExitFailure => return Some(1),
        },
        Event::Failed(text) => {
            eprintln!("{}: {text}", qapi::prog_name());
            machine.stop(RunState::InternalError);
        }
    }
    None
}

fn power_off(machine: &Machine, actions: &Actions) -> Option<i32> {
    if actions.no_shutdown {
        machine.stop(RunState::Shutdown);
        return None;
    }
    Some(0)
}
