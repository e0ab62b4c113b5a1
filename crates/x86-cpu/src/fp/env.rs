//! What an operation is asked to do beside its operands (rounding, masks), and what it says beside its
//! result (flags, direction of rounding).

/// Exception flags, at the places that the x87 status word and MXCSR share.
pub mod flag {
    /// Invalid operation.
    pub const INVALID: u8 = 1;
    /// Denormal operand.
    pub const DENORMAL: u8 = 2;
    /// Division of a finite number by zero.
    pub const ZERO_DIVIDE: u8 = 4;
    /// The rounded result is too large.
    pub const OVERFLOW: u8 = 8;
    /// The rounded result is tiny.
    pub const UNDERFLOW: u8 = 16;
    /// The result was rounded.
    pub const PRECISION: u8 = 32;
    /// The flags found before anything is computed.
    pub const BEFORE: u8 = INVALID | DENORMAL | ZERO_DIVIDE;
    /// All six.
    pub const ALL: u8 = 63;
}

/// The rounding modes, in the order of their encoding in the control words and in immediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Toward minus infinity.
    Down,
    /// Toward plus infinity.
    Up,
    /// Toward zero.
    Zero,
}

impl Rounding {
    /// The mode that the low two bits of `field` name.
    #[must_use]
    pub fn from_bits(field: u32) -> Self {
        match field & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }
}

/// Which of two NaN operands becomes the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanRule {
    /// SSE: the first operand that is a NaN.
    First,
    /// x87: the one with the larger significand, a quiet one before a signalling one.
    Larger,
}

/// One floating-point environment.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// How results are rounded.
    pub rounding: Rounding,
    /// Which exceptions are masked ([`flag`]).
    pub masks: u8,
    /// Exceptions seen so far.
    pub flags: u8,
    /// Exceptions of earlier steps of the same instruction, which an exception of this one does not take back.
    pub earlier: u8,
    /// Denormal operands count as zero.
    pub daz: bool,
    /// Tiny results become zero.
    pub ftz: bool,
    /// The last rounding went away from zero (the x87's C1).
    pub rounded_up: bool,
    /// Which NaN is passed on.
    pub nan_rule: NanRule,
    /// Results in round-to-nearest may be inexact without a new flag, so the host's own arithmetic does
    /// for operands and results that are normal.
    pub quick: bool,
    /// An operand was denormal before it was widened to the format of the operation.
    pub denormal_operand: bool,
}

impl Env {
    /// The environment of an MXCSR. Its sticky flags are taken along, so the caller writes `flags` back.
    #[must_use]
    pub fn from_mxcsr(mxcsr: u32) -> Self {
        Self {
            rounding: Rounding::from_bits(mxcsr >> 13),
            masks: ((mxcsr >> 7) & 0x3f) as u8,
            flags: 0,
            earlier: 0,
            daz: mxcsr & 0x40 != 0,
            ftz: mxcsr & 0x8000 != 0,
            rounded_up: false,
            nan_rule: NanRule::First,
            quick: mxcsr & 0x6000 == 0 && mxcsr & 0x1020 == 0x1020,
            denormal_operand: false,
        }
    }

    /// The environment of an x87 control word.
    #[must_use]
    pub fn from_control_word(word: u16) -> Self {
        Self {
            rounding: Rounding::from_bits(u32::from(word >> 10)),
            masks: (word & 0x3f) as u8,
            flags: 0,
            earlier: 0,
            daz: false,
            ftz: false,
            rounded_up: false,
            nan_rule: NanRule::Larger,
            quick: false,
            denormal_operand: false,
        }
    }

    /// Records exceptions.
    pub fn raise(&mut self, flags: u8) {
        self.flags |= flags;
    }

    /// The exceptions seen that are not masked.
    #[must_use]
    pub fn unmasked(&self) -> u8 {
        self.flags & !self.masks & flag::ALL
    }
}
