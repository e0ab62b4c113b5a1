//! From a plan to a machine with its backends.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use backend_core::chars::{Null, Sink};
use char_backends::mux::{self, Host, Mux, Receiver};
use char_backends::{Port, Spec};
use dev_chipset::fw_cfg::Items;
use firmware::acpi::South;
use machine::{BuildError, Config, DebugPort, Machine};
use qapi::{Error, Result};

use crate::accel;
use crate::disks::Disks;
use crate::files;
use crate::monitor::Monitor;
use crate::networks;
use crate::plan::{Actions, Plan};

/// A machine that is ready to run.
pub(crate) struct Started {
    pub(crate) machine: Machine,
    pub(crate) disks: Disks,
    pub(crate) actions: Actions,
    pub(crate) stopped: bool,
    pub(crate) pidfile: Option<std::path::PathBuf>,
}

/// A serial port or monitor, and the backend it shares or has.
struct Front {
    what: What,
    port: Port,
    mux: Option<Mux>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Serial port, by its number.
    Serial(usize),
    Monitor,
}

/// Builds everything.
pub(crate) fn start(plan: &Plan) -> Result<Started> {
    set_up_log(plan)?;
    let pidfile = write_pidfile(plan)?;
    let mut config = config(plan)?;
    let (mut disks, drives) = Disks::open(plan)?;
    config.drives = drives;
    config.networks = networks::open(plan)?;
    config.flash = disks.take_flash();
    if config.flash.is_empty() {
        config.firmware = files::firmware(plan, config.board.firmware)?;
    }
    let mut fronts = fronts(plan)?;
    for front in &mut fronts {
        if let What::Serial(n) = front.what {
            let count = config.serial.len().max(n + 1);
            config.serial.resize_with(count, || None);
            config.serial[n] = Some(front.out());
        }
    }
    for text in &plan.debugcon {
        if let Some(spec) = spec(text)? {
            let sink = open(&spec, "debugcon")?.sink;
            config.debug.push(DebugPort { port: 0xe9, sink });
        }
    }
    let built = machine::build(config).map_err(|error| match &error {
        BuildError::Device(text, why) => Error::new(format!("-device {text}: {why}")),
        _ => Error::new(error.to_string()),
    })?;
    let machine = built.machine;
    machine
        .launch()
        .map_err(|error| Error::from_io("threads", &error))?;
    listen(&machine, fronts, &built.serial)?;
    Ok(Started {
        machine,
        disks,
        actions: plan.actions,
        stopped: plan.stopped,
        pidfile,
    })
}

/// What the machine is built from, still without backends.
fn config(plan: &Plan) -> Result<Config> {
    let topology = plan.topology()?;
    let (board, machine_type) = machine::find_board(&plan.machine)
        .ok_or_else(|| Error::new(format!("unsupported machine type: \"{}\"", plan.machine)))?;
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
        no_graphic: plan.nographic || !plan.graphics,
        epoch: now(),
        hpet: plan.hpet,
        items: items(plan)?,
    })
}

impl Front {
    /// The way out of the device.
    fn out(&mut self) -> Box<dyn Sink> {
        match &self.mux {
            Some(mux) => mux.front(),
            None => std::mem::replace(&mut self.port.sink, Box::new(Null)),
        }
    }
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

fn spec(text: &str) -> Result<Option<Spec>> {
    Spec::parse(text).map_err(|error| Error::new(error.to_string()))
}

fn open(spec: &Spec, label: &str) -> Result<Port> {
    let mut port = char_backends::open(spec, label)
        .map_err(|error| Error::from_io(format!("chardev {label}"), &error))?;
    if let Some(notice) = port.notice.take() {
        println!("{notice}");
    }
    Ok(port)
}

/// Which backends the serial ports and monitors have, with the defaults of `-nographic` and of a program without a
/// display.
fn fronts(plan: &Plan) -> Result<Vec<Front>> {
    let mut serial = plan.serial.clone();
    let mut monitors = plan.monitors.clone();
    if plan.nographic && !plan.nodefaults {
        match (serial.is_empty(), monitors.is_empty()) {
            (true, true) => serial.push("mon:stdio".to_owned()),
            (true, false) => serial.push("stdio".to_owned()),
            (false, true) if !serial.iter().any(|text| text.starts_with("mon:")) => {
                monitors.push("stdio".to_owned());
            }
            _ => {}
        }
    } else if serial.is_empty() && !plan.nodefaults {
        serial.push("vc".to_owned());
    }
    if serial.len() > 4 {
        return Err(Error::new("max isa serial ports is 4"));
    }
    let mut fronts = Vec::new();
    let mut stdio = false;
    let serial = serial
        .iter()
        .enumerate()
        .map(|(n, text)| (What::Serial(n), text));
    let monitors = monitors.iter().map(|text| (What::Monitor, text));
    for (what, text) in serial.chain(monitors) {
        let Some(spec) = spec(text)? else { continue };
        let label = match what {
            What::Serial(n) => format!("serial{n}"),
            What::Monitor => "monitor".to_owned(),
        };
        if spec.uses_stdio() && std::mem::replace(&mut stdio, true) {
            qapi::report(&Error::new(
                "cannot use stdio by multiple character devices",
            ));
            let text = format!("could not connect {label} to character backend '{text}'");
            return Err(Error::new(text));
        }
        let mut port = open(&spec, &label)?;
        let mux = matches!(spec, Spec::Mux(_)).then(|| {
            let sink = std::mem::replace(&mut port.sink, Box::new(Null));
            Mux::new(sink)
        });
        fronts.push(Front { what, port, mux });
    }
    Ok(fronts)
}

/// A serial port's way in.
struct SerialInput {
    machine: Machine,
    device: usize,
}

impl Receiver for SerialInput {
    fn receive(&self, bytes: &[u8]) {
        self.machine.receive(self.device, bytes);
    }
}

/// What a multiplexer's keys ask.
struct Keys(Machine);

impl Host for Keys {
    fn quit(&self) {
        self.0.quit(0);
    }

    fn sync(&self) {}
}

/// Starts a thread over each backend's source.
fn listen(machine: &Machine, fronts: Vec<Front>, serial: &[Option<usize>]) -> Result<()> {
    for mut front in fronts {
        let mut receivers: Vec<Arc<dyn Receiver>> = Vec::new();
        match front.what {
            What::Serial(n) => {
                if let Some(device) = serial.get(n).copied().flatten() {
                    receivers.push(Arc::new(SerialInput {
                        machine: machine.clone(),
                        device,
                    }));
                }
                if let Some(mux) = &front.mux {
                    receivers.push(Monitor::new(machine.clone(), mux.front()));
                }
            }
            What::Monitor => {
                let out = front.out();
                receivers.push(Monitor::new(machine.clone(), out));
            }
        }
        let keys = Keys(machine.clone());
        let thread = std::thread::Builder::new().name("chardev".to_owned());
        let run = move || match (front.mux.take(), front.port.source.take()) {
            (Some(mux), Some(mut source)) => mux.run(source.as_mut(), &receivers, &keys),
            (None, source) => {
                front.port.source = source;
                if let Some(receiver) = receivers.first() {
                    mux::run_plain(&mut front.port, receiver.as_ref());
                }
            }
            (Some(_), None) => {}
        };
        thread
            .spawn(run)
            .map_err(|error| Error::from_io("threads", &error))?;
    }
    Ok(())
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

fn write_pidfile(plan: &Plan) -> Result<Option<std::path::PathBuf>> {
    let Some(path) = &plan.pidfile else {
        return Ok(None);
    };
    let failed = |error: &std::io::Error| Error::from_io("cannot create PID file", error);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| failed(&error))?;
    file.try_lock().map_err(|_| {
        Error::new("cannot create PID file: Cannot lock pid file: Resource temporarily unavailable")
    })?;
    file.set_len(0).map_err(|error| failed(&error))?;
    writeln!(file, "{}", std::process::id()).map_err(|error| failed(&error))?;
    // Locked for as long as the program lives.
    std::mem::forget(file);
    Ok(Some(path.clone()))
}
