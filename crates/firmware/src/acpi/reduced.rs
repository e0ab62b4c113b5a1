//! Tables of a machine without fixed ACPI hardware (ACPI 6.5, section 4.1): events come through the generic event
//! device, disks are virtio slots in memory.

use super::aml::{self, Term};
use super::dsdt::{fw_cfg, isa, processor};
use super::{Blobs, Builder, HEADER, finish, madt, small};

/// What the tables say about the board.
#[derive(Debug, Clone)]
pub struct ReducedPlatform {
    /// Processors; their APIC ids are their numbers.
    pub cpus: u32,
    /// Serial ports and their interrupts.
    pub serial_ports: Vec<(u16, u8)>,
    /// The generic event device's events and registers, and its interrupt.
    pub events: (u32, u32, u32),
    /// virtio slots that are in use: number, address, interrupt.
    pub slots: Vec<(u8, u32, u32)>,
}

/// Bytes of a virtio slot.
const SLOT: u32 = 512;
/// Type of the sleep that is power-off, and the value that resets.
const OFF: u64 = 5;
const RESET: u8 = 0x42;
/// Length of the fixed table, revision 5.
const FIXED: usize = 268;

/// All tables of a board.
pub fn reduced_tables(platform: &ReducedPlatform) -> Blobs {
    let mut builder = Builder::new();
    let dsdt = builder.table(*b"DSDT", 2, &dsdt(platform));
    fixed(&mut builder, platform.events.1, dsdt);
    builder.listed(*b"APIC", 3, &madt(platform.cpus, &[]));
    finish(builder)
}

fn dsdt(platform: &ReducedPlatform) -> Term {
    let mut devices = vec![
        fw_cfg(),
        isa("RTC", "PNP0B00", 0, &[aml::io(0x70, 8), aml::irq(8)]),
    ];
    for (n, (port, irq)) in (1_u8..).zip(&platform.serial_ports) {
        let resources = [aml::io(*port, 8), aml::irq(*irq)];
        devices.push(isa(&format!("COM{n}"), "PNP0501", n, &resources));
    }
    devices.extend((0..platform.cpus).map(processor));
    devices.push(event_device(platform.events));
    devices.push(aml::device(
        "PWRB",
        &[
            aml::name("_HID", &aml::eisa_id("PNP0C0C")),
            aml::name("_UID", &aml::integer(0)),
        ],
    ));
    for (n, base, gsi) in &platform.slots {
        let resources = [aml::memory(*base, SLOT), aml::interrupt(*gsi, false)];
        devices.push(aml::device(
            &format!("VR{n:02X}"),
            &[
                aml::name("_HID", &aml::string("LNRO0005")),
                aml::name("_UID", &aml::integer(u64::from(*n))),
                aml::name("_CCA", &aml::integer(1)),
                aml::name("_CRS", &aml::resources(&resources)),
            ],
        ));
    }
    let off = [OFF, 0, 0, 0].map(aml::integer);
    aml::all(&[
        aml::scope("\\_SB", &devices),
        aml::name("\\_S5", &aml::package(&off)),
    ])
}

/// Reads what happened, and passes the button on to its device.
fn event_device((events, _, gsi): (u32, u32, u32)) -> Term {
    const BUTTON: u64 = 2;
    let button = aml::equal(
        &aml::and(&aml::local0(), &aml::integer(BUTTON)),
        &aml::integer(BUTTON),
    );
    let tell = aml::notify("PWRB", &aml::integer(0x80));
    aml::device(
        "GED",
        &[
            aml::name("_HID", &aml::string("ACPI0013")),
            aml::name("_UID", &aml::string("GED")),
            aml::name("_CRS", &aml::resources(&[aml::interrupt(gsi, true)])),
            aml::memory_region("EREG", events, 4),
            aml::double_word_field("EREG", "ESEL"),
            aml::serialized_method(
                "_EVT",
                1,
                &[
                    aml::store(&aml::name_string("ESEL"), &aml::local0()),
                    aml::when(&button, &[tell]),
                ],
            ),
        ],
    )
}

/// A generic address in memory, eight bits wide.
fn register(at: u32) -> Vec<u8> {
    let mut raw = vec![0, 8, 0, 1];
    raw.extend(u64::from(at).to_le_bytes());
    raw
}

fn fixed(builder: &mut Builder, registers: u32, dsdt: u32) {
    let mut t = [0_u8; FIXED];
    let mut put = |at: usize, bytes: &[u8]| t[at..at + bytes.len()].copy_from_slice(bytes);
    put(40, &dsdt.to_le_bytes());
    // No fixed hardware; there is a reset register.
    put(112, &(1_u32 << 20 | 1 << 10).to_le_bytes());
    put(116, &register(registers + 2));
    put(128, &[RESET]);
    put(140, &u64::from(dsdt).to_le_bytes());
    put(244, &register(registers));
    put(256, &register(registers + 1));
    let start = small(builder.tables.len());
    builder.listed(*b"FACP", 5, &t[HEADER..]);
    builder.pointer(start + 40, 4);
    builder.pointer(start + 140, 8);
}
