//! What the options asked for, before anything is built.

use std::path::PathBuf;

use block::core::CacheMode;
use machine::device::DeviceOption;
use net_backends::socket::Spec;
use qapi::{Error, Result};

/// What happens when the guest resets, powers off or crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions {
    /// A reset ends the program instead.
    pub no_reboot: bool,
    /// A power-off stops the machine instead of ending the program.
    pub no_shutdown: bool,
    /// What a crash does.
    pub panic: PanicAction,
}

/// What a crash of the guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanicAction {
    /// Stops the machine.
    Pause,
    /// Ends the program, with exit code 0.
    Shutdown,
    /// Ends the program, with exit code 1.
    ExitFailure,
    /// Nothing.
    None,
}

/// `-chardev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CharRequest {
    /// The option as it was given, for messages.
    pub text: String,
    /// Its id.
    pub id: String,
    /// The backend.
    pub spec: char_backends::Spec,
}

/// `-monitor`, `-qmp`, `-qmp-pretty` and `-mon`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorRequest {
    /// The option as it was given, for messages.
    pub text: String,
    /// A backend's text, or with `chardev:` the id of one.
    pub backend: String,
    /// The language.
    pub mode: MonitorMode,
}

/// What a monitor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MonitorMode {
    /// To people.
    Readline,
    /// QMP.
    Control {
        /// Answers are spread over lines.
        pretty: bool,
    },
}

/// `-smp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Smp {
    /// Processors at start.
    pub cpus: Option<u32>,
    /// Processors at most.
    pub max: Option<u32>,
    /// Sockets.
    pub sockets: Option<u32>,
    /// Cores of a socket.
    pub cores: Option<u32>,
    /// Threads of a core.
    pub threads: Option<u32>,
}

/// An accelerator to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccelRequest {
    /// Its name, of which nothing is known yet.
    pub name: String,
    /// The `-accel` option as it was given, for messages.
    pub option: Option<String>,
}

impl AccelRequest {
    /// One that `-M accel=` names.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            option: None,
        }
    }
}

/// Which controller a drive is attached to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interface {
    /// The board's IDE controller.
    #[default]
    Ide,
    /// A virtio disk of its own.
    Virtio,
    /// Flash that holds firmware.
    Pflash,
    /// None: opened, and left for `-device`.
    None,
}

impl Interface {
    /// By its name.
    ///
    /// # Errors
    /// In QEMU's words; an interface that is not there yet.
    pub fn named(text: &str) -> Result<Self> {
        match text {
            "ide" => Ok(Self::Ide),
            "virtio" => Ok(Self::Virtio),
            "pflash" => Ok(Self::Pflash),
            "none" => Ok(Self::None),
            "scsi" | "floppy" | "mtd" | "sd" | "xen" | "sata" => {
                Err(Error::new(format!("if={text} is not supported yet")))
            }
            other => Err(Error::new(format!("unsupported bus type '{other}'"))),
        }
    }
}

/// `-drive` and its short forms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriveRequest {
    /// The option as it was given, for messages.
    pub text: String,
    /// The file.
    pub file: Option<String>,
    /// Its format, if it is not to be guessed.
    pub format: Option<String>,
    /// Options of the block layer, in order.
    pub driver_options: Vec<(String, String)>,
    /// The controller.
    pub interface: Interface,
    /// Place on it, counted over buses.
    pub index: Option<u32>,
    /// Its bus.
    pub bus: Option<u32>,
    /// Its place on the bus.
    pub unit: Option<u32>,
    /// A CD.
    pub cd: bool,
    /// By which `-device` finds it.
    pub id: Option<String>,
    /// Writes are refused.
    pub read_only: Option<bool>,
    /// Writes go to a temporary file.
    pub snapshot: Option<bool>,
    /// How the host's cache is used.
    pub cache: CacheMode,
    /// Discarded space goes back to the host.
    pub unmap: bool,
    /// Serial number.
    pub serial: String,
    /// What is read from backing files is kept.
    pub copy_on_read: bool,
}

/// `-option-rom`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionRom {
    /// The file, perhaps one of the firmware's folder.
    pub file: String,
    /// Its place in the order of starting.
    pub boot_index: Option<u32>,
}

/// `-netdev`, or what `-nic` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRequest {
    /// The option as it was given, for messages.
    pub text: String,
    /// By which a card finds it.
    pub id: String,
    /// What to open.
    pub spec: Spec,
}

/// Devices that are a drive of a `-drive` with `if=none`.
pub(crate) const DRIVE_DEVICES: [&str; 4] =
    ["virtio-blk-pci", "virtio-blk-device", "ide-hd", "ide-cd"];
/// Devices that are a front of a character device.
pub(crate) const CHAR_DEVICES: [&str; 2] = ["isa-serial", "isa-debugcon"];

impl Plan {
    fn devices_of(&self, names: &'static [&'static str]) -> impl Iterator<Item = &DeviceOption> {
        let all = self.devices.iter();
        all.filter(move |device| names.contains(&device.driver.as_str()))
    }

    /// `-device` options that are drives.
    pub fn drive_devices(&self) -> impl Iterator<Item = &DeviceOption> {
        self.devices_of(&DRIVE_DEVICES)
    }

    /// `-device` options that are fronts of character devices.
    pub fn char_devices(&self) -> impl Iterator<Item = &DeviceOption> {
        self.devices_of(&CHAR_DEVICES)
    }

    /// The other ones.
    pub fn other_devices(&self) -> Vec<DeviceOption> {
        let all = self.devices.iter();
        all.filter(|device| {
            let driver = device.driver.as_str();
            !DRIVE_DEVICES.contains(&driver) && !CHAR_DEVICES.contains(&driver)
        })
        .cloned()
        .collect()
    }

    /// Ids of the virtio disks in the order in which they are made.
    pub fn virtio_ids(&self) -> Vec<String> {
        let drives = self.drives.iter();
        let drives = drives.filter(|drive| drive.interface == Interface::Virtio);
        let devices = self.drive_devices();
        let devices = devices.filter(|device| device.driver.starts_with("virtio"));
        let ids = devices.map(|device| device.properties.get("id").cloned().unwrap_or_default());
        drives.map(|_| String::new()).chain(ids).collect()
    }
}

impl DriveRequest {
    /// What the block layer is to open: a name, or an option string (true).
    pub fn layer(&self) -> Option<(String, bool)> {
        if self.driver_options.is_empty() {
            return self.file.clone().map(|name| (name, false));
        }
        let escaped = |text: &str| text.replace(',', ",,");
        let mut options: Vec<String> = Vec::new();
        if let Some(format) = &self.format {
            options.push(format!("driver={}", escaped(format)));
        }
        if let Some(file) = &self.file {
            options.push(format!("file.filename={}", escaped(file)));
        }
        let given = self.driver_options.iter();
        options.extend(given.map(|(name, value)| format!("{name}={}", escaped(value))));
        Some((options.join(","), true))
    }
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `-M`: the type.
    pub machine: String,
    /// `-M`: an HPET is wanted.
    pub hpet: bool,
    /// `-global virtio-mmio.force-legacy=`.
    pub legacy_mmio: bool,
    /// `-M graphics=`.
    pub graphics: bool,
    /// `-m` in bytes.
    pub ram: u64,
    /// `-smp`.
    pub smp: Smp,
    /// `-M accel=`: names with colons between; `-enable-kvm` is one of them.
    pub machine_accels: Option<String>,
    /// `-accel`, in the order to be tried; empty for the default.
    pub accels: Vec<AccelRequest>,
    /// `-cpu`.
    pub cpu: Option<String>,
    /// Processors have no long mode.
    pub only_32_bits: bool,
    /// `-kernel`.
    pub kernel: Option<String>,
    /// `-initrd`.
    pub initrd: Option<String>,
    /// `-append`.
    pub append: Option<String>,
    /// `-bios`.
    pub bios: Option<String>,
    /// `-L`, in order.
    pub firmware_dirs: Vec<PathBuf>,
    /// `-nographic`.
    pub nographic: bool,
    /// `-nodefaults`.
    pub nodefaults: bool,
    /// `-chardev`, in order.
    pub chardevs: Vec<CharRequest>,
    /// `-serial`, in order.
    pub serial: Vec<String>,
    /// `-monitor`, `-qmp`, `-mon`, in order.
    pub monitors: Vec<MonitorRequest>,
    /// `-qtest`: where tests drive the devices.
    pub qtest: Option<String>,
    /// `-qtest-log`.
    pub qtest_log: Option<String>,
    /// `-debugcon`, in order.
    pub debugcon: Vec<String>,
    /// `-echr`: what the keys of multiplexers are behind.
    pub escape: u8,
    /// `-object`, in order.
    pub objects: Vec<String>,
    /// `-blockdev`, in order.
    pub blockdevs: Vec<String>,
    /// `-M memory-backend=`.
    pub memory_backend: Option<String>,
    /// `-global`: driver, property, value.
    pub globals: Vec<(String, String, String)>,
    /// `-rtc base=`: seconds since 1970, if not now.
    pub rtc_base: Option<i64>,
    /// `-rtc driftfix=slew`.
    pub rtc_slew: bool,
    /// `-boot strict=`.
    pub boot_strict: bool,
    /// `-daemonize`.
    pub daemonize: bool,
    /// `-vga`.
    pub vga: Option<String>,
    /// `-drive` and its short forms, in order.
    pub drives: Vec<DriveRequest>,
    /// `-snapshot`: writes of all disks go to temporary files.
    pub snapshot: bool,
    /// `-netdev` and `-nic`, in order.
    pub networks: Vec<NetworkRequest>,
    /// `-device`, in order.
    pub devices: Vec<DeviceOption>,
    /// `-boot order=`.
    pub boot_order: String,
    /// `-boot menu=`.
    pub boot_menu: bool,
    /// `-fw_cfg`: name and content.
    pub fw_cfg: Vec<(String, Vec<u8>)>,
    /// `-acpitable`: whole tables.
    pub acpi_tables: Vec<Vec<u8>>,
    /// `-option-rom`, in order.
    pub option_roms: Vec<OptionRom>,
    /// `-smbios`.
    pub smbios: firmware::smbios::Given,
    /// `-no-reboot` and the like.
    pub actions: Actions,
    /// `-S`.
    pub stopped: bool,
    /// `-name`.
    pub name: Option<String>,
    /// `-uuid`.
    pub uuid: Option<[u8; 16]>,
    /// `-pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `-d`.
    pub log: Option<String>,
    /// `-D`.
    pub log_file: Option<PathBuf>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            machine: "pc".to_owned(),
            hpet: true,
            legacy_mmio: false,
            graphics: true,
            ram: 128 << 20,
            smp: Smp::default(),
            machine_accels: None,
            accels: Vec::new(),
            cpu: None,
            only_32_bits: false,
            kernel: None,
            initrd: None,
            append: None,
            bios: None,
            firmware_dirs: Vec::new(),
            nographic: false,
            nodefaults: false,
            chardevs: Vec::new(),
            serial: Vec::new(),
            monitors: Vec::new(),
            qtest: None,
            qtest_log: None,
            debugcon: Vec::new(),
            escape: char_backends::mux::ESCAPE,
            objects: Vec::new(),
            blockdevs: Vec::new(),
            memory_backend: None,
            globals: Vec::new(),
            rtc_base: None,
            rtc_slew: false,
            boot_strict: false,
            daemonize: false,
            vga: None,
            drives: Vec::new(),
            snapshot: false,
            networks: Vec::new(),
            devices: Vec::new(),
            boot_order: "cad".to_owned(),
            boot_menu: false,
            fw_cfg: Vec::new(),
            acpi_tables: Vec::new(),
            option_roms: Vec::new(),
            smbios: firmware::smbios::Given::default(),
            actions: Actions {
                no_reboot: false,
                no_shutdown: false,
                panic: PanicAction::Shutdown,
            },
            stopped: false,
            name: None,
            uuid: None,
            pidfile: None,
            log: None,
            log_file: None,
        }
    }
}
