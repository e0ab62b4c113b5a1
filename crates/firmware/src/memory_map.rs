//! The guest's memory map as firmware and kernels are told it (e820).

/// What a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RAM.
    Ram,
    /// Not to be touched.
    Reserved,
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
}

/// The ranges of a machine with `below` bytes of RAM below 4 GiB and `above` from there.
pub fn ram(below: u64, above: u64) -> Vec<Range> {
    let range = |start, size| Range {
        start,
        size,
        kind: Kind::Ram,
    };
    let mut all = vec![range(0, below)];
    if above > 0 {
        all.push(range(1 << 32, above));
    }
    all
}

/// The item `etc/e820`: address, size, type, 20 bytes each.
pub fn e820(ranges: &[Range]) -> Vec<u8> {
    let mut all = Vec::with_capacity(ranges.len() * 20);
    for range in ranges {
        all.extend(range.start.to_le_bytes());
        all.extend(range.size.to_le_bytes());
        let kind: u32 = match range.kind {
            Kind::Ram => 1,
            Kind::Reserved => 2,
        };
        all.extend(kind.to_le_bytes());
    }
    all
}

/// The map a kernel gets that is entered without asking the BIOS: with the holes below 1 MiB.
pub fn for_kernel(ranges: &[Range]) -> Vec<Range> {
    let mut all = vec![
        Range {
            start: 0,
            size: 0x9_fc00,
            kind: Kind::Ram,
        },
        Range {
            start: 0x9_fc00,
            size: 0x400,
            kind: Kind::Reserved,
        },
        Range {
            start: 0xf_0000,
            size: 0x1_0000,
            kind: Kind::Reserved,
        },
    ];
    for range in ranges {
        let cut = 0x10_0000_u64.saturating_sub(range.start);
        if range.size > cut {
            all.push(Range {
                start: range.start + cut,
                size: range.size - cut,
                kind: range.kind,
            });
        }
    }
    all
}
