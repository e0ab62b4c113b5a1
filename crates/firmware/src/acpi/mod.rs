//! ACPI tables (ACPI 6.5, chapter 5.2), made for firmware that puts them into memory by the table loader.

mod aml;
mod dsdt;
mod linker;
mod reduced;
#[cfg(test)]
mod tests;

use linker::{Linker, Zone};

pub use dsdt::wire;
pub use reduced::{ReducedPlatform, reduced_tables};

/// Name of the blob of tables.
pub const TABLES: &str = "etc/acpi/tables";
/// Name of the root pointer's blob.
pub const RSDP: &str = "etc/acpi/rsdp";
/// Name of the table loader's commands.
pub const LOADER: &str = "etc/table-loader";

const HEADER: usize = 36;
const CHECKSUM: usize = 9;

/// Which south bridge the board has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum South {
    /// PIIX3 and PIIX4.
    Piix,
    /// ICH9.
    Ich9,
}

/// An I/O memory management unit.
#[derive(Debug, Clone, Copy)]
pub struct Iommu {
    /// Where its registers are.
    pub base: u64,
    /// Width of the addresses that it translates.
    pub address_bits: u8,
    /// It translates interrupts.
    pub interrupts: bool,
}

/// What the tables say about the board.
#[derive(Debug, Clone)]
pub struct Platform {
    /// South bridge.
    pub south: South,
    /// Processors; their APIC ids are their numbers.
    pub cpus: u32,
    /// There is an HPET.
    pub hpet: bool,
    /// There is a panic notifier.
    pub pvpanic: bool,
    /// Serial ports and their interrupts.
    pub serial_ports: Vec<(u16, u8)>,
    /// Addresses below 4 GiB for PCI devices, first and last.
    pub hole: (u64, u64),
    /// Addresses above 4 GiB for PCI devices.
    pub high_hole: Option<(u64, u64)>,
    /// The I/O memory management unit.
    pub iommu: Option<Iommu>,
    /// Extended configuration space, address and size.
    pub ecam: Option<(u32, u32)>,
    /// Whole tables of the user's.
    pub extra: Vec<Vec<u8>>,
}

/// The three blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    /// [`TABLES`].
    pub tables: Vec<u8>,
    /// [`RSDP`].
    pub rsdp: Vec<u8>,
    /// [`LOADER`].
    pub loader: Vec<u8>,
}

struct Builder {
    tables: Vec<u8>,
    linker: Linker,
    offsets: Vec<u32>,
}

fn small(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Builder {
    /// Tables that begin with the FACS.
    fn new() -> Self {
        let mut linker = Linker::default();
        linker.allocate(RSDP, 16, Zone::Low);
        linker.allocate(TABLES, 64, Zone::High);
        Self {
            tables: facs(),
            linker,
            offsets: Vec::new(),
        }
    }

    /// Adds a table with its header; gives its offset.
    fn table(&mut self, signature: [u8; 4], revision: u8, body: &[u8]) -> u32 {
        let start = small(self.tables.len());
        let length = small(HEADER + body.len());
        let t = &mut self.tables;
        t.extend(signature);
        t.extend(length.to_le_bytes());
        t.extend([revision, 0]);
        t.extend(b"BOCHS BXPC    ");
        t.extend(1_u32.to_le_bytes());
        t.extend(b"BXPC");
        t.extend(1_u32.to_le_bytes());
        t.extend(body);
        let checksum = start + small(CHECKSUM);
        self.linker.checksum(TABLES, checksum, start, length);
        start
    }

    /// Adds a table that the root table is to list.
    fn listed(&mut self, signature: [u8; 4], revision: u8, body: &[u8]) {
        let start = self.table(signature, revision, body);
        self.offsets.push(start);
    }

    fn pointer(&mut self, at: u32, size: u8) {
        self.linker.pointer(TABLES, at, size, TABLES);
    }
}

/// All tables of a board.
pub fn tables(platform: &Platform) -> Blobs {
    let mut builder = Builder::new();
    let dsdt = builder.table(*b"DSDT", 1, &dsdt::dsdt(platform));
    fadt(&mut builder, platform.south, dsdt);
    builder.listed(*b"APIC", 3, &madt(platform.cpus, &[5, 9, 10, 11]));
    if platform.hpet {
        builder.listed(*b"HPET", 1, &hpet());
    }
    if let Some((base, size)) = platform.ecam {
        builder.listed(*b"MCFG", 1, &mcfg(base, size));
    }
    if let Some(iommu) = &platform.iommu {
        builder.listed(*b"DMAR", 1, &dmar(iommu));
    }
    builder.listed(*b"WAET", 1, &2_u32.to_le_bytes());
    for table in &platform.extra {
        builder.offsets.push(small(builder.tables.len()));
        builder.tables.extend(table);
    }
    finish(builder)
}

/// The root table over those that it lists, and the blobs.
fn finish(mut builder: Builder) -> Blobs {
    let listed: Vec<u8> = builder
        .offsets
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let rsdt = builder.table(*b"RSDT", 1, &listed);
    for n in 0..builder.offsets.len() {
        builder.pointer(rsdt + small(HEADER + n * 4), 4);
    }
    let rsdp = root_pointer(&mut builder.linker, rsdt);
    order_checksums_last(builder, rsdp)
}

/// Checksums must be computed after pointers: the commands are sorted, which keeps the order within a kind.
fn order_checksums_last(builder: Builder, rsdp: Vec<u8>) -> Blobs {
    let commands = builder.linker.finish();
    let mut all: Vec<&[u8]> = commands.chunks(128).collect();
    all.sort_by_key(|command| command[0]);
    Blobs {
        tables: builder.tables,
        rsdp,
        loader: all.concat(),
    }
}

fn root_pointer(linker: &mut Linker, rsdt: u32) -> Vec<u8> {
    let mut rsdp = b"RSD PTR \0BOCHS \0".to_vec();
    rsdp.extend(rsdt.to_le_bytes());
    linker.pointer(RSDP, 16, 4, TABLES);
    linker.checksum(RSDP, 8, 0, 20);
    rsdp
}

fn facs() -> Vec<u8> {
    let mut facs = b"FACS".to_vec();
    facs.extend(64_u32.to_le_bytes());
    facs.resize(64, 0);
    facs
}

/// A generic address: space (1 is ports), bits, offset, access size, address.
fn address(bits: u8, port: u16) -> Vec<u8> {
    let mut raw = vec![1, bits, 0, 0];
    raw.extend(u64::from(port).to_le_bytes());
    raw
}

/// The fixed table. Its body starts at offset 36; offsets below count from the table's start.
fn fadt(builder: &mut Builder, south: South, dsdt: u32) {
    const PM: u16 = 0x600;
    let (gpe, gpe_length) = match south {
        South::Piix => (0xafe0, 4),
        South::Ich9 => (PM + 0x20, 16),
    };
    let size = match south {
        South::Piix => 116,
        South::Ich9 => 244,
    };
    let mut t = vec![0_u8; size];
    let mut put = |at: usize, bytes: &[u8]| t[at..at + bytes.len()].copy_from_slice(bytes);
    put(40, &dsdt.to_le_bytes());
    put(44, &[1]);
    put(46, &9_u16.to_le_bytes());
    put(48, &0xb2_u32.to_le_bytes());
    put(52, &[0xf1, 0xf0]);
    let block = |port: u16| u32::from(port).to_le_bytes();
    for (at, port) in [(56, PM), (64, PM + 4), (76, PM + 8), (80, gpe)] {
        put(at, &block(port));
    }
    put(88, &[4, 2, 0, 4, gpe_length]);
    put(96, &0xfff_u16.to_le_bytes());
    put(98, &0xfff_u16.to_le_bytes());
    put(108, &[0x32]);
    // Write-back and invalidate works, C1 works, no sleep button, RTC wakes from S4.
    let mut flags: u32 = 1 | 1 << 2 | 1 << 5 | 1 << 7;
    if south == South::Ich9 {
        flags |= 1 << 10 | 1 << 15;
        put(109, &2_u16.to_le_bytes());
        put(116, &address(8, 0xcf9));
        put(128, &[0x0f]);
        put(140, &u64::from(dsdt).to_le_bytes());
        for (at, bits, port) in [
            (148, 32, PM),
            (172, 16, PM + 4),
            (208, 32, PM + 8),
            (220, 128, gpe),
        ] {
            put(at, &address(bits, port));
        }
    }
    put(112, &flags.to_le_bytes());
    let revision = if south == South::Ich9 { 3 } else { 1 };
    let start = small(builder.tables.len());
    builder.listed(*b"FACP", revision, &t[HEADER..]);
    builder.pointer(start + 36, 4);
    builder.pointer(start + 40, 4);
    if south == South::Ich9 {
        builder.pointer(start + 140, 8);
    }
}

/// Interrupt controllers; `levels` are inputs that PCI's wires share with the ISA bus.
fn madt(cpus: u32, levels: &[u8]) -> Vec<u8> {
    let mut body = 0xfee0_0000_u32.to_le_bytes().to_vec();
    body.extend(1_u32.to_le_bytes());
    for n in 0..cpus {
        match u8::try_from(n) {
            Ok(id) if id != 0xff => body.extend([0, 8, id, id, 1, 0, 0, 0]),
            _ => {
                body.extend([9, 16, 0, 0]);
                body.extend(n.to_le_bytes());
                body.extend(1_u32.to_le_bytes());
                body.extend(n.to_le_bytes());
            }
        }
    }
    body.extend([1, 12, 0, 0]);
    body.extend(0xfec0_0000_u32.to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    // The timer is at input 2; PCI's interrupts are high while asked for.
    body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    for irq in levels {
        body.extend([2, 10, 0, *irq, *irq, 0, 0, 0, 0x0d, 0]);
    }
    body.extend([4, 6, 0xff, 0, 0, 1]);
    body
}

fn hpet() -> Vec<u8> {
    let mut body = 0x8086_a201_u32.to_le_bytes().to_vec();
    body.extend([0, 0, 0, 0]);
    body.extend(0xfed0_0000_u64.to_le_bytes());
    body.extend([0; 4]);
    body
}

/// Intel VT-d, chapter 8: one unit for the whole bus, and what the I/O APIC is called there.
fn dmar(iommu: &Iommu) -> Vec<u8> {
    let mut body = vec![iommu.address_bits - 1, u8::from(iommu.interrupts)];
    body.extend([0; 10]);
    let scope = [3, 8, 0, 0, 0, 0xff, 0, 0];
    body.extend([0, 0]);
    body.extend(24_u16.to_le_bytes());
    body.extend([1, 0, 0, 0]);
    body.extend(iommu.base.to_le_bytes());
    body.extend(scope);
    body
}

fn mcfg(base: u32, size: u32) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend(u64::from(base).to_le_bytes());
    let last = u8::try_from((size >> 20).saturating_sub(1)).unwrap_or(u8::MAX);
    body.extend([0, 0, 0, last, 0, 0, 0, 0]);
    body
}
