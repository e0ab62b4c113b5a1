//! A machine at work: processors' threads, the timer thread, run states, and what the outside may ask of it.
//!
//! Locks, in the order in which they may be taken: the machine lock ([`Core`]), then a processor's sleep lock, then
//! the timer's and the main loop's. An accelerator takes none of them.

mod outside;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use accel_core::{Accel, Registers, SavedCpu, Vcpu};
use backend_core::Wake;
use hw_core::{Clock, HostEvent, Request};

use crate::core::{Aftermath, Core};
use crate::processor::{self, Processor};

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Never started.
    Prelaunch,
    /// Running.
    Running,
    /// Stopped by the user.
    Paused,
    /// Powered off by the guest, and kept.
    Shutdown,
    /// The guest sleeps (ACPI S3).
    Suspended,
    /// The guest said it crashed.
    GuestPanicked,
    /// The accelerator could not go on.
    InternalError,
}

impl RunState {
    /// Its name in the monitors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prelaunch => "prelaunch",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Shutdown => "shutdown",
            Self::Suspended => "suspended",
            Self::GuestPanicked => "guest-panicked",
            Self::InternalError => "internal-error",
        }
    }
}

/// What the main loop has to decide about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The guest asked for something.
    Guest(Request),
    /// The accelerator failed; the text says why.
    Failed(String),
    /// Someone outside asked for the end, with this exit code.
    Quit(i32),
}

/// What threads share.
pub(crate) struct Shared {
    pub(crate) accel: Arc<dyn Accel>,
    pub(crate) clock: Clock,
    pub(crate) processors: Vec<Arc<Processor>>,
    core: Mutex<Core>,
    /// A backend has finished something, and no device has looked yet.
    finished: AtomicBool,
    stop: AtomicBool,
    /// The guest has asked for something that the main loop has not decided yet: no processor runs on.
    hold: AtomicBool,
    end: AtomicBool,
    timer: Mutex<Timer>,
    timer_wake: Condvar,
    main: Mutex<MainLoop>,
    main_wake: Condvar,
}

#[derive(Default)]
struct Timer {
    /// Guest time at which the timer thread wakes.
    until: Option<u64>,
    changed: bool,
}

#[derive(Default)]
struct MainLoop {
    events: Vec<Event>,
    /// A processor parked, or the guest has a wish.
    look: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// An access under the machine lock, with everything that follows from it.
    pub(crate) fn access<T>(&self, call: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = locked(&self.core);
        let result = call(&mut core);
        let after = self.settle(&mut core);
        drop(core);
        self.follow(after);
        self.catch_up();
        result
    }

    /// What follows from an access, still under the lock.
    fn settle(&self, core: &mut Core) -> Aftermath {
        let after = core.settle();
        if after.wish {
            self.hold.store(true, Ordering::Release);
        }
        after
    }

    /// A look that changes nothing.
    pub(crate) fn peek<T>(&self, call: impl FnOnce(&Core) -> T) -> T {
        let result = call(&locked(&self.core));
        self.catch_up();
        result
    }

    /// A backend has finished something. Whoever has the machine lock lets the devices look when it lets go, so this
    /// never waits, and may come from a call under the lock.
    fn wake(&self) {
        self.finished.store(true, Ordering::SeqCst);
        self.catch_up();
    }

    /// Lets devices look at what backends have finished. To be called after every release of the machine lock.
    fn catch_up(&self) {
        while self.finished.load(Ordering::SeqCst) {
            let Ok(mut core) = self.core.try_lock() else {
                return;
            };
            if self.finished.swap(false, Ordering::SeqCst) {
                core.completed();
            }
            let after = self.settle(&mut core);
            drop(core);
            self.follow(after);
        }
    }

    fn follow(&self, after: Aftermath) {
        if let Some(at) = after.deadline {
            let mut timer = locked(&self.timer);
            if timer.until.is_none_or(|until| at < until) {
                timer.until = Some(at);
                timer.changed = true;
                self.timer_wake.notify_one();
            }
        }
        if after.wish {
            self.look();
        }
        if let Some(on) = after.a20 {
            for processor in &self.processors {
                processor.set_a20(on);
            }
        }
    }

    fn look(&self) {
        locked(&self.main).look = true;
        self.main_wake.notify_all();
    }

    fn post(&self, event: Event) {
        locked(&self.main).events.push(event);
        self.main_wake.notify_all();
    }

    /// The accelerator cannot go on.
    pub(crate) fn fail(&self, text: &str) {
        self.post(Event::Failed(text.to_owned()));
    }

    /// A processor stands.
    pub(crate) fn tell_parked(&self) {
        self.look();
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.hold.load(Ordering::Acquire)
    }

    /// What the guest asked for is decided: processors go on, unless it has asked again.
    fn release(&self) {
        if !self.hold.load(Ordering::Acquire) {
            return;
        }
        let waits = self.peek(|core| {
            let waits = core.control.waits();
            if !waits {
                self.hold.store(false, Ordering::Release);
            }
            waits
        });
        if !waits {
            for processor in &self.processors {
                processor.kick();
            }
        }
    }

    pub(crate) fn ended(&self) -> bool {
        self.end.load(Ordering::Acquire)
    }

    /// The timer thread: ticks devices when their time comes.
    fn run_timer(&self) {
        while !self.ended() {
            let mut core = locked(&self.core);
            core.tick();
            let after = self.settle(&mut core);
            {
                let mut timer = locked(&self.timer);
                timer.until = after.deadline;
                timer.changed = false;
            }
            drop(core);
            self.follow(Aftermath {
                deadline: None,
                ..after
            });
            self.catch_up();
            self.wait_for_timer();
        }
    }

    fn wait_for_timer(&self) {
        let timer = locked(&self.timer);
        // The end may have come, and its wake-up been taken for one before the last tick.
        if timer.changed || self.ended() {
            return;
        }
        let left = timer
            .until
            .map(|at| Duration::from_nanos(at.saturating_sub(self.clock.now())));
        // While time stands nothing comes due; whoever lets it run again wakes this thread.
        let left = left.filter(|_| self.clock.runs());
        let limit = left.unwrap_or(Duration::from_secs(3600));
        drop(self.timer_wake.wait_timeout(timer, limit));
    }

    fn wake_timer(&self) {
        locked(&self.timer).changed = true;
        self.timer_wake.notify_all();
    }
}

/// A machine; copies are handles to the same one.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<Shared>,
    state: Arc<Mutex<RunState>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// Wakes a machine that may not be built yet, or be gone.
#[derive(Clone, Default)]
pub(crate) struct Doorbell(Arc<OnceLock<Weak<Shared>>>);

impl Doorbell {
    /// What backends ring.
    pub(crate) fn wake(&self) -> Wake {
        let bell = self.clone();
        Wake::new(move || {
            if let Some(shared) = bell.0.get().and_then(Weak::upgrade) {
                shared.wake();
            }
        })
    }
}

impl Machine {
    pub(crate) fn new(
        core: Core,
        accel: Arc<dyn Accel>,
        processors: Vec<Arc<Processor>>,
        bell: &Doorbell,
    ) -> Self {
        let shared = Shared {
            accel,
            clock: core.clock.clone(),
            processors,
            core: Mutex::new(core),
            finished: AtomicBool::new(false),
            stop: AtomicBool::new(true),
            hold: AtomicBool::new(false),
            end: AtomicBool::new(false),
            timer: Mutex::default(),
            timer_wake: Condvar::new(),
            main: Mutex::default(),
            main_wake: Condvar::new(),
        };
        let shared = Arc::new(shared);
        // The bell is this machine's alone, so it has not been set.
        let _ = bell.0.set(Arc::downgrade(&shared));
        Self {
            shared,
            state: Arc::new(Mutex::new(RunState::Prelaunch)),
            threads: Arc::default(),
        }
    }

    /// Starts the threads; the processors stand until [`Machine::start`].
    ///
    /// # Errors
    /// The host gives no thread.
    pub fn launch(&self) -> std::io::Result<()> {
        self.shared.access(Core::reset);
        let mut threads = locked(&self.threads);
        for n in 0..self.shared.processors.len() {
            let shared = Arc::clone(&self.shared);
            let builder = std::thread::Builder::new().name(format!("CPU {n}"));
            threads.push(builder.spawn(move || processor::run(&shared, n))?);
        }
        let shared = Arc::clone(&self.shared);
        let builder = std::thread::Builder::new().name("timers".to_owned());
        threads.push(builder.spawn(move || shared.run_timer())?);
        Ok(())
    }

    /// What it is doing.
    pub fn state(&self) -> RunState {
        *locked(&self.state)
    }

    /// Lets it run.
    pub fn start(&self) {
        self.set_running(RunState::Running);
    }

    fn set_running(&self, state: RunState) {
        *locked(&self.state) = state;
        self.shared.clock.start();
        self.shared.stop.store(false, Ordering::Release);
        self.kick_all();
        self.shared.wake_timer();
    }

    /// Stops it; returns when every processor stands. Not to be called from a processor's thread.
    pub fn stop(&self, state: RunState) {
        self.park();
        self.shared.clock.stop();
        *locked(&self.state) = state;
    }

    /// The guest sleeps: processors stand, but time goes on and devices work. Ends by [`Machine::wake`] or a reset. Not to
    /// be called from a processor's thread.
    pub fn suspend(&self) {
        self.park();
        *locked(&self.state) = RunState::Suspended;
    }

    /// Wakes a guest that sleeps: everything but memory is reset, and the firmware is told to resume.
    pub fn wake(&self) {
        self.stop(RunState::Suspended);
        self.shared.access(Core::reset);
        self.with(|core| core.host_event(HostEvent::Wake));
        self.reset_processors();
        self.start();
    }

    fn park(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.kick_all();
        self.wait_parked();
    }

    fn reset_processors(&self) {
        for processor in &self.shared.processors {
            processor.reset();
        }
    }

    fn kick_all(&self) {
        for processor in &self.shared.processors {
            processor.kick();
        }
    }

    fn wait_parked(&self) {
        if locked(&self.threads).is_empty() {
            return;
        }
        let mut main = locked(&self.shared.main);
        while !self.shared.processors.iter().all(|p| p.parked()) && !self.shared.ended() {
            // Kicked again each time: a processor may have been between two runs.
            let (woken, _) = self
                .shared
                .main_wake
                .wait_timeout(main, Duration::from_millis(5))
                .unwrap_or_else(PoisonError::into_inner);
            drop(woken);
            self.kick_all();
            main = locked(&self.shared.main);
        }
    }

    /// Resets the whole machine. It goes on if it ran or slept, and is as never started if not.
    pub fn reset(&self) {
        let running = matches!(self.state(), RunState::Running | RunState::Suspended);
        self.stop(self.state());
        self.shared.access(Core::reset);
        self.reset_processors();
        if running {
            self.start();
        } else {
            *locked(&self.state) = RunState::Prelaunch;
        }
    }

    /// Presses the power button.
    pub fn power_button(&self) {
        self.with(|core| core.host_event(HostEvent::PowerButton));
    }

    /// Asks the main loop to end with an exit code.
    pub fn quit(&self, code: i32) {
        self.shared.post(Event::Quit(code));
    }

    /// Waits for what the main loop has to decide; `None` when the time is up. While the guest has asked for something, no
    /// processor runs on: they go on by the next call, when it is decided.
    pub fn wait(&self, limit: Duration) -> Option<Event> {
        self.shared.release();
        let main = locked(&self.shared.main);
        let (mut main, _) = self
            .shared
            .main_wake
            .wait_timeout_while(main, limit, |main| main.events.is_empty() && !main.look)
            .unwrap_or_else(PoisonError::into_inner);
        main.look = false;
        if !main.events.is_empty() {
            return Some(main.events.remove(0));
        }
        drop(main);
        let (wish, another) = self
            .shared
            .peek(|core| (core.control.take(), core.control.waits()));
        if another {
            self.shared.look();
        }
        wish.map(Event::Guest)
    }

    /// Calls under the machine lock, with everything that follows from what the call did.
    pub fn with<T>(&self, call: impl FnOnce(&mut Core) -> T) -> T {
        self.shared.access(call)
    }

    /// Whether address bit 20 is let through.
    pub fn a20(&self) -> bool {
        self.shared.peek(|core| core.a20())
    }

    /// How many processors there are.
    pub fn processors(&self) -> usize {
        self.shared.processors.len()
    }

    /// Whether processor `n` waits for an interrupt.
    pub fn halted(&self, n: usize) -> bool {
        self.shared.processors.get(n).is_some_and(|p| p.halted())
    }

    /// The host's number of the thread of processor `n`.
    pub fn thread(&self, n: usize) -> u32 {
        let processor = self.shared.processors.get(n);
        // A thread says its number first of all.
        for _ in 0..1000 {
            match processor.map(|p| p.thread()) {
                Some(0) => std::thread::sleep(Duration::from_millis(1)),
                Some(number) => return number,
                None => break,
            }
        }
        0
    }

    /// The registers of processor `n`.
    pub fn registers(&self, n: usize) -> Option<Registers> {
        self.ask(n, |vcpu| vcpu.registers())
    }

    /// Everything that processor `n` holds.
    pub fn saved_processor(&self, n: usize) -> Option<SavedCpu> {
        self.ask(n, |vcpu| vcpu.save())
    }

    fn ask<T: Send + 'static>(
        &self,
        n: usize,
        question: fn(&dyn Vcpu) -> std::io::Result<T>,
    ) -> Option<T> {
        let processor = self.shared.processors.get(n)?;
        let (give, take) = std::sync::mpsc::channel();
        processor.call(Box::new(move |vcpu| {
            // Whoever asked may be gone.
            let _ = give.send(question(vcpu));
        }));
        take.recv_timeout(Duration::from_secs(5)).ok()?.ok()
    }

    /// The accelerator's name.
    pub fn accelerator(&self) -> &'static str {
        self.shared.accel.name()
    }

    /// Gives device `number` bytes from its backend; waits until all are taken or the machine ends.
    pub fn receive(&self, number: usize, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.shared.ended() {
            let taken = self.with(|core| core.device(number).map_or(0, |d| d.receive(rest)));
            rest = rest.get(taken..).unwrap_or(&[]);
            if taken == 0 {
                // The guest has not read the earlier ones; how soon it does is its own business.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Ends the threads and waits for them, and for devices that still store what the guest gave them. Not to be called
    /// from one of the threads.
    pub fn end(&self) {
        self.shared.end.store(true, Ordering::Release);
        self.shared.stop.store(true, Ordering::Release);
        self.kick_all();
        self.shared.wake_timer();
        self.shared.look();
        let threads = std::mem::take(&mut *locked(&self.threads));
        for thread in threads {
            self.kick_all();
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        while self.shared.peek(Core::storing) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
