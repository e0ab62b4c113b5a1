//! Events of a machine, and who hears them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use monitor_core::{Event, EventDesc, Limiter};
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

#[derive(Debug, Record)]
struct RtcData {
    offset: i64,
    qom_path: String,
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
    EventDesc {
        limited_by: Some(""),
        ..with::<RtcData>("RTC_CHANGE")
    },
];

/// The QMP monitors that hear events.
#[derive(Default)]
pub(crate) struct Events {
    listeners: Mutex<Vec<Weak<Qmp>>>,
    /// Taken before the listeners.
    limiter: Mutex<Limiter>,
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
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

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all that have negotiated, now or once it is not too soon after the last of its kind. Those that wait are told by
    /// [`Events::tell_due`], so events that are limited are the main loop's to tell.
    pub(crate) fn tell(&self, name: &'static str, data: Option<Dict>) {
        let known = EVENTS.iter().find(|event| event.name == name);
        debug_assert!(known.is_some(), "{name}");
        let time = since_1970();
        let event = Event { name, data, time };
        let mut limiter = self.limiter();
        let now = limiter.offer(event, known.and_then(|event| event.limited_by));
        drop(limiter);
        if let Some(event) = now {
            self.send(&event);
        }
    }

    /// How long until an event that waits is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        let next = self.limiter().next();
        next.map(|at| at.saturating_sub(since_1970()))
    }

    /// Tells events that have waited long enough.
    pub(crate) fn tell_due(&self) {
        let due = self.limiter().due(since_1970());
        for event in &due {
            self.send(event);
        }
    }

    fn send(&self, event: &Event) {
        let message = event.to_dict();
        let all = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for listener in all.iter().filter_map(Weak::upgrade) {
            listener.tell(message.clone());
        }
    }
}
