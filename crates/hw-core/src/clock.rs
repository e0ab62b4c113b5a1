//! Guest time in nanoseconds since the machine was made; it stands still while the machine is stopped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// A clock; copies tell the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    /// Time up to the last stop.
    passed: u64,
    /// When it was started, while it runs by the host's time.
    since: Option<Instant>,
    /// It never starts: somebody moves it.
    by_hand: bool,
}

impl Clock {
    /// A clock that runs by the host's monotonic time once [`Clock::start`] is called.
    pub fn stopped() -> Self {
        let inner = Inner {
            passed: 0,
            since: None,
            by_hand: false,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// From now on the clock runs by nothing but [`Clock::advance`].
    pub fn go_by_hand(&self) {
        self.stop();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.by_hand = true;
    }

    /// The time now.
    pub fn now(&self) -> u64 {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.now()
    }

    /// Whether time runs.
    pub fn runs(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.since.is_some()
    }

    /// Lets time run.
    pub fn start(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.since.is_none() && !inner.by_hand {
            inner.since = Some(Instant::now());
        }
    }

    /// Stops time.
    pub fn stop(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.passed = inner.now();
        inner.since = None;
    }

    /// Moves the time forward by hand, for tests and for a machine that is restored.
    pub fn advance(&self, nanoseconds: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.passed = inner.passed.saturating_add(nanoseconds);
    }
}

impl Inner {
    fn now(&self) -> u64 {
        let running = self.since.map_or(0, |since| {
            u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
        });
        self.passed.saturating_add(running)
    }
}

/// How many cycles of `hertz` fit into `nanoseconds`.
pub fn cycles(nanoseconds: u64, hertz: u64) -> u64 {
    let cycles = u128::from(nanoseconds) * u128::from(hertz) / u128::from(SECOND);
    u64::try_from(cycles).unwrap_or(u64::MAX)
}

/// The first nanosecond at which `cycles` of `hertz` have passed; `hertz` must not be zero.
pub fn nanoseconds(cycles: u64, hertz: u64) -> u64 {
    let time = (u128::from(cycles) * u128::from(SECOND)).div_ceil(u128::from(hertz.max(1)));
    u64::try_from(time).unwrap_or(u64::MAX)
}
