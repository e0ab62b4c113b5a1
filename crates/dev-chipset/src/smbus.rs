//! SMBus host controller of PIIX4 and ICH9 with an empty bus: every transaction ends with "no answer".

use hw_core::StateError;
use serde::{Deserialize, Serialize};

const STATUS_NO_ANSWER: u8 = 4;
const START: u8 = 0x40;

/// All registers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SmBus {
    status: u8,
    control: u8,
    command: u8,
    address: u8,
    data: [u8; 2],
    block: Vec<u8>,
    index: u8,
}

impl SmBus {
    /// Restored registers, if they can be.
    pub(crate) fn checked(self) -> Result<Self, StateError> {
        if self.block.len() > 32 || self.index >= 32 {
            return Err(StateError("an SMBus block that is too long".to_owned()));
        }
        Ok(self)
    }

    pub(crate) fn read(&mut self, offset: u64) -> u8 {
        match offset {
            0 => self.status,
            2 => {
                self.index = 0;
                self.control & !START
            }
            3 => self.command,
            4 => self.address,
            5 => self.data[0],
            6 => self.data[1],
            7 => {
                let byte = self.block.get(usize::from(self.index)).copied();
                self.index = (self.index + 1) % 32;
                byte.unwrap_or(0)
            }
            _ => 0,
        }
    }

    pub(crate) fn write(&mut self, offset: u64, value: u8) {
        match offset {
            0 => self.status &= !value,
            2 => {
                self.control = value;
                self.index = 0;
                if value & START != 0 {
                    self.status |= STATUS_NO_ANSWER;
                }
            }
            3 => self.command = value,
            4 => self.address = value,
            5 => self.data[0] = value,
            6 => self.data[1] = value,
            7 => {
                self.block.resize(32, 0);
                self.block[usize::from(self.index)] = value;
                self.index = (self.index + 1) % 32;
            }
            _ => {}
        }
    }
}
