//! The window at 0xa0000: four planes behind latches, masks and write modes (FreeVGA, "Graphics Operations").
//!
//! A plane's byte `a` is byte `a * 4 + plane` of video memory; in text mode cell `n` is at `n * 4`.

use serde::{Deserialize, Serialize};

use super::Vga;

/// What the last read of a byte brought from all four planes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Latch(pub(super) [u8; 4]);

impl Vga {
    /// Offset into the planes for an offset into the window; `None` outside the part that is mapped.
    fn plane_offset(&self, offset: u64) -> Option<u64> {
        let bank = self.registers.bochs.bank();
        match self.registers.graphics[6] >> 2 & 3 {
            0 => Some(offset),
            1 if offset < 0x1_0000 => Some(offset + bank),
            2 => offset.checked_sub(0x1_0000).filter(|at| *at < 0x8000),
            3 => offset.checked_sub(0x1_8000),
            _ => None,
        }
    }

    fn chain_four(&self) -> bool {
        self.registers.sequencer[4] & 8 != 0
    }

    fn odd_even(&self) -> bool {
        self.registers.graphics[5] & 0x10 != 0
    }

    fn byte(&self, at: u64) -> u8 {
        let value = self.memory.read_uint(at, 1).unwrap_or(0xff);
        value.to_le_bytes()[0]
    }

    fn put(&self, at: u64, value: u8) {
        // Beyond video memory there is nothing to write.
        let _ = self.memory.write(at, &[value]);
    }

    /// Reads a byte of the window.
    pub(super) fn plane_read(&mut self, offset: u64) -> u8 {
        let Some(at) = self.plane_offset(offset) else {
            return 0xff;
        };
        if self.chain_four() {
            return self.byte(at);
        }
        if self.odd_even() {
            let plane = u64::from(self.registers.graphics[4] & 2) | at & 1;
            return self.byte((at & !1) * 2 + plane);
        }
        let base = at * 4;
        let latch = [0, 1, 2, 3].map(|plane| self.byte(base + plane));
        self.registers.latch = Latch(latch);
        if self.registers.graphics[5] & 8 == 0 {
            return latch[usize::from(self.registers.graphics[4] & 3)];
        }
        // Read mode 1: a bit is set where all planes that count have the colour.
        let (colour, counts) = (self.registers.graphics[2], self.registers.graphics[7]);
        let mut same = 0xff;
        for (plane, byte) in latch.into_iter().enumerate() {
            if counts & 1 << plane != 0 {
                let wanted = if colour & 1 << plane != 0 { 0xff } else { 0 };
                same &= !(byte ^ wanted);
            }
        }
        same
    }

    /// Writes a byte of the window.
    pub(super) fn plane_write(&mut self, offset: u64, value: u8) {
        let Some(at) = self.plane_offset(offset) else {
            return;
        };
        let planes = self.registers.sequencer[2];
        if self.chain_four() {
            if planes & 1 << (at & 3) != 0 {
                self.put(at, value);
            }
            return;
        }
        if self.odd_even() {
            let plane = u64::from(self.registers.graphics[4] & 2) | at & 1;
            if planes & 1 << plane != 0 {
                self.put((at & !1) * 2 + plane, value);
            }
            return;
        }
        let mixed = self.mix(value);
        for (plane, byte) in mixed.into_iter().enumerate() {
            if planes & 1 << plane != 0 {
                self.put(at * 4 + plane as u64, byte);
            }
        }
    }

    /// What a write of `value` puts into the four planes.
    fn mix(&self, value: u8) -> [u8; 4] {
        let graphics = &self.registers.graphics;
        let latch = self.registers.latch.0;
        let spread = |bits: u8, plane: usize| if bits & 1 << plane != 0 { 0xff } else { 0 };
        let rotated = value.rotate_right(u32::from(graphics[3] & 7));
        let (source, mask): ([u8; 4], u8) = match graphics[5] & 3 {
            0 => {
                let set = std::array::from_fn(|plane| {
                    if graphics[1] & 1 << plane != 0 {
                        spread(graphics[0], plane)
                    } else {
                        rotated
                    }
                });
                (set, graphics[8])
            }
            1 => return latch,
            2 => (
                std::array::from_fn(|plane| spread(value, plane)),
                graphics[8],
            ),
            _ => (
                std::array::from_fn(|plane| spread(graphics[0], plane)),
                graphics[8] & rotated,
            ),
        };
        std::array::from_fn(|plane| {
            let result = match graphics[3] >> 3 & 3 {
                0 => source[plane],
                1 => source[plane] & latch[plane],
                2 => source[plane] | latch[plane],
                _ => source[plane] ^ latch[plane],
            };
            result & mask | latch[plane] & !mask
        })
    }
}
