//! Firmware in RAM below 1 MiB, on boards whose firmware keeps its variables beside its code: every reset fills it anew.

use guest_mem::Ram;
use hw_core::bits::ones;
use hw_core::device::{restore_record, save_record};
use hw_core::{Device, StateError};
use serde_json::Value;

/// The RAM, mapped by the board, and what is put there.
pub struct FirmwareShadow {
    ram: Ram,
    firmware: Vec<u8>,
}

impl FirmwareShadow {
    /// Fills the RAM with the firmware, now and at each reset.
    pub fn new(ram: Ram, firmware: Vec<u8>) -> Self {
        let mut shadow = Self { ram, firmware };
        shadow.reset();
        shadow
    }
}

impl Device for FirmwareShadow {
    fn name(&self) -> &'static str {
        "isa-bios"
    }

    fn read(&mut self, _region: u32, _offset: u64, bytes: usize) -> u64 {
        ones(bytes)
    }

    fn write(&mut self, _region: u32, _offset: u64, _bytes: usize, _value: u64) {}

    fn reset(&mut self) {
        // The board gives RAM of this very size.
        let _ = self.ram.write(0, &self.firmware);
    }

    fn save(&self) -> Value {
        save_record(&())
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        restore_record(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_undoes_what_was_written() {
        let ram = Ram::new(4096).expect("memory");
        let mut shadow = FirmwareShadow::new(ram.clone(), vec![0xea; 4096]);
        ram.write(5, &[1]).expect("inside");
        shadow.reset();
        assert_eq!(ram.read_uint(4, 2), Ok(0xeaea));
        let saved = shadow.save();
        assert!(shadow.restore(&saved).is_ok());
    }
}
