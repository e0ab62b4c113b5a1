//! The generic event device of machines without fixed ACPI hardware (ACPI 6.5, sections 5.6.9 and 4.8.3.7): the power
//! button, sleep control and reset, in memory.
//!
//! ```text
//! region 0  00 events, cleared by reading (bit 1 power button)
//! region 1  00 sleep control (bits 2-4 type, bit 5 go)   01 sleep status   02 reset (0x42)
//! ```

use hw_core::bits::low8;
use hw_core::device::{restore_record, save_record};
use hw_core::{Control, Device, HostEvent, Line, Request, StateError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Size of region 0.
pub const EVENTS_SIZE: u64 = 4;
/// Size of region 1.
pub const REGISTERS_SIZE: u64 = 3;
/// The type of sleep that is power-off.
pub const OFF: u8 = 5;
/// What resets.
pub const RESET: u8 = 0x42;
const POWER_BUTTON: u32 = 2;
const GO: u8 = 1 << 5;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    events: u32,
}

/// The device.
pub struct EventDevice {
    line: Line,
    control: Control,
    state: State,
}

impl EventDevice {
    /// A device that tells of events by an edge on `line`.
    pub fn new(line: Line, control: Control) -> Self {
        Self {
            line,
            control,
            state: State::default(),
        }
    }
}

impl Device for EventDevice {
    fn name(&self) -> &'static str {
        "acpi-ged"
    }

    fn read(&mut self, region: u32, offset: u64, bytes: usize) -> u64 {
        match (region, offset, bytes) {
            (0, 0, 4) => u64::from(std::mem::take(&mut self.state.events)),
            _ => 0,
        }
    }

    fn write(&mut self, region: u32, offset: u64, _bytes: usize, value: u64) {
        let value = low8(value);
        match (region, offset) {
            (1, 0) if value & GO != 0 && value >> 2 & 7 == OFF => {
                self.control.ask(Request::Shutdown);
            }
            (1, 2) if value == RESET => self.control.ask(Request::Reset),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.state = State::default();
        self.line.set(false);
    }

    fn save(&self) -> Value {
        save_record(&self.state)
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        self.state = restore_record(state)?;
        Ok(())
    }

    fn host_event(&mut self, event: HostEvent) {
        if event == HostEvent::PowerButton {
            self.state.events |= POWER_BUTTON;
            self.line.set(true);
            self.line.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_core::{Lines, Signal};

    #[test]
    fn the_button_is_an_edge_and_an_event_until_it_is_read() {
        let lines = Lines::new(1);
        let control = Control::new();
        let mut device = EventDevice::new(lines.line(0), control.clone());
        device.host_event(HostEvent::PowerButton);
        assert_eq!(
            lines.take(),
            [Signal::Wire(0, true), Signal::Wire(0, false)]
        );
        let saved = device.save();
        assert_eq!(device.read(0, 0, 4), 2);
        assert_eq!(device.read(0, 0, 4), 0);
        device.restore(&saved).expect("its own state");
        assert_eq!(device.read(0, 0, 4), 2);
        device.write(1, 0, 1, 5 << 2);
        assert!(!control.waits());
        device.write(1, 0, 1, 5 << 2 | 0x20);
        assert_eq!(control.take(), Some(Request::Shutdown));
        device.write(1, 2, 1, 0x42);
        assert_eq!(control.take(), Some(Request::Reset));
    }
}
