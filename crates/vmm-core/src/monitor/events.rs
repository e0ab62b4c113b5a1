//! Events of a machine, and who hears them.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use monitor_core::{Event, EventDesc};
use qapi::Dict;
use qapi::record::{Choice, Field, Record};

use super::front::Qmp;

/// Why a machine ends or is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum ShutdownCause {
    None,
    HostError,
    HostQmpQuit,
    HostQmpSystemReset,
    HostSignal,
    HostUi,
    GuestShutdown,
    GuestReset,
    GuestPanic,
    SubsystemReset,
    SnapshotLoad,
}

#[derive(Debug, Record)]
struct ShutdownData {
    guest: bool,
    reason: ShutdownCause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum GuestPanicAction {
    Pause,
    Poweroff,
    Run,
}

#[derive(Debug, Record)]
struct PanicData {
    action: GuestPanicAction,
}

const fn plain(name: &'static str) -> EventDesc {
    EventDesc {
        name,
        describe: |_| None,
        limited_by: None,
    }
}

const fn with<D: Field>(name: &'static str) -> EventDesc {
    EventDesc {
        name,
        describe: |schema| Some(D::describe(schema)),
        limited_by: None,
    }
}

/// All of them.
pub(super) const EVENTS: &[EventDesc] = &[
    with::<ShutdownData>("SHUTDOWN"),
    with::<ShutdownData>("RESET"),
    plain("POWERDOWN"),
    plain("STOP"),
    plain("RESUME"),
    plain("SUSPEND"),
    plain("WAKEUP"),
    with::<PanicData>("GUEST_PANICKED"),
    with::<PanicData>("GUEST_CRASHLOADED"),
];

/// The QMP monitors that hear events.
#[derive(Default)]
pub(crate) struct Events {
    listeners: Mutex<Vec<Weak<Qmp>>>,
}

impl Events {
    /// One more listener.
    pub(crate) fn add(&self, listener: &Arc<Qmp>) {
        let mut all = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(listener));
    }

    /// Tells all that have negotiated.
    pub(crate) fn tell(&self, name: &'static str, data: Option<Dict>) {
        debug_assert!(EVENTS.iter().any(|event| event.name == name), "{name}");
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let message = Event { name, data, time }.to_dict();
        let all = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for listener in all.iter().filter_map(Weak::upgrade) {
            listener.tell(message.clone());
        }
    }
}
