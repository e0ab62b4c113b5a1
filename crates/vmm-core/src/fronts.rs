//! Who is on which character device: serial ports, debug consoles and monitors, with what `-nographic` and the absence
//! of options mean.

use std::sync::Arc;

use backend_core::chars::{Null, Sink};
use char_backends::Spec;
use char_backends::mux::Receiver;
use machine::device::DeviceOption;
use machine::{DebugPort, Machine};
use qapi::{Error, Result};

use crate::chars::Chars;
use crate::monitor::{Human, Qmp, Vm};
use crate::plan::{MonitorMode, MonitorRequest, Plan};
use crate::qtest::{Log, Qtest};

/// Serial ports that a board has places for.
const MOST_SERIAL: usize = 4;

/// What is attached to character devices, by their labels.
pub(crate) struct Fronts {
    pub(crate) chars: Chars,
    /// By serial port; a missing one is not there.
    serial: Vec<Option<String>>,
    debug: Vec<(u16, String)>,
    monitors: Vec<(String, MonitorMode)>,
    qtest: Option<(String, Log)>,
}

impl Fronts {
    /// Opens all character devices.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(crate) fn open(plan: &Plan) -> Result<Self> {
        let mut fronts = Self {
            chars: Chars::new(plan.escape),
            serial: Vec::new(),
            debug: Vec::new(),
            monitors: Vec::new(),
            qtest: None,
        };
        for request in &plan.chardevs {
            let told = |error: Error| error.prefix(format!("{}: ", request.text));
            fronts
                .chars
                .open(&request.spec, &request.id, &request.text)
                .map_err(told)?;
        }
        let (serial, monitors) = with_defaults(plan);
        for (n, request) in monitors.iter().enumerate() {
            fronts.monitor(n, request)?;
        }
        for (n, text) in serial.iter().enumerate() {
            let option = format!("-serial {text}");
            let label = fronts.device(text, &format!("serial{n}"), &option, "serial device")?;
            fronts.serial.push(label);
        }
        for text in &plan.debugcon {
            let option = format!("-debugcon {text}");
            if let Some(label) = fronts.device(text, "debugcon", &option, "debug console")? {
                fronts.debug.push((0xe9, label));
            }
        }
        if let Some(text) = &plan.qtest {
            let option = format!("-qtest {text}");
            if let Some(label) = fronts.device(text, "qtest", &option, "qtest")? {
                let log = Log::open(plan.qtest_log.as_deref())?;
                fronts.qtest = Some((label, log));
            }
        }
        for device in plan.char_devices() {
            let told = |error: Error| error.prefix(format!("-device {}: ", device.text));
            fronts.named(device).map_err(told)?;
        }
        if fronts.serial.len() > MOST_SERIAL {
            return Err(Error::new("max isa serial ports is 4"));
        }
        Ok(fronts)
    }

    /// A device on a backend that is named by its text; `None` for none.
    fn device(
        &mut self,
        text: &str,
        label: &str,
        option: &str,
        what: &str,
    ) -> Result<Option<String>> {
        let told = |error: Error| error.prefix(format!("{option}: "));
        let failed = || {
            let text = format!("could not connect {what} to character backend '{text}'");
            told(Error::new(text))
        };
        if let Some(id) = text.strip_prefix("chardev:") {
            if self.chars.has(id) {
                return Ok(Some(id.to_owned()));
            }
            return Err(failed());
        }
        let spec = Spec::parse(text);
        let opened = spec.and_then(|spec| match spec {
            None => Ok(false),
            Some(spec) => self.chars.open(&spec, label, option).map(|()| true),
        });
        match opened {
            Ok(true) => {
                if self.chars.is_shared(label) {
                    // `mon:` brings a monitor along.
                    self.monitors
                        .push((label.to_owned(), MonitorMode::Readline));
                }
                Ok(Some(label.to_owned()))
            }
            Ok(false) => Ok(None),
            Err(error) => {
                qapi::report(&told(error));
                Err(failed())
            }
        }
    }

    fn monitor(&mut self, n: usize, request: &MonitorRequest) -> Result<()> {
        let told = |error: Error| error.prefix(format!("{}: ", request.text));
        if let Some(id) = request.backend.strip_prefix("chardev:") {
            if !self.chars.has(id) {
                return Err(told(Error::new(format!("chardev \"{id}\" not found"))));
            }
            self.monitors.push((id.to_owned(), request.mode));
            return Ok(());
        }
        let label = format!("compat_monitor{n}");
        let spec = match Spec::parse(&request.backend) {
            Ok(None) => return Ok(()),
            Ok(Some(spec)) => spec,
            Err(error) => {
                qapi::report(&told(error));
                let text = format!("parse error: {}", request.backend);
                return Err(told(Error::new(text)));
            }
        };
        self.chars
            .open(&spec, &label, &request.text)
            .map_err(told)?;
        self.monitors.push((label, request.mode));
        Ok(())
    }

    /// `-device isa-serial` and `-device isa-debugcon`.
    fn named(&mut self, device: &DeviceOption) -> Result<()> {
        machine::device::check(device).map_err(Error::new)?;
        let driver = &device.driver;
        let id = device.properties.get("chardev");
        let id = id.ok_or_else(|| match driver.as_str() {
            "isa-serial" => Error::new("Can't create serial device, empty char device"),
            _ => Error::new("Can't create debugcon device, empty char device"),
        })?;
        if !self.chars.has(id) {
            let text = format!("Property '{driver}.chardev' can't find value '{id}'");
            return Err(Error::new(text));
        }
        let number = |name: &str| -> Result<Option<u64>> {
            let Some(text) = device.properties.get(name) else {
                return Ok(None);
            };
            let parsed = match text.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16),
                None => text.parse(),
            };
            let wrong = || Error::new(format!("Parameter '{name}' expects a uint64 value"));
            parsed.map(Some).map_err(|_| wrong())
        };
        if driver == "isa-debugcon" {
            let port = number("iobase")?.unwrap_or(0xe9);
            let port = u16::try_from(port)
                .map_err(|_| Error::new(format!("port {port:#x} does not exist")))?;
            self.debug.push((port, id.clone()));
            return Ok(());
        }
        let free = self.serial.iter().position(Option::is_none);
        let next = free.unwrap_or(self.serial.len());
        let place = match number("index")? {
            None => next,
            Some(index) => usize::try_from(index).unwrap_or(usize::MAX),
        };
        if place >= MOST_SERIAL {
            let text = format!("Max. supported number of ISA serial ports is {MOST_SERIAL}.");
            return Err(Error::new(text));
        }
        if self.serial.len() <= place {
            self.serial.resize(place + 1, None);
        }
        match self.serial.get_mut(place) {
            Some(slot) if slot.is_none() => *slot = Some(id.clone()),
            _ => return Err(Error::new(format!("serial port {place} is there already"))),
        }
        Ok(())
    }

    /// The ways out of the serial ports.
    ///
    /// # Errors
    /// Somebody else has the character device.
    pub(crate) fn serial_sinks(&mut self) -> Result<Vec<Option<Box<dyn Sink>>>> {
        let labels = self.serial.clone();
        let one = |label: &Option<String>| {
            let Some(label) = label else { return Ok(None) };
            self.front(label, "isa-serial").map(Some)
        };
        labels.iter().map(one).collect()
    }

    /// The ways out of the debug consoles.
    ///
    /// # Errors
    /// Somebody else has the character device.
    pub(crate) fn debug_ports(&mut self) -> Result<Vec<DebugPort>> {
        let all = self.debug.clone();
        let one = |(port, label): &(u16, String)| {
            let sink = self.front(label, "isa-debugcon")?;
            Ok(DebugPort { port: *port, sink })
        };
        all.iter().map(one).collect()
    }

    fn front(&mut self, label: &str, driver: &str) -> Result<Box<dyn Sink>> {
        let sink = self.chars.front(label);
        sink.ok_or_else(|| {
            let text =
                format!("Property '{driver}.chardev' can't take value '{label}', it's in use");
            Error::new(text)
        })
    }

    /// Lets monitors and serial ports hear. Monitors come first: what is typed goes to the last, a serial port.
    pub(crate) fn listen(&mut self, vm: &Arc<Vm>, serial: &[Option<usize>]) {
        for (label, mode) in std::mem::take(&mut self.monitors) {
            let out = self.chars.front(&label).unwrap_or_else(|| Box::new(Null));
            let receiver: Arc<dyn Receiver> = match mode {
                MonitorMode::Readline => Human::new(Arc::clone(vm), out),
                MonitorMode::Control { pretty } => Qmp::new(Arc::clone(vm), out, pretty),
            };
            self.chars.listen(&label, receiver);
        }
        if let Some((label, log)) = self.qtest.take() {
            let out = self.chars.front(&label).unwrap_or_else(|| Box::new(Null));
            let qtest = Qtest::new(vm.machine.clone(), out, log);
            self.chars.listen(&label, qtest);
        }
        for (label, device) in self.serial.iter().zip(serial) {
            if let (Some(label), Some(device)) = (label, device) {
                let receiver = Arc::new(SerialInput {
                    machine: vm.machine.clone(),
                    device: *device,
                });
                self.chars.listen(label, receiver);
            }
        }
    }
}

/// Serial ports and monitors, with those that are there unless the user says otherwise.
fn with_defaults(plan: &Plan) -> (Vec<String>, Vec<MonitorRequest>) {
    let (mut serial, mut monitors) = (plan.serial.clone(), plan.monitors.clone());
    let default_monitor = |backend: &str| MonitorRequest {
        text: format!("-monitor {backend}"),
        backend: backend.to_owned(),
        mode: MonitorMode::Readline,
    };
    let has_serial = !serial.is_empty() || plan.char_devices().next().is_some();
    let has_monitor = !monitors.is_empty() || serial.iter().any(|text| text.starts_with("mon:"));
    if plan.nodefaults {
        return (serial, monitors);
    }
    match (plan.nographic, has_serial, has_monitor) {
        (true, false, false) => serial.push("mon:stdio".to_owned()),
        (true, false, true) => serial.push("stdio".to_owned()),
        (true, true, false) => monitors.push(default_monitor("stdio")),
        (false, has_serial, has_monitor) => {
            if !has_serial {
                serial.push("vc:80Cx24C".to_owned());
            }
            if !has_monitor {
                monitors.push(default_monitor("vc:80Cx24C"));
            }
        }
        (true, true, true) => {}
    }
    (serial, monitors)
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
