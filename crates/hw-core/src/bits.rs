//! Cutting numbers to a width, by name: the hardware drops the upper bits of what does not fit.

/// The lowest byte.
pub const fn low8(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// The lowest two bytes.
pub const fn low16(value: u64) -> u16 {
    let raw = value.to_le_bytes();
    u16::from_le_bytes([raw[0], raw[1]])
}

/// The lowest four bytes.
pub const fn low32(value: u64) -> u32 {
    let raw = value.to_le_bytes();
    u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]])
}

/// All bits set for an access of `bytes`: what a read of nothing gives.
pub const fn ones(bytes: usize) -> u64 {
    if bytes >= 8 {
        u64::MAX
    } else {
        (1 << (bytes * 8)) - 1
    }
}

/// `bytes` of a little-endian register file starting at `offset`; beyond its end ones.
pub fn read_le(file: &[u8], offset: usize, bytes: usize) -> u64 {
    let mut raw = [0xff; 8];
    for (n, slot) in raw.iter_mut().enumerate().take(bytes) {
        *slot = offset
            .checked_add(n)
            .and_then(|at| file.get(at))
            .copied()
            .unwrap_or(0xff);
    }
    u64::from_le_bytes(raw) & ones(bytes)
}
