//! CD drives: packets of SCSI commands over ATA (SFF-8020i, MMC-6).
//!
//! ```text
//! PACKET -> the host writes 12 bytes -> the answer, in pieces of at most the byte count it set, an interrupt each -> end
//! ```
//! The count register is the reason for an interrupt: bit 0 command, bit 1 to the host.

mod answers;

use backend_core::disk::{Done, Op};
use serde::{Deserialize, Serialize};

use super::ata;
use super::drive::{CommandRow, Drive, Event};
use super::identify;
use super::taskfile::{error, status};
use crate::scatter::Way;

/// Size of a sector of a disc.
pub(super) const SECTOR: u64 = 2048;
/// Sectors read at a time.
const STEP: u32 = 32;
/// Bytes of a packet.
const PACKET: usize = 12;
const REASON_COMMAND: u8 = 1;
const REASON_TO_HOST: u8 = 2;

/// The commands.
pub(super) const COMMANDS: &[CommandRow] = &[
    (0x00, 0x00, |d, _| d.fail(error::ABRT)),
    (0x90, 0x90, diagnose),
    (0xa0, 0xa0, packet),
    (0xa1, 0xa1, identify_packet),
    (0xe0, 0xe3, |d, _| d.succeed()),
    (0xe5, 0xe6, |d, _| d.succeed()),
    (0xec, 0xec, identify_device),
    (0xef, 0xef, ata::set_features),
];

/// Why the last command failed (SPC-4: sense key, additional code and its qualifier).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sense {
    pub(super) key: u8,
    pub(super) code: u8,
    pub(super) qualifier: u8,
}

impl Sense {
    const fn new(key: u8, code: u8, qualifier: u8) -> Self {
        Self {
            key,
            code,
            qualifier,
        }
    }

    pub(super) const NONE: Self = Self::new(0, 0, 0);
    pub(super) const NO_MEDIUM: Self = Self::new(2, 0x3a, 0);
    const READ_ERROR: Self = Self::new(3, 0x11, 0);
    const UNKNOWN_COMMAND: Self = Self::new(5, 0x20, 0);
    pub(super) const OUT_OF_RANGE: Self = Self::new(5, 0x21, 0);
    pub(super) const BAD_FIELD: Self = Self::new(5, 0x24, 0);
    pub(super) const LOCKED: Self = Self::new(5, 0x53, 2);
    const CHANGED: Self = Self::new(6, 0x28, 0);
}

/// The packet that runs, and what outlives it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packet {
    /// The host is writing the packet itself.
    receiving: bool,
    dma: bool,
    /// Bytes of one piece at most.
    piece: u16,
    /// What is left of an answer.
    rest: Vec<u8>,
    /// Sectors left to read, and the first of them.
    next: u64,
    left: u32,
    pub(super) sense: Sense,
    /// The medium changed, and no command has said so yet.
    attention: bool,
    /// What GET EVENT STATUS NOTIFICATION has to tell.
    pub(super) news: Option<News>,
    pub(super) locked: bool,
    pub(super) tray_open: bool,
}

/// What happened to the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum News {
    Inserted,
    Removed,
    EjectWanted,
}

impl Packet {
    /// Whether the host is to write the packet now.
    pub(super) fn receives(&self) -> bool {
        self.receiving
    }

    /// Whether a saved one can be.
    pub(super) fn is_sound(&self) -> bool {
        const MOST: usize = 1 << 17;
        self.rest.len() <= MOST
    }
}

/// What a packet comes to.
pub(super) enum Reply {
    /// Nothing more.
    Done,
    /// Bytes for the host.
    Data(Vec<u8>),
    /// Sectors of the disc: first and how many.
    Sectors(u64, u32),
    /// It failed.
    Check(Sense),
}

/// Called when a disc was put in or taken out, and at power-on.
pub(super) fn medium_changed(drive: &mut Drive) {
    let there = drive.disk.is_some();
    let packet = &mut drive.state.packet;
    packet.attention = there;
    packet.news = Some(if there { News::Inserted } else { News::Removed });
    packet.left = 0;
}

fn diagnose(drive: &mut Drive, _: u8) {
    drive.signature();
    drive.succeed();
    drive.state.regs.error = 1;
    drive.state.regs.status = 0;
}

fn identify_packet(drive: &mut Drive, _: u8) {
    let words = identify::cd(drive);
    drive.state.packet.rest = Vec::new();
    drive.state.packet.left = 0;
    drive.give(words);
}

/// A CD drive refuses IDENTIFY DEVICE, and shows by its registers what it is.
fn identify_device(drive: &mut Drive, _: u8) {
    drive.fail(error::ABRT);
    drive.signature();
}

fn packet(drive: &mut Drive, _: u8) {
    let regs = &drive.state.regs;
    let piece = u16::from_be_bytes([regs.lba[2].now, regs.lba[1].now]);
    let dma = regs.feature.now & 1 != 0;
    let packet = &mut drive.state.packet;
    packet.receiving = true;
    packet.dma = dma;
    // An odd limit is rounded down, none or the largest is 65534.
    packet.piece = match piece & !1 {
        0 => 0xfffe,
        even => even,
    };
    packet.rest = Vec::new();
    packet.left = 0;
    drive.take(PACKET);
    drive.state.regs.count.now = REASON_COMMAND;
}

/// A piece went over the data port or the bus master.
pub(super) fn piece_done(drive: &mut Drive, buffer: &[u8]) {
    if std::mem::take(&mut drive.state.packet.receiving) {
        let mut bytes = [0; PACKET];
        bytes[..buffer.len().min(PACKET)].copy_from_slice(&buffer[..buffer.len().min(PACKET)]);
        run(drive, &bytes);
        return;
    }
    if drive.state.packet.dma {
        next_sectors(drive);
    } else {
        next_piece(drive);
    }
}

fn run(drive: &mut Drive, bytes: &[u8; PACKET]) {
    let found = answers::PACKETS.iter().find(|p| p.code == bytes[0]);
    let Some(found) = found else {
        tracing::debug!(code = bytes[0], "a packet command that is not known");
        check(drive, Sense::UNKNOWN_COMMAND);
        return;
    };
    if !found.quiet && std::mem::take(&mut drive.state.packet.attention) {
        check(drive, Sense::CHANGED);
        return;
    }
    if found.needs_disc && (drive.disk.is_none() || drive.state.packet.tray_open) {
        check(drive, Sense::NO_MEDIUM);
        return;
    }
    match (found.run)(drive, bytes) {
        Reply::Done => end(drive),
        Reply::Check(sense) => check(drive, sense),
        Reply::Data(data) if data.is_empty() => end(drive),
        Reply::Data(data) => answer(drive, data),
        Reply::Sectors(_, 0) => end(drive),
        Reply::Sectors(first, count) => {
            drive.state.packet.next = first;
            drive.state.packet.left = count;
            next_sectors(drive);
        }
    }
}

/// Starts to give an answer that is there.
fn answer(drive: &mut Drive, data: Vec<u8>) {
    if drive.state.packet.dma {
        drive.offer_dma(Way::ToMemory, data);
        drive.state.regs.count.now = REASON_TO_HOST;
    } else {
        drive.state.packet.rest = data;
        next_piece(drive);
    }
}

/// The next piece of an answer over the data port, then more sectors, then the end.
fn next_piece(drive: &mut Drive) {
    let packet = &mut drive.state.packet;
    if packet.rest.is_empty() {
        next_sectors(drive);
        return;
    }
    let len = packet.rest.len().min(packet.piece.into());
    let rest = packet.rest.split_off(len);
    let piece = std::mem::replace(&mut packet.rest, rest);
    let [low, high] = u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes();
    (drive.state.regs.lba[1].now, drive.state.regs.lba[2].now) = (low, high);
    drive.state.regs.count.now = REASON_TO_HOST;
    drive.give(piece);
}

fn next_sectors(drive: &mut Drive) {
    let packet = &mut drive.state.packet;
    if packet.left == 0 {
        end(drive);
        return;
    }
    let now = packet.left.min(STEP);
    let (offset, len) = (packet.next * SECTOR, u64::from(now) * SECTOR);
    let room = vec![0; usize::try_from(len).unwrap_or(0)];
    drive.ask(Op::Read, offset, len, room);
}

/// The disk has answered.
pub(super) fn disk_done(drive: &mut Drive, done: Done) {
    if done.result.is_err() {
        check(drive, Sense::READ_ERROR);
        return;
    }
    let packet = &mut drive.state.packet;
    let now = packet.left.min(STEP);
    packet.left -= now;
    packet.next += u64::from(now);
    answer(drive, done.io.data);
}

/// After a state was restored: the disk is asked once more.
pub(super) fn ask_again(drive: &mut Drive) {
    next_sectors(drive);
}

fn end(drive: &mut Drive) {
    drive.state.packet.sense = Sense::NONE;
    leave(drive);
    drive.succeed();
    drive.state.regs.count.now = REASON_COMMAND | REASON_TO_HOST;
}

fn check(drive: &mut Drive, sense: Sense) {
    drive.state.packet.sense = sense;
    leave(drive);
    drive.fail(sense.key << 4 | error::ABRT);
    drive.state.regs.count.now = REASON_COMMAND | REASON_TO_HOST;
    drive.state.regs.status |= status::DRDY;
}

fn leave(drive: &mut Drive) {
    let packet = &mut drive.state.packet;
    packet.rest = Vec::new();
    packet.left = 0;
    if packet.dma {
        drive.event(Event::Ended);
    }
}
