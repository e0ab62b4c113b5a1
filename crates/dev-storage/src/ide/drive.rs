//! A drive: registers, the data port, and the disk behind it. What commands do is in `ata` and `atapi`.
//!
//! ```text
//!   Idle --command--> Waiting (the disk works) --> ToHost or Dma --> ... --> Idle
//!                     FromHost or Dma (the host gives bytes) --> Waiting --> ... --> Idle
//! ```
//! One request to the disk is under way at a time. A reset gives it up: what it brings then is dropped.

use std::collections::VecDeque;

use backend_core::disk::{Disk, Done, Io, Op};
use hw_core::StateError;
use hw_core::device::{restore_record, save_record};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ata::Job;
use super::atapi::Packet;
use super::channel::takes_registers;
use super::queued::{QueueError, Queued};
use super::smart::Smart;
use super::taskfile::{TaskFile, error, status};
use super::{ata, atapi};
use crate::scatter::Way;

/// What a user may say of a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveOptions {
    /// At most 20 characters.
    pub serial: String,
    /// At most 40 characters.
    pub model: String,
    /// At most 8 characters.
    pub version: String,
}

/// A row of a table of commands: first and last code, and what they do.
pub(super) type CommandRow = (u8, u8, fn(&mut Drive, u8));

/// What the channel has to do for the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Attention of the host.
    Interrupt,
    /// The bus master has moved all there was.
    Ended,
}

/// What kind of drive it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Disk,
    Cd,
}

/// What the drive is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Nothing.
    Idle,
    /// The disk works.
    Waiting,
    /// The host reads the buffer.
    ToHost,
    /// The host fills the buffer.
    FromHost,
    /// The bus master reads the buffer.
    DmaToMemory,
    /// The bus master fills the buffer.
    DmaFromMemory,
}

/// All that is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) regs: TaskFile,
    pub(super) phase: Phase,
    /// The command of a hard disk that runs.
    pub(super) job: Option<Job>,
    /// The packet of a CD drive that runs, and its memory of errors.
    pub(super) packet: Packet,
    pub(super) buffer: Vec<u8>,
    pub(super) at: usize,
    /// Sectors of one block of READ MULTIPLE; zero is off.
    pub(super) multiple: u8,
    pub(super) heads: u8,
    pub(super) track: u8,
    /// Transfer mode as SET FEATURES has it.
    pub(super) mode: u8,
    pub(super) write_cache: bool,
    pub(super) smart: Smart,
    /// Why the last queued command failed, until the host has read it.
    pub(super) queue_error: Option<QueueError>,
}

impl State {
    fn new() -> Self {
        Self {
            regs: TaskFile::default(),
            phase: Phase::Idle,
            job: None,
            packet: Packet::default(),
            buffer: Vec::new(),
            at: 0,
            multiple: 16,
            heads: 16,
            track: 63,
            mode: 0x45,
            write_cache: true,
            smart: Smart::default(),
            queue_error: None,
        }
    }
}

/// Bytes that a buffer may have; a saved state with more is refused.
const MOST_BUFFER: usize = 1 << 20;

/// A drive.
pub struct Drive {
    pub(super) disk: Option<Box<dyn Disk>>,
    pub(super) kind: Kind,
    pub(super) options: DriveOptions,
    pub(super) serial_ata: bool,
    pub(super) state: State,
    pub(super) queued: Queued,
    events: VecDeque<Event>,
    token: u64,
    waiting: Option<u64>,
}

impl Drive {
    /// A hard disk.
    pub fn disk(disk: Box<dyn Disk>, options: DriveOptions) -> Self {
        Self::new(Kind::Disk, Some(disk), options)
    }

    /// A CD drive, perhaps without a disc.
    pub fn cd(disc: Option<Box<dyn Disk>>, options: DriveOptions) -> Self {
        Self::new(Kind::Cd, disc, options)
    }

    fn new(kind: Kind, disk: Option<Box<dyn Disk>>, options: DriveOptions) -> Self {
        let mut drive = Self {
            disk,
            kind,
            options,
            serial_ata: false,
            state: State::new(),
            queued: Queued::default(),
            events: VecDeque::new(),
            token: 0,
            waiting: None,
        };
        drive.power_on();
        drive
    }

    /// Puts a disc in, or takes it out; the guest hears that the medium changed.
    pub fn change_disc(&mut self, disc: Option<Box<dyn Disk>>) {
        self.disk = disc;
        self.waiting = None;
        atapi::medium_changed(self);
    }

    /// Whether the guest asked that the disc stays.
    pub fn is_locked(&self) -> bool {
        self.state.packet.locked
    }

    pub(crate) fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn event(&mut self, event: Event) {
        // Two of a kind say no more than one.
        if self.events.back() != Some(&event) {
            self.events.push_back(event);
        }
    }

    /// Register 1 to 7 of the command block.
    pub(super) fn register(&self, offset: u64) -> u8 {
        let regs = &self.state.regs;
        match offset {
            1 => regs.error,
            2 => regs.count.now,
            3 => regs.lba[0].now,
            4 => regs.lba[1].now,
            5 => regs.lba[2].now,
            6 => regs.device | 0xa0,
            _ => regs.status,
        }
    }

    pub(crate) fn set_register(&mut self, offset: u64, value: u8) {
        let regs = &mut self.state.regs;
        if !takes_registers(regs.status) {
            return;
        }
        match offset {
            1 => regs.feature.push(value),
            2 => regs.count.push(value),
            3 => regs.lba[0].push(value),
            4 => regs.lba[1].push(value),
            5 => regs.lba[2].push(value),
            6 => regs.device = value,
            _ => {}
        }
    }

    /// The host gives a command.
    pub(crate) fn command(&mut self, code: u8) {
        const DEVICE_RESET: u8 = 0x08;
        if code == DEVICE_RESET && self.kind == Kind::Cd {
            self.soft_reset();
            self.state.regs.status = 0;
            return;
        }
        if !takes_registers(self.state.regs.status) {
            return;
        }
        self.state.regs.error = 0;
        self.state.regs.status = status::IDLE;
        let known = match self.kind {
            Kind::Disk => ata::COMMANDS,
            Kind::Cd => atapi::COMMANDS,
        };
        match known
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&code))
        {
            Some((.., run)) => run(self, code),
            None => self.fail(error::ABRT),
        }
    }

    /// Ends a command that went well.
    pub(super) fn succeed(&mut self) {
        self.rest(status::IDLE);
        self.event(Event::Interrupt);
    }

    /// Ends a command that did not.
    pub(super) fn fail(&mut self, why: u8) {
        self.rest(status::IDLE | status::ERR);
        self.state.regs.error = why;
        self.event(Event::Interrupt);
    }

    fn rest(&mut self, value: u8) {
        self.state.phase = Phase::Idle;
        self.state.job = None;
        self.state.buffer = Vec::new();
        self.state.at = 0;
        self.state.regs.status = value;
    }

    /// Lets the host read `buffer`.
    pub(super) fn give(&mut self, buffer: Vec<u8>) {
        self.state.buffer = buffer;
        self.state.at = 0;
        self.state.phase = Phase::ToHost;
        self.state.regs.status = status::IDLE | status::DRQ;
        self.event(Event::Interrupt);
    }

    /// Lets the host fill `bytes`.
    pub(super) fn take(&mut self, bytes: usize) {
        self.state.buffer = vec![0; bytes];
        self.state.at = 0;
        self.state.phase = Phase::FromHost;
        self.state.regs.status = status::IDLE | status::DRQ;
    }

    /// Lets the bus master move `buffer`.
    pub(super) fn offer_dma(&mut self, way: Way, buffer: Vec<u8>) {
        self.state.buffer = buffer;
        self.state.at = 0;
        self.state.phase = match way {
            Way::ToMemory => Phase::DmaToMemory,
            Way::FromMemory => Phase::DmaFromMemory,
        };
        self.state.regs.status = status::IDLE | status::DRQ;
    }

    /// Gives the disk something to do.
    pub(super) fn ask(&mut self, op: Op, offset: u64, len: u64, data: Vec<u8>) {
        self.state.phase = Phase::Waiting;
        self.state.regs.status = status::BSY | status::DRDY;
        self.waiting = Some(self.submit(op, offset, len, data));
    }

    /// Gives the disk something to do; gives the name of it.
    pub(super) fn submit(&mut self, op: Op, offset: u64, len: u64, data: Vec<u8>) -> u64 {
        self.token += 1;
        let io = Io {
            token: self.token,
            op,
            offset,
            len,
            data,
        };
        if let Some(disk) = &mut self.disk {
            disk.submit(io);
        }
        self.token
    }

    /// Looks for what the disk has done.
    pub(crate) fn completed(&mut self) {
        while let Some(disk) = &mut self.disk {
            let done = disk.take_done();
            if done.is_empty() {
                return;
            }
            for one in done {
                if self.waiting == Some(one.io.token) {
                    self.waiting = None;
                    self.ended(one);
                } else {
                    self.queued.note(one);
                }
            }
        }
    }

    fn ended(&mut self, done: Done) {
        if let Err(errno) = done.result {
            tracing::debug!(errno, op = ?done.io.op, offset = done.io.offset, "a drive's request failed");
        }
        match self.kind {
            Kind::Disk => ata::disk_done(self, done),
            Kind::Cd => atapi::disk_done(self, done),
        }
    }

    /// The host reads the data port.
    pub(super) fn data_read(&mut self, bytes: usize) -> u64 {
        if self.state.phase != Phase::ToHost {
            return 0;
        }
        let mut raw = [0; 8];
        let left = &self.state.buffer[self.state.at..];
        let now = bytes.min(left.len()).min(8);
        raw[..now].copy_from_slice(&left[..now]);
        self.state.at += now;
        if self.state.at == self.state.buffer.len() {
            self.piece_done();
        }
        u64::from_le_bytes(raw)
    }

    /// The host writes the data port.
    pub(super) fn data_write(&mut self, bytes: usize, value: u64) {
        if self.state.phase != Phase::FromHost {
            return;
        }
        let left = &mut self.state.buffer[self.state.at..];
        let now = bytes.min(left.len()).min(8);
        left[..now].copy_from_slice(&value.to_le_bytes()[..now]);
        self.state.at += now;
        if self.state.at == self.state.buffer.len() {
            self.piece_done();
        }
    }

    fn piece_done(&mut self) {
        let buffer = std::mem::take(&mut self.state.buffer);
        self.state.at = 0;
        match self.kind {
            Kind::Disk => ata::piece_done(self, buffer),
            Kind::Cd => atapi::piece_done(self, &buffer),
        }
    }

    /// What the bus master is to move now.
    pub(crate) fn dma_piece(&mut self) -> Option<(Way, &mut [u8])> {
        let way = match self.state.phase {
            Phase::DmaToMemory => Way::ToMemory,
            Phase::DmaFromMemory => Way::FromMemory,
            _ => return None,
        };
        Some((way, &mut self.state.buffer))
    }

    /// What goes over the data port now, for a controller that moves it by itself.
    pub(crate) fn port_piece(&mut self) -> Option<(Way, &mut [u8])> {
        let way = match self.state.phase {
            Phase::ToHost => Way::ToMemory,
            Phase::FromHost => Way::FromMemory,
            _ => return None,
        };
        Some((way, &mut self.state.buffer))
    }

    /// Whether this is a CD drive that waits for its packet.
    pub(crate) fn wants_packet(&self) -> bool {
        self.kind == Kind::Cd && self.state.packet.receives()
    }

    /// Whether this is a CD drive.
    pub(crate) fn is_cd(&self) -> bool {
        self.kind == Kind::Cd
    }

    /// The registers.
    pub(crate) fn task_file(&self) -> &TaskFile {
        &self.state.regs
    }

    /// A drive behind a serial port says so when asked what it is.
    pub(crate) fn behind_serial_port(&mut self) {
        self.serial_ata = true;
    }

    pub(crate) fn dma_moved(&mut self) {
        self.piece_done();
    }

    /// The table had no room for the piece.
    pub(crate) fn dma_short(&mut self) {
        self.event(Event::Ended);
        self.fail(error::ABRT);
    }

    pub(super) fn dma_failed(&mut self) {
        self.fail(error::ABRT);
    }

    /// Reset is asserted.
    pub(crate) fn hold_reset(&mut self) {
        self.waiting = None;
        self.queued = Queued::default();
        self.rest(status::BSY | status::DSC);
    }

    /// Reset is let go: the registers show what kind of drive this is.
    pub(crate) fn soft_reset(&mut self) {
        self.waiting = None;
        self.queued = Queued::default();
        self.events.clear();
        self.rest(match self.kind {
            Kind::Disk => status::IDLE,
            Kind::Cd => 0,
        });
        self.signature();
        self.state.regs.error = 1;
    }

    /// ATA/ATAPI-6, 9.12.
    pub(super) fn signature(&mut self) {
        let regs = &mut self.state.regs;
        let [mid, high] = match self.kind {
            Kind::Disk => [0, 0],
            Kind::Cd => [0x14, 0xeb],
        };
        regs.device &= 0x10;
        regs.count.now = 1;
        (regs.lba[0].now, regs.lba[1].now, regs.lba[2].now) = (1, mid, high);
    }

    pub(crate) fn power_on(&mut self) {
        self.state = State::new();
        self.soft_reset();
        if self.kind == Kind::Cd {
            atapi::medium_changed(self);
        }
    }

    pub(crate) fn save(&self) -> Value {
        save_record(&self.state)
    }

    pub(crate) fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let saved: State = restore_record(state)?;
        if saved.buffer.len() > MOST_BUFFER || saved.at > saved.buffer.len() {
            return Err(StateError("a buffer that cannot be".to_owned()));
        }
        let sound = saved.job.as_ref().is_none_or(Job::is_sound)
            && saved.packet.is_sound()
            && saved.smart.is_sound();
        if !sound {
            return Err(StateError("a command that cannot be".to_owned()));
        }
        self.events.clear();
        self.waiting = None;
        self.queued = Queued::default();
        self.state = saved;
        if self.state.phase == Phase::Waiting {
            // The disk had not answered: it is asked again.
            match self.kind {
                Kind::Disk => ata::ask_again(self),
                Kind::Cd => atapi::ask_again(self),
            }
        }
        Ok(())
    }
}
