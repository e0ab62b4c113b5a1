//! One channel: two drives that share ports, an interrupt line and a bus master.

use hw_core::StateError;
use hw_core::bits::{low8, ones};
use hw_core::device::{restore_record, save_record};
use hw_core::irq::Line;
use hw_core::memory::Dma;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bus_master::BusMaster;
use super::drive::{Drive, Event};
use super::taskfile::status;

/// Bits of device control.
const NO_INTERRUPT: u8 = 2;
const RESET: u8 = 4;
/// Which drive the device register selects.
const SECOND: u8 = 0x10;

pub(super) struct Channel {
    drives: [Option<Drive>; 2],
    line: Line,
    dma: Dma,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    master: BusMaster,
    control: u8,
    second: bool,
    /// The drive wants the host's attention, whether or not the line may show it.
    wanted: bool,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    state: State,
    drives: Vec<Option<Value>>,
}

impl Channel {
    pub(super) fn new(drives: [Option<Drive>; 2], line: Line, dma: Dma) -> Self {
        Self {
            drives,
            line,
            dma,
            state: State::default(),
        }
    }

    pub(super) fn drive(&mut self, place: usize) -> Option<&mut Drive> {
        self.drives.get_mut(place)?.as_mut()
    }

    fn place(&self) -> usize {
        usize::from(self.state.second)
    }

    fn selected(&mut self) -> Option<&mut Drive> {
        let place = self.place();
        self.drive(place)
    }

    fn follow(&mut self) {
        let shown = self.state.wanted && self.state.control & NO_INTERRUPT == 0;
        self.line.set(shown);
    }

    /// Does what the selected drive asks for after a step, until it asks for nothing more.
    fn settle(&mut self) {
        let place = self.place();
        self.settle_drive(place);
    }

    fn settle_drive(&mut self, place: usize) {
        loop {
            let Some(drive) = self.drives.get_mut(place).and_then(Option::as_mut) else {
                return;
            };
            match drive.take_event() {
                Some(Event::Interrupt) => {
                    // Only the drive that is selected drives the line.
                    if place == usize::from(self.state.second) {
                        self.state.wanted = true;
                        self.state.master.interrupt();
                    }
                }
                Some(Event::Ended) => self.state.master.finished(),
                None => {
                    if !self.move_by_dma(place) {
                        break;
                    }
                }
            }
        }
        self.follow();
    }

    /// One piece by DMA, if the drive and the bus master are ready for it; gives whether something moved.
    fn move_by_dma(&mut self, place: usize) -> bool {
        if !self.state.master.running() {
            return false;
        }
        let Some(drive) = self.drives.get_mut(place).and_then(Option::as_mut) else {
            return false;
        };
        let Some((way, data)) = drive.dma_piece() else {
            return false;
        };
        let len = data.len();
        let moved = self.state.master.transfer(&self.dma, way, data);
        match moved {
            Ok(moved) if moved == len => drive.dma_moved(),
            Ok(_) => drive.dma_short(),
            Err(_) => {
                self.state.master.failed();
                drive.dma_failed();
            }
        }
        true
    }

    pub(super) fn command_read(&mut self, offset: u64, bytes: usize) -> u64 {
        if offset == 0 {
            let value = self.selected().map_or(0, |drive| drive.data_read(bytes));
            self.settle();
            return value;
        }
        if self.drives.iter().all(Option::is_none) {
            return ones(bytes);
        }
        if offset == 7 {
            self.state.wanted = false;
            self.follow();
        }
        self.selected()
            .map_or(0, |drive| drive.register(offset).into())
    }

    pub(super) fn command_write(&mut self, offset: u64, bytes: usize, value: u64) {
        match offset {
            0 => {
                if let Some(drive) = self.selected() {
                    drive.data_write(bytes, value);
                }
            }
            7 => {
                self.state.wanted = false;
                if let Some(drive) = self.selected() {
                    drive.command(low8(value));
                }
            }
            _ => {
                if offset == 6 {
                    self.state.second = low8(value) & SECOND != 0;
                }
                for drive in self.drives.iter_mut().flatten() {
                    drive.set_register(offset, low8(value));
                }
            }
        }
        self.settle();
    }

    pub(super) fn alternate_status(&mut self) -> u64 {
        if self.drives.iter().all(Option::is_none) {
            return 0xff;
        }
        self.selected().map_or(0, |drive| drive.register(7).into())
    }

    pub(super) fn control_write(&mut self, value: u64) {
        let value = low8(value);
        let before = self.state.control;
        self.state.control = value;
        for drive in self.drives.iter_mut().flatten() {
            if value & RESET != 0 && before & RESET == 0 {
                drive.hold_reset();
            } else if value & RESET == 0 && before & RESET != 0 {
                drive.soft_reset();
            }
        }
        if value & RESET != 0 {
            self.state.wanted = false;
            self.state.second = false;
        }
        self.follow();
    }

    pub(super) fn master_read(&self, offset: u64, bytes: usize) -> u64 {
        self.state.master.read(offset, bytes)
    }

    pub(super) fn master_write(&mut self, offset: u64, bytes: usize, value: u64) {
        if self.state.master.write(offset, bytes, value) {
            self.settle();
        }
    }

    pub(super) fn completed(&mut self) {
        for place in 0..self.drives.len() {
            if let Some(drive) = self.drive(place) {
                drive.completed();
            }
            self.settle_drive(place);
        }
    }

    pub(super) fn power_on(&mut self) {
        self.state = State::default();
        for drive in self.drives.iter_mut().flatten() {
            drive.power_on();
        }
        self.follow();
    }

    pub(super) fn save(&self) -> Value {
        save_record(&Saved {
            state: self.state,
            drives: self
                .drives
                .iter()
                .map(|drive| drive.as_ref().map(Drive::save))
                .collect(),
        })
    }

    pub(super) fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Saved = restore_record(state)?;
        if saved.drives.len() != self.drives.len() {
            return Err(StateError("other drives".to_owned()));
        }
        for (drive, state) in self.drives.iter_mut().zip(&saved.drives) {
            match (drive, state) {
                (Some(drive), Some(state)) => drive.restore(state)?,
                (None, None) => {}
                _ => return Err(StateError("a drive where none is".to_owned())),
            }
        }
        self.state = saved.state;
        self.follow();
        Ok(())
    }
}

/// Whether a status lets the host write the registers.
pub(super) fn takes_registers(value: u8) -> bool {
    value & (status::BSY | status::DRQ) == 0
}
