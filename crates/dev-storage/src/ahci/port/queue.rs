//! Queued commands (Serial ATA 3, 13.6): READ and WRITE FPDMA QUEUED, one a slot, all at work at the same time.
//!
//! ```text
//! frame:  count in the feature registers (0: 65536 sectors), address in 48 bits, device bit 7: safe before it is reported
//!         start --> piece --> ... --> piece --> (flush) --> finished
//! ```
//! A command moves in pieces, so that all slots together hold a bounded amount of memory. Of two commands over the same sectors
//! either may be first; hosts do not queue such.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use backend_core::disk::{Done, Op};
use hw_core::memory::{Dma, DmaError};
use serde::{Deserialize, Serialize};

use super::super::SLOTS;
use super::super::fis::{self, COMMAND_BYTES};
use super::super::table::Table;
use super::{Port, REGISTERS_AT, cause};
use crate::ide::Drive;
use crate::ide::taskfile::error;
use crate::scatter::Way;

const READ: u8 = 0x60;
const WRITE: u8 = 0x61;
const SAFE: u8 = 1 << 7;
const SECTOR: u64 = 512;
/// Place of device bits in the memory for received frames.
const DEVICE_BITS_AT: u64 = 0x58;
/// Sectors of a piece.
const PIECE: u32 = 1024;
/// Sectors of a command.
const MOST: u32 = 65536;

/// Why a queued command does not go on.
#[derive(Debug)]
pub(super) enum Fault {
    /// The table or what it names is not in memory.
    Memory(DmaError),
    /// The table has no room for all.
    NoRoom,
    /// Bits of the drive's error register.
    Drive(u8),
}

impl From<DmaError> for Fault {
    fn from(error: DmaError) -> Self {
        Self::Memory(error)
    }
}

/// Whether a frame is a command that is queued.
pub(super) fn is_queued(raw: &[u8; COMMAND_BYTES]) -> bool {
    raw[0] == fis::TO_DRIVE && raw[1] & fis::IS_COMMAND != 0 && matches!(raw[2], READ | WRITE)
}

/// A command under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Command {
    writes: bool,
    /// What was written has to be safe before the command ends.
    safe: bool,
    /// All is written; the disk makes it safe.
    flushing: bool,
    /// First sector of the piece.
    next: u64,
    /// Sectors left, those of the piece counted.
    left: u32,
    /// The table as it is before the piece.
    table: Table,
    /// And as it is behind it, for what is written.
    behind: Table,
    /// The state was restored: what ends is not the piece, but what was asked to find out when memory is back.
    #[serde(skip)]
    again: bool,
}

impl Command {
    fn parse(raw: &[u8; COMMAND_BYTES], table: Table, cached: bool) -> Self {
        let next = [raw[4], raw[5], raw[6], raw[8], raw[9], raw[10], 0, 0];
        let left = match u16::from_le_bytes([raw[3], raw[11]]) {
            0 => MOST,
            count => count.into(),
        };
        let writes = raw[2] == WRITE;
        Self {
            writes,
            safe: writes && (!cached || raw[7] & SAFE != 0),
            flushing: false,
            next: u64::from_le_bytes(next),
            left,
            table,
            behind: table,
            again: false,
        }
    }

    fn is_on(&self, drive: &Drive) -> bool {
        let end = self.next.checked_add(self.left.into());
        end.is_some_and(|end| end <= drive.sectors())
    }

    fn now(&self) -> u32 {
        self.left.min(PIECE)
    }

    /// Asks the disk for the piece; what is written comes from memory first.
    fn ask(&mut self, slot: u8, drive: &mut Drive, dma: &Dma) -> Result<(), Fault> {
        if self.flushing {
            drive.ask_queued(slot, Op::Flush, 0, Vec::new());
            return Ok(());
        }
        let bytes = u64::from(self.now()) * SECTOR;
        let mut data = vec![0; usize::try_from(bytes).unwrap_or(0)];
        let mut op = Op::Read;
        if self.writes {
            op = Op::Write;
            self.behind = self.table;
            move_all(&mut self.behind, dma, Way::FromMemory, &mut data)?;
        }
        drive.ask_queued(slot, op, self.next * SECTOR, data);
        Ok(())
    }

    /// Takes what the disk has done; gives whether the command is finished.
    fn advance(&mut self, done: Done, dma: &Dma) -> Result<bool, Fault> {
        if self.flushing {
            return Ok(true);
        }
        let mut data = done.io.data;
        if self.writes {
            self.table = self.behind;
        } else {
            move_all(&mut self.table, dma, Way::ToMemory, &mut data)?;
        }
        let now = self.now();
        self.next += u64::from(now);
        self.left -= now;
        self.flushing = self.left == 0 && self.safe;
        Ok(self.left == 0 && !self.safe)
    }
}

fn move_all(table: &mut Table, dma: &Dma, way: Way, data: &mut [u8]) -> Result<(), Fault> {
    let moved = table.transfer(dma, way, data)?;
    if moved < data.len() {
        return Err(Fault::NoRoom);
    }
    Ok(())
}

/// The queued commands of a port, by slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queue {
    commands: BTreeMap<u8, Command>,
}

impl Queue {
    /// Takes the command of a slot.
    ///
    /// # Errors
    /// It cannot be carried out.
    pub(super) fn start(
        &mut self,
        slot: u8,
        raw: &[u8; COMMAND_BYTES],
        table: Table,
        drive: &mut Drive,
        dma: &Dma,
    ) -> Result<(), Fault> {
        let Entry::Vacant(place) = self.commands.entry(slot) else {
            tracing::debug!(slot, "a queued command where one is at work");
            return Ok(());
        };
        let command = place.insert(Command::parse(raw, table, drive.write_cache()));
        if command.writes && drive.is_read_only() {
            return Err(Fault::Drive(error::ABRT));
        }
        if !command.is_on(drive) {
            return Err(Fault::Drive(error::IDNF));
        }
        command.ask(slot, drive, dma)
    }

    /// Takes what the disk has done for a slot; gives whether its command is finished.
    ///
    /// # Errors
    /// The command cannot go on.
    pub(super) fn ended(
        &mut self,
        slot: u8,
        done: Done,
        drive: &mut Drive,
        dma: &Dma,
    ) -> Result<bool, Fault> {
        let Some(command) = self.commands.get_mut(&slot) else {
            return Ok(false);
        };
        if std::mem::take(&mut command.again) {
            command.ask(slot, drive, dma)?;
            return Ok(false);
        }
        if done.result.is_err() {
            return Err(Fault::Drive(if command.writes {
                error::ABRT
            } else {
                error::UNC
            }));
        }
        if command.advance(done, dma)? {
            self.commands.remove(&slot);
            return Ok(true);
        }
        command.ask(slot, drive, dma)?;
        Ok(false)
    }

    /// The sector at which the command of a slot is.
    pub(super) fn sector(&self, slot: u8) -> u64 {
        let command = self.commands.get(&slot);
        command.map_or(0, |command| command.next)
    }

    /// Whether a saved one can be, on this drive.
    pub(super) fn is_sound(&self, drive: Option<&Drive>) -> bool {
        self.commands.iter().all(|(slot, command)| {
            *slot < SLOTS
                && drive.is_some_and(|drive| drive.queues() && command.is_on(drive))
                && (command.left == 0) == command.flushing
                && command.left <= MOST
        })
    }

    /// After a state was restored: what was at work begins again. Guest memory may come back later than devices, so a piece
    /// starts only when the disk has answered.
    pub(super) fn begin_again(&mut self, drive: &mut Drive) {
        for (slot, command) in &mut self.commands {
            command.again = true;
            drive.ask_queued(*slot, Op::Flush, 0, Vec::new());
        }
    }
}

impl Port {
    pub(super) fn start_queued(
        &mut self,
        slot: u8,
        raw: &[u8; COMMAND_BYTES],
    ) -> Result<(), DmaError> {
        let Some(drive) = &mut self.drive else {
            return Ok(());
        };
        drive.show_queued();
        let accepted = fis::accepted(drive.task_file());
        let table = self.state.table;
        let started = self.state.queue.start(slot, raw, table, drive, &self.dma);
        self.receive(REGISTERS_AT, &accepted)?;
        self.forget(slot);
        if let Err(fault) = started {
            self.queue_failed(slot, &fault);
        }
        Ok(())
    }

    /// The disk has ended pieces of queued commands.
    pub(super) fn follow_queue(&mut self) {
        let mut finished = 0;
        let mut failed = None;
        while let Some((slot, done)) = self.drive.as_mut().and_then(Drive::take_queued) {
            let Some(drive) = &mut self.drive else { return };
            match self.state.queue.ended(slot, done, drive, &self.dma) {
                Ok(true) => finished |= 1 << slot,
                Ok(false) => {}
                Err(fault) => {
                    failed = Some((slot, fault));
                    break;
                }
            }
        }
        if finished != 0 {
            self.state.active &= !finished;
            self.send_device_bits(finished);
        }
        if let Some((slot, fault)) = failed {
            self.queue_failed(slot, &fault);
        }
    }

    /// One queued command failed: so do all the others.
    fn queue_failed(&mut self, slot: u8, fault: &Fault) {
        tracing::debug!(?fault, slot, "a queued command failed");
        let why = match fault {
            Fault::Memory(_) => {
                self.drop_queue();
                self.stop(cause::BUS_FATAL);
                return;
            }
            Fault::NoRoom => {
                self.state.causes |= cause::OVERFLOW;
                error::ABRT
            }
            Fault::Drive(why) => *why,
        };
        let sector = self.state.queue.sector(slot);
        self.drop_queue();
        if let Some(drive) = &mut self.drive {
            drive.queue_failed(slot, why, sector);
        }
        self.send_device_bits(0);
        self.stop(cause::TASK_FILE);
    }

    fn send_device_bits(&mut self, finished: u32) {
        let Some(drive) = &self.drive else { return };
        let frame = fis::device_bits(drive.task_file(), finished);
        match self.receive(DEVICE_BITS_AT, &frame) {
            Ok(()) => self.state.causes |= cause::DEVICE_BITS,
            Err(error) => {
                tracing::debug!(?error, "a port cannot reach memory");
                self.stop(cause::BUS_FATAL);
            }
        }
    }

    /// What the drive has queued is given up.
    pub(super) fn drop_queue(&mut self) {
        self.state.queue = Queue::default();
        if let Some(drive) = &mut self.drive {
            drive.forget_queued();
        }
    }
}
