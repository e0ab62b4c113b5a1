//! Commands of hard disks (ATA/ATAPI-6, section 8).

use backend_core::disk::{Done, Op};
use serde::{Deserialize, Serialize};

use super::drive::{CommandRow, Drive, Event};
use super::taskfile::{Width, error};
use super::{identify, queued, smart};
use crate::scatter::Way;

/// Size of a sector.
pub(super) const SECTOR: u64 = 512;
/// Sectors moved at a time by DMA.
const DMA_SECTORS: u32 = 256;

/// The commands.
pub(super) const COMMANDS: &[CommandRow] = &[
    (0x06, 0x06, trim),
    (0x10, 0x1f, nothing),
    (0x20, 0x21, |d, _| read(d, Width::Short, By::Sector)),
    (0x24, 0x24, |d, _| read(d, Width::Long, By::Sector)),
    (0x25, 0x25, |d, _| read(d, Width::Long, By::Dma)),
    (0x27, 0x27, |d, _| native_max(d, Width::Long)),
    (0x29, 0x29, |d, _| read(d, Width::Long, By::Block)),
    (0x2f, 0x2f, queued::read_log),
    (0x30, 0x31, |d, _| write(d, Width::Short, By::Sector)),
    (0x34, 0x34, |d, _| write(d, Width::Long, By::Sector)),
    (0x35, 0x35, |d, _| write(d, Width::Long, By::Dma)),
    (0x39, 0x39, |d, _| write(d, Width::Long, By::Block)),
    (0x40, 0x41, |d, _| verify(d, Width::Short)),
    (0x42, 0x42, |d, _| verify(d, Width::Long)),
    (0x70, 0x7f, nothing),
    (0x90, 0x90, diagnose),
    (0x91, 0x91, set_geometry),
    (0xb0, 0xb0, smart::command),
    (0xc4, 0xc4, |d, _| read(d, Width::Short, By::Block)),
    (0xc5, 0xc5, |d, _| write(d, Width::Short, By::Block)),
    (0xc6, 0xc6, set_multiple),
    (0xc8, 0xc9, |d, _| read(d, Width::Short, By::Dma)),
    (0xca, 0xcb, |d, _| write(d, Width::Short, By::Dma)),
    (0xe0, 0xe3, nothing),
    (0xe5, 0xe5, power_mode),
    (0xe6, 0xe6, nothing),
    (0xe7, 0xe7, flush),
    (0xea, 0xea, flush),
    (0xec, 0xec, identify),
    (0xef, 0xef, set_features),
    // FREEZE LOCK: the only command of the security set that is taken; there is none to freeze.
    (0xf5, 0xf5, nothing),
    (0xf8, 0xf8, |d, _| native_max(d, Width::Short)),
];

/// How the bytes of a command go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Sector,
    Block,
    Dma,
}

/// What a command does with sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Read,
    Write,
    Verify,
    Flush,
    Trim,
}

/// A command that takes several steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    kind: Kind,
    width: Width,
    dma: bool,
    /// First sector of the step.
    next: u64,
    /// Sectors left, those of the step counted.
    left: u32,
    /// Sectors of one step at most.
    step: u32,
    /// Ranges to trim: first sector and count.
    ranges: Vec<(u64, u32)>,
}

impl Job {
    /// Whether a saved one can be.
    pub(super) fn is_sound(&self) -> bool {
        self.left <= 65536 && (1..=DMA_SECTORS).contains(&self.step) && self.ranges.len() <= 64
    }

    fn now(&self) -> u32 {
        self.left.min(self.step)
    }

    fn bytes(&self) -> u64 {
        u64::from(self.now()) * SECTOR
    }
}

/// Sectors of the disk.
pub(super) fn capacity(drive: &Drive) -> u64 {
    let disk = drive.disk.as_ref();
    disk.map_or(0, |disk| disk.geometry().bytes / SECTOR)
}

/// The sectors a command names, if they are on the disk.
fn named(drive: &Drive, width: Width) -> Option<(u64, u32)> {
    let regs = &drive.state.regs;
    let sectors = regs.sectors(width);
    let start = regs.start(width, drive.state.heads, drive.state.track)?;
    let end = start.checked_add(sectors.into())?;
    (end <= capacity(drive)).then_some((start, sectors))
}

fn job(drive: &mut Drive, kind: Kind, width: Width, by: By) -> Option<Job> {
    let step = match by {
        By::Sector => 1,
        By::Block if drive.state.multiple == 0 => {
            drive.fail(error::ABRT);
            return None;
        }
        By::Block => drive.state.multiple.into(),
        By::Dma => DMA_SECTORS,
    };
    let Some((next, left)) = named(drive, width) else {
        drive.fail(error::IDNF);
        return None;
    };
    Some(Job {
        kind,
        width,
        dma: by == By::Dma,
        next,
        left,
        step,
        ranges: Vec::new(),
    })
}

fn read(drive: &mut Drive, width: Width, by: By) {
    if let Some(job) = job(drive, Kind::Read, width, by) {
        start_read(drive, job);
    }
}

fn start_read(drive: &mut Drive, job: Job) {
    let (offset, len) = (job.next * SECTOR, job.bytes());
    let room = vec![0; usize::try_from(len).unwrap_or(0)];
    drive.state.job = Some(job);
    drive.ask(Op::Read, offset, len, room);
}

fn write(drive: &mut Drive, width: Width, by: By) {
    if drive.disk.as_ref().is_some_and(|d| d.geometry().read_only) {
        drive.fail(error::ABRT);
        return;
    }
    if let Some(job) = job(drive, Kind::Write, width, by) {
        take_piece(drive, job);
    }
}

/// Lets the host give the next piece to write.
fn take_piece(drive: &mut Drive, job: Job) {
    let bytes = usize::try_from(job.bytes()).unwrap_or(0);
    let dma = job.dma;
    drive.state.job = Some(job);
    if dma {
        drive.offer_dma(Way::FromMemory, vec![0; bytes]);
    } else {
        drive.take(bytes);
    }
}

fn verify(drive: &mut Drive, width: Width) {
    if let Some(mut job) = job(drive, Kind::Verify, width, By::Dma) {
        job.dma = false;
        start_read(drive, job);
    }
}

fn flush(drive: &mut Drive, _: u8) {
    drive.state.job = Some(Job {
        kind: Kind::Flush,
        width: Width::Short,
        dma: false,
        next: 0,
        left: 0,
        step: 1,
        ranges: Vec::new(),
    });
    drive.ask(Op::Flush, 0, 0, Vec::new());
}

/// DATA SET MANAGEMENT: blocks of 64 ranges, 6 bytes of sector and 2 of count each.
fn trim(drive: &mut Drive, _: u8) {
    const TRIM: u8 = 1;
    let blocks = drive.state.regs.sectors(Width::Long);
    if drive.state.regs.feature.now != TRIM || blocks > 64 {
        drive.fail(error::ABRT);
        return;
    }
    let job = Job {
        kind: Kind::Trim,
        width: Width::Long,
        dma: true,
        next: 0,
        left: blocks,
        step: 1,
        ranges: Vec::new(),
    };
    take_piece(drive, job);
}

/// A piece went over the data port or the bus master.
pub(super) fn piece_done(drive: &mut Drive, buffer: Vec<u8>) {
    let Some(mut job) = drive.state.job.take() else {
        // An answer that is no sectors: the host has read it.
        drive.state.regs.status = super::taskfile::status::IDLE;
        drive.state.phase = super::drive::Phase::Idle;
        return;
    };
    match job.kind {
        Kind::Write => {
            let (offset, len) = (job.next * SECTOR, buffer.len() as u64);
            drive.state.job = Some(job);
            // Kept for a state that is saved before the disk has answered.
            drive.state.buffer.clone_from(&buffer);
            drive.ask(Op::Write, offset, len, buffer);
        }
        Kind::Trim => {
            job.ranges = ranges(&buffer, capacity(drive));
            next_range(drive, job);
        }
        Kind::Read | Kind::Verify | Kind::Flush => advance(drive, job),
    }
}

/// The ranges of one block that are on the disk.
fn ranges(block: &[u8], capacity: u64) -> Vec<(u64, u32)> {
    let entries = block.chunks_exact(8).filter_map(|raw| {
        let raw = u64::from_le_bytes(raw.try_into().ok()?);
        let (sector, count) = (raw & 0xffff_ffff_ffff, raw >> 48);
        let fits = count > 0 && sector.checked_add(count)? <= capacity;
        fits.then_some((sector, u32::try_from(count).ok()?))
    });
    entries.collect()
}

fn next_range(drive: &mut Drive, mut job: Job) {
    match job.ranges.pop() {
        Some((sector, count)) => {
            job.next = sector;
            job.ranges.push((sector, count));
            drive.state.job = Some(job);
            drive.ask(
                Op::Discard,
                sector * SECTOR,
                u64::from(count) * SECTOR,
                Vec::new(),
            );
        }
        None => {
            job.left = job.left.saturating_sub(1);
            if job.left == 0 {
                finish(drive, &job);
            } else {
                take_piece(drive, job);
            }
        }
    }
}

/// A step is over: the next one, or the end.
fn advance(drive: &mut Drive, mut job: Job) {
    let now = job.now();
    job.next += u64::from(now);
    job.left -= now;
    if job.left > 0 {
        match job.kind {
            Kind::Write => {
                let by_port = !job.dma;
                take_piece(drive, job);
                if by_port {
                    drive.event(Event::Interrupt);
                }
            }
            _ => start_read(drive, job),
        }
        return;
    }
    drive.state.regs.show(job.width, job.next.saturating_sub(1));
    drive.state.regs.count.now = 0;
    finish(drive, &job);
}

fn finish(drive: &mut Drive, job: &Job) {
    if job.dma {
        drive.event(Event::Ended);
    }
    if job.kind == Kind::Read && !job.dma {
        // The host was told with the last block; the end needs no attention.
        drive.state.regs.status = super::taskfile::status::IDLE;
        drive.state.phase = super::drive::Phase::Idle;
    } else {
        drive.succeed();
    }
}

/// The disk has answered.
pub(super) fn disk_done(drive: &mut Drive, done: Done) {
    let Some(mut job) = drive.state.job.take() else {
        return;
    };
    if done.result.is_err() {
        drive.state.regs.show(job.width, job.next);
        drive.fail(match job.kind {
            Kind::Read | Kind::Verify => error::UNC,
            _ => error::ABRT,
        });
        drive.state.regs.status |= match job.kind {
            Kind::Read | Kind::Verify => 0,
            _ => super::taskfile::status::DF,
        };
        return;
    }
    match job.kind {
        Kind::Read => {
            let dma = job.dma;
            drive.state.job = Some(job);
            if dma {
                drive.offer_dma(Way::ToMemory, done.io.data);
            } else {
                drive.give(done.io.data);
            }
        }
        Kind::Write if !drive.state.write_cache && job.left <= job.now() => {
            // Without a cache the last write is safe before it is reported.
            job.kind = Kind::Flush;
            drive.state.job = Some(job);
            drive.ask(Op::Flush, 0, 0, Vec::new());
        }
        Kind::Write | Kind::Verify => advance(drive, job),
        Kind::Flush => finish(drive, &job),
        Kind::Trim => {
            job.ranges.pop();
            next_range(drive, job);
        }
    }
}

/// After a state was restored: the disk is asked for the step once more.
pub(super) fn ask_again(drive: &mut Drive) {
    let Some(job) = drive.state.job.take() else {
        return;
    };
    match job.kind {
        Kind::Read | Kind::Verify => start_read(drive, job),
        Kind::Flush => {
            drive.state.job = Some(job);
            drive.ask(Op::Flush, 0, 0, Vec::new());
        }
        Kind::Trim => next_range(drive, job),
        Kind::Write => {
            drive.state.job = Some(job);
            let buffer = std::mem::take(&mut drive.state.buffer);
            piece_done(drive, buffer);
        }
    }
}

fn nothing(drive: &mut Drive, _: u8) {
    drive.succeed();
}

fn native_max(drive: &mut Drive, width: Width) {
    let last = capacity(drive).saturating_sub(1);
    let last = match width {
        Width::Short => last.min(0x0fff_ffff),
        Width::Long => last,
    };
    drive.state.regs.show(width, last);
    drive.succeed();
}

fn diagnose(drive: &mut Drive, _: u8) {
    drive.signature();
    drive.succeed();
    drive.state.regs.error = 1;
}

fn set_geometry(drive: &mut Drive, _: u8) {
    let (heads, track) = (
        (drive.state.regs.device & 0x0f) + 1,
        drive.state.regs.count.now,
    );
    if track == 0 {
        drive.fail(error::ABRT);
        return;
    }
    (drive.state.heads, drive.state.track) = (heads, track);
    drive.succeed();
}

fn set_multiple(drive: &mut Drive, _: u8) {
    let sectors = drive.state.regs.count.now;
    if sectors > 16 || (sectors != 0 && !sectors.is_power_of_two()) {
        drive.fail(error::ABRT);
        return;
    }
    drive.state.multiple = sectors;
    drive.succeed();
}

fn power_mode(drive: &mut Drive, _: u8) {
    const ACTIVE: u8 = 0xff;
    drive.state.regs.count.now = ACTIVE;
    drive.succeed();
}

fn identify(drive: &mut Drive, _: u8) {
    let words = identify::disk(drive, capacity(drive));
    drive.give(words);
}

pub(super) fn set_features(drive: &mut Drive, _: u8) {
    let regs = &drive.state.regs;
    let (feature, count) = (regs.feature.now, regs.count.now);
    match feature {
        0x02 => drive.state.write_cache = true,
        0x82 => drive.state.write_cache = false,
        0x03 if is_mode(count) => drive.state.mode = count,
        // Look-ahead, power management, reverting to defaults: nothing to do.
        0x05 | 0x42 | 0x55 | 0x66 | 0x85 | 0xaa | 0xc2 | 0xcc => {}
        _ => {
            drive.fail(error::ABRT);
            return;
        }
    }
    drive.succeed();
}

/// PIO, multiword DMA 0 to 2, Ultra DMA 0 to 5.
fn is_mode(mode: u8) -> bool {
    mode < 0x10 || (0x20..=0x22).contains(&mode) || (0x40..=0x45).contains(&mode)
}
