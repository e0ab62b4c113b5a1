//! The main loop: what the guest, the user and signals ask, until one of them ends the program.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hw_core::Request;
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
        let limit = vm.events.next().unwrap_or(PATIENCE);
        let event = vm.machine.wait(limit);
        vm.events.tell_due();
        let Some(event) = event else { continue };
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
        // The end has begun; another signal has nothing to add.
    });
}

/// What an event leads to; a code ends the program.
fn decide(vm: &Vm, event: &Event) -> Option<i32> {
    let actions = vm.actions();
    match event {
        Event::Quit(code) => return Some(*code),
        Event::Guest(Request::Exit(code)) => return Some(*code),
        Event::Guest(Request::Shutdown) => {
            return vm.power_off(true, "guest-shutdown").then_some(0);
        }
        Event::Guest(Request::Reset | Request::Watchdog) if actions.no_reboot => {
            return vm.power_off(true, "guest-reset").then_some(0);
        }
        Event::Guest(Request::Reset | Request::Watchdog) => vm.reset(true, "guest-reset"),
        Event::Guest(Request::Suspend) => {
            vm.machine.suspend();
            vm.events.tell("SUSPEND", None);
        }
        Event::Guest(Request::Wake) => vm.wake_up(),
        // The guest's own crash kernel takes over.
        Event::Guest(Request::Panicked(true)) => tell_panic(vm, "GUEST_CRASHLOADED", "run"),
        Event::Guest(Request::Panicked(false)) => return panicked(vm, actions),
        Event::Guest(Request::ClockSet(offset)) => tell_clock(vm, *offset),
        Event::Failed(text) => {
            qapi::tell(text);
            vm.stop(RunState::InternalError);
        }
    }
    None
}

/// The guest set its clock.
fn tell_clock(vm: &Vm, offset: i64) {
    let q35 = machine::find_board(&vm.plan.machine).is_some_and(|(board, _)| board.name == "q35");
    // The reference numbers nameless devices as it makes them: processors, bridges, then the one with the clock.
    let before = if q35 { 1 } else { 2 } + vm.machine.processors();
    let mut data = Dict::new();
    data.insert("offset", offset);
    data.insert(
        "qom-path",
        format!("/machine/unattached/device[{before}]/rtc"),
    );
    vm.events.tell("RTC_CHANGE", Some(data));
}

fn tell_panic(vm: &Vm, event: &'static str, action: &str) {
    let mut data = Dict::new();
    data.insert("action", action);
    vm.events.tell(event, Some(data));
}

/// What a crash of the guest leads to.
fn panicked(vm: &Vm, actions: Actions) -> Option<i32> {
    let action = match actions.panic {
        // A machine that is to be kept is kept as it crashed.
        PanicAction::Shutdown if actions.no_shutdown => PanicAction::Pause,
        other => other,
    };
    let word = match action {
        PanicAction::None => "run",
        PanicAction::Pause => "pause",
        PanicAction::Shutdown | PanicAction::ExitFailure => "poweroff",
    };
    tell_panic(vm, "GUEST_PANICKED", word);
    if action == PanicAction::None {
        return None;
    }
    vm.stop(RunState::GuestPanicked);
    if action == PanicAction::Pause {
        return None;
    }
    let code = i32::from(action == PanicAction::ExitFailure);
    vm.power_off(true, "guest-panic").then_some(code)
}
