//! The thread of one processor: it runs the guest, waits while halted, and does what others ask of it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use accel_core::{CpuBus, Exit, Kick, Vcpu};
use dev_chipset::interrupts::{CpuSignals, EVENT_INIT, EVENT_NMI, EVENT_SMI, EVENT_START};
use hw_core::Request;

use crate::machine::Shared;

thread_local! {
    /// Number of the processor this thread runs.
    static RUNNING: Cell<Option<usize>> = const { Cell::new(None) };
}

const ASK_RESET: u32 = 1;
const ASK_A20_ON: u32 = 2;
const ASK_A20_OFF: u32 = 4;
const ASK_CALL: u32 = 8;

/// A question to the processor, answered on its own thread.
type Call = Box<dyn FnOnce(&mut dyn Vcpu) + Send>;

/// What the outside sees of a processor.
pub(crate) struct Processor {
    pub(crate) index: usize,
    pub(crate) signals: Arc<CpuSignals>,
    asked: AtomicU32,
    calls: Mutex<Vec<Call>>,
    /// Held while the thread decides to sleep, so that no wake is lost.
    sleep: Mutex<()>,
    wake: Condvar,
    kicker: OnceLock<Arc<dyn Kick>>,
    parked: AtomicBool,
    halted: AtomicBool,
    /// The host's number of the thread; zero before it runs.
    thread: AtomicU32,
}

impl Processor {
    pub(crate) fn new(index: usize, signals: Arc<CpuSignals>) -> Self {
        Self {
            index,
            signals,
            asked: AtomicU32::new(0),
            calls: Mutex::default(),
            sleep: Mutex::default(),
            wake: Condvar::new(),
            kicker: OnceLock::new(),
            parked: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            thread: AtomicU32::new(0),
        }
    }

    /// Makes the thread look around.
    pub(crate) fn kick(&self) {
        drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
        if RUNNING.get() != Some(self.index)
            && let Some(kicker) = self.kicker.get()
        {
            kicker.kick();
        }
    }

    fn ask(&self, what: u32) {
        self.asked.fetch_or(what, Ordering::AcqRel);
        self.kick();
    }

    /// Asks for the state after power-on.
    pub(crate) fn reset(&self) {
        self.ask(ASK_RESET);
    }

    /// Lets address bit 20 through or not.
    pub(crate) fn set_a20(&self, on: bool) {
        self.ask(if on { ASK_A20_ON } else { ASK_A20_OFF });
    }

    /// Calls on the processor's thread; the answer comes by whatever the call holds.
    pub(crate) fn call(&self, call: Call) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
        drop(calls);
        self.ask(ASK_CALL);
    }

    /// Whether the thread stands, as everyone does while the machine is stopped.
    pub(crate) fn parked(&self) -> bool {
        self.parked.load(Ordering::Acquire)
    }

    /// Whether it waits for an interrupt.
    pub(crate) fn halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }

    /// The host's number of its thread.
    pub(crate) fn thread(&self) -> u32 {
        self.thread.load(Ordering::Acquire)
    }

    /// Keeps the number of the thread that calls.
    fn remember_thread(&self) {
        let own = std::fs::read_link("/proc/thread-self").ok();
        let number = own
            .as_deref()
            .and_then(|path| path.file_name()?.to_str()?.parse().ok());
        self.thread.store(number.unwrap_or(0), Ordering::Release);
    }

    fn asked(&self) -> bool {
        self.asked.load(Ordering::Acquire) != 0
    }
}

/// The processor's way to the machine.
struct MachineBus<'a> {
    shared: &'a Shared,
    processor: &'a Processor,
}

impl CpuBus for MachineBus<'_> {
    fn io_read(&mut self, port: u16, bytes: usize) -> u32 {
        self.shared.access(|core| core.port_read(port, bytes))
    }

    fn io_write(&mut self, port: u16, bytes: usize, value: u32) {
        self.shared
            .access(|core| core.port_write(port, bytes, value));
    }

    fn memory_read(&mut self, address: u64, bytes: usize) -> u64 {
        let cpu = self.processor.index;
        self.shared
            .access(|core| core.memory_read(cpu, address, bytes))
    }

    fn memory_write(&mut self, address: u64, bytes: usize, value: u64) {
        let cpu = self.processor.index;
        self.shared
            .access(|core| core.memory_write(cpu, address, bytes, value));
    }

    fn interrupt_waits(&mut self) -> bool {
        self.processor.signals.waits()
    }

    fn acknowledge(&mut self) -> Option<u8> {
        let cpu = self.processor.index;
        self.shared.access(|core| core.interrupts.acknowledge(cpu))
    }

    fn must_leave(&mut self) -> bool {
        self.shared.stopped() || self.processor.asked() || self.processor.signals.has_events()
    }

    fn msr_read(&mut self, index: u32) -> Option<u64> {
        let cpu = self.processor.index;
        self.shared
            .access(|core| core.interrupts.msr_read(cpu, index))
    }

    fn msr_write(&mut self, index: u32, value: u64) -> bool {
        let cpu = self.processor.index;
        self.shared
            .access(|core| core.interrupts.msr_write(cpu, index, value))
    }

    fn task_priority(&mut self) -> u8 {
        let cpu = self.processor.index;
        self.shared.peek(|core| core.interrupts.task_priority(cpu))
    }

    fn set_task_priority(&mut self, priority: u8) {
        let cpu = self.processor.index;
        self.shared
            .access(|core| core.interrupts.set_task_priority(cpu, priority));
    }

    fn time(&mut self) -> u64 {
        self.shared.clock.now()
    }
}

/// What the thread knows between runs.
struct Runner<'a> {
    shared: &'a Shared,
    processor: &'a Processor,
    vcpu: Box<dyn Vcpu>,
    /// HLT was executed and nothing came since.
    halted: bool,
    /// A processor other than the first waits for a start-up message.
    waits_for_start: bool,
}

/// Runs processor `n` until the machine ends.
pub(crate) fn run(shared: &Shared, n: usize) {
    let Some(processor) = shared.processors.get(n) else {
        return;
    };
    RUNNING.set(Some(n));
    processor.remember_thread();
    let index = u8::try_from(n).unwrap_or(u8::MAX);
    let vcpu = match shared.accel.processor(index) {
        Ok(vcpu) => vcpu,
        Err(error) => {
            shared.fail(&format!("processor {n} cannot be made: {error}"));
            return;
        }
    };
    // Nobody else sets it, so it is empty.
    let _ = processor.kicker.set(vcpu.kicker());
    let mut runner = Runner {
        shared,
        processor,
        vcpu,
        halted: false,
        waits_for_start: n != 0,
    };
    processor.asked.fetch_or(ASK_RESET, Ordering::AcqRel);
    while !shared.ended() {
        if let Err(error) = runner.obey() {
            shared.fail(&format!("processor {n}: {error}"));
        }
        if runner.sleeps() {
            continue;
        }
        runner.enter();
    }
}

impl Runner<'_> {
    /// Does what was asked.
    fn obey(&mut self) -> std::io::Result<()> {
        let asked = self.processor.asked.swap(0, Ordering::AcqRel);
        if asked & ASK_RESET != 0 {
            self.vcpu.reset()?;
            self.vcpu.set_a20(true);
            self.halted = false;
            self.waits_for_start = self.processor.index != 0;
        }
        if asked & (ASK_A20_ON | ASK_A20_OFF) != 0 {
            let on = self.shared.peek(|core| core.a20());
            self.vcpu.set_a20(on);
        }
        if asked & ASK_CALL != 0 {
            let mut calls = self
                .processor
                .calls
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for call in std::mem::take(&mut *calls) {
                call(self.vcpu.as_mut());
            }
        }
        let (events, start) = self.processor.signals.take_events();
        if events & EVENT_INIT != 0 {
            self.vcpu.init()?;
            self.halted = false;
            self.waits_for_start = self.processor.index != 0;
        }
        if events & EVENT_START != 0 && self.waits_for_start {
            self.vcpu.start_up(start)?;
            self.waits_for_start = false;
        }
        if events & EVENT_NMI != 0 && !self.waits_for_start {
            // More than two at once are two: the processor forgets the rest.
            for _ in 0..self.processor.signals.take_nmis().min(2) {
                self.vcpu.nmi();
            }
            self.halted = false;
        }
        if events & EVENT_SMI != 0 && !self.waits_for_start {
            self.vcpu.smi();
            self.halted = false;
        }
        Ok(())
    }

    /// Sleeps if there is nothing to run; true when it did.
    fn sleeps(&mut self) -> bool {
        let processor = self.processor;
        let guard = processor
            .sleep
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if processor.asked() || processor.signals.has_events() || self.shared.ended() {
            return true;
        }
        let stopped = self.shared.stopped();
        let waits = self.waits_for_start || self.halted && !processor.signals.waits();
        if !stopped && !waits {
            self.halted = false;
            processor.halted.store(false, Ordering::Release);
            return false;
        }
        processor.halted.store(waits, Ordering::Release);
        processor.parked.store(stopped, Ordering::Release);
        if stopped {
            self.shared.tell_parked();
        }
        // The time limit only guards against a kick that an accelerator lost.
        let slept = processor.wake.wait_timeout(guard, Duration::from_secs(1));
        drop(slept);
        processor.parked.store(false, Ordering::Release);
        true
    }

    fn enter(&mut self) {
        let mut bus = MachineBus {
            shared: self.shared,
            processor: self.processor,
        };
        match self.vcpu.run(&mut bus) {
            Exit::Halt => self.halted = true,
            Exit::Kicked => {}
            Exit::Shutdown => {
                tracing::debug!("processor {}: triple fault", self.processor.index);
                self.halted = true;
                self.shared.access(|core| core.control.ask(Request::Reset));
            }
            Exit::Failed(text) => {
                self.halted = true;
                self.shared.fail(&text);
            }
        }
    }
}
