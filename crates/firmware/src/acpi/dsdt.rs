//! The differentiated system description table: devices, PCI interrupt routing, sleep states, processors.

use super::aml::{self, Term, Window};
use super::{Platform, South};

/// Interrupts that firmware gives the four PCI wires at the 8259 pair.
const PIC_ROUTES: [u8; 4] = [10, 10, 11, 11];
/// First I/O APIC input of Q35's PCI wires.
const APIC_WIRES: u8 = 16;

/// The table's body.
pub(super) fn dsdt(platform: &Platform) -> Term {
    let mut all = vec![
        aml::name("\\PICF", &aml::integer(0)),
        aml::method("\\_PIC", 1, &[aml::store_argument("\\PICF")]),
    ];
    for (state, kind) in [("\\_S3", 1), ("\\_S4", 2), ("\\_S5", 0)] {
        let kind = aml::integer(kind);
        let values = [kind.clone(), kind, aml::integer(0), aml::integer(0)];
        all.push(aml::name(state, &aml::package(&values)));
    }
    all.push(aml::scope("\\_SB", &[host_bridge(platform)]));
    all.push(aml::scope("\\_SB.PCI0", &isa_devices(platform)));
    let processors: Vec<Term> = (0..platform.cpus).map(processor).collect();
    all.push(aml::scope("\\_SB", &processors));
    all.push(aml::scope("\\_SB", &board_devices(platform)));
    aml::all(&all)
}

fn host_bridge(platform: &Platform) -> Term {
    let mut windows = vec![
        aml::window(Window::Bus, 0, 0xff),
        aml::io(0xcf8, 8),
        aml::window(Window::Io, 0, 0xcf7),
        aml::window(Window::Io, 0xd00, 0xffff),
        aml::window(Window::Memory, 0xa_0000, 0xb_ffff),
        aml::window(Window::Memory, platform.hole.0, platform.hole.1),
    ];
    if let Some((first, last)) = platform.high_hole {
        windows.push(aml::window(Window::Memory, first, last));
    }
    let mut body = match platform.south {
        South::Piix => vec![aml::name("_HID", &aml::eisa_id("PNP0A03"))],
        South::Ich9 => vec![
            aml::name("_HID", &aml::eisa_id("PNP0A08")),
            aml::name("_CID", &aml::eisa_id("PNP0A03")),
        ],
    };
    body.extend([
        aml::name("_UID", &aml::integer(0)),
        aml::name("_ADR", &aml::integer(0)),
        aml::name("_CRS", &aml::resources(&windows)),
    ]);
    body.extend(routing(platform.south));
    aml::device("PCI0", &body)
}

/// `_PRT`: which global interrupt each pin of each device reaches.
fn routing(south: South) -> Vec<Term> {
    let table = |route: &dyn Fn(u8, u8) -> u8| {
        let mut rows = Vec::new();
        for slot in 0..32_u8 {
            for pin in 0..4_u8 {
                rows.push(aml::package(&[
                    aml::integer(u64::from(slot) << 16 | 0xffff),
                    aml::integer(u64::from(pin)),
                    aml::integer(0),
                    aml::integer(u64::from(route(slot, pin))),
                ]));
            }
        }
        aml::package(&rows)
    };
    let pic = |slot: u8, pin: u8| PIC_ROUTES[usize::from(wire(south, slot, pin) & 3)];
    match south {
        South::Piix => {
            let body = aml::returns(&aml::name_string("PRTP"));
            vec![
                aml::name("PRTP", &table(&pic)),
                aml::method("_PRT", 0, &[body]),
            ]
        }
        South::Ich9 => {
            let apic = |slot, pin| APIC_WIRES + wire(south, slot, pin);
            let mode = aml::name_string("\\PICF");
            vec![
                aml::name("PRTP", &table(&pic)),
                aml::name("PRTA", &table(&apic)),
                aml::method(
                    "_PRT",
                    0,
                    &[
                        aml::when(&mode, &[aml::returns(&aml::name_string("PRTA"))]),
                        aml::returns(&aml::name_string("PRTP")),
                    ],
                ),
            ]
        }
    }
}

/// Which of the board's PCI wires (0 to 7) a pin (0 to 3) of a device drives.
pub fn wire(south: South, slot: u8, pin: u8) -> u8 {
    match south {
        South::Piix => slot.wrapping_add(3).wrapping_add(pin) & 3,
        South::Ich9 if slot < 25 => 4 + (slot.wrapping_add(pin) & 3),
        South::Ich9 => pin & 3,
    }
}

fn isa_devices(platform: &Platform) -> Vec<Term> {
    let slot = match platform.south {
        South::Piix => 1 << 16,
        South::Ich9 => 31 << 16,
    };
    let mut body = vec![
        aml::name("_ADR", &aml::integer(slot)),
        isa("RTC", "PNP0B00", 0, &[aml::io(0x70, 8), aml::irq(8)]),
        isa(
            "KBD",
            "PNP0303",
            0,
            &[aml::io(0x60, 1), aml::io(0x64, 1), aml::irq(1)],
        ),
        isa("MOU", "PNP0F13", 0, &[aml::irq(12)]),
    ];
    for (n, (port, irq)) in (1_u8..).zip(&platform.serial_ports) {
        let resources = [aml::io(*port, 8), aml::irq(*irq)];
        body.push(isa(&format!("COM{n}"), "PNP0501", n, &resources));
    }
    vec![aml::device("ISA", &body)]
}

pub(super) fn isa(name: &str, id: &str, uid: u8, resources: &[Term]) -> Term {
    let mut body = vec![aml::name("_HID", &aml::eisa_id(id))];
    if uid != 0 {
        body.push(aml::name("_UID", &aml::integer(u64::from(uid))));
    }
    body.push(aml::name("_STA", &aml::integer(15)));
    body.push(aml::name("_CRS", &aml::resources(resources)));
    aml::device(name, &body)
}

pub(super) fn processor(number: u32) -> Term {
    let body = [
        aml::name("_HID", &aml::string("ACPI0007")),
        aml::name("_UID", &aml::integer(u64::from(number))),
        aml::name("_STA", &aml::integer(15)),
    ];
    aml::device(&format!("C{number:03X}"), &body)
}

/// Firmware configuration.
pub(super) fn fw_cfg() -> Term {
    let body = [
        aml::name("_HID", &aml::string("QEMU0002")),
        aml::name("_STA", &aml::integer(11)),
        aml::name("_CRS", &aml::resources(&[aml::io(0x510, 12)])),
    ];
    aml::device("FWCF", &body)
}

fn board_devices(platform: &Platform) -> Vec<Term> {
    let mut all = vec![fw_cfg()];
    if platform.hpet {
        let body = [
            aml::name("_HID", &aml::eisa_id("PNP0103")),
            aml::name("_UID", &aml::integer(0)),
            aml::name("_STA", &aml::integer(15)),
            aml::name("_CRS", &aml::resources(&[aml::memory(0xfed0_0000, 0x400)])),
        ];
        all.push(aml::device("HPET", &body));
    }
    if let Some((base, size)) = platform.ecam {
        // The window must be reserved by a motherboard resource (PCI firmware specification 3.2, 4.1.2).
        let body = [
            aml::name("_HID", &aml::eisa_id("PNP0C02")),
            aml::name("_UID", &aml::integer(1)),
            aml::name("_CRS", &aml::resources(&[aml::memory(base, size)])),
        ];
        all.push(aml::device("DRAC", &body));
    }
    if platform.pvpanic {
        let body = [
            aml::name("_HID", &aml::string("QEMU0001")),
            aml::name("_STA", &aml::integer(15)),
            aml::name("_CRS", &aml::resources(&[aml::io(0x505, 1)])),
        ];
        all.push(aml::device("PEVT", &body));
    }
    all
}
