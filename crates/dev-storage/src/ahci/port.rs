//! One port: its registers, and the command that runs on its drive.
//!
//! ```text
//! 00 list of commands   08 frames received   10 interrupt status (write one to clear)   14 interrupt enable
//! 18 command and status 20 task file         24 signature   28 link status   2c link control   30 link errors
//! 34 queued commands    38 commands to do
//! ```
//! Slots are taken from the one after the last, one command at a time; what can be queued goes to the drive at once and
//! finishes later. A drive's error stops the port until the guest stops and starts it.

mod queue;

use hw_core::StateError;
use hw_core::bits::{low8, low16, low32};
use hw_core::device::{restore_record, save_record};
use hw_core::memory::{Dma, DmaError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SLOTS;
use super::fis::{self, ToDrive};
use super::table::Table;
use crate::ide::Drive;
use crate::ide::drive::Event;
use crate::ide::taskfile::status;
use crate::scatter::Way;
use queue::Queue;

/// Bits of command and status.
mod command {
    pub(super) const START: u32 = 1;
    pub(super) const CLEAR_BUSY: u32 = 1 << 3;
    pub(super) const RECEIVE: u32 = 1 << 4;
    pub(super) const RECEIVING: u32 = 1 << 14;
    pub(super) const RUNNING: u32 = 1 << 15;
    pub(super) const IS_CD: u32 = 1 << 24;
    /// What is kept of a write: start, spin up, power, receive, and whether the light is for a CD.
    pub(super) const KEPT: u32 = START | 2 | 4 | RECEIVE | IS_CD;
}

/// Bits of the interrupt status.
mod cause {
    pub(super) const REGISTERS: u32 = 1;
    pub(super) const PIO_SETUP: u32 = 1 << 1;
    pub(super) const DEVICE_BITS: u32 = 1 << 3;
    pub(super) const OVERFLOW: u32 = 1 << 24;
    pub(super) const LINK_FATAL: u32 = 1 << 27;
    pub(super) const BUS_FATAL: u32 = 1 << 29;
    pub(super) const TASK_FILE: u32 = 1 << 30;
    /// The bits there are.
    pub(super) const ALL: u32 = 0xfdc0_00ff;
}

/// Places in the memory for received frames.
const PIO_SETUP_AT: u64 = 0x20;
const REGISTERS_AT: u64 = 0x40;
/// Link status: a drive is there, 1.5 Gbit/s, active.
const LINK_UP: u32 = 0x113;
/// Link control: the guest asks for a reset of the link.
const LINK_RESET: u32 = 1;
const NO_DRIVE: u32 = 0x7f;

/// All that is saved, beside the drive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    list: u64,
    frames: u64,
    causes: u32,
    enabled: u32,
    command: u32,
    signature: u32,
    link_control: u32,
    link_errors: u32,
    to_do: u32,
    /// Slots whose queued commands have not finished.
    active: u32,
    queue: Queue,
    /// The slot whose command runs.
    slot: Option<u8>,
    last: u8,
    table: Table,
    /// The command's last bytes came over the data port: its end needs no registers.
    by_port: bool,
    /// An error stopped the port.
    stopped: bool,
    /// The reset bit of device control is held.
    reset: bool,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    state: State,
    drive: Option<Value>,
}

/// A port.
pub(super) struct Port {
    drive: Option<Drive>,
    dma: Dma,
    state: State,
}

impl Port {
    pub(super) fn new(drive: Option<Drive>, dma: Dma) -> Self {
        let mut port = Self {
            drive,
            dma,
            state: State::default(),
        };
        if let Some(drive) = &mut port.drive {
            drive.behind_serial_port();
        }
        port.reset();
        port
    }

    pub(super) fn drive(&mut self) -> Option<&mut Drive> {
        self.drive.as_mut()
    }

    /// Reset of the controller, or power-on.
    pub(super) fn reset(&mut self) {
        self.state = State::default();
        if let Some(drive) = &mut self.drive {
            drive.power_on();
        }
        self.show_signature();
    }

    /// Causes that the guest wants to hear of.
    pub(super) fn pending(&self) -> u32 {
        self.state.causes & self.state.enabled
    }

    pub(super) fn read(&self, offset: u64) -> u32 {
        let state = &self.state;
        match offset {
            0x00 => low32(state.list),
            0x04 => low32(state.list >> 32),
            0x08 => low32(state.frames),
            0x0c => low32(state.frames >> 32),
            0x10 => state.causes,
            0x14 => state.enabled,
            0x18 => state.command | u32::from(state.slot.unwrap_or(0)) << 8,
            0x20 => self.task_file(),
            0x24 => state.signature,
            0x28 => match (&self.drive, state.link_control & 0xf) {
                (Some(_), 0) => LINK_UP,
                _ => 0,
            },
            0x2c => state.link_control,
            0x30 => state.link_errors,
            0x34 => state.active,
            0x38 => state.to_do,
            _ => 0,
        }
    }

    fn task_file(&self) -> u32 {
        self.drive.as_ref().map_or(NO_DRIVE, |drive| {
            let regs = drive.task_file();
            u32::from(regs.status) | u32::from(regs.error) << 8
        })
    }

    pub(super) fn write(&mut self, offset: u64, value: u32) {
        let wide = u64::from(value);
        let state = &mut self.state;
        match offset {
            0x00 => state.list = state.list & !0xffff_ffff | wide & !0x3ff,
            0x04 => state.list = state.list & 0xffff_ffff | wide << 32,
            0x08 => state.frames = state.frames & !0xffff_ffff | wide & !0xff,
            0x0c => state.frames = state.frames & 0xffff_ffff | wide << 32,
            0x10 => state.causes &= !value,
            0x14 => state.enabled = value & cause::ALL,
            0x18 => self.set_command(value),
            0x2c => self.set_link(value),
            0x30 => state.link_errors &= !value,
            0x34 if state.command & command::START != 0 => state.active |= value,
            0x38 if state.command & command::START != 0 => {
                state.to_do |= value;
                self.run();
            }
            _ => {}
        }
    }

    fn set_command(&mut self, value: u32) {
        let started = value & command::START != 0;
        let mut now = value & command::KEPT;
        if started {
            now |= command::RUNNING;
        }
        if value & command::RECEIVE != 0 {
            now |= command::RECEIVING;
        }
        let was = self.state.command & command::START != 0;
        self.state.command = now;
        if !started {
            self.state.to_do = 0;
            self.state.active = 0;
            self.state.slot = None;
            self.state.stopped = false;
            self.drop_queue();
        }
        if value & command::CLEAR_BUSY != 0
            && !was
            && let Some(drive) = &mut self.drive
        {
            // What the drive was doing is given up.
            drive.soft_reset();
        }
        self.run();
    }

    fn set_link(&mut self, value: u32) {
        let before = self.state.link_control & 0xf;
        self.state.link_control = value & 0xfff;
        if value & 0xf == LINK_RESET {
            self.drop_queue();
        }
        let Some(drive) = &mut self.drive else { return };
        match (before, value & 0xf) {
            (LINK_RESET, 0) => {
                self.state.link_errors = 0;
                drive.soft_reset();
                self.show_signature();
            }
            (_, LINK_RESET) => {
                self.state.to_do = 0;
                self.state.active = 0;
                self.state.slot = None;
                drive.hold_reset();
            }
            _ => {}
        }
    }

    /// The drive says what it is after a reset.
    fn show_signature(&mut self) {
        self.state.signature = match &self.drive {
            Some(drive) => fis::signature(drive.task_file()),
            None => u32::MAX,
        };
        self.state.reset = false;
    }

    /// Takes commands and moves bytes until the drive has to work, or nothing is left to do.
    fn run(&mut self) {
        loop {
            if self.state.slot.is_none() {
                if !self.next_slot() {
                    return;
                }
                if self.state.slot.is_none() {
                    // Queued, or a reset: it is done with as far as the port is concerned.
                    continue;
                }
            }
            if let Err(error) = self.step() {
                tracing::debug!(?error, "a port cannot reach memory");
                self.stop(cause::BUS_FATAL);
                return;
            }
            if self.state.slot.is_some() {
                return;
            }
        }
    }

    /// Starts the next command; gives whether there was one.
    fn next_slot(&mut self) -> bool {
        let started = self.state.command & command::START != 0;
        if !started || self.state.stopped || self.drive.is_none() {
            return false;
        }
        let from = self.state.last + 1;
        let found = (0..SLOTS)
            .map(|n| (from + n) % SLOTS)
            .find(|slot| self.state.to_do & 1 << slot != 0);
        let Some(slot) = found else { return false };
        self.state.last = slot;
        self.state.slot = Some(slot);
        if let Err(error) = self.start(slot) {
            tracing::debug!(?error, slot, "a command cannot be read");
            self.stop(cause::BUS_FATAL);
            return false;
        }
        true
    }

    fn start(&mut self, slot: u8) -> Result<(), DmaError> {
        self.state.table = Table::open(&self.dma, self.state.list, slot)?;
        self.state.by_port = false;
        let raw = self.state.table.frame(&self.dma)?;
        if queue::is_queued(&raw) && self.drive.as_ref().is_some_and(Drive::queues) {
            return self.start_queued(slot, &raw);
        }
        let Some(drive) = &mut self.drive else {
            return Ok(());
        };
        match ToDrive::read(&raw) {
            ToDrive::Command(registers, code) => {
                for (offset, value) in registers {
                    drive.set_register(offset, value);
                }
                drive.set_register(6, raw[7]);
                drive.command(code);
            }
            ToDrive::Reset(true) => {
                drive.hold_reset();
                self.drop_queue();
                self.state.reset = true;
                self.forget(slot);
            }
            ToDrive::Reset(false) => {
                if self.state.reset {
                    drive.soft_reset();
                    self.show_signature();
                    self.send_registers()?;
                }
                self.forget(slot);
            }
            ToDrive::Unknown => self.stop(cause::LINK_FATAL),
        }
        Ok(())
    }

    fn forget(&mut self, slot: u8) {
        self.state.to_do &= !(1 << slot);
        self.state.slot = None;
    }

    fn stop(&mut self, why: u32) {
        self.state.causes |= why;
        self.state.stopped = true;
        self.state.slot = None;
    }

    /// Does what the drive asks for, until it works or the command is over.
    fn step(&mut self) -> Result<(), DmaError> {
        loop {
            let Some(drive) = &mut self.drive else {
                return Ok(());
            };
            match drive.take_event() {
                Some(Event::Interrupt) => {
                    let over = drive.task_file().status & (status::BSY | status::DRQ) == 0;
                    if over {
                        self.state.by_port = false;
                    }
                }
                Some(Event::Ended) => {}
                None => {
                    if !self.move_piece()? {
                        break;
                    }
                }
            }
        }
        let (Some(drive), Some(slot)) = (&self.drive, self.state.slot) else {
            return Ok(());
        };
        let now = drive.task_file().status;
        if now & (status::BSY | status::DRQ) != 0 {
            return Ok(());
        }
        self.state.table.close(&self.dma)?;
        if !self.state.by_port {
            self.send_registers()?;
        }
        if now & status::ERR == 0 {
            self.forget(slot);
        } else {
            self.stop(cause::TASK_FILE);
        }
        Ok(())
    }

    /// Moves what the drive has or wants; gives whether there was anything.
    fn move_piece(&mut self) -> Result<bool, DmaError> {
        let Some(drive) = &mut self.drive else {
            return Ok(false);
        };
        if drive.wants_packet() {
            let packet = self.state.table.packet(&self.dma)?;
            if let Some((_, room)) = drive.port_piece() {
                let bytes = room.len().min(packet.len());
                room[..bytes].copy_from_slice(&packet[..bytes]);
            }
            drive.dma_moved();
            return Ok(true);
        }
        if let Some((way, data)) = drive.dma_piece() {
            let len = data.len();
            let moved = self.state.table.transfer(&self.dma, way, data)?;
            // What a CD drive has beyond the room is dropped, as its host asked for less.
            if moved == len || drive.is_cd() {
                drive.dma_moved();
            } else {
                self.state.causes |= cause::OVERFLOW;
                drive.dma_short();
            }
            return Ok(true);
        }
        let before = drive.task_file().status;
        let Some((way, data)) = drive.port_piece() else {
            return Ok(false);
        };
        let bytes = low16(data.len() as u64);
        self.state.table.transfer(&self.dma, way, data)?;
        drive.dma_moved();
        let to_host = way == Way::ToMemory;
        let frame = fis::pio_setup(before, drive.task_file(), to_host, bytes);
        self.state.by_port = to_host;
        self.receive(PIO_SETUP_AT, &frame)?;
        self.state.causes |= cause::PIO_SETUP;
        Ok(true)
    }

    fn send_registers(&mut self) -> Result<(), DmaError> {
        if let Some(drive) = &self.drive {
            let frame = fis::registers(drive.task_file());
            self.receive(REGISTERS_AT, &frame)?;
            self.state.causes |= cause::REGISTERS;
        }
        Ok(())
    }

    /// Puts a frame where the guest looks for it.
    fn receive(&self, at: u64, frame: &[u8]) -> Result<(), DmaError> {
        if self.state.command & command::RECEIVE == 0 {
            return Ok(());
        }
        self.dma.write(self.state.frames.wrapping_add(at), frame)
    }

    pub(super) fn completed(&mut self) {
        if let Some(drive) = &mut self.drive {
            drive.completed();
            self.follow_queue();
            self.run();
        }
    }

    pub(super) fn save(&self) -> Value {
        save_record(&Saved {
            state: self.state.clone(),
            drive: self.drive.as_ref().map(Drive::save),
        })
    }

    pub(super) fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Saved = restore_record(state)?;
        match (&mut self.drive, &saved.drive) {
            (Some(drive), Some(state)) => drive.restore(state)?,
            (None, None) => {}
            _ => return Err(StateError("a drive where none is".to_owned())),
        }
        let slots = [saved.state.slot.unwrap_or(0), saved.state.last];
        if slots.iter().any(|slot| *slot >= SLOTS) {
            return Err(StateError("a slot that cannot be".to_owned()));
        }
        if !saved.state.queue.is_sound(self.drive.as_ref()) {
            return Err(StateError("a queued command that cannot be".to_owned()));
        }
        self.state = saved.state;
        if let Some(drive) = &mut self.drive {
            self.state.queue.begin_again(drive);
        }
        Ok(())
    }
}

/// A register as an access at `offset` sees it: from the byte on that it names.
pub(super) fn shifted(value: u32, offset: u64) -> u64 {
    u64::from(value) >> (8 * u32::from(low8(offset & 3)))
}
