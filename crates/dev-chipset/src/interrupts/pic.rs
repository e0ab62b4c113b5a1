//! One 8259A interrupt controller (Intel 8259A data sheet) with its edge/level register (82371SB, 4D0h/4D1h).
//!
//! The pair is two of them: the slave's output is the master's input 2.

use hw_core::bits::low8;
use serde::{Deserialize, Serialize};

use super::PicView;

/// Initialisation: which command word comes next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Init {
    #[default]
    Done,
    Word2,
    Word3,
    Word4,
}

/// All registers of a controller.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Pic {
    /// Levels of the eight inputs.
    inputs: u8,
    requests: u8,
    mask: u8,
    in_service: u8,
    /// Input with the lowest priority, plus one.
    first: u8,
    base: u8,
    read_in_service: bool,
    poll: bool,
    special_mask: bool,
    auto_end: bool,
    rotate_on_auto_end: bool,
    fully_nested: bool,
    init: Init,
    word4_comes: bool,
    single: bool,
    /// Inputs that are level triggered.
    pub(super) level: u8,
}

impl Pic {
    /// Back to power-on; inputs keep their levels.
    pub(super) fn reset(&mut self) {
        *self = Self {
            inputs: self.inputs,
            ..Self::default()
        };
    }

    /// A restored record with every number in its range.
    pub(super) fn checked(mut self) -> Self {
        self.first &= 7;
        self
    }

    /// What the monitor shows.
    pub(super) fn view(&self) -> PicView {
        PicView {
            requests: self.requests,
            mask: self.mask,
            in_service: self.in_service,
            first: self.first,
            base: self.base,
            read_in_service: self.read_in_service,
            level: self.level,
            fully_nested: self.fully_nested,
        }
    }

    /// An input goes to a level.
    pub(super) fn set(&mut self, input: u8, on: bool) {
        let bit = 1_u8 << (input & 7);
        if self.level & bit != 0 {
            self.requests = (self.requests & !bit) | if on { bit } else { 0 };
        } else if on && self.inputs & bit == 0 {
            self.requests |= bit;
        } else if !on {
            // The data sheet wants the input high until it is acknowledged; the request goes away with it.
            self.requests &= !bit;
        }
        self.inputs = (self.inputs & !bit) | if on { bit } else { 0 };
    }

    /// Distance from the highest priority of the first set bit; 8 for none.
    fn rank(&self, bits: u8) -> u8 {
        (0..8)
            .find(|n| bits & (1 << ((n + self.first) & 7)) != 0)
            .unwrap_or(8)
    }

    /// The input to serve now. `slave_input` is the master's input of a slave, for the fully nested mode.
    pub(super) fn pending(&self, slave_input: Option<u8>) -> Option<u8> {
        let rank = self.rank(self.requests & !self.mask);
        if rank == 8 {
            return None;
        }
        let mut serving = self.in_service;
        if self.special_mask {
            serving &= !self.mask;
        }
        if self.fully_nested && slave_input == Some((rank + self.first) & 7) {
            serving &= !(1 << 2);
        }
        (rank < self.rank(serving)).then_some((rank + self.first) & 7)
    }

    /// Takes an input into service.
    pub(super) fn acknowledge(&mut self, input: u8) -> u8 {
        let bit = 1 << (input & 7);
        if !self.auto_end {
            self.in_service |= bit;
        } else if self.rotate_on_auto_end {
            self.first = (input + 1) & 7;
        }
        if self.level & bit == 0 {
            self.requests &= !bit;
        }
        self.vector(input)
    }

    /// The vector of an input.
    pub(super) fn vector(&self, input: u8) -> u8 {
        self.base.wrapping_add(input & 7)
    }

    /// Reads port 0 or 1.
    pub(super) fn read(&mut self, port: u64) -> u64 {
        if self.poll {
            self.poll = false;
            return match self.pending(None) {
                Some(input) => {
                    self.acknowledge(input);
                    u64::from(input) | 0x80
                }
                None => 0,
            };
        }
        u64::from(match (port & 1, self.read_in_service) {
            (1, _) => self.mask,
            (_, true) => self.in_service,
            (_, false) => self.requests,
        })
    }

    /// Writes port 0 or 1.
    pub(super) fn write(&mut self, port: u64, value: u64) {
        let value = low8(value);
        if port & 1 == 1 {
            return self.write_data(value);
        }
        if value & 0x10 != 0 {
            self.start(value);
        } else if value & 8 != 0 {
            if value & 4 != 0 {
                self.poll = true;
            }
            if value & 2 != 0 {
                self.read_in_service = value & 1 != 0;
            }
            if value & 0x40 != 0 {
                self.special_mask = value & 0x20 != 0;
            }
        } else {
            self.end(value >> 5, value & 7);
        }
    }

    /// Initialisation command word 1.
    fn start(&mut self, value: u8) {
        let (inputs, level) = (self.inputs, self.level);
        *self = Self {
            inputs,
            level,
            requests: inputs & level,
            init: Init::Word2,
            word4_comes: value & 1 != 0,
            single: value & 2 != 0,
            ..Self::default()
        };
    }

    fn write_data(&mut self, value: u8) {
        match self.init {
            Init::Done => self.mask = value,
            Init::Word2 => {
                self.base = value & 0xf8;
                self.init = match (self.single, self.word4_comes) {
                    (false, _) => Init::Word3,
                    (true, true) => Init::Word4,
                    (true, false) => Init::Done,
                };
            }
            Init::Word3 => {
                self.init = if self.word4_comes {
                    Init::Word4
                } else {
                    Init::Done
                };
            }
            Init::Word4 => {
                self.fully_nested = value & 0x10 != 0;
                self.auto_end = value & 2 != 0;
                self.init = Init::Done;
            }
        }
    }

    /// Operation command word 2: end of interrupt and rotation.
    fn end(&mut self, command: u8, input: u8) {
        match command {
            0 | 4 => self.rotate_on_auto_end = command == 4,
            1 | 5 => {
                let rank = self.rank(self.in_service);
                if rank < 8 {
                    let input = (rank + self.first) & 7;
                    self.in_service &= !(1 << input);
                    if command == 5 {
                        self.first = (input + 1) & 7;
                    }
                }
            }
            3 => self.in_service &= !(1 << input),
            6 => self.first = (input + 1) & 7,
            7 => {
                self.in_service &= !(1 << input);
                self.first = (input + 1) & 7;
            }
            _ => {}
        }
    }
}
