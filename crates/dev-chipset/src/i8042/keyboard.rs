//! PS/2 keyboard: scan code sets 1, 2 and 3, commands, a queue of 16 keys.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::set2::{from_set_1, set_3, translate};

/// Bytes the queue of keys holds; answers may go beyond it.
const KEYS: usize = 16;
const ANSWERS: usize = 8;
const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const BREAK: u8 = 0xf0;

/// The keyboard's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Keyboard {
    queue: VecDeque<u8>,
    scanning: bool,
    set: u8,
    leds: u8,
    rate: u8,
    /// A command that waits for its byte.
    command: Option<u8>,
    last: u8,
    /// The controller saw the break code of set 2 and turns it into bit 7.
    breaking: bool,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            scanning: true,
            set: 2,
            leds: 0,
            rate: 0x2b,
            command: None,
            last: 0,
            breaking: false,
        }
    }
}

impl Keyboard {
    /// Whether restored state is one that can be.
    pub(super) fn fits(&self) -> bool {
        self.queue.len() <= KEYS + ANSWERS && (1..=3).contains(&self.set)
    }

    /// The last byte that was read.
    pub(super) fn last(&self) -> u8 {
        self.last
    }

    fn answer(&mut self, bytes: &[u8]) {
        if self.queue.len() + bytes.len() <= KEYS + ANSWERS {
            self.queue.extend(bytes);
        }
    }

    /// A key by its set 1 code, bit 7 for the 0xe0 prefix.
    pub(super) fn key(&mut self, key: u8, down: bool) {
        let prefixed = key & 0x80 != 0;
        let plain = key & 0x7f;
        let mut bytes = Vec::with_capacity(3);
        match self.set {
            1 => {
                bytes.extend(prefixed.then_some(0xe0));
                bytes.push(plain | if down { 0 } else { 0x80 });
            }
            2 => {
                let Some(code) = from_set_1(plain) else {
                    return;
                };
                bytes.extend(prefixed.then_some(0xe0));
                bytes.extend((!down).then_some(BREAK));
                bytes.push(code);
            }
            _ => {
                let Some(code) = set_3(key) else { return };
                bytes.extend((!down).then_some(BREAK));
                bytes.push(code);
            }
        }
        if self.scanning && self.queue.len() + bytes.len() <= KEYS {
            self.queue.extend(bytes);
        }
    }

    /// The next byte for the controller, translated to set 1 if it asks for that.
    pub(super) fn next(&mut self, translating: bool) -> Option<u8> {
        loop {
            let byte = self.queue.pop_front()?;
            let byte = match (translating, byte) {
                (true, BREAK) => {
                    self.breaking = true;
                    continue;
                }
                // Answers pass as they are.
                (true, 0xe0 | 0xe1 | ACK | RESEND | 0xaa | 0xee) => byte,
                (true, _) => {
                    let bit = if self.breaking { 0x80 } else { 0 };
                    translate(byte) | bit
                }
                (false, _) => byte,
            };
            if byte != 0xe0 {
                self.breaking = false;
            }
            self.last = byte;
            return Some(byte);
        }
    }

    fn defaults(&mut self) {
        self.rate = 0x2b;
        self.set = 2;
        self.scanning = true;
    }

    /// A byte for the keyboard.
    pub(super) fn write(&mut self, value: u8) {
        match self.command.take() {
            Some(0xed) => {
                self.leds = value & 7;
                return self.answer(&[ACK]);
            }
            Some(0xf3) => {
                self.rate = value & 0x7f;
                return self.answer(&[ACK]);
            }
            Some(0xf0) => {
                return match value {
                    0 => self.answer(&[ACK, self.set]),
                    1..=3 => {
                        self.set = value;
                        self.answer(&[ACK]);
                    }
                    _ => self.answer(&[RESEND]),
                };
            }
            _ => {}
        }
        match value {
            0xed | 0xf0 | 0xf3 => {
                self.command = Some(value);
                self.answer(&[ACK]);
            }
            0xee => self.answer(&[0xee]),
            0xf2 => self.answer(&[ACK, 0xab, 0x83]),
            0xf4 => {
                self.scanning = true;
                self.answer(&[ACK]);
            }
            0xf5 | 0xf6 => {
                self.queue.clear();
                self.defaults();
                self.scanning = value == 0xf6;
                self.answer(&[ACK]);
            }
            0xf7..=0xfa => self.answer(&[ACK]),
            0xfe => self.answer(&[self.last]),
            0xff => {
                self.queue.clear();
                self.leds = 0;
                self.defaults();
                self.answer(&[ACK, 0xaa]);
            }
            _ => self.answer(&[RESEND]),
        }
    }
}
