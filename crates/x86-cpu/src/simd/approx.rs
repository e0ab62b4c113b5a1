//! RCPPS and RSQRTPS. They are defined by their error alone (1.5 * 2^-12, relative), and every processor has
//! its own table; here the result is rounded to twelve bits of fraction.

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;
const QUIET: u32 = 1 << 22;
const INDEFINITE: u32 = 0xffc0_0000;
const SMALLEST_NORMAL: u32 = 0x0080_0000;

/// About 1 / a. Denormal operands count as zero, denormal results become zero.
pub fn reciprocal(a: u32) -> u32 {
    let (sign, magnitude) = (a & SIGN, a & !SIGN);
    match magnitude {
        0..SMALLEST_NORMAL => sign | INFINITY,
        INFINITY => sign,
        _ if magnitude > INFINITY => a | QUIET,
        _ => sign | twelve_bits(1.0 / middle(magnitude)),
    }
}

/// About the reciprocal of the root of a.
pub fn reciprocal_root(a: u32) -> u32 {
    let magnitude = a & !SIGN;
    match magnitude {
        0..SMALLEST_NORMAL => (a & SIGN) | INFINITY,
        _ if magnitude > INFINITY => a | QUIET,
        _ if a & SIGN != 0 => INDEFINITE,
        INFINITY => 0,
        _ => twelve_bits(1.0 / middle(magnitude).sqrt()),
    }
}

/// The middle of all numbers that share their upper twelve bits of fraction.
fn middle(magnitude: u32) -> f64 {
    f64::from(f32::from_bits((magnitude & !0x7ff) | 0x400))
}

/// A positive number rounded to twelve bits of fraction.
fn twelve_bits(value: f64) -> u32 {
    let rounded = (value.to_bits() + (1 << 39)) & !((1 << 40) - 1);
    let raw = crate::fp::Raw::from_f64(rounded);
    let exp = i32::from(raw.exp) - 1023 + 127;
    match u16::try_from(exp) {
        Ok(exp @ 1..) => crate::fp::Raw { exp, ..raw }.to_f32(),
        _ => 0,
    }
}
