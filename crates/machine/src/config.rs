//! What a machine is built from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use accel_core::Accel;
use backend_core::Wake;
use backend_core::chars::Sink;
use backend_core::disk::Disk;
use backend_core::net::Network;
use dev_chipset::fw_cfg::Items;
use firmware::kernel::Kernel;
use firmware::smbios;

use crate::board::Board;
use crate::device::{DeviceOption, DiskOptions};
use crate::machine::Machine;

/// A debug console at a port.
pub struct DebugPort {
    /// Where.
    pub port: u16,
    /// Where its bytes go.
    pub sink: Box<dyn Sink>,
}

/// Where a drive is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrivePlace {
    /// A drive of the board's IDE or AHCI controller: channel or port, and the place there.
    Ide(usize, usize),
    /// A virtio disk of its own: a PCI function, or on microvm a slot of memory registers.
    Virtio,
}

/// What makes a disk once it is known how to wake the machine.
pub type MakeDisk = Box<dyn FnOnce(Wake) -> Box<dyn Disk>>;

/// What makes an end of a network once it is known how to wake the machine; the error says why it cannot.
pub type MakeNetwork = Box<dyn FnOnce(Wake) -> std::io::Result<Box<dyn Network>>>;

/// A drive.
pub struct DriveConfig {
    /// Where it is attached.
    pub place: DrivePlace,
    /// What it holds; a CD drive may be empty.
    pub medium: Option<MakeDisk>,
    /// It is a CD drive.
    pub cd: bool,
    /// Its serial number; empty for the usual one.
    pub serial: String,
    /// Its place in the order of starting; the lowest first.
    pub boot_index: Option<u32>,
    /// More about a virtio disk.
    pub virtio: DiskOptions,
}

/// A flash that holds firmware, or its variables.
pub struct FlashConfig {
    /// What it holds.
    pub content: Vec<u8>,
    /// Where what is written goes; a flash without it is read-only.
    pub medium: Option<MakeDisk>,
}

/// A ROM that the firmware is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionRom {
    /// By which the firmware finds it.
    pub name: String,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its place in the order of starting.
    pub boot_index: Option<u32>,
}

/// What to build.
pub struct Config {
    /// The board.
    pub board: &'static Board,
    /// The machine type's full name, as SMBIOS shows it.
    pub machine_type: String,
    /// RAM in bytes.
    pub ram: u64,
    /// Sockets, cores, threads; their product is the number of processors.
    pub topology: (u32, u32, u32),
    /// What runs the processors.
    pub accel: Arc<dyn Accel>,
    /// The firmware's bytes.
    pub firmware: Vec<u8>,
    /// Flash instead of it; the first ends at 4 GiB, each of the others below the one before.
    pub flash: Vec<FlashConfig>,
    /// The VGA adapter's BIOS; without one the board has no adapter.
    pub vga_bios: Option<Vec<u8>>,
    /// A kernel to boot.
    pub kernel: Option<Kernel>,
    /// Serial ports in order; a missing one is not there.
    pub serial: Vec<Option<Box<dyn Sink>>>,
    /// Debug consoles.
    pub debug: Vec<DebugPort>,
    /// Drives.
    pub drives: Vec<DriveConfig>,
    /// Networks by their id, for the devices that name them.
    pub networks: BTreeMap<String, MakeNetwork>,
    /// `-device`.
    pub devices: Vec<DeviceOption>,
    /// UUID.
    pub uuid: Option<[u8; 16]>,
    /// Boot order, letters of a, c, d, n.
    pub boot_order: String,
    /// The boot menu is wanted.
    pub boot_menu: bool,
    /// What is not in the order of starting is never started from.
    pub boot_strict: bool,
    /// No screen: the firmware keeps to the serial port.
    pub no_graphic: bool,
    /// Seconds since 1970 that the clock shows at start.
    pub epoch: i64,
    /// virtio devices in memory have the registers of version 1.
    pub legacy_mmio: bool,
    /// The clock's periodic interrupts are never lost.
    pub clock_catches_up: bool,
    /// There is an HPET.
    pub hpet: bool,
    /// More items for the firmware.
    pub items: Items,
    /// ACPI tables of the user's.
    pub acpi_tables: Vec<Vec<u8>>,
    /// ROMs that the firmware runs before it starts anything.
    pub option_roms: Vec<OptionRom>,
    /// What the SMBIOS tables are to say.
    pub smbios: smbios::Given,
    /// What they say of processors: signature and features, as CPUID has them.
    pub processor_id: (u32, u32),
}

impl Config {
    /// Number of processors.
    pub fn cpus(&self) -> u32 {
        let (sockets, cores, threads) = self.topology;
        sockets.saturating_mul(cores).saturating_mul(threads).max(1)
    }
}

/// A machine, and which of its devices take bytes from backends.
pub struct Built {
    /// The machine.
    pub machine: Machine,
    /// Device numbers of the serial ports, in the order of [`Config::serial`].
    pub serial: Vec<Option<usize>>,
}

/// Why a machine cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildError {
    /// The host gives no memory.
    Memory(String),
    /// The firmware's size is none that can be.
    Firmware,
    /// An item for the firmware has a name that is too long, or there are too many.
    Items,
    /// More processors than the board has room for.
    Cpus(u32),
    /// A `-device` cannot be made; option and reason.
    Device(String, String),
    /// The flash is larger than its window, or no multiple of a block.
    Flash,
    /// A drive cannot be attached; the reason.
    Drive(String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(why) => write!(f, "cannot set up guest memory 'pc.ram': {why}"),
            Self::Firmware => f.write_str("the firmware's size is not a multiple of 64 KiB"),
            Self::Flash => f.write_str(
                "system firmware in flash must be a multiple of 0x1000 bytes, 8388608 together at most",
            ),
            Self::Items => f.write_str("too many fw_cfg files, or a name that is too long"),
            Self::Cpus(most) => write!(f, "The max CPUs supported is {most}"),
            Self::Device(_, why) | Self::Drive(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BuildError {}
