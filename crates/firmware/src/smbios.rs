//! SMBIOS tables (SMBIOS 2.8, 32-bit entry point): system, enclosure, processors, memory.

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
}

/// Bytes a memory device describes at most.
const DIMM: u64 = 16 << 30;

struct Builder {
    bytes: Vec<u8>,
    count: u16,
    largest: usize,
}

impl Builder {
    /// Adds a structure: formatted part after its four header bytes, then strings.
    fn add(&mut self, kind: u8, handle: u16, body: &[u8], strings: &[&str]) {
        let start = self.bytes.len();
        let length = u8::try_from(body.len() + 4).unwrap_or(u8::MAX);
        self.bytes.extend([kind, length]);
        self.bytes.extend(handle.to_le_bytes());
        self.bytes.extend(body);
        for text in strings {
            self.bytes.extend(text.bytes().filter(|byte| *byte != 0));
            self.bytes.push(0);
        }
        if strings.is_empty() {
            self.bytes.push(0);
        }
        self.bytes.push(0);
        self.count += 1;
        self.largest = self.largest.max(self.bytes.len() - start);
    }
}

/// Entry point and tables.
pub fn tables(system: &System<'_>) -> (Vec<u8>, Vec<u8>) {
    let mut builder = Builder {
        bytes: Vec::new(),
        count: 0,
        largest: 0,
    };
    let maker = "QEMU";
    let mut body = vec![1, 2, 3, 0];
    body.extend(wire_uuid(system));
    // Woken by the power switch; no SKU, no family.
    body.extend([6, 0, 0]);
    builder.add(1, 0x100, &body, &[maker, system.product, system.version]);
    let mut enclosure = vec![1, 1, 2, 0, 0, 3, 3, 3, 2];
    enclosure.extend([0; 9]);
    builder.add(3, 0x300, &enclosure, &[maker, system.version]);
    let (sockets, cores, threads) = system.topology;
    for n in 0..sockets.min(255) {
        let socket = format!("CPU {n}");
        let body = processor(cores, threads);
        let handle = 0x400 + u16::try_from(n).unwrap_or(0);
        builder.add(4, handle, &body, &[&socket, maker, system.version]);
    }
    memory(&mut builder, system.memory);
    builder.add(32, 0x2000, &[0; 7], &[]);
    builder.add(127, 0x7f00, &[], &[]);
    (anchor(&builder), builder.bytes)
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

fn processor(cores: u32, threads: u32) -> Vec<u8> {
    let byte = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
    let word = |n: u32| u16::try_from(n).unwrap_or(u16::MAX).to_le_bytes();
    // Socket name, central processor, family "other", maker, id, version, voltage.
    let mut body = vec![1, 3, 1, 2];
    body.extend([0; 8]);
    body.extend([3, 0]);
    // External clock unknown, 2 GHz at most and now; populated and enabled; upgrade "other".
    body.extend([0, 0, 0xd0, 7, 0xd0, 7, 0x41, 1]);
    body.extend([0xff; 6]);
    body.extend([0, 0, 0]);
    let all = cores.saturating_mul(threads);
    body.extend([byte(cores), byte(cores), byte(all)]);
    // 64-bit capable, family again, counts again.
    body.extend([4, 0, 1, 0]);
    body.extend(word(cores));
    body.extend(word(cores));
    body.extend(word(all));
    body
}

fn memory(builder: &mut Builder, (below, above): (u64, u64)) {
    let total = below.saturating_add(above);
    let devices = total.div_ceil(DIMM).clamp(1, 255);
    let low32 = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let mut array = vec![1, 3, 6];
    let kib = total >> 10;
    array.extend(low32(kib.min(0x8000_0000)));
    array.extend([0xfe, 0xff]);
    array.extend(u16::try_from(devices).unwrap_or(0).to_le_bytes());
    let extended = if kib >= 0x8000_0000 { total } else { 0 };
    array.extend(extended.to_le_bytes());
    builder.add(16, 0x1000, &array, &[]);
    for n in 0..devices {
        let size = (total - n * DIMM).min(DIMM);
        let mib = size >> 20;
        let mut body = vec![0x00, 0x10, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff];
        let short = if mib < 0x7fff {
            u16::try_from(mib).unwrap_or(0)
        } else {
            0x7fff
        };
        body.extend(short.to_le_bytes());
        body.extend([9, 0, 1, 0, 7, 2, 0, 0, 0, 2, 0, 0, 0, 0]);
        let extended = if mib < 0x7fff { 0 } else { mib };
        body.extend(low32(extended));
        body.extend([0; 8]);
        let locator = format!("DIMM {n}");
        let handle = 0x1100 + u16::try_from(n).unwrap_or(0);
        builder.add(17, handle, &body, &[&locator, "QEMU"]);
    }
    for (n, (start, size)) in (0..).zip([(0, below), (1 << 32, above)]) {
        if size == 0 {
            continue;
        }
        let last = start + size - 1;
        let mut body = Vec::new();
        if last >> 10 < 0xffff_ffff {
            body.extend(low32(start >> 10));
            body.extend(low32(last >> 10));
            body.extend([0x00, 0x10, 1]);
            body.extend([0; 16]);
        } else {
            body.extend([0xff; 8]);
            body.extend([0x00, 0x10, 1]);
            body.extend(start.to_le_bytes());
            body.extend(last.to_le_bytes());
        }
        builder.add(19, 0x1300 + n, &body, &[]);
    }
}

/// The entry point; the firmware fills in the tables' address.
fn anchor(builder: &Builder) -> Vec<u8> {
    let word = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_le_bytes();
    let mut raw = b"_SM_\0\x1f\x02\x08".to_vec();
    raw.extend(word(builder.largest));
    raw.extend([0; 6]);
    raw.extend(b"_DMI_\0");
    raw.extend(word(builder.bytes.len()));
    raw.extend(0_u32.to_le_bytes());
    raw.extend(builder.count.to_le_bytes());
    raw.push(0x28);
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    raw[21] = sum(&raw[16..]);
    raw[4] = sum(&raw);
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_follow_one_another_to_the_end() {
        let system = System {
            product: "Standard PC",
            version: "pc-i440fx-10.0",
            uuid: [0x11; 16],
            has_uuid: true,
            topology: (2, 1, 1),
            memory: (3 << 30, 40 << 30),
        };
        let (anchor, tables) = tables(&system);
        assert_eq!(anchor.iter().fold(0_u8, |sum, b| sum.wrapping_add(*b)), 0);
        let mut kinds = Vec::new();
        let mut at = 0;
        while at < tables.len() {
            kinds.push(tables[at]);
            let mut end = at + usize::from(tables[at + 1]);
            while tables[end..end + 2] != [0, 0] {
                end += 1;
            }
            at = end + 2;
        }
        assert_eq!(kinds, [1, 3, 4, 4, 16, 17, 17, 17, 19, 19, 32, 127]);
        assert_eq!(
            usize::from(u16::from_le_bytes([anchor[28], anchor[29]])),
            kinds.len()
        );
    }
}
