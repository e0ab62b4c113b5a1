//! The main loop: what the guest, the user and signals ask, until one of them ends the program.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hw_core::{HostEvent, Request};
use machine::{Event, RunState};
use qapi::Dict;
use sys::signals::{Signals, Taken};

use crate::monitor::Vm;
use crate::plan::{Actions, PanicAction};

/// How long to wait at most before looking around.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Where the machine is, once there is one.
pub(crate) type Slot = Arc<OnceLock<Arc<Vm>>>;

/// Runs; gives the exit code.
pub(crate) fn run(vm: &Vm) -> i32 {
    if !vm.plan.stopped {
        vm.start();
    }
    let code = loop {
        let Some(event) = vm.machine.wait(PATIENCE) else {
            continue;
        };
        if let Some(code) = decide(vm, &event) {
            break code;
        }
    };
    vm.machine.end();
    code
}

/// Ends the program on the signals that ask for it, and says who sent them. A machine is told; one that is not there yet
/// never will be, and that is a failure.
pub(crate) fn watch_signals(slot: Slot, signals: Signals) {
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
            qapi::tell(&format!("terminating on signal {signal}{sender}"));
            let Some(vm) = slot.get() else {
                crate::leave(1);
            };
            vm.tell_cause("SHUTDOWN", false, "host-signal");
            vm.machine.quit(0);
        }
    });
}

/// What an event leads to; a code ends the program.
fn decide(vm: &Vm, event: &Event) -> Option<i32> {
    let actions = vm.actions();
    match event {
        Event::Quit(code) => return Some(*code),
        Event::Guest(Request::Exit(code)) => return Some(*code),
        Event::Guest(Request::Shutdown) => return power_off(vm, &actions, "guest-shutdown"),
        Event::Guest(Request::Reset | Request::Watchdog) if actions.no_reboot => {
            return power_off(vm, &actions, "guest-reset");
        }
        Event::Guest(Request::Reset | Request::Watchdog) => vm.reset(true, "guest-reset"),
        Event::Reset => vm.reset(false, "host-qmp-system-reset"),
        Event::Guest(Request::Suspend) => {
            // GAP: nothing wakes a sleeping guest yet but its power button or a reset, so it wakes at once.
            vm.machine.with(|core| core.host_event(HostEvent::Wake));
            vm.machine.reset();
        }
        Event::Guest(Request::Panicked(dumps)) => {
            let (word, code) = match actions.panic {
                PanicAction::None => ("run", None),
                PanicAction::Pause => ("pause", None),
                PanicAction::Shutdown => ("poweroff", None),
                PanicAction::ExitFailure => ("poweroff", Some(1)),
            };
            let name = if *dumps {
                "GUEST_CRASHLOADED"
            } else {
                "GUEST_PANICKED"
            };
            let mut data = Dict::new();
            data.insert("action", word);
            vm.events.tell(name, Some(data));
            match actions.panic {
                PanicAction::None => {}
                PanicAction::Pause => vm.stop(RunState::GuestPanicked),
                PanicAction::Shutdown => return power_off(vm, &actions, "guest-panic"),
                PanicAction::ExitFailure => return code,
            }
        }
        Event::Failed(text) => {
            qapi::tell(text);
            vm.stop(RunState::InternalError);
        }
    }
    None
}

fn power_off(vm: &Vm, actions: &Actions, reason: &str) -> Option<i32> {
    vm.tell_cause("SHUTDOWN", true, reason);
    if actions.no_shutdown {
        vm.stop(RunState::Shutdown);
        return None;
    }
    Some(0)
}
