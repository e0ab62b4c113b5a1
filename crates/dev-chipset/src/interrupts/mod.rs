//! The interrupt controllers of a PC, as one device: two 8259A, an I/O APIC, a local APIC for each processor.
//! ```text
//!   GSI 0-15 --+--> 8259 pair ---> LINT0 of the boot processor
//!              +--> I/O APIC (0 at pin 2) --+
//!   GSI 16-23 ----> I/O APIC ---------------+--> local APICs --> processors
//!   messages (MSI, IPI) --------------------+
//! ```
//! Regions: 0 and 1 the 8259 pair, 2 its edge/level registers, 3 the I/O APIC. The local APICs' page depends on the
//! processor that asks, so the machine calls [`Interrupts::local_read`] and its sisters.

mod ioapic;
mod lapic;
mod pic;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use hw_core::bits::{low8, low32, ones};
use hw_core::device::{Device, StateError, restore_record, save_record};
use hw_core::{Clock, Signal};
use ioapic::IoApic;
use lapic::{Effect, Lapic, Shorthand};
use pic::Pic;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use view::Counts;
pub use view::{IoApicView, PicView};

/// What a processor must look at; shared with the thread that runs it.
#[derive(Debug, Default)]
pub struct CpuSignals {
    waits: AtomicBool,
    events: AtomicU32,
    nmis: AtomicU32,
    start: AtomicU8,
}

/// INIT arrived.
pub const EVENT_INIT: u32 = 1;
/// A start-up message arrived.
pub const EVENT_START: u32 = 2;
/// A non-maskable interrupt arrived.
pub const EVENT_NMI: u32 = 4;
/// A system management interrupt arrived.
pub const EVENT_SMI: u32 = 8;

impl CpuSignals {
    /// Whether a maskable interrupt waits.
    pub fn waits(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// Whether any event waits.
    pub fn has_events(&self) -> bool {
        self.events.load(Ordering::Acquire) != 0
    }

    /// Takes the non-maskable interrupts that came: each counts, a processor remembers one while it serves another.
    pub fn take_nmis(&self) -> u32 {
        self.nmis.swap(0, Ordering::AcqRel)
    }

    /// Takes the events, and the vector of a start-up message.
    pub fn take_events(&self) -> (u32, u8) {
        let events = self.events.swap(0, Ordering::AcqRel);
        (events, self.start.load(Ordering::Acquire))
    }
}

/// How a message is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Fixed,
    Lowest,
    Smi,
    Nmi,
    Init,
    Start,
    External,
    Reserved,
}

impl Delivery {
    /// From the lowest three bits.
    fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::Fixed,
            1 => Self::Lowest,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::Start,
            7 => Self::External,
            _ => Self::Reserved,
        }
    }
}

/// A message between interrupt controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Message {
    destination: u32,
    logical: bool,
    delivery: Delivery,
    vector: u8,
    level: bool,
}

/// Called with the number of a processor that has something new to look at.
pub type Kick = Box<dyn Fn(usize) + Send>;

/// Translates devices' messages (interrupt remapping).
pub trait MessageRemap: Send {
    /// What a message becomes: address and data; `None` when it is refused.
    fn remap(&self, address: u64, data: u32) -> Option<(u64, u32)>;
}

/// All controllers; see the head of this file.
pub struct Interrupts {
    chips: Chips,
    cpus: Vec<Arc<CpuSignals>>,
    kick: Kick,
    clock: Clock,
    /// Where the next lowest-priority message starts to look.
    turn: usize,
    counts: Counts,
    remap: Option<Box<dyn MessageRemap>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Chips {
    master: Pic,
    slave: Pic,
    io: IoApic,
    local: Vec<Lapic>,
}

/// Region of the first 8259; the second is the next.
pub const REGION_PIC: u32 = 0;
/// Region of the edge/level registers.
pub const REGION_ELCR: u32 = 2;
/// Region of the I/O APIC.
pub const REGION_IOAPIC: u32 = 3;

impl Interrupts {
    /// Controllers for the processors behind `cpus`, whose APIC ids are their numbers.
    pub fn new(cpus: Vec<Arc<CpuSignals>>, kick: Kick, clock: Clock) -> Self {
        let local = (0..cpus.len())
            .map(|n| Lapic::new(low32(n as u64)))
            .collect();
        Self {
            chips: Chips {
                master: Pic::default(),
                slave: Pic::default(),
                io: IoApic::default(),
                local,
            },
            cpus,
            kick,
            clock,
            turn: 0,
            counts: Counts::default(),
            remap: None,
        }
    }

    /// Has messages of devices, and of the I/O APIC where it asks for that, translated from now on.
    pub fn set_remap(&mut self, remap: Box<dyn MessageRemap>) {
        self.remap = Some(remap);
    }

    /// What the wires and messages of the machine bring. Wires are global system interrupts.
    pub fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Wire(gsi, level) => {
                let Ok(gsi) = u8::try_from(gsi) else { return };
                self.counts.wire(gsi, level);
                match gsi {
                    0..8 => self.chips.master.set(gsi, level),
                    8..16 => self.chips.slave.set(gsi - 8, level),
                    _ => {}
                }
                // The timer is at pin 2, as the MADT says; the 8259s' cascade has no wire.
                let pin = if gsi == 0 { 2 } else { gsi };
                if gsi != 2 {
                    self.chips.io.set(pin, level);
                }
            }
            Signal::Message(address, data) => self.message(address, data),
        }
        self.settle();
    }

    /// An input that only the I/O APIC has goes to a level.
    pub fn apic_only(&mut self, gsi: usize, level: bool) {
        if let Ok(gsi) = u8::try_from(gsi) {
            self.counts.wire(gsi, level);
            self.chips.io.set(gsi, level);
            self.settle();
        }
    }

    /// A message-signalled interrupt (Intel SDM volume 3, "Message Signalled Interrupts").
    fn message(&mut self, address: u64, data: u32) {
        if address >> 20 != 0xfee {
            return;
        }
        let (address, data) = match &self.remap {
            None => (address, data),
            Some(remap) => match remap.remap(address, data) {
                Some(message) => message,
                None => return,
            },
        };
        self.deliver(Message {
            destination: u32::from(low8(address >> 12)),
            logical: address & 4 != 0,
            delivery: Delivery::from_bits(low8(u64::from(data >> 8))),
            vector: low8(u64::from(data)),
            level: data & 1 << 15 != 0,
        });
    }

    /// An entry of the I/O APIC asks for its interrupt; where messages are translated it may name an entry of that table
    /// (Intel VT-d, 5.1.5.1).
    fn follow_entry(&mut self, entry: u64) {
        const REMAPPABLE: u64 = 1 << 48;
        if self.remap.is_some() && entry & REMAPPABLE != 0 {
            let high = entry >> 11 & 1;
            let address = 0xfee0_0010 | (entry >> 49) << 5 | high << 2;
            return self.message(address, 0);
        }
        self.deliver(Message {
            destination: u32::from(low8(entry >> 56)),
            logical: entry & (1 << 11) != 0,
            delivery: Delivery::from_bits(low8(entry >> 8)),
            vector: low8(entry),
            level: entry & ioapic::LEVEL != 0,
        });
    }

    /// A non-maskable interrupt from the board or the monitor.
    pub fn nmi(&mut self) {
        for n in 0..self.cpus.len() {
            if self.chips.local[n].takes_nmi() {
                self.event(n, EVENT_NMI);
            }
        }
    }

    /// A system management interrupt of the board.
    pub fn smi(&mut self) {
        for n in 0..self.cpus.len() {
            self.event(n, EVENT_SMI);
        }
    }

    fn event(&mut self, cpu: usize, event: u32) {
        if let Some(signals) = self.cpus.get(cpu) {
            if event == EVENT_NMI {
                signals.nmis.fetch_add(1, Ordering::AcqRel);
            }
            signals.events.fetch_or(event, Ordering::AcqRel);
            (self.kick)(cpu);
        }
    }

    fn deliver(&mut self, message: Message) {
        let local = &self.chips.local;
        let meant: Vec<usize> = (0..local.len())
            .filter(|n| local[*n].is_meant(message.destination, message.logical))
            .collect();
        self.deliver_to(&meant, message);
    }

    fn deliver_to(&mut self, meant: &[usize], message: Message) {
        if message.delivery == Delivery::Lowest {
            if let Some(n) = self.least_busy(meant) {
                self.chips.local[n].request(message.vector, message.level);
            }
            return;
        }
        for &n in meant {
            match message.delivery {
                Delivery::Fixed => self.chips.local[n].request(message.vector, message.level),
                Delivery::External => {
                    let vector = self.pic_vector();
                    self.chips.local[n].request(vector, message.level);
                }
                Delivery::Smi => self.event(n, EVENT_SMI),
                Delivery::Nmi => self.event(n, EVENT_NMI),
                Delivery::Init => {
                    self.chips.local[n].init();
                    self.event(n, EVENT_INIT);
                }
                Delivery::Start => {
                    if let Some(signals) = self.cpus.get(n) {
                        signals.start.store(message.vector, Ordering::Release);
                    }
                    self.event(n, EVENT_START);
                }
                Delivery::Lowest | Delivery::Reserved => {}
            }
        }
    }

    /// Of those a message is meant for, one of the lowest priority; equals take turns.
    fn least_busy(&mut self, meant: &[usize]) -> Option<usize> {
        let count = self.cpus.len().max(1);
        let turn = self.turn;
        let chosen = meant.iter().copied().min_by_key(|n| {
            let priority = self.chips.local[*n].processor_priority() >> 4;
            (priority, (n + count - turn % count) % count)
        })?;
        self.turn = (chosen + 1) % count;
        Some(chosen)
    }

    /// Sends what the I/O APIC has, and brings the processors' flags in line.
    fn settle(&mut self) {
        // Each message clears its cause, so there are at most as many as pins.
        for _ in 0..ioapic::PINS {
            let Some(entry) = self.chips.io.next_entry() else {
                break;
            };
            self.follow_entry(entry);
        }
        let slave = self.chips.slave.pending(None).is_some();
        self.chips.master.set(2, slave);
        self.counts.cascade(slave);
        let pic = self.chips.master.pending(Some(2)).is_some();
        for (n, signals) in self.cpus.iter().enumerate() {
            let local = &self.chips.local[n];
            let waits = local.pending().is_some() || pic && n == 0 && local.takes_pic();
            if signals.waits.swap(waits, Ordering::AcqRel) != waits && waits {
                (self.kick)(n);
            }
        }
    }

    /// The vector of the 8259 pair, taken into service.
    fn pic_vector(&mut self) -> u8 {
        match self.chips.master.pending(Some(2)) {
            Some(2) => {
                self.chips.master.acknowledge(2);
                match self.chips.slave.pending(None) {
                    Some(input) => self.chips.slave.acknowledge(input),
                    None => self.chips.slave.vector(7),
                }
            }
            Some(input) => self.chips.master.acknowledge(input),
            // The request went away: the spurious interrupt.
            None => self.chips.master.vector(7),
        }
    }

    /// Takes the vector that processor `cpu` is to serve.
    pub fn acknowledge(&mut self, cpu: usize) -> Option<u8> {
        let local = self.chips.local.get_mut(cpu)?;
        let takes_pic = cpu == 0 && local.takes_pic();
        let mut vector = local.acknowledge();
        if vector.is_none() && takes_pic && self.chips.master.pending(Some(2)).is_some() {
            vector = Some(self.pic_vector());
        }
        self.settle();
        vector
    }

    /// Whether `address` is in the page of processor `cpu`'s controller.
    pub fn local_page(&self, cpu: usize, address: u64) -> bool {
        let local = self.chips.local.get(cpu);
        local.and_then(Lapic::page) == Some(address & !0xfff)
    }

    /// Reads from that page.
    pub fn local_read(&mut self, cpu: usize, offset: u64, bytes: usize) -> u64 {
        let now = self.clock.now();
        let Some(local) = self.chips.local.get_mut(cpu) else {
            return ones(bytes);
        };
        let value = u64::from(local.read(offset & 0xff0, now));
        (value >> ((offset & 3) * 8)) & ones(bytes)
    }

    /// Writes to that page; only whole registers count.
    pub fn local_write(&mut self, cpu: usize, offset: u64, bytes: usize, value: u64) {
        let now = self.clock.now();
        let Some(local) = self.chips.local.get_mut(cpu) else {
            return;
        };
        if bytes >= 4 && offset & 0xf == 0 {
            let effect = local.write(offset & 0xff0, low32(value), now);
            self.follow(cpu, effect);
        }
    }

    fn follow(&mut self, cpu: usize, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::End(vector) => self.chips.io.end(vector),
            Effect::Send(message, Shorthand::None) => self.deliver(message),
            Effect::Send(message, shorthand) => {
                let all = 0..self.cpus.len();
                let meant: Vec<usize> = match shorthand {
                    Shorthand::Own => vec![cpu],
                    Shorthand::Others => all.filter(|n| *n != cpu).collect(),
                    _ => all.collect(),
                };
                self.deliver_to(&meant, message);
            }
        }
        self.settle();
    }

    /// Reads a register of the processor (RDMSR) that is here; `None` is a fault.
    pub fn msr_read(&mut self, cpu: usize, index: u32) -> Option<u64> {
        let now = self.clock.now();
        let local = self.chips.local.get_mut(cpu)?;
        match index {
            0x1b => Some(local.base()),
            0x6e0 => Some(local.tsc_deadline()),
            0x830 if local.x2() => Some(local.command()),
            0x802 | 0x803 | 0x808 | 0x80a | 0x80d | 0x80f..=0x828 | 0x832..=0x839 | 0x83e
                if local.x2() =>
            {
                Some(u64::from(local.read(u64::from(index - 0x800) << 4, now)))
            }
            _ => None,
        }
    }

    /// Writes such a register; false is a fault.
    pub fn msr_write(&mut self, cpu: usize, index: u32, value: u64) -> bool {
        let now = self.clock.now();
        let Some(local) = self.chips.local.get_mut(cpu) else {
            return false;
        };
        let x2 = local.x2();
        let effect = match index {
            0x1b => {
                let allowed = local.set_base(value);
                self.settle();
                return allowed;
            }
            0x6e0 => {
                local.set_tsc_deadline(value);
                Effect::None
            }
            0x830 if x2 => local.command_x2(value),
            0x80b | 0x828 if x2 && value != 0 => return false,
            // A message to itself is a vector and nothing else.
            0x83f if x2 && value > 0xff => return false,
            0x808 | 0x80b | 0x80f | 0x828 | 0x832..=0x838 | 0x83e | 0x83f if x2 => {
                let Ok(value) = u32::try_from(value) else {
                    return false;
                };
                local.write(u64::from(index - 0x800) << 4, value, now)
            }
            _ => return false,
        };
        self.follow(cpu, effect);
        true
    }

    /// CR8 of processor `cpu`.
    pub fn task_priority(&self, cpu: usize) -> u8 {
        self.chips.local.get(cpu).map_or(0, Lapic::task_priority)
    }

    /// Sets it.
    pub fn set_task_priority(&mut self, cpu: usize, priority: u8) {
        if let Some(local) = self.chips.local.get_mut(cpu) {
            local.set_task_priority(priority & 15);
            self.settle();
        }
    }
}

impl Device for Interrupts {
    fn name(&self) -> &'static str {
        "interrupts"
    }

    fn widest(&self, region: u32) -> usize {
        if region == REGION_IOAPIC { 8 } else { 1 }
    }

    fn read(&mut self, region: u32, offset: u64, bytes: usize) -> u64 {
        let value = match region {
            0 => self.chips.master.read(offset),
            1 => self.chips.slave.read(offset),
            REGION_ELCR if offset & 1 == 0 => u64::from(self.chips.master.level),
            REGION_ELCR => u64::from(self.chips.slave.level),
            REGION_IOAPIC => self.chips.io.read(offset),
            _ => ones(bytes),
        };
        self.settle();
        value & ones(bytes)
    }

    fn write(&mut self, region: u32, offset: u64, _bytes: usize, value: u64) {
        match region {
            0 => self.chips.master.write(offset, value),
            1 => self.chips.slave.write(offset, value),
            // Timer, keyboard, cascade, clock and FPU are edges always.
            REGION_ELCR if offset & 1 == 0 => self.chips.master.level = low8(value) & 0xf8,
            REGION_ELCR => self.chips.slave.level = low8(value) & 0xde,
            REGION_IOAPIC => self.chips.io.write(offset, value),
            _ => {}
        }
        self.settle();
    }

    fn reset(&mut self) {
        self.chips.master.reset();
        self.chips.slave.reset();
        self.chips.io.reset();
        for local in &mut self.chips.local {
            *local = Lapic::new(local.id());
        }
        for signals in &self.cpus {
            signals.take_events();
        }
        self.turn = 0;
        self.settle();
    }

    fn save(&self) -> Value {
        save_record(&self.chips)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let mut chips: Chips = restore_record(state)?;
        if chips.local.len() != self.cpus.len() {
            return Err(StateError("another number of processors".to_owned()));
        }
        chips.master = chips.master.checked();
        chips.slave = chips.slave.checked();
        self.chips = chips;
        self.settle();
        Ok(())
    }

    fn deadline(&self) -> Option<u64> {
        self.chips.local.iter().filter_map(Lapic::deadline).min()
    }

    fn tick(&mut self, now: u64) {
        for local in &mut self.chips.local {
            local.tick(now);
        }
        self.settle();
    }
}
