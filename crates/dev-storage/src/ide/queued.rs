//! What a drive does for commands that its port queues: requests of many slots at once, and the log that says why one failed.
//!
//! ```text
//! log 10h, 512 bytes (Serial ATA 3, 13.7): 0 slot (bit 7: not a queued command), 2 status, 3 error, 4..7 address, 7 device,
//!                                          8..11 address above, 12 count, 511 makes the sum of all bytes zero
//! log 00h: words with the pages of each log; the first is a version
//! ```

use std::collections::VecDeque;

use backend_core::disk::{Done, Op};
use serde::{Deserialize, Serialize};

use super::ata;
use super::drive::{Drive, Kind};
use super::smart::sum_to_zero;
use super::taskfile::{error, status};

const SLOTS: usize = 32;
const DIRECTORY: u8 = 0x00;
const QUEUE_ERROR: u8 = 0x10;

/// Requests of queued commands: the name of each slot's, and what has ended and was not yet looked at.
#[derive(Default)]
pub(super) struct Queued {
    names: [Option<u64>; SLOTS],
    done: VecDeque<(u8, Done)>,
}

impl Queued {
    /// Something has ended that no other command waits for; what was forgotten is dropped.
    pub(super) fn note(&mut self, done: Done) {
        let mut slots = (0..).zip(&mut self.names);
        if let Some((slot, name)) = slots.find(|(_, name)| **name == Some(done.io.token)) {
            *name = None;
            self.done.push_back((slot, done));
        }
    }
}

/// Which queued command failed, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QueueError {
    slot: u8,
    error: u8,
    sector: u64,
}

impl Drive {
    /// Whether the drive takes queued commands.
    pub(crate) fn queues(&self) -> bool {
        self.kind == Kind::Disk && self.serial_ata
    }

    pub(crate) fn sectors(&self) -> u64 {
        ata::capacity(self)
    }

    pub(crate) fn is_read_only(&self) -> bool {
        let disk = self.disk.as_ref();
        disk.is_some_and(|disk| disk.geometry().read_only)
    }

    pub(crate) fn write_cache(&self) -> bool {
        self.state.write_cache
    }

    /// Gives the disk something to do for a slot.
    pub(crate) fn ask_queued(&mut self, slot: u8, op: Op, offset: u64, data: Vec<u8>) {
        let name = self.submit(op, offset, data.len() as u64, data);
        if let Some(place) = self.queued.names.get_mut(usize::from(slot)) {
            *place = Some(name);
        }
    }

    /// What the disk has done, and for which slot.
    pub(crate) fn take_queued(&mut self) -> Option<(u8, Done)> {
        self.queued.done.pop_front()
    }

    /// What is at work for slots is given up.
    pub(crate) fn forget_queued(&mut self) {
        self.queued = Queued::default();
    }

    /// The registers after a queued command was taken.
    pub(crate) fn show_queued(&mut self) {
        self.state.regs.status = status::IDLE;
        self.state.regs.error = 0;
    }

    /// The registers and the log after a queued command has failed.
    pub(crate) fn queue_failed(&mut self, slot: u8, error: u8, sector: u64) {
        self.state.regs.status = status::IDLE | status::ERR;
        self.state.regs.error = error;
        self.state.queue_error = Some(QueueError {
            slot,
            error,
            sector,
        });
    }
}

/// READ LOG EXT. Only drives that queue commands have logs.
pub(super) fn read_log(drive: &mut Drive, _: u8) {
    let regs = &drive.state.regs;
    let pages = u16::from_be_bytes([regs.count.before, regs.count.now]);
    let mut page = vec![0; 512];
    match (drive.queues(), regs.lba[0].now, pages) {
        (true, DIRECTORY, 1) => {
            page[0] = 1;
            page[2 * usize::from(QUEUE_ERROR)] = 1;
        }
        (true, QUEUE_ERROR, 1) => describe(drive.state.queue_error.take(), &mut page),
        _ => {
            drive.fail(error::ABRT);
            return;
        }
    }
    drive.give(page);
}

fn describe(what: Option<QueueError>, page: &mut [u8]) {
    const NOT_QUEUED: u8 = 1 << 7;
    page[0] = NOT_QUEUED;
    if let Some(QueueError {
        slot,
        error,
        sector,
    }) = what
    {
        let sector = sector.to_le_bytes();
        page[..4].copy_from_slice(&[slot, 0, status::IDLE | status::ERR, error]);
        page[4..7].copy_from_slice(&sector[..3]);
        page[7] = 0x40;
        page[8..11].copy_from_slice(&sector[3..6]);
        page[12] = slot << 3;
    }
    sum_to_zero(page);
}
