//! SMBIOS tables (SMBIOS 2.8, 32-bit entry point): firmware and base board where the user describes them, system, enclosure,
//! processors, connectors, texts, memory, on-board devices.

mod given;
#[cfg(test)]
mod tests;

use given::Builder;
pub use given::{Fields, Given};

/// Name of the entry point's item.
pub const ANCHOR: &str = "etc/smbios/smbios-anchor";
/// Name of the tables' item.
pub const TABLES: &str = "etc/smbios/smbios-tables";

/// What the tables say.
#[derive(Debug, Clone)]
pub struct System<'a> {
    /// `Standard PC (i440FX + PIIX, 1996)`.
    pub product: &'a str,
    /// `pc-i440fx-10.0`.
    pub version: &'a str,
    /// The machine's UUID, as it is written.
    pub uuid: [u8; 16],
    /// A UUID was given; without one the field says "not present".
    pub has_uuid: bool,
    /// Sockets, cores a socket, threads a core.
    pub topology: (u32, u32, u32),
    /// RAM below and from 4 GiB.
    pub memory: (u64, u64),
    /// What the user says instead.
    pub given: &'a Given,
    /// What CPUID says of a processor: signature, features.
    pub processor_id: (u32, u32),
}

/// Bytes a memory device describes at most.
const DIMM: u64 = 2 << 40;
/// Who makes everything.
const MAKER: &str = "QEMU";

/// Entry point and tables.
pub fn tables(system: &System<'_>) -> (Vec<u8>, Vec<u8>) {
    let given = system.given;
    let mut builder = Builder::default();
    for raw in &given.files {
        builder.add_raw(raw);
    }
    if let Some(fields) = &given.bios {
        bios(&mut builder, fields);
    }
    about_system(&mut builder, system);
    if let Some(fields) = &given.board {
        let mut board = builder.structure(2, 0x200);
        board.text(fields, "manufacturer", Some(MAKER));
        board.text(fields, "product", Some(system.product));
        board.text(fields, "version", Some(system.version));
        board.text(fields, "serial", None);
        board.text(fields, "asset", None);
        // A hosting board; what is behind its location is the chassis it is in.
        board.bytes(&[1]);
        board.text(fields, "location", None);
        board.bytes(&[0, 3, 10, 0]);
        board.end();
    }
    enclosure(&mut builder, system);
    let (sockets, ..) = system.topology;
    for n in 0..sockets.min(255) {
        processor(&mut builder, system, n);
    }
    for (fields, handle) in given.connectors.iter().zip(0_u16..) {
        let mut connector = builder.structure(8, handle);
        connector.text(fields, "internal_reference", None);
        connector.bytes(&[0]);
        connector.text(fields, "external_reference", None);
        let byte = |name| u8::try_from(fields.number(name, 0)).unwrap_or(u8::MAX);
        connector.bytes(&[byte("connector_type"), byte("port_type")]);
        connector.end();
    }
    if !given.texts.is_empty() {
        let mut texts = builder.structure(11, 0xe00);
        texts.bytes(&[u8::try_from(given.texts.len()).unwrap_or(u8::MAX)]);
        for text in &given.texts {
            texts.string(text);
        }
        texts.end();
    }
    memory(&mut builder, system);
    builder.structure(32, 0x2000).bytes(&[0; 7]).end();
    for (fields, handle) in given.on_board.iter().zip(0x2900_u16..) {
        let mut device = builder.structure(41, handle);
        device.text(fields, "designation", None);
        let byte = |name| u8::try_from(fields.number(name, 0)).unwrap_or(u8::MAX);
        // Enabled; on no bus that is named.
        device.bytes(&[byte("kind") | 0x80, byte("instance"), 0, 0, 0, 0]);
        device.end();
    }
    builder.structure(127, 0x7f00).end();
    (anchor(&builder), builder.into_bytes())
}

fn bios(builder: &mut Builder, fields: &Fields) {
    let mut bios = builder.structure(0, 0);
    bios.text(fields, "vendor", None);
    bios.text(fields, "version", None);
    bios.bytes(&0xe800_u16.to_le_bytes());
    bios.text(fields, "date", None);
    // Size not told; characteristics not told; a virtual machine, targeted content, perhaps UEFI.
    bios.bytes(&[0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    let uefi = fields.number("uefi", 0) != 0;
    bios.bytes(&[0x14 | if uefi { 8 } else { 0 }]);
    let release = fields.number("release", 0).to_le_bytes();
    bios.bytes(&[release[1], release[0], 0xff, 0xff]);
    bios.end();
}

fn about_system(builder: &mut Builder, system: &System<'_>) {
    let fields = &system.given.system;
    let mut about = builder.structure(1, 0x100);
    about.text(fields, "manufacturer", Some(MAKER));
    about.text(fields, "product", Some(system.product));
    about.text(fields, "version", Some(system.version));
    about.text(fields, "serial", None);
    about.bytes(&wire_uuid(system));
    // Woken by the power switch.
    about.bytes(&[6]);
    about.text(fields, "sku", None);
    about.text(fields, "family", None);
    about.end();
}

fn enclosure(builder: &mut Builder, system: &System<'_>) {
    let fields = &system.given.enclosure;
    let mut enclosure = builder.structure(3, 0x300);
    enclosure.text(fields, "manufacturer", Some(MAKER));
    enclosure.bytes(&[1]);
    enclosure.text(fields, "version", Some(system.version));
    enclosure.text(fields, "serial", None);
    enclosure.text(fields, "asset", None);
    enclosure.bytes(&[3, 3, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    enclosure.text(fields, "sku", None);
    enclosure.end();
}

/// The first three fields of a UUID are little-endian in the table.
fn wire_uuid(system: &System<'_>) -> [u8; 16] {
    if !system.has_uuid {
        return [0; 16];
    }
    let mut raw = system.uuid;
    raw[..4].reverse();
    raw[4..6].reverse();
    raw[6..8].reverse();
    raw
}

fn processor(builder: &mut Builder, system: &System<'_>, n: u32) {
    let byte = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
    let fields = &system.given.processor;
    let speed = |name| {
        let speed = fields.number(name, 2000);
        u16::try_from(speed).unwrap_or(u16::MAX).to_le_bytes()
    };
    let (_, cores, threads) = system.topology;
    let prefix = fields.get("sock_pfx").unwrap_or("CPU");
    let handle = 0x400 + u16::try_from(n).unwrap_or(0);
    let mut processor = builder.structure(4, handle);
    processor.string(&format!("{prefix}{n:2x}"));
    // A central processor of a family that stands below.
    processor.bytes(&[1, 3, 0xfe]);
    processor.text(fields, "manufacturer", Some(MAKER));
    let (signature, features) = system.processor_id;
    let id = u64::from(features) << 32 | u64::from(signature);
    processor.bytes(&fields.number("processor-id", id).to_le_bytes());
    processor.text(fields, "version", Some(system.version));
    // Voltage and external clock unknown.
    processor.bytes(&[0, 0, 0]);
    processor.bytes(&speed("max-speed"));
    processor.bytes(&speed("current-speed"));
    // Populated and enabled; upgrade "other"; no caches.
    processor.bytes(&[0x41, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    processor.text(fields, "serial", None);
    processor.text(fields, "asset", None);
    processor.text(fields, "part", None);
    let all = cores.saturating_mul(threads);
    processor.bytes(&[byte(cores), byte(cores), byte(all), 2, 0]);
    let family = fields.number("processor-family", 1);
    processor.bytes(&u16::try_from(family).unwrap_or(1).to_le_bytes());
    processor.end();
}

fn memory(builder: &mut Builder, system: &System<'_>) {
    let (below, above) = system.memory;
    let total = below.saturating_add(above);
    let devices = total.div_ceil(DIMM).clamp(1, 255);
    let low32 = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let mut array = builder.structure(16, 0x1000);
    let kib = total >> 10;
    array.bytes(&[1, 3, 6]);
    array.bytes(&low32(kib.min(0x8000_0000)));
    array.bytes(&[0xfe, 0xff]);
    array.bytes(&u16::try_from(devices).unwrap_or(0).to_le_bytes());
    let extended = if kib >= 0x8000_0000 { total } else { 0 };
    array.bytes(&extended.to_le_bytes());
    array.end();
    for n in 0..devices {
        memory_device(builder, system, n, (total - n * DIMM).min(DIMM));
    }
    for (n, (start, size)) in (0..).zip([(0, below), (1 << 32, above)]) {
        if size == 0 {
            continue;
        }
        let last = start + size - 1;
        let mut range = builder.structure(19, 0x1300 + n);
        if last >> 10 < 0xffff_ffff {
            range.bytes(&low32(start >> 10));
            range.bytes(&low32(last >> 10));
            range.bytes(&[0x00, 0x10, 1]);
            range.bytes(&[0; 16]);
        } else {
            range.bytes(&[0xff; 8]);
            range.bytes(&[0x00, 0x10, 1]);
            range.bytes(&start.to_le_bytes());
            range.bytes(&last.to_le_bytes());
        }
        range.end();
    }
}

fn memory_device(builder: &mut Builder, system: &System<'_>, n: u64, size: u64) {
    let fields = &system.given.memory;
    let speed = u16::try_from(fields.number("speed", 0)).unwrap_or(u16::MAX);
    let mib = size >> 20;
    let (short, extended) = match u16::try_from(mib) {
        Ok(short) if short < 0x7fff => (short, 0),
        _ => (0x7fff, mib),
    };
    let prefix = fields.get("loc_pfx").unwrap_or("DIMM");
    let handle = 0x1100 + u16::try_from(n).unwrap_or(0);
    let mut device = builder.structure(17, handle);
    // Of the array; no error; widths unknown.
    device.bytes(&[0x00, 0x10, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);
    device.bytes(&short.to_le_bytes());
    device.bytes(&[9, 0, 1]);
    device.string(&format!("{prefix} {n}"));
    device.text(fields, "bank", None);
    device.bytes(&[7, 2, 0]);
    device.bytes(&speed.to_le_bytes());
    device.text(fields, "manufacturer", Some(MAKER));
    device.text(fields, "serial", None);
    device.text(fields, "asset", None);
    device.text(fields, "part", None);
    device.bytes(&[0]);
    device.bytes(&u32::try_from(extended).unwrap_or(u32::MAX).to_le_bytes());
    device.bytes(&speed.to_le_bytes());
    device.bytes(&[0; 6]);
    device.end();
}

/// The entry point; the firmware fills in the tables' address.
fn anchor(builder: &Builder) -> Vec<u8> {
    let word = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_le_bytes();
    let mut raw = b"_SM_\0\x1f\x02\x08".to_vec();
    raw.extend(word(builder.largest()));
    raw.extend([0; 6]);
    raw.extend(b"_DMI_\0");
    raw.extend(word(builder.len()));
    raw.extend(0_u32.to_le_bytes());
    raw.extend(builder.count().to_le_bytes());
    raw.push(0x28);
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    raw[21] = sum(&raw[16..]);
    raw[4] = sum(&raw);
    raw
}
