//! The status flags, kept half computed.
//!
//! An arithmetic instruction stores its result and the carries out of each bit; a flag is made when someone asks.
//! ```text
//!   zero     ZF = (zero == 0)
//!   sign     SF = bit 63, PF = even parity of the low byte   (the result, sign-extended)
//!   carries  CF = bit 63, OF = bit 63 xor bit 62, AF = bit 3 (carries moved up so that the top one is bit 63)
//! ```

use crate::word::{Word, low8};

/// Carry.
pub const CF: u64 = 1;
/// Parity of the low byte.
pub const PF: u64 = 1 << 2;
/// Carry out of bit 3.
pub const AF: u64 = 1 << 4;
/// Zero.
pub const ZF: u64 = 1 << 6;
/// Sign.
pub const SF: u64 = 1 << 7;
/// Single step.
pub const TF: u64 = 1 << 8;
/// Interrupts.
pub const IF: u64 = 1 << 9;
/// Direction of string instructions.
pub const DF: u64 = 1 << 10;
/// Overflow.
pub const OF: u64 = 1 << 11;
/// I/O privilege level, two bits.
pub const IOPL: u64 = 3 << 12;
/// Nested task.
pub const NT: u64 = 1 << 14;
/// Resume: no instruction breakpoint for one instruction.
pub const RF: u64 = 1 << 16;
/// Virtual-8086 mode.
pub const VM: u64 = 1 << 17;
/// Alignment check; access control under SMAP.
pub const AC: u64 = 1 << 18;
/// Virtual interrupt flag.
pub const VIF: u64 = 1 << 19;
/// Virtual interrupt pending.
pub const VIP: u64 = 1 << 20;
/// CPUID exists.
pub const ID: u64 = 1 << 21;
/// The six status flags.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
/// Bits that exist; bit 1 always reads as one.
pub const ALL: u64 = STATUS | TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;

const TOP: u64 = 1 << 63;

/// See the head of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    zero: u64,
    sign: u64,
    carries: u64,
    /// Everything but the status flags. Bit 1 is not kept here.
    pub system: u64,
}

impl Default for Flags {
    fn default() -> Self {
        let mut flags = Self {
            zero: 0,
            sign: 0,
            carries: 0,
            system: 0,
        };
        flags.set_status(0);
        flags
    }
}

impl Flags {
    /// After an addition or subtraction: `carries` has the carry (borrow) out of each bit of the width.
    #[inline(always)]
    pub fn set_carries<W: Word>(&mut self, result: u64, carries: u64) {
        let extended = W::cut(result).sx();
        self.zero = extended;
        self.sign = extended;
        self.carries = if W::BITS == 64 {
            carries
        } else {
            carries << (64 - W::BITS) | carries & 8
        };
    }

    /// After AND, OR, XOR, TEST: CF, OF and AF are zero.
    #[inline(always)]
    pub fn set_logic<W: Word>(&mut self, result: u64) {
        self.set_result::<W>(result);
        self.carries = 0;
    }

    /// ZF, SF and PF by a result; CF, OF and AF stay.
    #[inline(always)]
    pub fn set_result<W: Word>(&mut self, result: u64) {
        let extended = W::cut(result).sx();
        self.zero = extended;
        self.sign = extended;
    }

    /// CF and OF; AF becomes zero, the rest stays.
    #[inline(always)]
    pub fn set_cf_of(&mut self, cf: bool, of: bool) {
        self.carries = u64::from(cf) << 63 | u64::from(cf ^ of) << 62;
    }

    /// CF alone.
    #[inline(always)]
    pub fn set_cf(&mut self, cf: bool) {
        let flip = u64::from(self.cf() != cf);
        self.carries ^= flip << 63 | flip << 62;
    }

    /// OF alone.
    #[inline(always)]
    pub fn set_of(&mut self, of: bool) {
        self.carries ^= u64::from(self.of() != of) << 62;
    }

    /// AF alone.
    #[inline(always)]
    pub fn set_af(&mut self, af: bool) {
        self.carries = self.carries & !8 | u64::from(af) << 3;
    }

    /// ZF alone.
    #[inline(always)]
    pub fn set_zf(&mut self, zf: bool) {
        self.zero = u64::from(!zf);
    }

    /// Carry.
    #[inline(always)]
    pub fn cf(&self) -> bool {
        self.carries & TOP != 0
    }

    /// Zero.
    #[inline(always)]
    pub fn zf(&self) -> bool {
        self.zero == 0
    }

    /// Sign.
    #[inline(always)]
    pub fn sf(&self) -> bool {
        self.sign & TOP != 0
    }

    /// Overflow.
    #[inline(always)]
    pub fn of(&self) -> bool {
        (self.carries ^ self.carries << 1) & TOP != 0
    }

    /// Parity.
    #[inline(always)]
    pub fn pf(&self) -> bool {
        low8(self.sign).count_ones() & 1 == 0
    }

    /// Carry out of bit 3.
    #[inline(always)]
    pub fn af(&self) -> bool {
        self.carries & 8 != 0
    }

    /// The six status flags as RFLAGS bits.
    pub fn status(&self) -> u64 {
        let bit = |on: bool, mask: u64| if on { mask } else { 0 };
        bit(self.cf(), CF)
            | bit(self.pf(), PF)
            | bit(self.af(), AF)
            | bit(self.zf(), ZF)
            | bit(self.sf(), SF)
            | bit(self.of(), OF)
    }

    /// Sets the six status flags from RFLAGS bits.
    pub fn set_status(&mut self, bits: u64) {
        self.zero = u64::from(bits & ZF == 0);
        let odd = u64::from(bits & PF == 0);
        self.sign = if bits & SF == 0 { odd } else { TOP | odd };
        self.set_cf_of(bits & CF != 0, bits & OF != 0);
        self.set_af(bits & AF != 0);
    }

    /// RFLAGS.
    pub fn get(&self) -> u64 {
        self.status() | self.system | 2
    }

    /// Sets RFLAGS; bits that do not exist are dropped.
    pub fn set(&mut self, bits: u64) {
        self.set_status(bits);
        self.system = bits & ALL & !STATUS;
    }

    /// Whether bits of [`Flags::system`] are on.
    #[inline(always)]
    pub fn has(&self, mask: u64) -> bool {
        self.system & mask != 0
    }

    /// The condition of Jcc, SETcc, CMOVcc with the low four bits of their opcode.
    #[inline(always)]
    pub fn condition<const CC: u8>(&self) -> bool {
        let holds = match CC >> 1 {
            0 => self.of(),
            1 => self.cf(),
            2 => self.zf(),
            3 => self.cf() | self.zf(),
            4 => self.sf(),
            5 => self.pf(),
            6 => self.sf() ^ self.of(),
            _ => self.zf() | (self.sf() ^ self.of()),
        };
        holds ^ (CC & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_of_status_flags_comes_back() {
        for bits in 0..0x1000u64 {
            let wanted = bits & STATUS;
            let mut flags = Flags::default();
            flags.set(wanted);
            assert_eq!(flags.get(), wanted | 2);
            for cf in [false, true] {
                let mut other = flags;
                other.set_cf(cf);
                assert_eq!(other.status() & !CF, wanted & !CF);
                assert_eq!(other.cf(), cf);
                other.set_of(cf);
                assert_eq!((other.of(), other.cf()), (cf, cf));
            }
        }
    }
}
