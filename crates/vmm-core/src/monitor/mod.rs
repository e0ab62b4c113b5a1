//! The monitors of a machine: what commands work on, the lists of commands, and the fronts that speak QMP and the human
//! monitor's language over character devices.

mod about;
mod blocks;
mod blockstats;
mod chardevs;
mod control;
mod cpus;
mod dump;
mod events;
mod front;
mod human;
mod input;
mod interrupts;
mod memory;
mod objects;
mod paging;
mod pci;
mod shown;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use machine::{Machine, RunState};
use monitor_core::{Command, Registry, Version};
use qapi::record::Record;
use qapi::{Dict, Error, Result};

use crate::chars::Row;
use crate::disks::Disks;
use crate::plan::{Actions, Plan};

pub(crate) use events::Events;
pub(crate) use front::{Human, Qmp};

/// What the monitors are for.
pub(crate) struct Vm {
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    pub(crate) disks: Disks,
    pub(crate) chars: Vec<Arc<Row>>,
    pub(crate) events: Events,
    pub(crate) actions: Mutex<Actions>,
    /// The program ends once the command under way has been answered.
    ends: AtomicBool,
    /// Keys that monitors press.
    keys: input::Keys,
    /// How the human monitors showed memory last.
    last_format: Mutex<dump::Last>,
    own: Weak<Self>,
}

/// No arguments, or nothing to say.
#[derive(Debug, Record)]
pub(crate) struct Nothing {}

/// A row of a list of commands whose answer needs no waiting.
macro_rules! ask {
    ($name:literal, $args:ty => $result:ty, $run:expr) => {
        ask!($name, monitor_core::Flags::NONE, $args => $result, $run)
    };
    ($name:literal, $flags:expr, $args:ty => $result:ty, $run:expr) => {
        monitor_core::command!($name, $flags, $args => $result, |vm, arguments| {
            let run: fn(&Vm, $args) -> qapi::Result<$result> = $run;
            std::future::ready(run(vm, arguments))
        })
    };
}
pub(crate) use ask;

/// The lists of commands.
const LISTS: &[&[Command<Vm>]] = &[
    control::COMMANDS,
    about::COMMANDS,
    cpus::COMMANDS,
    memory::COMMANDS,
    blocks::COMMANDS,
    blockstats::COMMANDS,
    chardevs::COMMANDS,
    pci::COMMANDS,
    objects::COMMANDS,
    input::COMMANDS,
    human::COMMANDS,
];

/// Every command and event.
pub(crate) static REGISTRY: LazyLock<Registry<Vm>> = LazyLock::new(|| {
    let version = Version {
        numbers: [10, 0, 2],
        package: String::new(),
    };
    Registry::new(version, LISTS.to_vec(), vec![events::EVENTS])
});

impl Vm {
    pub(crate) fn new(
        machine: Machine,
        plan: Plan,
        disks: Disks,
        chars: Vec<Arc<Row>>,
    ) -> Arc<Self> {
        let actions = Mutex::new(plan.actions);
        Arc::new_cyclic(|own| Self {
            machine,
            plan,
            disks,
            chars,
            events: Events::default(),
            actions,
            ends: AtomicBool::new(false),
            keys: input::Keys::default(),
            last_format: Mutex::default(),
            own: own.clone(),
        })
    }

    /// One more handle.
    fn own(&self) -> Result<Arc<Self>> {
        let own = self.own.upgrade();
        own.ok_or_else(|| Error::new("the machine has ended"))
    }

    /// How the human monitors showed memory last.
    fn last_format(&self) -> MutexGuard<'_, dump::Last> {
        let last = self.last_format.lock();
        last.unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the program because a user wants it, once the command under way has been answered.
    fn quit(&self) {
        self.tell_cause("SHUTDOWN", false, "host-qmp-quit");
        self.ends.store(true, Ordering::Release);
    }

    /// A command has been answered: what waited for that is done.
    fn answered(&self) {
        if self.ends.load(Ordering::Acquire) {
            self.machine.quit(0);
        }
    }

    /// Tells that the machine is off; it ends (true), or stops where it is to be kept.
    pub(crate) fn power_off(&self, guest: bool, reason: &str) -> bool {
        self.tell_cause("SHUTDOWN", guest, reason);
        let kept = self.actions().no_shutdown;
        if kept {
            self.stop(RunState::Shutdown);
        }
        !kept
    }

    /// Presses the power button.
    fn power_button(&self) {
        self.machine.power_button();
        self.events.tell("POWERDOWN", None);
    }

    /// Resets the machine because a user wants it, or powers it off where a reset is to do that.
    fn user_reset(&self) {
        const REASON: &str = "host-qmp-system-reset";
        if !self.actions().no_reboot {
            self.reset(false, REASON);
        } else if self.power_off(false, REASON) {
            self.ends.store(true, Ordering::Release);
        }
    }

    /// Resets the machine and tells everyone.
    pub(crate) fn reset(&self, guest: bool, reason: &str) {
        self.machine.reset();
        self.tell_cause("RESET", guest, reason);
    }

    /// Wakes a guest that sleeps, and tells everyone.
    pub(crate) fn wake_up(&self) {
        if self.machine.state() == RunState::Suspended {
            self.machine.wake();
            self.events.tell("WAKEUP", None);
        }
    }

    /// Stops the machine and tells everyone.
    pub(crate) fn stop(&self, state: RunState) {
        let ran = self.machine.state() == RunState::Running;
        self.machine.stop(state);
        if ran {
            self.events.tell("STOP", None);
        }
    }

    /// Lets the machine run and tells everyone.
    pub(crate) fn start(&self) {
        self.machine.start();
        self.events.tell("RESUME", None);
    }

    /// Tells why the machine ends or was reset.
    pub(crate) fn tell_cause(&self, event: &'static str, guest: bool, reason: &str) {
        let mut data = Dict::new();
        data.insert("guest", guest);
        data.insert("reason", reason);
        self.events.tell(event, Some(data));
    }

    /// What happens when the guest resets, powers off or crashes.
    pub(crate) fn actions(&self) -> Actions {
        *self.actions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_actions(&self, change: impl FnOnce(&mut Actions)) {
        change(&mut self.actions.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
