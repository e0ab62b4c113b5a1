//! From a plan to a machine with its backends.

use std::fs::File;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use char_backends::mux::Host;
use dev_chipset::fw_cfg::Items;
use firmware::acpi::South;
use machine::{BuildError, Config};
use qapi::{Error, Result};

use crate::accel;
use crate::disks::Disks;
use crate::files;
use crate::fronts::Fronts;
use crate::monitor::Vm;
use crate::networks;
use crate::objects::{MemoryBackend, check_randomness};
use crate::pidfile;
use crate::plan::Plan;
use crate::run::Slot;

/// Builds everything; gives a machine that is ready to run.
pub(crate) fn start(plan: Plan, slot: &Slot) -> Result<Arc<Vm>> {
    set_up_log(&plan)?;
    if let Some(path) = &plan.pidfile {
        pidfile::write(path)?;
    }
    let mut fronts = Fronts::open(&plan)?;
    let mut config = config(&plan)?;
    let (disks, attached) = Disks::open(&plan)?;
    check_memory(&plan, &disks)?;
    for device in &plan.devices {
        let told = |error: Error| error.prefix(format!("-device {}: ", device.text));
        check_randomness(device, &disks).map_err(told)?;
    }
    config.drives = attached.drives;
    config.networks = networks::open(&plan)?;
    config.flash = attached.flash;
    if config.flash.is_empty() {
        config.firmware = files::firmware(&plan, config.board.firmware)?;
    }
    config.serial = fronts.serial_sinks()?;
    config.debug = fronts.debug_ports()?;
    let built = machine::build(config).map_err(|error| match &error {
        BuildError::Device(text, why) => Error::new(format!("-device {text}: {why}")),
        _ => Error::new(error.to_string()),
    })?;
    let machine = built.machine;
    machine
        .launch()
        .map_err(|error| Error::from_io("threads", &error))?;
    let vm = Vm::new(machine, plan, disks, fronts.chars.rows());
    // Before a monitor answers: who has heard one may rely on signals ending the program well. Nobody else sets it.
    let _ = slot.set(Arc::clone(&vm));
    fronts.listen(&vm, &built.serial);
    let keys: Arc<dyn Host> = Arc::new(Keys(Arc::clone(&vm)));
    fronts.chars.start(&keys)?;
    Ok(vm)
}

/// Whether the memory that the machine is to have is as large as the machine.
fn check_memory(plan: &Plan, disks: &Disks) -> Result<()> {
    let Some(id) = &plan.memory_backend else {
        return Ok(());
    };
    let Some(backend) = disks.object::<MemoryBackend>(id) else {
        return Err(Error::new(format!("Memory backend '{id}' not found")));
    };
    if backend.size != plan.ram {
        let text = "Machine memory size does not match the size of the memory backend";
        return Err(Error::new(text));
    }
    Ok(())
}

/// What the machine is built from, still without backends.
fn config(plan: &Plan) -> Result<Config> {
    let topology = plan.topology()?;
    let (board, machine_type) = machine::find_board(&plan.machine)
        .ok_or_else(|| Error::new(format!("unsupported machine type: \"{}\"", plan.machine)))?;
    if !plan.acpi_tables.is_empty() && board.name == "microvm" {
        // GAP: its tables are another set.
        let text = "-acpitable is not supported on this machine type yet";
        return Err(Error::new(text));
    }
    let cpus = topology.0 * topology.1 * topology.2;
    let graphics = board.graphics && plan.vga.as_deref() != Some("none");
    let graphics = graphics && (!plan.nodefaults || plan.vga.is_some());
    let south = if board.name == "q35" {
        South::Ich9
    } else {
        South::Piix
    };
    let below = machine::board::below_4g(plan.ram, south);
    Ok(Config {
        board,
        machine_type,
        ram: plan.ram,
        topology,
        accel: accel::choose(plan, cpus)?,
        firmware: Vec::new(),
        flash: Vec::new(),
        vga_bios: graphics.then(|| files::vga_bios(plan)),
        kernel: files::kernel(plan, below)?,
        serial: Vec::new(),
        debug: Vec::new(),
        drives: Vec::new(),
        networks: std::collections::BTreeMap::new(),
        devices: plan.other_devices(),
        uuid: plan.uuid,
        boot_order: plan.boot_order.clone(),
        boot_menu: plan.boot_menu,
        boot_strict: plan.boot_strict,
        no_graphic: plan.nographic || !plan.graphics,
        epoch: plan.rtc_base.unwrap_or_else(now),
        legacy_mmio: plan.legacy_mmio,
        clock_catches_up: plan.rtc_slew,
        hpet: plan.hpet,
        items: items(plan)?,
        smbios: plan.smbios.clone(),
        acpi_tables: plan.acpi_tables.clone(),
        option_roms: files::option_roms(plan)?,
        processor_id: processor_id(plan, topology),
    })
}

/// What CPUID 1 says of a processor: signature and features.
fn processor_id(plan: &Plan, (_, cores, threads): (u32, u32, u32)) -> (u32, u32) {
    const HYPER_THREADING: u32 = 1 << 28;
    let Some(features) = accel::features(plan) else {
        return (0, 0);
    };
    let word = features.word(x86_cpu::cpuid::Leaf::L1Edx);
    let many = if cores.saturating_mul(threads) > 1 {
        HYPER_THREADING
    } else {
        0
    };
    let signature = u32::try_from(features.signature()).unwrap_or(0);
    (signature, word | many)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

fn items(plan: &Plan) -> Result<Items> {
    let mut items = Items::new();
    for (name, content) in &plan.fw_cfg {
        if !items.file(name, content.clone()) {
            return Err(Error::new(format!("-fw_cfg {name}: name too long")));
        }
    }
    Ok(items)
}

/// What a multiplexer's keys ask.
struct Keys(Arc<Vm>);

impl Host for Keys {
    fn quit(&self) {
        self.0.machine.quit(0);
    }

    fn sync(&self) {
        self.0.disks.flush();
    }
}

/// Sends logs where `-D` says, when `-d` asks for them.
fn set_up_log(plan: &Plan) -> Result<()> {
    if plan.log.is_none() {
        return Ok(());
    }
    let builder = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .without_time();
    // A program that has a subscriber already, as in tests, keeps it.
    let _ = match &plan.log_file {
        None => builder.with_writer(std::io::stderr).try_init(),
        Some(path) => {
            let file = File::create(path).map_err(|error| {
                Error::from_io(format!("Error opening logfile {}", path.display()), &error)
            })?;
            builder.with_ansi(false).with_writer(file).try_init()
        }
    };
    Ok(())
}
