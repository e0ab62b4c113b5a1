//! PS/2 mouse, with the wheel of IntelliMouse and the five buttons of Explorer.

use std::collections::VecDeque;

use hw_core::bits::low8;
use serde::{Deserialize, Serialize};

/// Bytes the queue holds: four packets and an answer.
const QUEUE: usize = 32;
const ACK: u8 = 0xfa;
const STATUS_REMOTE: u8 = 0x40;
const STATUS_ON: u8 = 0x20;
const STATUS_SCALE: u8 = 0x10;

/// The mouse's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Mouse {
    queue: VecDeque<u8>,
    status: u8,
    resolution: u8,
    rate: u8,
    wrap: bool,
    /// 0, 3 with a wheel, 4 with five buttons.
    kind: u8,
    /// The last three rates, whose sequence asks for another kind.
    rates: [u8; 3],
    command: Option<u8>,
    held: u8,
    moved: [i32; 3],
}

impl Default for Mouse {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            status: 0,
            resolution: 2,
            rate: 100,
            wrap: false,
            kind: 0,
            rates: [0; 3],
            command: None,
            held: 0,
            moved: [0; 3],
        }
    }
}

impl Mouse {
    /// Whether restored state is one that can be.
    pub(super) fn fits(&self) -> bool {
        self.queue.len() <= QUEUE && matches!(self.kind, 0 | 3 | 4)
    }

    /// The next byte for the controller.
    pub(super) fn next(&mut self) -> Option<u8> {
        self.queue.pop_front()
    }

    fn answer(&mut self, bytes: &[u8]) {
        if self.queue.len() + bytes.len() <= QUEUE {
            self.queue.extend(bytes);
        }
    }

    /// The mouse moved.
    pub(super) fn moved(&mut self, x: i32, y: i32, wheel: i32) {
        for (sum, by) in self.moved.iter_mut().zip([x, y, wheel]) {
            // More than a desk's width at once is cut.
            *sum = sum.saturating_add(by).clamp(-2048, 2047);
        }
        self.report();
    }

    /// Buttons changed.
    pub(super) fn buttons(&mut self, held: u8) {
        if self.held != held {
            self.held = held;
            self.report();
        }
    }

    fn report(&mut self) {
        let streams = self.status & STATUS_ON != 0 && self.status & STATUS_REMOTE == 0;
        if streams && self.queue.len() + 4 <= QUEUE {
            self.packet();
        }
    }

    fn packet(&mut self) {
        let byte = |value: i32| low8(u64::from(value.to_le_bytes()[0]));
        let x = self.moved[0].clamp(-255, 255);
        // The mouse counts upwards.
        let y = self.moved[1].clamp(-255, 255);
        let wheel = self.moved[2].clamp(-8, 7);
        self.moved[0] -= x;
        self.moved[1] -= y;
        self.moved[2] -= wheel;
        let signs = u8::from(x < 0) << 4 | u8::from(y > 0) << 5;
        let mut packet = vec![8 | self.held & 7 | signs, byte(x), byte(-y)];
        match self.kind {
            3 => packet.push(byte(wheel)),
            4 => packet.push(byte(wheel) & 15 | (self.held & 0x18) << 1),
            _ => {}
        }
        self.answer(&packet);
    }

    fn set_rate(&mut self, rate: u8) {
        self.rate = rate;
        self.rates = [self.rates[1], self.rates[2], rate];
        match (self.rates, self.kind) {
            ([200, 100, 80], 0) => self.kind = 3,
            ([200, 200, 80], 0 | 3) => self.kind = 4,
            _ => {}
        }
    }

    /// A byte for the mouse.
    pub(super) fn write(&mut self, value: u8) {
        match self.command.take() {
            Some(0xe8) => {
                self.resolution = value & 3;
                return self.answer(&[ACK]);
            }
            Some(0xf3) => {
                self.set_rate(value);
                return self.answer(&[ACK]);
            }
            _ => {}
        }
        if self.wrap && value != 0xec && value != 0xff {
            return self.answer(&[value]);
        }
        match value {
            0xe6 => self.status &= !STATUS_SCALE,
            0xe7 => self.status |= STATUS_SCALE,
            0xe8 | 0xf3 => self.command = Some(value),
            0xe9 => {
                let buttons = self.held & 1 << 0;
                let right = (self.held & 2) >> 1;
                let middle = self.held & 4;
                let status = self.status | right | middle >> 1 | buttons << 2;
                return self.answer(&[ACK, status, self.resolution, self.rate]);
            }
            0xea => self.status &= !STATUS_REMOTE,
            0xeb => {
                self.answer(&[ACK]);
                return self.packet();
            }
            0xec => self.wrap = false,
            0xee => self.wrap = true,
            0xf0 => self.status |= STATUS_REMOTE,
            0xf2 => return self.answer(&[ACK, self.kind]),
            0xf4 => self.status |= STATUS_ON,
            0xf5 => self.status &= !STATUS_ON,
            0xf6 => self.defaults(),
            0xff => {
                self.queue.clear();
                *self = Self::default();
                return self.answer(&[ACK, 0xaa, 0]);
            }
            _ => return self.answer(&[0xfe]),
        }
        self.answer(&[ACK]);
    }

    fn defaults(&mut self) {
        self.status = 0;
        self.resolution = 2;
        self.rate = 100;
    }
}
