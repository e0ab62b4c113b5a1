//! PIIX3's IDE controller: two channels of two drives each, at their old ports, and a bus master for DMA.
//!
//! ```text
//! windows of the function (the board maps the first four at fixed ports):
//!   0  0x1f0  8 ports   first channel's command block      1  0x3f6  1 port  its control block
//!   2  0x170  8 ports   second channel's command block     3  0x376  1 port  its control block
//!   4  I/O window of 16 ports: bus master, 8 for each channel
//! ```
//! Sources: Intel 82371SB datasheet; ATA/ATAPI-6 (T13/1410D); SFF-8038i for the bus master; SFF-8020i and MMC-6 for CDs.

mod ata;
mod atapi;
mod bus_master;
mod channel;
pub(crate) mod drive;
mod identify;
mod queued;
mod smart;
pub(crate) mod taskfile;
#[cfg(test)]
mod tests;

use hw_core::StateError;
use hw_core::device::{restore_record, save_record};
use hw_core::irq::Line;
use hw_core::memory::Shared;
use hw_core::pci::{Bar, Config, Function, Identity};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use channel::Channel;
pub use drive::{Drive, DriveOptions};

/// First port and length of each fixed window, by window number.
pub const FIXED_PORTS: [(u8, u64, u64); 4] =
    [(0, 0x1f0, 8), (1, 0x3f6, 1), (2, 0x170, 8), (3, 0x376, 1)];

/// Ports of one channel's bus master.
const MASTER: u64 = 8;

/// The controller.
pub struct PiixIde {
    config: Config,
    channels: [Channel; 2],
}

#[derive(Serialize, Deserialize)]
struct Saved {
    channels: Vec<Value>,
}

impl PiixIde {
    /// A controller with the drives of its channels (first and second of each) and their interrupt lines (14 and 15).
    pub fn new(drives: [[Option<Drive>; 2]; 2], lines: [Line; 2], memory: &Shared) -> Self {
        let config = Config::new(&Identity {
            vendor: 0x8086,
            device: 0x7010,
            revision: 0,
            class: 0x01_01_80,
            subsystem: (0x1af4, 0x1100),
            pin: 0,
            multifunction: false,
        })
        .with_bar(4, Bar::Io(16));
        let mut config = config;
        // Timing registers: both channels decode their ports.
        config.put(0x40, 4, 0x8000_8000);
        config.allow(0x40, 4, 0xffff_ffff);
        let dma = config.dma(memory);
        let [first, second] = drives;
        let [line_a, line_b] = lines;
        Self {
            channels: [
                Channel::new(first, line_a, dma.clone()),
                Channel::new(second, line_b, dma),
            ],
            config,
        }
    }

    /// The drive at a channel (0, 1) and place (0, 1).
    pub fn drive(&mut self, channel: usize, place: usize) -> Option<&mut Drive> {
        self.channels.get_mut(channel)?.drive(place)
    }
}

impl Function for PiixIde {
    fn name(&self) -> &'static str {
        "piix3-ide"
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    fn window_read(&mut self, bar: u8, offset: u64, bytes: usize) -> u64 {
        let [first, second] = &mut self.channels;
        match (bar, offset) {
            (0, _) => first.command_read(offset, bytes),
            (1, _) => first.alternate_status(),
            (2, _) => second.command_read(offset, bytes),
            (3, _) => second.alternate_status(),
            (4, 0..MASTER) => first.master_read(offset, bytes),
            (4, MASTER..=15) => second.master_read(offset - MASTER, bytes),
            _ => hw_core::bits::ones(bytes),
        }
    }

    fn window_write(&mut self, bar: u8, offset: u64, bytes: usize, value: u64) {
        let [first, second] = &mut self.channels;
        match (bar, offset) {
            (0, _) => first.command_write(offset, bytes, value),
            (1, _) => first.control_write(value),
            (2, _) => second.command_write(offset, bytes, value),
            (3, _) => second.control_write(value),
            (4, 0..MASTER) => first.master_write(offset, bytes, value),
            (4, MASTER..=15) => second.master_write(offset - MASTER, bytes, value),
            _ => {}
        }
    }

    fn window_widest(&self, _bar: u8) -> usize {
        4
    }

    fn completed(&mut self) {
        for channel in &mut self.channels {
            channel.completed();
        }
    }

    fn reset(&mut self) {
        for channel in &mut self.channels {
            channel.power_on();
        }
    }

    fn save(&self) -> Value {
        save_record(&Saved {
            channels: self.channels.iter().map(Channel::save).collect(),
        })
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: Saved = restore_record(state)?;
        if saved.channels.len() != self.channels.len() {
            return Err(StateError("other channels".to_owned()));
        }
        for (channel, state) in self.channels.iter_mut().zip(&saved.channels) {
            channel.restore(state)?;
        }
        Ok(())
    }
}
