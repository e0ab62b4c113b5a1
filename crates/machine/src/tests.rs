use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use accel_kvm::KvmAccel;
use backend_core::Wake;
use backend_core::chars::{Capture, Sink};
use backend_core::disk::{Disk, Done, Geometry, Io, MemoryDisk};
use dev_chipset::fw_cfg::Items;
use hw_core::Request;

use crate::device::{DeviceOption, DiskOptions};
use crate::*;

/// A machine with KVM and the firmware of the package, or why there is none.
fn config(board: &str, firmware: &str) -> Result<Config, String> {
    let accel = KvmAccel::new().map_err(|error| format!("no KVM here: {error}"))?;
    let path = format!("/usr/share/seabios/{firmware}");
    let firmware = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let (board, machine_type) = find_board(board).expect("a board");
    Ok(Config {
        board,
        machine_type,
        ram: 64 << 20,
        topology: (1, 1, 1),
        accel: Arc::new(accel),
        firmware,
        flash: Vec::new(),
        vga_bios: None,
        kernel: None,
        serial: Vec::new(),
        debug: Vec::new(),
        drives: Vec::new(),
        networks: std::collections::BTreeMap::new(),
        devices: Vec::new(),
        uuid: None,
        boot_order: "cad".to_owned(),
        boot_menu: false,
        boot_strict: false,
        no_graphic: true,
        epoch: 0,
        legacy_mmio: false,
        hpet: true,
        items: Items::new(),
        clock_catches_up: false,
        acpi_tables: Vec::new(),
        option_roms: Vec::new(),
        smbios: firmware::smbios::Given::default(),
        processor_id: (0, 0),
    })
}

/// Real-mode code that the processor starts at its reset vector: the last 16 bytes of a firmware of 64 KiB.
fn own_firmware(code: &[u8]) -> Vec<u8> {
    let mut firmware = vec![0xf4; 0x1_0000];
    firmware[..code.len()].copy_from_slice(code);
    // jmp 0xf000:0
    firmware[0xfff0..0xfff5].copy_from_slice(&[0xea, 0, 0, 0, 0xf0]);
    firmware
}

fn run(config: Config, seconds: u64, mut done: impl FnMut() -> bool) -> Option<Event> {
    let built = build(config).expect("built");
    built.machine.launch().expect("threads");
    built.machine.start();
    let start = Instant::now();
    let mut event = None;
    while start.elapsed() < Duration::from_secs(seconds) && event.is_none() && !done() {
        event = built.machine.wait(Duration::from_millis(50));
    }
    built.machine.end();
    event
}

#[test]
fn the_first_instruction_reaches_a_device() {
    let mut config = match config("pc", "bios-256k.bin") {
        Ok(config) => config,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    // mov al,0x21; mov dx,0x501; out dx,al
    config.firmware = own_firmware(&[0xb0, 0x21, 0xba, 0x01, 0x05, 0xee, 0xf4]);
    config.devices.push(DeviceOption {
        driver: "isa-debug-exit".to_owned(),
        ..DeviceOption::default()
    });
    let event = run(config, 10, || false);
    assert_eq!(event, Some(Event::Guest(Request::Exit(0x43))));
}

#[test]
fn timer_interrupts_wake_a_halted_processor() {
    let mut config = match config("pc", "bios-256k.bin") {
        Ok(config) => config,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    // Vector 8 at f000:0080. PIC at 8, timer at 1 kHz, count to three, exit.
    let code = [
        0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x10, 0xc7, 0x06, 0x20, 0x00, 0x80,
        0x00, 0xc7, 0x06, 0x22, 0x00, 0x00, 0xf0, 0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21,
        0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe, 0xe6, 0x21, 0xb0, 0x34, 0xe6,
        0x43, 0xb0, 0xa9, 0xe6, 0x40, 0xb0, 0x04, 0xe6, 0x40, 0x31, 0xc9, 0xfb, 0xf4, 0x83, 0xf9,
        0x03, 0x75, 0xfa, 0x88, 0xc8, 0xba, 0x01, 0x05, 0xee,
    ];
    let mut firmware = own_firmware(&code);
    // inc cx; mov al,0x20; out 0x20,al; iret
    firmware[0x80..0x86].copy_from_slice(&[0x41, 0xb0, 0x20, 0xe6, 0x20, 0xcf]);
    config.firmware = firmware;
    config.devices.push(DeviceOption {
        driver: "isa-debug-exit".to_owned(),
        ..DeviceOption::default()
    });
    let event = run(config, 10, || false);
    assert_eq!(event, Some(Event::Guest(Request::Exit(7))));
}

/// A disk whose requests end on another thread, as those of real backends do.
struct Elsewhere {
    disk: Arc<Mutex<MemoryDisk>>,
    wake: Wake,
    delay: Duration,
}

impl Disk for Elsewhere {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn submit(&mut self, io: Io) {
        let (mut disk, wake) = (Arc::clone(&self.disk), self.wake.clone());
        let delay = self.delay;
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            disk.submit(io);
            wake.wake();
        });
    }

    fn take_done(&mut self) -> Vec<Done> {
        self.disk.take_done()
    }
}

fn elsewhere(disk: Arc<Mutex<MemoryDisk>>, delay: Duration) -> MakeDisk {
    Box::new(move |wake| Box::new(Elsewhere { disk, wake, delay }))
}

#[test]
fn what_flash_was_given_is_stored_before_the_end() {
    let mut config = match config("pc", "bios-256k.bin") {
        Ok(config) => config,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let disk = Arc::new(Mutex::new(MemoryDisk::new(0x1_0000)));
    config.flash.push(FlashConfig {
        content: own_firmware(&[]),
        medium: Some(elsewhere(Arc::clone(&disk), Duration::from_millis(30))),
    });
    let machine = build(config).expect("built").machine;
    machine.launch().expect("threads");
    for (at, byte) in [(0, 0x5a), (0x8000, 0x5b), (0x4000, 0x5c)] {
        for byte in [0x10, byte] {
            machine.with(|core| core.memory_write(0, 0xffff_0000 + at, 1, byte));
        }
    }
    machine.end();
    let disk = disk.lock().unwrap();
    let stored = [0, 0x8000, 0x4000].map(|at: usize| disk.bytes[at]);
    assert_eq!(stored, [0x5a, 0x5b, 0x5c]);
}

#[test]
fn a_machine_that_hardly_began_ends() {
    const ROUNDS: u64 = 2000;
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for round in 0..ROUNDS {
            let config = match config("pc", "bios-256k.bin") {
                Ok(config) => config,
                Err(why) => return eprintln!("skipped: {why}"),
            };
            let machine = build(config).expect("built").machine;
            machine.launch().expect("threads");
            // At another point of what the threads do first.
            std::thread::sleep(Duration::from_micros(round % 200));
            machine.end();
            // Nobody listens once a round took too long.
            let _ = tell.send(());
        }
    });
    let hangs = std::sync::mpsc::RecvTimeoutError::Timeout;
    for round in 0..ROUNDS {
        match told.recv_timeout(Duration::from_secs(60)) {
            Ok(()) => {}
            Err(error) => return assert_ne!(error, hangs, "round {round}"),
        }
    }
}

/// SeaBIOS starts the first sector of the disk at `place`, which ends the program.
fn boots_from(board: &str, place: DrivePlace) {
    let mut config = match config(board, "bios-256k.bin") {
        Ok(config) => config,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut disk = MemoryDisk::new(1 << 20);
    disk.bytes[..6].copy_from_slice(&[0xb0, 0x33, 0xba, 0x01, 0x05, 0xee]);
    disk.bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    let disk = Arc::new(Mutex::new(disk));
    config.drives.push(DriveConfig {
        place,
        medium: Some(elsewhere(disk, Duration::ZERO)),
        cd: false,
        serial: String::new(),
        boot_index: None,
        virtio: DiskOptions::default(),
    });
    config.devices.push(DeviceOption {
        driver: "isa-debug-exit".to_owned(),
        ..DeviceOption::default()
    });
    let event = run(config, 120, || false);
    assert_eq!(event, Some(Event::Guest(Request::Exit(0x67))));
}

#[test]
fn seabios_boots_from_an_ide_disk() {
    boots_from("pc", DrivePlace::Ide(0, 0));
}

#[test]
fn seabios_boots_from_a_virtio_disk() {
    boots_from("q35", DrivePlace::Virtio);
}

/// Runs a firmware until its debug console says `wanted`.
fn firmware_says(board: &str, wanted: &str) {
    let mut config = match config(board, "bios-256k.bin") {
        Ok(config) => config,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let console = Capture::default();
    let sink: Box<dyn Sink> = Box::new(console.clone());
    config.debug.push(DebugPort { port: 0x402, sink });
    let event = run(config, 120, || console.text().contains(wanted));
    assert!(
        console.text().contains(wanted),
        "{event:?}: {}",
        console.text()
    );
}

#[test]
fn seabios_runs_on_pc() {
    firmware_says("pc", "No bootable device");
}

#[test]
fn seabios_runs_on_q35() {
    firmware_says("q35", "No bootable device");
}
