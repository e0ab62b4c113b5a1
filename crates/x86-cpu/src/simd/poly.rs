//! Polynomials over two elements: PCLMULQDQ and CRC32.

/// PCLMULQDQ: the product without carries of the halves that the immediate picks.
pub fn pclmulqdq(a: u128, b: u128, immediate: u8) -> u128 {
    let half = |value: u128, high: bool| {
        if high {
            value >> 64
        } else {
            value & u128::from(u64::MAX)
        }
    };
    let a = half(a, immediate & 1 != 0);
    let mut b = half(b, immediate & 16 != 0);
    let mut product = 0;
    while b != 0 {
        product ^= a << b.trailing_zeros();
        b &= b - 1;
    }
    product
}

const CASTAGNOLI: [u32; 256] = castagnoli();

const fn castagnoli() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256_u32 {
        let (mut crc, mut bit) = (byte, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
}

/// CRC32: CRC-32C without its inversions, over bytes in order.
pub fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, &byte| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ CASTAGNOLI[usize::from(low ^ byte)]
    })
}
