//! What lies under the machine lock: devices, address spaces, interrupt controllers, and how an access reaches them.
//!
//! Device numbers: 0 the interrupt controllers, 1 the PCI bus, then the others in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use accel_core::{Accel, Slot};
use dev_chipset::interrupts::Interrupts;
use dev_chipset::pirq::PirqRouter;
use dev_chipset::wires;
use guest_mem::PAGE;
use hw_core::bits::ones;
use hw_core::memory::{Backing, Range, Shared, look};
use hw_core::pci::Bus;
use hw_core::{Clock, Control, Device, HostEvent, Lines, Signal};

/// The interrupt controllers' number.
pub(crate) const INTERRUPTS: usize = 0;
/// The PCI bus's number.
pub(crate) const PCI: usize = 1;
/// Number of the first other device.
const OTHERS: usize = 2;
/// Rounds of signals that follow from signals; each drives other wires, so few suffice.
const MOST_ROUNDS: usize = 16;

/// Called with every change of an input of the I/O APIC.
pub type Watch = Box<dyn FnMut(usize, bool) + Send>;

/// Everything under the lock.
pub struct Core {
    /// Guest time.
    pub clock: Clock,
    /// Wishes of the guest.
    pub control: Control,
    /// Interrupt wires.
    pub lines: Lines,
    /// Memory.
    pub memory: Shared,
    /// I/O ports.
    pub ports: Shared,
    /// Interrupt controllers.
    pub interrupts: Interrupts,
    /// The PCI bus; empty on boards without one.
    pub pci: Bus,
    devices: Vec<Box<dyn Device>>,
    pub(crate) router: PirqRouter,
    /// First I/O APIC input of the PCI wires, on boards where they have their own.
    pub(crate) apic_wires: Option<usize>,
    /// The HPET stands in for interval timer and real-time clock.
    pub(crate) legacy: Option<Arc<AtomicBool>>,
    /// Who is told of interrupt lines, beside the controllers.
    pub(crate) watch: Option<Watch>,
    accel: Arc<dyn Accel>,
    mapped: u64,
    /// Address bit 20, as the lines have it.
    a20: bool,
}

/// What an access or a tick changed outside the lock.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aftermath {
    /// A device wants to be ticked at this time.
    pub(crate) deadline: Option<u64>,
    /// The guest asked for something.
    pub(crate) wish: bool,
    /// Address bit 20 is let through or not, newly.
    pub(crate) a20: Option<bool>,
}

/// What [`Core`] is built from.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) control: Control,
    pub(crate) lines: Lines,
    pub(crate) memory: Shared,
    pub(crate) ports: Shared,
    pub(crate) interrupts: Interrupts,
    pub(crate) accel: Arc<dyn Accel>,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let pci = Bus::new(PCI, &parts.memory, &parts.ports);
        let router = PirqRouter::new(&parts.lines);
        Self {
            clock: parts.clock,
            control: parts.control,
            lines: parts.lines,
            memory: parts.memory,
            ports: parts.ports,
            interrupts: parts.interrupts,
            pci,
            devices: Vec::new(),
            router,
            apic_wires: None,
            legacy: None,
            watch: None,
            accel: parts.accel,
            mapped: 0,
            a20: true,
        }
    }

    /// The number the next device will have.
    pub fn next_number(&self) -> usize {
        OTHERS + self.devices.len()
    }

    /// Adds a device; gives its number.
    pub fn add(&mut self, device: Box<dyn Device>) -> usize {
        self.devices.push(device);
        OTHERS + self.devices.len() - 1
    }

    /// A device by its number.
    pub fn device(&mut self, number: usize) -> Option<&mut dyn Device> {
        match number {
            INTERRUPTS => Some(&mut self.interrupts),
            PCI => Some(&mut self.pci),
            n => {
                let device = self.devices.get_mut(n.checked_sub(OTHERS)?)?;
                Some(device.as_mut())
            }
        }
    }

    /// All devices.
    pub fn each(&mut self, mut call: impl FnMut(&mut dyn Device)) {
        call(&mut self.interrupts);
        call(&mut self.pci);
        for device in &mut self.devices {
            call(device.as_mut());
        }
    }

    /// All devices, to be looked at.
    #[cfg(feature = "contract-tests")]
    pub(crate) fn look_at(&self, mut call: impl FnMut(&dyn Device)) {
        call(&self.interrupts);
        call(&self.pci);
        for device in &self.devices {
            call(device.as_ref());
        }
    }

    /// Tells all devices.
    pub fn host_event(&mut self, event: HostEvent) {
        self.each(|device| device.host_event(event));
    }

    /// Backends have finished something; the devices look for themselves.
    pub(crate) fn completed(&mut self) {
        self.each(|device| device.completed());
    }

    /// Whether a device still brings to its backend what the guest gave it.
    pub(crate) fn storing(&self) -> bool {
        self.devices.iter().any(|device| device.storing())
    }

    /// Whether address bit 20 is let through.
    pub(crate) fn a20(&self) -> bool {
        self.a20
    }

    /// Reads from a port.
    pub(crate) fn port_read(&mut self, port: u16, bytes: usize) -> u32 {
        let found = look(&self.ports).find(u64::from(port));
        let value = self.read(found, bytes);
        hw_core::bits::low32(value & ones(bytes))
    }

    /// Writes to a port.
    pub(crate) fn port_write(&mut self, port: u16, bytes: usize, value: u32) {
        let found = look(&self.ports).find(u64::from(port));
        self.write(found, bytes, u64::from(value));
    }

    /// Reads memory at an address; the processor's own interrupt controller first.
    pub(crate) fn memory_read(&mut self, cpu: usize, address: u64, bytes: usize) -> u64 {
        if self.interrupts.local_page(cpu, address) {
            return self.interrupts.local_read(cpu, address & 0xfff, bytes);
        }
        let found = look(&self.memory).find(address);
        self.read(found, bytes)
    }

    /// Writes memory at an address.
    pub(crate) fn memory_write(&mut self, cpu: usize, address: u64, bytes: usize, value: u64) {
        if self.interrupts.local_page(cpu, address) {
            self.interrupts
                .local_write(cpu, address & 0xfff, bytes, value);
            return;
        }
        let found = look(&self.memory).find(address);
        self.write(found, bytes, value);
    }

    fn read(&mut self, found: Option<Range>, bytes: usize) -> u64 {
        let Some(range) = found else {
            return ones(bytes);
        };
        match range.backing {
            Backing::Device {
                device,
                region,
                offset,
            } => {
                let Some(device) = self.device(device) else {
                    return ones(bytes);
                };
                let step = device.widest(region).clamp(1, 8);
                let mut value = 0;
                let mut at = 0;
                while at < bytes {
                    let part = step.min(bytes - at);
                    let read = device.read(region, offset.wrapping_add(at as u64), part);
                    value |= (read & ones(part)) << (at * 8);
                    at += part;
                }
                value
            }
            Backing::Ram { ram, offset }
            | Backing::Rom { ram, offset }
            | Backing::Flash { ram, offset, .. } => {
                ram.read_uint(offset, bytes).unwrap_or(ones(bytes))
            }
            Backing::Off => ones(bytes),
        }
    }

    fn write(&mut self, found: Option<Range>, bytes: usize, value: u64) {
        let Some(range) = found else { return };
        match range.backing {
            Backing::Device {
                device,
                region,
                offset,
            }
            | Backing::Flash {
                device,
                region,
                offset,
                ..
            } => {
                let Some(device) = self.device(device) else {
                    return;
                };
                let step = device.widest(region).clamp(1, 8);
                let mut at = 0;
                while at < bytes {
                    let part = step.min(bytes - at);
                    let piece = (value >> (at * 8)) & ones(part);
                    device.write(region, offset.wrapping_add(at as u64), part, piece);
                    at += part;
                }
            }
            Backing::Ram { ram, offset } => {
                // The range was found for its first byte; the rest may leave the block, as hardware drops it.
                let _ = ram.write_uint(offset, bytes, value);
            }
            Backing::Rom { .. } | Backing::Off => {}
        }
    }

    /// To be called after every access and tick: signals reach the controllers, the memory map the accelerator.
    pub(crate) fn settle(&mut self) -> Aftermath {
        let mut after = Aftermath::default();
        for _ in 0..MOST_ROUNDS {
            if !self.lines.changed() {
                break;
            }
            for signal in self.lines.take() {
                self.signal(signal, &mut after);
            }
        }
        self.follow_memory();
        after.wish = self.control.waits();
        after.deadline = self.deadline();
        after
    }

    fn signal(&mut self, signal: Signal, after: &mut Aftermath) {
        let Signal::Wire(wire, level) = signal else {
            return self.interrupts.signal(signal);
        };
        let legacy = self
            .legacy
            .as_ref()
            .is_some_and(|legacy| legacy.load(Ordering::Acquire));
        match wire {
            0..24 => self.interrupt(wire, level),
            wires::RTC => {
                if level {
                    self.host_event(HostEvent::ClockSignal);
                }
                if !legacy {
                    self.interrupt(8, level);
                }
            }
            wires::PIT if !legacy => self.interrupt(0, level),
            wires::A20 => {
                if self.a20 != level {
                    self.a20 = level;
                    after.a20 = Some(level);
                }
            }
            wires::NMI if level => self.interrupts.nmi(),
            wires::SMI if level => self.interrupts.smi(),
            _ => {
                if let Some(n) = wire.checked_sub(wires::PIRQ).filter(|n| *n < 8) {
                    self.router.set_level(n, level);
                    if let Some(first) = self.apic_wires {
                        self.interrupts.apic_only(first + n, level);
                        self.tell(first + n, level);
                    }
                }
            }
        }
    }

    /// An input of the interrupt controllers goes to a level.
    fn interrupt(&mut self, wire: usize, level: bool) {
        self.interrupts.signal(Signal::Wire(wire, level));
        self.tell(wire, level);
    }

    fn tell(&mut self, wire: usize, level: bool) {
        if let Some(watch) = &mut self.watch {
            watch(wire, level);
        }
    }

    /// The earliest time a device wants to be ticked.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let own = [self.interrupts.deadline(), self.pci.deadline()];
        let others = self.devices.iter().map(|device| device.deadline());
        own.into_iter().chain(others).flatten().min()
    }

    /// Ticks every device whose time has come.
    pub(crate) fn tick(&mut self) {
        let now = self.clock.now();
        self.each(|device| {
            if device.deadline().is_some_and(|at| at <= now) {
                device.tick(now);
            }
        });
    }

    /// Brings the accelerator's memory in line with the address space.
    fn follow_memory(&mut self) {
        let space = look(&self.memory);
        if space.generation() == self.mapped {
            return;
        }
        self.mapped = space.generation();
        let slots: Vec<Slot> = space.ranges().iter().filter_map(slot).collect();
        drop(space);
        if let Err(error) = self.accel.map(&slots) {
            tracing::error!("memory cannot be mapped: {error}");
        }
    }

    /// Reset of everything but the processors.
    pub(crate) fn reset(&mut self) {
        self.each(|device| device.reset());
        // Levels that devices let go of reach the controllers; what looks like a request on the way is none.
        self.settle();
        self.interrupts.reset();
    }
}

/// What the processor reaches without leaving the guest: whole pages of memory.
fn slot(range: &Range) -> Option<Slot> {
    let (ram, offset, read_only) = match &range.backing {
        Backing::Ram { ram, offset } => (ram, *offset, false),
        Backing::Rom { ram, offset } | Backing::Flash { ram, offset, .. } => (ram, *offset, true),
        _ => return None,
    };
    let whole = range.start.is_multiple_of(PAGE) && offset.is_multiple_of(PAGE);
    let size = (range.last - range.start).saturating_add(1) & !(PAGE - 1);
    let inside = offset.checked_add(size)? <= ram.size();
    (whole && inside && size > 0).then(|| Slot {
        start: range.start,
        size,
        ram: ram.clone(),
        offset,
        read_only,
    })
}
