//! A board with every device on it, and hands to reach all of them.

use std::io;
use std::sync::{Arc, Mutex};

use accel_core::{Accel, Slot, Vcpu};
use backend_core::chars::{Null, Sink};
use backend_core::disk::MemoryDisk;
use backend_core::net::Loose;
use dev_chipset::fw_cfg::Items;
use dev_chipset::wires;
use hw_core::memory::{Backing, Range, look};
use hw_core::{Device, StateError};
use serde_json::Value;

use super::Step;
use crate::board::{self, find_board};
use crate::config::{Config, DebugPort, DriveConfig, DrivePlace, FlashConfig, MakeDisk};
use crate::core::Core;
use crate::device::{DEVICES, DeviceOption, DeviceType, DiskOptions};

/// The boards: together they have every device.
pub const BOARDS: [&str; 3] = ["pc", "q35", "microvm"];

/// RAM of a board.
pub(super) const RAM: u64 = 4 << 20;
/// Bytes of a disk.
const DISK: usize = 1 << 20;
/// Bytes that are read of each range of registers.
const LOOKED_AT: u64 = 0x200;

/// A board; see the head of this file.
pub struct Rig {
    pub(super) core: Core,
    disks: Vec<Arc<Mutex<MemoryDisk>>>,
}

/// An accelerator that has no processors.
struct Idle;

impl Accel for Idle {
    fn name(&self) -> &'static str {
        "none"
    }

    fn processor(&self, _index: u8) -> io::Result<Box<dyn Vcpu>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn map(&self, _slots: &[Slot]) -> io::Result<()> {
        Ok(())
    }
}

/// Makes disks and remembers them.
#[derive(Default)]
struct Disks(Vec<Arc<Mutex<MemoryDisk>>>);

impl Disks {
    fn make(&mut self) -> MakeDisk {
        let mut disk = MemoryDisk::new(DISK);
        for (n, byte) in disk.bytes.iter_mut().enumerate() {
            *byte = n.to_le_bytes()[0] ^ n.to_le_bytes()[1];
        }
        let disk = Arc::new(Mutex::new(disk));
        self.0.push(Arc::clone(&disk));
        Box::new(move |_| Box::new(disk))
    }

    fn drive(&mut self, place: DrivePlace, cd: bool) -> DriveConfig {
        DriveConfig {
            place,
            medium: Some(self.make()),
            cd,
            serial: String::new(),
            boot_index: None,
            virtio: DiskOptions::default(),
        }
    }
}

/// Every device of the list that stands alone and has a place on `board`, each as a user would ask for it with what it
/// cannot do without.
fn devices(board: &str) -> Vec<DeviceOption> {
    let option = |kind: &DeviceType| {
        let properties = kind.properties.iter().copied().flatten();
        let needed = properties.filter(|property| property.name == "netdev");
        DeviceOption {
            text: kind.name.to_owned(),
            driver: kind.name.to_owned(),
            properties: needed
                .map(|property| (property.name.to_owned(), "net0".to_owned()))
                .collect(),
        }
    };
    let kinds = DEVICES.iter().filter(|kind| kind.stands_alone());
    let kinds = kinds.filter(|kind| kind.name != "intel-iommu" || board == "q35");
    kinds.map(option).collect()
}

fn config(name: &str, disks: &mut Disks) -> Config {
    let (board, machine_type) = find_board(name).expect("a board of the list");
    let with_bus = board.controller.is_some();
    let mut drives = vec![disks.drive(DrivePlace::Virtio, false)];
    if let Some(controller) = board.controller {
        drives.push(disks.drive(DrivePlace::Ide(0, 0), false));
        let second = DrivePlace::Ide(controller.buses.min(3) - 1, 0);
        drives.push(disks.drive(second, true));
    }
    let flash = (name == "q35").then(|| FlashConfig {
        content: vec![0xf4; 0x2_0000],
        medium: Some(disks.make()),
    });
    let sink = || Box::new(Null) as Box<dyn Sink>;
    let network: crate::MakeNetwork = Box::new(|_| Ok(Box::new(Loose::default())));
    Config {
        board,
        machine_type,
        ram: RAM,
        topology: (2, 1, 1),
        accel: Arc::new(Idle),
        firmware: vec![0xf4; 0x2_0000],
        flash: flash.into_iter().collect(),
        vga_bios: Some(vec![0x55; 0x8000]),
        kernel: None,
        serial: (0..4).map(|_| Some(sink())).collect(),
        debug: vec![DebugPort {
            port: 0x402,
            sink: sink(),
        }],
        drives,
        networks: [("net0".to_owned(), network)].into_iter().collect(),
        devices: if with_bus { devices(name) } else { Vec::new() },
        uuid: None,
        boot_order: "cad".to_owned(),
        boot_menu: false,
        boot_strict: false,
        no_graphic: true,
        epoch: 1_000_000_000,
        legacy_mmio: false,
        hpet: true,
        items: Items::new(),
        clock_catches_up: false,
        acpi_tables: Vec::new(),
        option_roms: Vec::new(),
        smbios: firmware::smbios::Given::default(),
        processor_id: (0, 0),
    }
}

impl Rig {
    /// A board of [`BOARDS`] after power-on.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn new(name: &str) -> Self {
        let mut disks = Disks::default();
        let mut config = config(name, &mut disks);
        let stage = board::stage(&mut config).expect("a board that can be built");
        let mut rig = Self {
            core: stage.core,
            disks: disks.0,
        };
        rig.reset();
        rig
    }

    /// Names of all devices, functions of the bus included.
    pub fn names(&mut self) -> Vec<String> {
        self.states().into_iter().map(|(name, _)| name).collect()
    }

    /// The saved state of every device; what several of a name have comes in order.
    pub fn states(&self) -> Vec<(String, Value)> {
        let mut states = Vec::new();
        self.core.look_at(|device| {
            if device.name() != "pci" {
                states.push((device.name().to_owned(), device.save()));
                return;
            }
            let mut bus = device.save();
            if let Some(Value::Object(functions)) = bus.get_mut("functions").map(Value::take) {
                for (_, function) in functions {
                    let name = function["name"].as_str().unwrap_or("").to_owned();
                    states.push((name, function));
                }
            }
            states.push(("pci".to_owned(), bus));
        });
        states
    }

    /// The saved state of the first device of a name.
    ///
    /// # Panics
    /// When there is none.
    pub fn state_of(&self, name: &str) -> Value {
        let states = self.states();
        let found = states.into_iter().find(|(of, _)| of == name);
        found.expect("the board has the device").1
    }

    /// Everything that is saved, in the order in which [`Rig::restore`] wants it.
    pub fn save(&self) -> Vec<Value> {
        let mut states = Vec::new();
        self.core.look_at(|device| states.push(device.save()));
        states
    }

    /// Takes over what another board saved. The interrupt controllers come last: levels that the others restore are no
    /// news to them.
    ///
    /// # Errors
    /// A state is not one of its device.
    pub fn restore(&mut self, states: &[Value]) -> Result<(), StateError> {
        let mut result = Ok(());
        let mut rest = states.iter();
        let controllers = rest.next();
        let mut n = 0;
        self.core.each(|device| {
            if n > 0
                && let Some(state) = rest.next()
                && let Err(error) = device.restore(state)
            {
                result = Err(error);
            }
            n += 1;
        });
        self.core.settle();
        if let Some(state) = controllers {
            self.core.interrupts.restore(state)?;
        }
        result
    }

    /// Gives the first device of a name a state.
    ///
    /// # Errors
    /// It does not take it.
    pub fn restore_one(&mut self, name: &str, state: &Value) -> Result<(), StateError> {
        let function = self.core.pci.functions().find(|(_, of, _)| *of == name);
        if let Some((devfn, ..)) = function {
            let mut bus = self.core.pci.save();
            bus["functions"][devfn.to_string()] = state.clone();
            let result = self.core.pci.restore(&bus);
            self.core.settle();
            return result;
        }
        let mut result = Err(StateError("no such device".to_owned()));
        let mut found = false;
        self.core.each(|device| {
            if !found && device.name() == name {
                found = true;
                result = match name {
                    // The functions of the bus are other devices' cases.
                    "pci" => device.restore(&with_functions(state, &device.save())),
                    _ => device.restore(state),
                };
            }
        });
        self.core.settle();
        result
    }

    /// Brings time, memory and disks to what another board has.
    pub fn follow(&mut self, other: &Self) {
        let behind = other.core.clock.now().saturating_sub(self.core.clock.now());
        self.core.clock.advance(behind);
        for (mine, other) in self.disks.iter().zip(&other.disks) {
            let bytes = other.lock().expect("not poisoned").bytes.clone();
            mine.lock().expect("not poisoned").bytes = bytes;
        }
        let mut page = [0; 4096];
        for at in (0..RAM).step_by(page.len()) {
            let from = other.ram(at).read(at, &mut page);
            from.and_then(|()| self.ram(at).write(at, &page))
                .expect("inside");
        }
    }

    /// The block of RAM behind address `at` below [`RAM`].
    fn ram(&self, _at: u64) -> guest_mem::Ram {
        let space = look(&self.core.memory);
        let ranges = space.ranges().iter();
        let mut rams = ranges.filter_map(|range| match &range.backing {
            Backing::Ram { ram, .. } if ram.size() == RAM => Some(ram.clone()),
            _ => None,
        });
        rams.next().expect("a board has RAM")
    }

    /// Takes steps.
    ///
    /// # Panics
    /// When one names a device that is not there.
    pub fn take(&mut self, steps: &[Step]) {
        for step in steps {
            let core = &mut self.core;
            match *step {
                Step::Out(port, bytes, value) => core.port_write(port, bytes, value),
                Step::In(port, bytes) => {
                    core.port_read(port, bytes);
                }
                Step::Write(address, bytes, value) => core.memory_write(0, address, bytes, value),
                Step::Read(address, bytes) => {
                    core.memory_read(0, address, bytes);
                }
                Step::Config(name, offset, bytes, value) => {
                    let found = core.pci.functions().find(|(_, of, _)| *of == name);
                    let devfn = found.expect("the board has the function").0;
                    core.pci.config_write(0, devfn, offset, bytes, value);
                }
                Step::Pass(nanoseconds) => {
                    core.clock.advance(nanoseconds);
                    core.tick();
                }
                Step::Event(event) => core.host_event(event),
                Step::Receive(name, bytes) => core.each(|device| {
                    if device.name() == name {
                        device.receive(bytes);
                    }
                }),
            }
            self.after();
        }
    }

    /// Reads memory or registers as a processor does.
    pub fn peek(&mut self, address: u64, bytes: usize) -> u64 {
        let value = self.core.memory_read(0, address, bytes);
        self.after();
        value
    }

    /// Reads a port.
    pub fn port(&mut self, port: u16, bytes: usize) -> u32 {
        let value = self.core.port_read(port, bytes);
        self.after();
        value
    }

    /// Bytes from the backends of all devices of a name; gives how many were taken.
    pub fn offer(&mut self, name: &str, bytes: &[u8]) -> usize {
        let mut taken = 0;
        self.core.each(|device| {
            if device.name() == name {
                taken += device.receive(bytes);
            }
        });
        taken
    }

    /// Lets disks keep what they are asked for, or do it all.
    ///
    /// # Panics
    /// When a test panicked with a disk.
    pub fn hold_disks(&mut self, held: bool) {
        for disk in &self.disks {
            let mut disk = disk.lock().expect("not poisoned");
            disk.held = held;
            if !held {
                disk.let_go();
            }
        }
    }

    /// What follows every step.
    pub(super) fn after(&mut self) {
        self.core.completed();
        self.core.settle();
        self.core.control.take();
    }

    /// Resets the machine, as its button does.
    pub fn reset(&mut self) {
        self.core.reset();
        self.core.settle();
        self.core.control.take();
    }

    /// Who answers where: ranges of memory and of ports.
    pub fn spaces(&self) -> Vec<String> {
        let spaces = [&self.core.memory, &self.core.ports];
        let shown = |range: &Range| {
            let who = match &range.backing {
                Backing::Ram { offset, .. } => format!("RAM {offset:x}"),
                Backing::Rom { offset, .. } => format!("ROM {offset:x}"),
                Backing::Flash { device, offset, .. } => format!("flash {device} {offset:x}"),
                Backing::Device {
                    device,
                    region,
                    offset,
                } => format!("{device} {region:x} {offset:x}"),
                Backing::Off => "nothing".to_owned(),
            };
            format!("{:x}-{:x} {who}", range.start, range.last)
        };
        let all = spaces.map(|space| look(space).ranges().iter().map(shown).collect::<Vec<_>>());
        all.concat()
    }

    /// Levels of all wires.
    pub fn levels(&self) -> Vec<bool> {
        (0..wires::COUNT)
            .map(|n| self.core.lines.level(n))
            .collect()
    }

    /// What the registers of all devices read as, the first ones of each range. Reading may change a device, on every board alike.
    pub fn answers(&mut self) -> Vec<(u64, u64)> {
        let mut answers = Vec::new();
        let registers = |space: &hw_core::Shared| -> Vec<(u64, u64)> {
            let space = look(space);
            let ranges = space.ranges().iter();
            let of_devices = ranges.filter(|range| matches!(range.backing, Backing::Device { .. }));
            of_devices.map(|range| (range.start, range.last)).collect()
        };
        for (start, last) in registers(&self.core.ports) {
            for port in start..=last.min(start + LOOKED_AT) {
                let short = u16::try_from(port).unwrap_or(0);
                answers.push((port, self.core.port_read(short, 1).into()));
            }
        }
        for (start, last) in registers(&self.core.memory) {
            for at in (start..=last.min(start + LOOKED_AT)).step_by(4) {
                answers.push((at, self.core.memory_read(0, at, 4)));
            }
        }
        let functions: Vec<u8> = self.core.pci.functions().map(|(devfn, ..)| devfn).collect();
        for devfn in functions {
            for offset in (0..256).step_by(4) {
                let value = self.core.pci.config_read(0, devfn, offset, 4);
                answers.push((u64::from(devfn) << 16 | offset as u64, value));
            }
        }
        self.after();
        answers
    }
}

/// The state of a bus, with the functions of another.
fn with_functions(state: &Value, other: &Value) -> Value {
    let mut state = state.clone();
    if let (Value::Object(fields), Some(functions)) = (&mut state, other.get("functions")) {
        fields.insert("functions".to_owned(), functions.clone());
    }
    state
}
