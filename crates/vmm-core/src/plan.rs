//! What the options asked for, before anything is built.

use std::path::PathBuf;

use machine::device::DeviceOption;

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

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `-M`: the type.
    pub machine: String,
    /// `-M`: an HPET is wanted.
    pub hpet: bool,
    /// `-M graphics=`.
    pub graphics: bool,
    /// `-m` in bytes.
    pub ram: u64,
    /// `-smp`.
    pub smp: Smp,
    /// `-accel`, in the order to be tried; empty for the default.
    pub accels: Vec<String>,
    /// `-cpu`.
    pub cpu: Option<String>,
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
    /// `-serial`, in order.
    pub serial: Vec<String>,
    /// `-monitor`, in order.
    pub monitors: Vec<String>,
    /// `-debugcon`, in order.
    pub debugcon: Vec<String>,
    /// `-vga`.
    pub vga: Option<String>,
    /// `-device`, in order.
    pub devices: Vec<DeviceOption>,
    /// `-boot order=`.
    pub boot_order: String,
    /// `-boot menu=`.
    pub boot_menu: bool,
    /// `-fw_cfg`: name and content.
    pub fw_cfg: Vec<(String, Vec<u8>)>,
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
            graphics: true,
            ram: 128 << 20,
            smp: Smp::default(),
            accels: Vec::new(),
            cpu: None,
            kernel: None,
            initrd: None,
            append: None,
            bios: None,
            firmware_dirs: Vec::new(),
            nographic: false,
            nodefaults: false,
            serial: Vec::new(),
            monitors: Vec::new(),
            debugcon: Vec::new(),
            vga: None,
            devices: Vec::new(),
            boot_order: "cad".to_owned(),
            boot_menu: false,
            fw_cfg: Vec::new(),
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
