//! Run control: stop, go on, reset, power off, quit, and what the guest's own wishes lead to.

use machine::RunState;
use monitor_core::Command;
use qapi::record::{Choice, Record};
use qapi::{Error, Result};

use super::{Nothing, Vm, ask};
use crate::plan::PanicAction;

/// The run states of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub(super) enum RunStateName {
    Debug,
    Inmigrate,
    InternalError,
    IoError,
    Paused,
    Postmigrate,
    Prelaunch,
    FinishMigrate,
    RestoreVm,
    Running,
    SaveVm,
    Shutdown,
    Suspended,
    Watchdog,
    GuestPanicked,
    Colo,
}

impl From<RunState> for RunStateName {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Prelaunch => Self::Prelaunch,
            RunState::Running => Self::Running,
            RunState::Paused => Self::Paused,
            RunState::Shutdown => Self::Shutdown,
            RunState::Suspended => Self::Suspended,
            RunState::GuestPanicked => Self::GuestPanicked,
            RunState::InternalError => Self::InternalError,
        }
    }
}

#[derive(Debug, Record)]
struct StatusInfo {
    running: bool,
    status: RunStateName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum RebootAction {
    Reset,
    Shutdown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum ShutdownAction {
    Poweroff,
    Pause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum PanicActionName {
    Pause,
    Shutdown,
    ExitFailure,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum WatchdogAction {
    Reset,
    Shutdown,
    Poweroff,
    Pause,
    Debug,
    None,
    InjectNmi,
}

#[derive(Debug, Clone, Copy, Record)]
struct SetAction {
    reboot: Option<RebootAction>,
    shutdown: Option<ShutdownAction>,
    panic: Option<PanicActionName>,
    watchdog: Option<WatchdogAction>,
}

pub(super) const COMMANDS: &[Command<Vm>] = &[
    ask!("quit", monitor_core::Flags::EARLY, Nothing => Nothing, |vm: &Vm, _| {
        vm.quit();
        Ok(Nothing {})
    }),
    ask!("stop", Nothing => Nothing, |vm: &Vm, _| stop(vm)),
    ask!("cont", Nothing => Nothing, |vm: &Vm, _| cont(vm)),
    ask!("system_reset", Nothing => Nothing, |vm: &Vm, _| {
        vm.user_reset();
        Ok(Nothing {})
    }),
    ask!("system_powerdown", Nothing => Nothing, |vm: &Vm, _| {
        vm.power_button();
        Ok(Nothing {})
    }),
    ask!("system_wakeup", Nothing => Nothing, |vm: &Vm, _| wake_up(vm)),
    ask!("inject-nmi", Nothing => Nothing, |vm: &Vm, _| {
        inject_nmi(vm);
        Ok(Nothing {})
    }),
    ask!("query-status", monitor_core::Flags::EARLY, Nothing => StatusInfo, |vm: &Vm, _| {
        let state = vm.machine.state();
        Ok(StatusInfo {
            running: state == RunState::Running,
            status: state.into(),
        })
    }),
    ask!("set-action", monitor_core::Flags::EARLY, SetAction => Nothing, set_action),
];

pub(super) fn stop(vm: &Vm) -> Result<Nothing> {
    if vm.machine.state() == RunState::Running {
        vm.stop(RunState::Paused);
    }
    Ok(Nothing {})
}

pub(super) fn cont(vm: &Vm) -> Result<Nothing> {
    match vm.machine.state() {
        // A guest that sleeps is woken by `system_wakeup`, not by this.
        RunState::Running | RunState::Suspended => {}
        RunState::Shutdown | RunState::InternalError => {
            return Err(Error::new("Resetting the Virtual Machine is required"));
        }
        _ => vm.start(),
    }
    Ok(Nothing {})
}

pub(super) fn wake_up(vm: &Vm) -> Result<Nothing> {
    if vm.machine.state() != RunState::Suspended {
        let text = "Unable to wake up: guest is not in suspended state";
        return Err(Error::new(text));
    }
    vm.wake_up();
    Ok(Nothing {})
}

pub(super) fn inject_nmi(vm: &Vm) {
    vm.machine.with(|core| core.interrupts.nmi());
}

fn set_action(vm: &Vm, wanted: SetAction) -> Result<Nothing> {
    // GAP: there is no watchdog yet, so nothing but the default makes sense.
    if wanted
        .watchdog
        .is_some_and(|action| action != WatchdogAction::Reset)
    {
        return Err(Error::new("'watchdog' is not supported yet"));
    }
    vm.change_actions(|actions| {
        if let Some(reboot) = wanted.reboot {
            actions.no_reboot = reboot == RebootAction::Shutdown;
        }
        if let Some(shutdown) = wanted.shutdown {
            actions.no_shutdown = shutdown == ShutdownAction::Pause;
        }
        if let Some(panic) = wanted.panic {
            actions.panic = match panic {
                PanicActionName::Pause => PanicAction::Pause,
                PanicActionName::Shutdown => PanicAction::Shutdown,
                PanicActionName::ExitFailure => PanicAction::ExitFailure,
                PanicActionName::None => PanicAction::None,
            };
        }
    });
    Ok(Nothing {})
}
