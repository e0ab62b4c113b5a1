//! What a PC's board writes into CMOS memory for old firmware.

use dev_chipset::rtc::Rtc;

/// Sizes, boot order, processors.
pub(crate) fn fill(rtc: &mut Rtc, below: u64, above: u64, cpus: u32, boot_order: &str) {
    let mut put16 = |at: u8, value: u64| {
        let [low, high] = u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
        rtc.put(at, low);
        rtc.put(at + 1, high);
    };
    put16(0x15, 640);
    let extended = below.saturating_sub(1 << 20) >> 10;
    put16(0x17, extended);
    put16(0x30, extended);
    put16(0x34, below.saturating_sub(16 << 20) >> 16);
    let high = (above >> 16).to_le_bytes();
    for (at, byte) in (0x5b..).zip(&high[..3]) {
        rtc.put(at, *byte);
    }
    rtc.put(0x5f, u8::try_from(cpus - 1).unwrap_or(u8::MAX));
    // FPU and PS/2 mouse are there.
    rtc.put(0x14, 0x06);
    let mut order = boot_order.chars().map(|letter| match letter {
        'a' => 1,
        'c' => 2,
        'd' => 3,
        'n' => 4,
        _ => 0,
    });
    let mut next = || order.next().unwrap_or(0);
    let (first, second, third) = (next(), next(), next());
    rtc.put(0x3d, second << 4 | first);
    // No check of a floppy's signature.
    rtc.put(0x38, third << 4 | 1);
}
