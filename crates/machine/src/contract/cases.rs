//! The list of cases: each device in a state that is worth saving.

use hw_core::HostEvent;

use super::Case;
use super::Step::{Config, Event, In, Out, Pass, Read, Receive, Write};

/// Where windows of memory are put, and the command register that opens them.
const WINDOW: u64 = 0xfe00_0000;
const ALL_ON: u64 = 7;
/// Place of the rings that a driver sets up.
const RINGS: u64 = 0x1_0000;
/// First port of the AHCI controller in its window.
const PORT: u64 = WINDOW + 0x100;
/// First slot of microvm.
const SLOT: u64 = 0xfeb0_0000;
const HPET: u64 = 0xfed0_0000;
/// Registers of the I/O memory management unit.
const UNIT: u64 = 0xfed9_0000;

/// A case without anything that a reset keeps.
const fn on(board: &'static str, device: &'static str, steps: &'static [super::Step]) -> Case {
    Case {
        device,
        board,
        steps,
        kept: &[],
    }
}

/// The cases; every device has one at least.
pub const CASES: &[Case] = &[
    on("pc", "interrupts", INTERRUPTS),
    on("q35", "pci", &[Out(0xcf8, 4, 0x8000_f844)]),
    on("pc", "isa-pit", PIT),
    Case {
        // A battery keeps the clock and its memory.
        kept: &["memory", "phase", "seen", "epoch"],
        ..on("pc", "mc146818rtc", RTC)
    },
    on("pc", "i8042", KEYBOARD),
    on("q35", "port92", &[Out(0x92, 1, 2)]),
    on("pc", "i8257", DMA),
    on("pc", "isa-serial", SERIAL),
    on("pc", "isa-debugcon", &[]),
    on("q35", "hpet", HPET_STEPS),
    on("q35", "fw_cfg", FW_CFG),
    Case {
        // Kept for the way back from sleep.
        kept: &["shadow"],
        ..on("pc", "i440FX", &[Config("i440FX", 0x59, 4, 0x3322_3310)])
    },
    on("pc", "PIIX3", PIIX3),
    on("pc", "PIIX4_PM", PIIX4),
    on("pc", "VGA", VGA),
    on("pc", "piix3-ide", IDE),
    on("pc", "piix3-ide", CD),
    on("pc", "isa-debug-exit", &[]),
    on(
        "pc",
        "pc-testdev",
        &[
            Out(0xe0, 4, 0x1234),
            Out(0x2005, 1, 1),
            Write(0xff00_0010, 4, 77),
        ],
    ),
    on("pc", "pci-testdev", PCI_TEST),
    on("pc", "edu", EDU),
    on("q35", "intel-iommu", IOMMU),
    on("pc", "pvpanic", &[]),
    on("pc", "virtio-rng-pci", VIRTIO_RNG),
    on("q35", "virtio-net-pci", VIRTIO_NET),
    on("pc", "virtio-blk-pci", VIRTIO_BLK),
    Case {
        kept: &["shadow"],
        ..on("q35", "mch", MCH)
    },
    on("q35", "ICH9-LPC", ICH9),
    on("q35", "ich9-ahci", AHCI),
    on(
        "q35",
        "cfi.pflash01",
        &[Write(0xffff_0000, 1, 0x90), Write(0xffff_0000, 1, 0xe8)],
    ),
    on("microvm", "virtio-mmio", VIRTIO_MMIO),
    on("microvm", "acpi-ged", &[Event(HostEvent::PowerButton)]),
    on("microvm", "isa-bios", &[]),
];

/// Both PICs set up, an input masked and one waiting; an I/O APIC entry; a local timer at work.
const INTERRUPTS: &[super::Step] = &[
    Out(0x20, 1, 0x11),
    Out(0x21, 1, 8),
    Out(0x21, 1, 4),
    Out(0x21, 1, 1),
    Out(0x21, 1, 0xfa),
    Out(0xa0, 1, 0x11),
    Out(0xa1, 1, 0x70),
    Out(0xa1, 1, 2),
    Out(0xa1, 1, 1),
    Out(0xa1, 1, 0xff),
    Out(0x4d0, 1, 0x20),
    Write(0xfec0_0000, 4, 0x14),
    Write(0xfec0_0010, 4, 0x0001_0031),
    Write(0xfee0_00f0, 4, 0x1ff),
    Write(0xfee0_0320, 4, 0x2_0040),
    Write(0xfee0_03e0, 4, 0xb),
    Write(0xfee0_0380, 4, 0x1_0000),
    Write(0xfee0_0080, 4, 0x20),
    Pass(10_000),
    Write(0xfee0_0310, 4, 0x0100_0000),
    Write(0xfee0_0300, 4, 0x0000_4055),
];

/// A rate generator, a one-shot, and a latched count half read; the speaker's gate.
const PIT: &[super::Step] = &[
    Out(0x43, 1, 0x34),
    Out(0x40, 1, 0x9c),
    Out(0x40, 1, 0x2e),
    Out(0x43, 1, 0xb0),
    Out(0x42, 1, 0xff),
    Out(0x42, 1, 0x10),
    Out(0x61, 1, 1),
    Pass(123_456),
    Out(0x43, 1, 0x80),
    In(0x42, 1),
    Out(0x43, 1, 0xc2),
];

/// A date, an alarm, the periodic interrupt at 1024 Hz, and one of its causes not yet read.
const RTC: &[super::Step] = &[
    Out(0x70, 1, 0x0a),
    Out(0x71, 1, 0x26),
    Out(0x70, 1, 0x01),
    Out(0x71, 1, 0x30),
    Out(0x70, 1, 0x03),
    Out(0x71, 1, 0xff),
    Out(0x70, 1, 0x05),
    Out(0x71, 1, 0xff),
    Out(0x70, 1, 0x0b),
    Out(0x71, 1, 0x62),
    Out(0x70, 1, 0x50),
    Out(0x71, 1, 0xa5),
    Pass(1_500_000),
    Out(0x70, 1, 0x0c),
];

/// Both ports on with interrupts; keys, a movement and half a command wait.
const KEYBOARD: &[super::Step] = &[
    Out(0x64, 1, 0x60),
    Out(0x60, 1, 0x47),
    Out(0x64, 1, 0xa8),
    Out(0x64, 1, 0xd4),
    Out(0x60, 1, 0xf4),
    In(0x60, 1),
    Out(0x60, 1, 0xf3),
    In(0x60, 1),
    Out(0x60, 1, 0x20),
    In(0x60, 1),
    Event(HostEvent::Key(0x1e, true)),
    Event(HostEvent::Key(0x9c, true)),
    Event(HostEvent::MouseButtons(1)),
    Event(HostEvent::MouseMove(5, -9, 1)),
    Out(0x60, 1, 0xed),
];

/// Channel 2 with address, count and page; half of the next address.
const DMA: &[super::Step] = &[
    Out(0x0c, 1, 0),
    Out(0x04, 1, 0x34),
    Out(0x04, 1, 0x12),
    Out(0x81, 1, 0xab),
    Out(0x0b, 1, 0x46),
    Out(0x0a, 1, 2),
    Out(0x05, 1, 0xff),
    Out(0xd4, 1, 1),
];

/// Divisor, FIFO with bytes that wait, interrupts, loop back.
const SERIAL: &[super::Step] = &[
    Out(0x3fb, 1, 0x83),
    Out(0x3f8, 1, 0x0c),
    Out(0x3f9, 1, 0),
    Out(0x3fb, 1, 0x03),
    Out(0x3fa, 1, 0x87),
    Out(0x3f9, 1, 0x0f),
    Out(0x3fc, 1, 0x0b),
    Out(0x3ff, 1, 0x5a),
    Receive("isa-serial", b"typed"),
    In(0x3f8, 1),
    Pass(1_000_000),
    Out(0x3fc, 1, 0x1b),
    Out(0x3f8, 1, 0x41),
];

/// Running, a periodic timer in legacy mode and a one-shot with a level that is high.
const HPET_STEPS: &[super::Step] = &[
    Write(HPET + 0x100, 8, 0x4c),
    Write(HPET + 0x108, 8, 100_000),
    Write(HPET + 0x108, 8, 50_000),
    Write(HPET + 0x120, 8, 0x0000_1206),
    Write(HPET + 0x128, 8, 1000),
    Write(HPET + 0x10, 8, 3),
    Pass(4_000_000),
];

const FW_CFG: &[super::Step] = &[
    Out(0x510, 2, 0x19),
    In(0x511, 1),
    In(0x511, 1),
    In(0x511, 1),
    Out(0x514, 4, 0x0100_0000),
];

const PIIX3: &[super::Step] = &[
    Config("PIIX3", 0x60, 4, 0x0b0a_0980),
    Config("PIIX3", 0x69, 1, 2),
    Out(0xcf9, 1, 2),
];

/// Ports of power management, the timer's overflow and the button, SMBus.
const PIIX4: &[super::Step] = &[
    Config("PIIX4_PM", 0x40, 4, 0xb001),
    Config("PIIX4_PM", 0x80, 1, 1),
    Config("PIIX4_PM", 0x90, 4, 0xb101),
    Config("PIIX4_PM", 0xd2, 1, 9),
    Out(0xb002, 2, 0x121),
    Out(0xb004, 2, 1),
    Event(HostEvent::PowerButton),
    Pass(2_500_000_000),
    Out(0xb104, 1, 0xa1),
    Out(0xb102, 1, 0x48),
    Out(0xb2, 1, 0x55),
];

/// A mode of the Bochs interface, a palette half written, registers of each group.
const VGA: &[super::Step] = &[
    Config("VGA", 0x10, 4, 0xfd00_0000),
    Config("VGA", 0x18, 4, 0xfeb8_0000),
    Config("VGA", 4, 2, ALL_ON),
    Out(0x3c2, 1, 0x67),
    Out(0x3c4, 2, 0x0f02),
    Out(0x3ce, 2, 0x0506),
    Out(0x3d4, 2, 0x5f00),
    Out(0x3c8, 1, 5),
    Out(0x3c9, 1, 0x3f),
    Out(0x3c9, 1, 0x11),
    Out(0x1ce, 2, 1),
    Out(0x1cf, 2, 640),
    Out(0x1ce, 2, 3),
    Out(0x1cf, 2, 32),
    Out(0x1ce, 2, 4),
    Out(0x1cf, 2, 0x41),
    In(0x3da, 1),
    Out(0x3c0, 1, 0x10),
];

/// A read over the data port, half way; the second channel's drive selected.
const IDE: &[super::Step] = &[
    Config("piix3-ide", 0x20, 4, 0xc041),
    Config("piix3-ide", 4, 2, ALL_ON),
    Out(0x1f2, 1, 3),
    Out(0x1f3, 1, 7),
    Out(0x1f4, 1, 0),
    Out(0x1f5, 1, 0),
    Out(0x1f6, 1, 0xe0),
    Out(0x1f7, 1, 0x20),
    In(0x1f7, 1),
    In(0x1f0, 2),
    In(0x1f0, 4),
    Out(0xc044, 4, 0x2_0000),
    Out(0xc040, 1, 8),
    Out(0x376, 1, 2),
];

/// A packet half given, and a read by DMA that waits for its bus master.
const CD: &[super::Step] = &[
    Config("piix3-ide", 0x20, 4, 0xc041),
    Config("piix3-ide", 4, 2, ALL_ON),
    Out(0x176, 1, 0xa0),
    Out(0x174, 1, 0),
    Out(0x175, 1, 8),
    Out(0x177, 1, 0xa0),
    Out(0x170, 2, 0x0028),
    Out(0x170, 2, 0),
    Out(0x1f2, 1, 1),
    Out(0x1f3, 1, 1),
    Out(0x1f6, 1, 0xe0),
    Out(0x1f7, 1, 0xc8),
];

const PCI_TEST: &[super::Step] = &[
    Config("pci-testdev", 0x10, 4, WINDOW),
    Config("pci-testdev", 0x14, 4, 0xc101),
    Config("pci-testdev", 4, 2, ALL_ON),
    Write(WINDOW, 1, 1),
    Write(WINDOW + 0x80, 1, 0xfa),
    Out(0xc100, 1, 2),
];

const EDU: &[super::Step] = &[
    Config("edu", 0x10, 4, WINDOW),
    Config("edu", 4, 2, ALL_ON),
    Write(WINDOW + 4, 4, 7),
    Write(WINDOW + 8, 4, 5),
    Write(WINDOW + 0x20, 4, 0x80),
    Write(WINDOW + 0x80, 8, RINGS),
    Write(WINDOW + 0x88, 8, 0x4_0000),
    Write(WINDOW + 0x90, 8, 4),
    Write(WINDOW + 0x98, 8, 5),
];

const IOMMU: &[super::Step] = &[
    Write(UNIT + 0x20, 4, RINGS),
    Write(UNIT + 0xb8, 4, RINGS),
    Write(UNIT + 0x90, 4, RINGS),
    Write(UNIT + 0x28, 4, 0x1234),
    Write(UNIT + 0x2c, 4, 1 << 31 | 1 << 29),
    Write(UNIT + 0x3c, 4, 0x51),
    Write(UNIT + 0x40, 4, 0xfee0_0000),
    Write(UNIT + 0x18, 4, 1 << 30 | 1 << 24 | 1 << 26),
    // A descriptor that makes no sense.
    Write(UNIT + 0x88, 4, 0x20),
];

/// A driver's way to a running device, its rings at [`RINGS`]; `start` the registers.
macro_rules! started {
    ($device:literal, $queue:expr; $($more:expr),*) => {
        &[
            Config($device, 0x20, 4, WINDOW), Config($device, 0x24, 4, 0), Config($device, 0x14, 4, WINDOW + 0x10_0000),
            Config($device, 4, 2, ALL_ON),
            Write(WINDOW + 20, 1, 3),
            Write(WINDOW + 8, 4, 1), Write(WINDOW + 12, 4, 1), Write(WINDOW + 8, 4, 0), Write(WINDOW + 12, 4, 0xffff_ffff),
            Write(WINDOW + 20, 1, 11),
            Write(WINDOW + 22, 2, $queue), Write(WINDOW + 24, 2, 8),
            Write(WINDOW + 32, 8, RINGS), Write(WINDOW + 40, 8, RINGS + 0x1000), Write(WINDOW + 48, 8, RINGS + 0x2000),
            Write(WINDOW + 28, 2, 1), Write(WINDOW + 20, 1, 15),
            // One descriptor that the device may write: 64 bytes; available.
            Write(RINGS, 8, RINGS + 0x8000), Write(RINGS + 8, 8, 0x0002_0000_0040),
            Write(RINGS + 0x1002, 2, 1)
            $(, $more)*
        ]
    };
}

/// A request answered, its interrupt not yet seen.
const VIRTIO_RNG: &[super::Step] = started!("virtio-rng-pci", 0;);

/// A buffer given; MSI-X on with a masked vector.
const VIRTIO_NET: &[super::Step] = started!("virtio-net-pci", 0;
    Config("virtio-net-pci", 0x9a, 2, 0x8000), Write(WINDOW + 26, 2, 1),
    Write(WINDOW + 0x10_0010, 8, 0xfee0_0000), Write(WINDOW + 0x10_0018, 4, 0x55),
    Write(WINDOW + 0x3000, 2, 0)
);

/// A request without a header is answered by an error; the interrupt waits.
const VIRTIO_BLK: &[super::Step] = started!("virtio-blk-pci", 0;
    Write(WINDOW + 0x3000, 2, 0), Write(WINDOW + 0x2020, 1, 0), Config("virtio-blk-pci", 0x3c, 1, 11)
);

const MCH: &[super::Step] = &[
    Config("mch", 0x60, 4, 0xb000_0001),
    Config("mch", 0x90, 4, 0x3322_3310),
    Config("mch", 0x9d, 1, 0x4a),
];

/// Power management, routed wires, the watchdog at work.
const ICH9: &[super::Step] = &[
    Config("ICH9-LPC", 0x40, 4, 0x601),
    Config("ICH9-LPC", 0x44, 1, 0x80),
    Config("ICH9-LPC", 0x60, 4, 0x8a0b),
    Config("ICH9-LPC", 0xf0, 4, 0xfed1_c001),
    Out(0x602, 2, 0x121),
    Out(0x604, 2, 1),
    Event(HostEvent::PowerButton),
    Out(0x66a, 2, 8),
    Out(0x668, 2, 0),
    Out(0xb2, 1, 0x33),
    Pass(900_000_000),
];

/// A port that runs, with a command that asks for a sector; another in an error; index and data.
const AHCI: &[super::Step] = &[
    Config("ich9-ahci", 0x24, 4, WINDOW),
    Config("ich9-ahci", 0x20, 4, 0xc061),
    Config("ich9-ahci", 4, 2, ALL_ON),
    Write(WINDOW + 4, 4, 0x8000_0002),
    Write(PORT, 4, RINGS),
    Write(PORT + 8, 4, RINGS + 0x400),
    Write(PORT + 0x14, 4, 0xffff_ffff),
    Write(PORT + 0x18, 4, 0x11),
    Write(RINGS, 8, 0x1_0005),
    Write(RINGS + 8, 8, RINGS + 0x1000),
    Write(RINGS + 0x1000, 8, 0x0000_0001_00ec_8027),
    Write(RINGS + 0x1080, 8, RINGS + 0x2000),
    Write(RINGS + 0x108c, 4, 511),
    Write(PORT + 0x38, 4, 1),
    Write(PORT + 0x100, 4, 0xfffff000),
    Write(PORT + 0x118, 4, 1),
    Write(PORT + 0x138, 4, 4),
    Out(0xc070, 4, 0x118),
];

const VIRTIO_MMIO: &[super::Step] = &[
    Write(SLOT + 0x70, 4, 3),
    Write(SLOT + 0x24, 4, 1),
    Write(SLOT + 0x20, 4, 1),
    Write(SLOT + 0x24, 4, 0),
    Write(SLOT + 0x20, 4, 0xffff_ffff),
    Write(SLOT + 0x70, 4, 11),
    Write(SLOT + 0x38, 4, 8),
    Write(SLOT + 0x80, 4, RINGS),
    Write(SLOT + 0x90, 4, RINGS + 0x1000),
    Write(SLOT + 0xa0, 4, RINGS + 0x2000),
    Write(SLOT + 0x44, 4, 1),
    Write(SLOT + 0x70, 4, 15),
    Write(RINGS, 8, RINGS + 0x8000),
    Write(RINGS + 8, 8, 0x0002_0000_0040),
    Write(RINGS + 0x1002, 2, 1),
    Write(SLOT + 0x50, 4, 0),
    Read(SLOT + 0x60, 4),
];
