//! What a CD drive answers to each packet command.

use super::{News, Reply, SECTOR, Sense};
use crate::ide::drive::Drive;

type Bytes = [u8; 12];

/// A command.
pub(super) struct PacketCommand {
    pub(super) code: u8,
    /// Runs even though the medium has changed.
    pub(super) quiet: bool,
    pub(super) needs_disc: bool,
    pub(super) run: fn(&mut Drive, &Bytes) -> Reply,
}

const fn row(
    code: u8,
    quiet: bool,
    needs_disc: bool,
    run: fn(&mut Drive, &Bytes) -> Reply,
) -> PacketCommand {
    PacketCommand {
        code,
        quiet,
        needs_disc,
        run,
    }
}

pub(super) const PACKETS: &[PacketCommand] = &[
    row(0x00, false, true, |_, _| Reply::Done),
    row(0x03, true, false, request_sense),
    row(0x12, true, false, inquiry),
    row(0x1b, false, false, start_stop),
    row(0x1e, false, false, prevent_removal),
    row(0x25, false, true, read_capacity),
    row(0x28, false, true, |d, b| {
        read(d, word(b, 2), u32::from(half(b, 7)))
    }),
    row(0x2b, false, true, |_, _| Reply::Done),
    row(0x43, false, true, read_toc),
    row(0x46, true, false, get_configuration),
    row(0x4a, true, false, get_event_status),
    row(0x51, false, true, read_disc_information),
    row(0x5a, false, false, mode_sense),
    row(0xa8, false, true, |d, b| read(d, word(b, 2), word(b, 6))),
    row(0xad, false, true, read_dvd_structure),
    row(0xbb, false, false, |_, _| Reply::Done),
    row(0xbd, true, false, mechanism_status),
    row(0xbe, false, true, read_cd),
];

fn half(bytes: &Bytes, at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &Bytes, at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An answer, cut to what the host has room for.
fn cut(mut data: Vec<u8>, room: usize) -> Reply {
    data.truncate(room);
    Reply::Data(data)
}

/// Sectors of the disc.
fn sectors(drive: &Drive) -> u64 {
    let disk = drive.disk.as_ref();
    disk.map_or(0, |disk| disk.geometry().bytes / SECTOR)
}

fn request_sense(drive: &mut Drive, bytes: &Bytes) -> Reply {
    let sense = std::mem::take(&mut drive.state.packet.sense);
    let mut data = vec![0; 18];
    (data[0], data[2], data[7]) = (0x70, sense.key, 10);
    (data[12], data[13]) = (sense.code, sense.qualifier);
    cut(data, bytes[4].into())
}

fn inquiry(drive: &mut Drive, bytes: &Bytes) -> Reply {
    if bytes[1] & 1 != 0 {
        return Reply::Check(Sense::BAD_FIELD);
    }
    let mut data = vec![0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0];
    let mut put = |text: &str, len: usize| {
        let letters = text.bytes().filter(u8::is_ascii);
        data.extend(letters.chain(std::iter::repeat(b' ')).take(len));
    };
    put("QEMU", 8);
    put(&drive.options.model, 16);
    put(&drive.options.version, 4);
    cut(data, half(bytes, 3).into())
}

fn start_stop(drive: &mut Drive, bytes: &Bytes) -> Reply {
    let (load_or_eject, start) = (bytes[4] & 2 != 0, bytes[4] & 1 != 0);
    if bytes[4] & 0xf0 != 0 || !load_or_eject {
        return Reply::Done;
    }
    let packet = &mut drive.state.packet;
    if !start && packet.locked {
        return Reply::Check(Sense::LOCKED);
    }
    packet.tray_open = !start;
    Reply::Done
}

fn prevent_removal(drive: &mut Drive, bytes: &Bytes) -> Reply {
    drive.state.packet.locked = bytes[4] & 1 != 0;
    Reply::Done
}

fn read_capacity(drive: &mut Drive, _: &Bytes) -> Reply {
    let Some(last) = sectors(drive).checked_sub(1) else {
        return Reply::Check(Sense::NO_MEDIUM);
    };
    let last = u32::try_from(last).unwrap_or(u32::MAX);
    let mut data = last.to_be_bytes().to_vec();
    data.extend(2048_u32.to_be_bytes());
    Reply::Data(data)
}

fn read(drive: &mut Drive, first: u32, count: u32) -> Reply {
    let end = u64::from(first) + u64::from(count);
    if end > sectors(drive) {
        return Reply::Check(Sense::OUT_OF_RANGE);
    }
    Reply::Sectors(first.into(), count)
}

/// READ CD, for whole user data only.
// GAP: raw sectors of 2352 bytes; refused.
fn read_cd(drive: &mut Drive, bytes: &Bytes) -> Reply {
    let count = u32::from_be_bytes([0, bytes[6], bytes[7], bytes[8]]);
    match bytes[9] & 0xf8 {
        0x00 => Reply::Done,
        0x10 => read(drive, word(bytes, 2), count),
        _ => Reply::Check(Sense::BAD_FIELD),
    }
}

/// One data track, and the lead-out behind it.
fn read_toc(drive: &mut Drive, bytes: &Bytes) -> Reply {
    let in_minutes = bytes[1] & 2 != 0;
    let format = match bytes[2] & 0x0f {
        0 => bytes[9] >> 6,
        given => given,
    };
    let total = u32::try_from(sectors(drive)).unwrap_or(u32::MAX);
    let track = |number: u8, place: u32| {
        let mut row = vec![0, 0x14, number, 0];
        row.extend(address(place, in_minutes));
        row
    };
    let data = match format {
        0 => {
            let first = bytes[6];
            if first > 1 && first != 0xaa {
                return Reply::Check(Sense::BAD_FIELD);
            }
            let mut rows = Vec::new();
            if first <= 1 {
                rows.extend(track(1, 0));
            }
            rows.extend(track(0xaa, total));
            toc(&rows)
        }
        // One session, from the first sector.
        1 => {
            let mut rows = vec![0, 0x14, 1, 0];
            rows.extend(address(0, in_minutes));
            toc(&rows)
        }
        _ => return Reply::Check(Sense::BAD_FIELD),
    };
    cut(data, half(bytes, 7).into())
}

fn toc(rows: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rows.len() + 2).unwrap_or(u16::MAX);
    let mut data = len.to_be_bytes().to_vec();
    data.extend([1, 1]);
    data.extend(rows);
    data
}

/// A place as a number of sectors, or as minutes, seconds and frames behind two seconds of lead-in.
fn address(sector: u32, in_minutes: bool) -> [u8; 4] {
    if !in_minutes {
        return sector.to_be_bytes();
    }
    let frames = u64::from(sector) + 150;
    let part = |n: u64| u8::try_from(n).unwrap_or(u8::MAX);
    [
        0,
        part(frames / 75 / 60),
        part(frames / 75 % 60),
        part(frames % 75),
    ]
}

/// Profiles and features: a drive of CDs and DVDs that reads. A disc larger than a CD is a DVD.
fn get_configuration(drive: &mut Drive, bytes: &Bytes) -> Reply {
    const DVD: u16 = 0x0010;
    const CD: u16 = 0x0008;
    /// 80 minutes.
    const CD_SECTORS: u64 = 80 * 60 * 75;
    let current = match sectors(drive) {
        0 => 0,
        n if n <= CD_SECTORS => CD,
        _ => DVD,
    };
    let mut features = vec![0, 0, 3, 8];
    for profile in [DVD, CD] {
        features.extend(profile.to_be_bytes());
        features.extend([u8::from(profile == current), 0]);
    }
    // Core: an ATAPI device. Removable medium: ejects, a tray.
    features.extend([0, 1, 0x0b, 8, 0, 0, 0, 2, 1, 0, 0, 0]);
    features.extend([0, 3, 0x0b, 4, 0x29, 0, 0, 0]);
    let mut data = u32::try_from(features.len() + 4)
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    data.extend([0, 0]);
    data.extend(current.to_be_bytes());
    data.extend(features);
    cut(data, half(bytes, 7).into())
}

fn get_event_status(drive: &mut Drive, bytes: &Bytes) -> Reply {
    const MEDIA: u8 = 1 << 4;
    let polled = bytes[1] & 1 != 0;
    if !polled {
        // Events that come by themselves are not offered.
        return Reply::Check(Sense::BAD_FIELD);
    }
    if bytes[4] & MEDIA == 0 {
        return cut(vec![0, 2, 0x80, MEDIA], half(bytes, 7).into());
    }
    let present = drive.disk.is_some() && !drive.state.packet.tray_open;
    let event = match drive.state.packet.news.take() {
        None => 0,
        Some(News::EjectWanted) => 1,
        Some(News::Inserted) => 2,
        Some(News::Removed) => 3,
    };
    let shown = u8::from(drive.state.packet.tray_open) | u8::from(present) << 1;
    let data = vec![0, 6, 4, MEDIA, event, shown, 0, 0];
    cut(data, half(bytes, 7).into())
}

fn read_disc_information(_: &mut Drive, bytes: &Bytes) -> Reply {
    let mut data = vec![0; 34];
    // Complete, last session complete; one session, tracks 1 to 1, unrestricted.
    data[..8].copy_from_slice(&[0, 32, 0x0e, 1, 1, 1, 1, 0x20]);
    cut(data, half(bytes, 7).into())
}

/// Pages of errors and of what the drive can do.
fn mode_sense(drive: &mut Drive, bytes: &Bytes) -> Reply {
    let page = bytes[2] & 0x3f;
    if bytes[2] >> 6 == 3 {
        return Reply::Check(Sense::BAD_FIELD);
    }
    let mut pages = Vec::new();
    if page == 0x01 || page == 0x3f {
        pages.extend([0x01, 6, 0, 5, 0, 0, 0, 0]);
    }
    if page == 0x2a || page == 0x3f {
        let locked = u8::from(drive.state.packet.locked) << 1;
        pages.extend([0x2a, 18, 0x3b, 0, 0x70, 0, 0x29 | locked, 0]);
        pages.extend([0x02, 0xc2, 0, 2, 2, 0, 0x02, 0xc2, 0, 0, 0, 0]);
    }
    if pages.is_empty() {
        return Reply::Check(Sense::BAD_FIELD);
    }
    let medium = if drive.disk.is_some() { 0x01 } else { 0x70 };
    let len = u16::try_from(pages.len() + 6).unwrap_or(0);
    let mut data = len.to_be_bytes().to_vec();
    data.extend([medium, 0, 0, 0, 0, 0]);
    data.extend(pages);
    cut(data, half(bytes, 7).into())
}

/// The physical format of a DVD; a CD has none.
fn read_dvd_structure(drive: &mut Drive, bytes: &Bytes) -> Reply {
    let total = u32::try_from(sectors(drive)).unwrap_or(u32::MAX);
    if bytes[7] != 0 || bytes[6] != 0 {
        return Reply::Check(Sense::BAD_FIELD);
    }
    // A DVD-ROM of version 1, 120 mm, one layer, sectors from 0x30000 on.
    const FIRST: u32 = 0x3_0000;
    let mut data = vec![0; 2052];
    data[..2].copy_from_slice(&2050_u16.to_be_bytes());
    (data[4], data[5], data[6], data[7]) = (1, 0x0f, 1, 0);
    data[8..12].copy_from_slice(&FIRST.to_be_bytes());
    let last = FIRST.saturating_add(total.saturating_sub(1));
    data[12..16].copy_from_slice(&last.to_be_bytes());
    data[16..20].copy_from_slice(&last.to_be_bytes());
    cut(data, half(bytes, 8).into())
}

fn mechanism_status(_: &mut Drive, bytes: &Bytes) -> Reply {
    cut(vec![0, 0, 0, 0, 0, 1, 0, 0], half(bytes, 8).into())
}
