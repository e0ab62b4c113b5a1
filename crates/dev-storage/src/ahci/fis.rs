//! Frames between port and drive (Serial ATA 3, section 10.5), as they lie in memory.
//!
//! ```text
//! to the drive:  0 0x27, 1 bit 7 command or control, 2 command, 3 feature, 4..7 address, 7 device, 8..11 address above,
//!                11 feature above, 12 count, 13 count above, 15 control (bit 2 reset)
//! registers:     0 0x34, 1 bit 6 interrupt, 2 status, 3 error, then as above
//! device bits:   0 0xa1, 1 bit 6 interrupt, 2 status without bits 3 and 7, 3 error, 4..7 slots that have finished
//! PIO setup:     0 0x5f, 1 bit 6 interrupt, bit 5 to the host, ..., 15 status afterwards, 16 bytes
//! ```

use crate::ide::taskfile::TaskFile;

/// Bytes of a frame to the drive that matter.
pub(super) const COMMAND_BYTES: usize = 20;
pub(super) const TO_DRIVE: u8 = 0x27;
const REGISTERS: u8 = 0x34;
const DEVICE_BITS: u8 = 0xa1;
const PIO_SETUP: u8 = 0x5f;
const INTERRUPT: u8 = 1 << 6;
const TO_HOST: u8 = 1 << 5;
pub(super) const IS_COMMAND: u8 = 1 << 7;
const RESET: u8 = 1 << 2;

/// A frame to the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToDrive {
    /// Registers to write, in order, and then the command.
    Command([(u64, u8); 10], u8),
    /// The reset bit of device control.
    Reset(bool),
    /// Not a frame that a port sends.
    Unknown,
}

impl ToDrive {
    pub(super) fn read(raw: &[u8; COMMAND_BYTES]) -> Self {
        if raw[0] != TO_DRIVE {
            return Self::Unknown;
        }
        if raw[1] & IS_COMMAND == 0 {
            return Self::Reset(raw[15] & RESET != 0);
        }
        // The upper half of each register first, as 48-bit commands have it.
        let registers = [
            (1, raw[11]),
            (1, raw[3]),
            (2, raw[13]),
            (2, raw[12]),
            (3, raw[8]),
            (3, raw[4]),
            (4, raw[9]),
            (4, raw[5]),
            (5, raw[10]),
            (5, raw[6]),
        ];
        Self::Command(registers, raw[2])
    }
}

fn common(kind: u8, flags: u8, regs: &TaskFile) -> [u8; 20] {
    let mut raw = [0; 20];
    raw[..4].copy_from_slice(&[kind, flags, regs.status, regs.error]);
    for (n, lba) in regs.lba.iter().enumerate() {
        raw[4 + n] = lba.now;
        raw[8 + n] = lba.before;
    }
    raw[7] = regs.device;
    raw[12] = regs.count.now;
    raw[13] = regs.count.before;
    raw
}

/// The drive's registers, as they are shown to the host.
pub(super) fn registers(regs: &TaskFile) -> [u8; 20] {
    common(REGISTERS, INTERRUPT, regs)
}

/// The drive has taken a queued command; the host need not look.
pub(super) fn accepted(regs: &TaskFile) -> [u8; 20] {
    common(REGISTERS, 0, regs)
}

/// Tells which queued commands have finished, or why one has not.
pub(super) fn device_bits(regs: &TaskFile, finished: u32) -> [u8; 8] {
    let mut raw = [
        DEVICE_BITS,
        INTERRUPT,
        regs.status & 0x77,
        regs.error,
        0,
        0,
        0,
        0,
    ];
    raw[4..].copy_from_slice(&finished.to_le_bytes());
    raw
}

/// Tells of bytes over the data port. `before` is the status with which the drive offered them, the registers are those
/// afterwards.
pub(super) fn pio_setup(before: u8, regs: &TaskFile, to_host: bool, bytes: u16) -> [u8; 20] {
    let flags = if to_host {
        INTERRUPT | TO_HOST
    } else {
        INTERRUPT
    };
    let mut raw = common(PIO_SETUP, flags, regs);
    raw[2] = before;
    raw[15] = regs.status;
    raw[16..18].copy_from_slice(&bytes.to_le_bytes());
    raw
}

/// What the signature register shows after these registers were sent.
pub(super) fn signature(regs: &TaskFile) -> u32 {
    let [low, mid, high] = regs.lba;
    u32::from_be_bytes([high.now, mid.now, low.now, regs.count.now])
}
