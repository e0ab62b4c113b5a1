//! The contract of a device.

use std::any::Any;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Saved state that does not fit the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateError(pub String);

/// What the host's side tells all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostEvent {
    /// Someone pressed the power button.
    PowerButton,
    /// The real-time clock's interrupt line went high.
    ClockSignal,
    /// The machine wakes from suspend to RAM: everything has been reset, and memory is as it was.
    Wake,
    /// A key by its number in scan code set 1 (0xe0 prefix as 0x80), pressed or let go.
    Key(u8, bool),
    /// The mouse moved: right, down, wheel towards the user.
    MouseMove(i32, i32, i32),
    /// Mouse buttons held: bit 0 left, 1 right, 2 middle.
    MouseButtons(u8),
}

/// A device: registers in numbered regions, reset, saved state, perhaps a timer.
///
/// All calls come under the machine lock, so a device may be plain data. The guest chooses offset, size and value
/// of each access: whatever they are, a device answers as the hardware would and never panics.
pub trait Device: Send + Any {
    /// The device's name, as messages and saved state have it.
    fn name(&self) -> &'static str;

    /// Reads `bytes` (1, 2, 4 or 8) at `offset` of one of the device's regions.
    fn read(&mut self, region: u32, offset: u64, bytes: usize) -> u64;

    /// Writes `bytes` (1, 2, 4 or 8) at `offset` of one of the device's regions.
    fn write(&mut self, region: u32, offset: u64, bytes: usize, value: u64);

    /// The widest access a region takes; wider ones come as several, lowest address first.
    fn widest(&self, _region: u32) -> usize {
        8
    }

    /// Back to the state after power-on. Lines the device drives go back too.
    fn reset(&mut self);

    /// The whole state as a versioned record.
    fn save(&self) -> Value;

    /// Takes over a saved state.
    ///
    /// # Errors
    /// The record is not one of this device; the device is then to be reset.
    fn restore(&mut self, state: &Value) -> Result<(), StateError>;

    /// When the device next wants [`Device::tick`], in guest time.
    fn deadline(&self) -> Option<u64> {
        None
    }

    /// Time has come to `now`, which is at or after the deadline.
    fn tick(&mut self, _now: u64) {}

    /// Something happened on the host's side; what does not concern the device is ignored.
    fn host_event(&mut self, _event: HostEvent) {}

    /// A backend has finished something that the device asked for; the device looks for itself. May come for nothing.
    fn completed(&mut self) {}

    /// Whether the device still brings to its backend what it told the guest it has. A machine waits for that before it
    /// ends.
    fn storing(&self) -> bool {
        false
    }

    /// Bytes from the character backend; gives how many were taken.
    fn receive(&mut self, _bytes: &[u8]) -> usize {
        0
    }
}

/// A register record as saved state.
pub fn save_record<T: Serialize>(record: &T) -> Value {
    serde_json::to_value(record).unwrap_or(Value::Null)
}

/// Saved state as a register record.
///
/// # Errors
/// A field is missing, or has a value of the wrong kind or range.
pub fn restore_record<T: DeserializeOwned>(state: &Value) -> Result<T, StateError> {
    T::deserialize(state).map_err(|error| StateError(error.to_string()))
}
