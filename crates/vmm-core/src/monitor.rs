//! The human monitor, as far as driving a machine by hand needs it: a list of commands and a line editor.
//! GAP: few commands, no history, no QMP.

use std::sync::{Arc, Mutex, PoisonError};

use backend_core::chars::Sink;
use char_backends::mux::Receiver;
use machine::{Machine, RunState};

const PROMPT: &str = "(qemu) ";
/// Longest line.
const MOST: usize = 4096;

struct Command {
    names: &'static [&'static str],
    help: &'static str,
    run: fn(&Machine, &str) -> String,
}

const COMMANDS: &[Command] = &[
    Command {
        names: &["cont", "c"],
        help: "resume emulation",
        run: |machine, _| {
            match machine.state() {
                RunState::Running => {}
                RunState::Shutdown | RunState::InternalError | RunState::GuestPanicked => {
                    return "Error: Resetting the Virtual Machine is required\n".to_owned();
                }
                _ => machine.start(),
            }
            String::new()
        },
    },
    Command {
        names: &["help", "?"],
        help: "show the help",
        run: |_, _| {
            let lines = COMMANDS
                .iter()
                .map(|command| format!("{} -- {}\n", command.names.join("|"), command.help));
            lines.collect()
        },
    },
    Command {
        names: &["info"],
        help: "show various information about the system state",
        run: info,
    },
    Command {
        names: &["quit", "q"],
        help: "quit the emulator",
        run: |machine, _| {
            machine.quit(0);
            String::new()
        },
    },
    Command {
        names: &["stop", "s"],
        help: "stop emulation",
        run: |machine, _| {
            if machine.state() == RunState::Running {
                machine.stop(RunState::Paused);
            }
            String::new()
        },
    },
    Command {
        names: &["system_powerdown"],
        help: "send system power down event",
        run: |machine, _| {
            machine.power_button();
            String::new()
        },
    },
    Command {
        names: &["system_reset"],
        help: "reset the system",
        run: |machine, _| {
            machine.ask_reset();
            String::new()
        },
    },
];

fn info(machine: &Machine, what: &str) -> String {
    match what {
        "status" => {
            let state = machine.state();
            let word = if state == RunState::Running {
                "running".to_owned()
            } else if state == RunState::Paused {
                "paused".to_owned()
            } else {
                format!("paused ({})", state.name())
            };
            format!("VM status: {word}\n")
        }
        "version" => "10.0.2\n".to_owned(),
        "kvm" => {
            let on = machine.accelerator() == "kvm";
            let word = if on { "enabled" } else { "disabled" };
            format!("kvm support: {word}\n")
        }
        "registers" => registers(machine),
        "cpus" => {
            let each = (0..machine.processors()).map(|n| {
                let mark = if n == 0 { '*' } else { ' ' };
                let halted = if machine.halted(n) { " (halted)" } else { "" };
                format!("{mark} CPU #{n}:{halted}\n")
            });
            each.collect()
        }
        "pci" => machine.with(|core| {
            let each = core.pci.functions().map(|(devfn, name, config)| {
                let (vendor, device) = (config.read(0, 2), config.read(2, 2));
                format!(
                    "  Bus  0, device {:3}, function {}:\n    {name}: PCI device {vendor:04x}:{device:04x}\n",
                    devfn >> 3,
                    devfn & 7
                )
            });
            each.collect()
        }),
        "" => "info status|version|kvm|registers|cpus|pci\n".to_owned(),
        other => format!("unknown command: 'info {other}'\n"),
    }
}

fn registers(machine: &Machine) -> String {
    let Some(registers) = machine.registers(0) else {
        return "the processor does not answer\n".to_owned();
    };
    const NAMES: [&str; 16] = [
        "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8 ", "R9 ", "R10", "R11", "R12",
        "R13", "R14", "R15",
    ];
    let mut text = String::from("\nCPU#0\n");
    for row in [[0, 3, 1, 2], [6, 7, 5, 4], [8, 9, 10, 11], [12, 13, 14, 15]] {
        let each = row.map(|n| format!("{}={:016x}", NAMES[n], registers.general[n]));
        text.push_str(&format!("{}\n", each.join(" ")));
    }
    text.push_str(&format!(
        "RIP={:016x} RFL={:08x}\nCR0={:08x} CR2={:016x} CR3={:016x} CR4={:08x}\n",
        registers.rip, registers.rflags, registers.cr0, registers.cr2, registers.cr3, registers.cr4
    ));
    text
}

struct Inner {
    out: Box<dyn Sink>,
    line: Vec<u8>,
    greeted: bool,
}

/// One monitor.
pub(crate) struct Monitor {
    machine: Machine,
    inner: Mutex<Inner>,
}

impl Monitor {
    /// A monitor that answers on `out`.
    pub(crate) fn new(machine: Machine, out: Box<dyn Sink>) -> Arc<Self> {
        Arc::new(Self {
            machine,
            inner: Mutex::new(Inner {
                out,
                line: Vec::new(),
                greeted: false,
            }),
        })
    }

    fn execute(&self, line: &str) -> String {
        let line = line.trim();
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        if name.is_empty() {
            return String::new();
        }
        match COMMANDS
            .iter()
            .find(|command| command.names.contains(&name))
        {
            Some(command) => (command.run)(&self.machine, rest.trim()),
            None => format!("unknown command: '{name}'\n"),
        }
    }

    fn typed(&self, byte: u8) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match byte {
            b'\r' | b'\n' => {
                let line = std::mem::take(&mut inner.line);
                inner.out.send(b"\r\n");
                drop(inner);
                let answer = self.execute(&String::from_utf8_lossy(&line));
                let answer = answer.replace('\n', "\r\n");
                let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                inner.out.send(answer.as_bytes());
                inner.out.send(PROMPT.as_bytes());
            }
            8 | 127 if inner.line.pop().is_some() => inner.out.send(b"\x08 \x08"),
            0x20.. if inner.line.len() < MOST => {
                inner.line.push(byte);
                inner.out.send(&[byte]);
            }
            _ => {}
        }
    }
}

impl Receiver for Monitor {
    fn receive(&self, bytes: &[u8]) {
        for byte in bytes {
            self.typed(*byte);
        }
    }

    fn focus(&self, on: bool) {
        if !on {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.greeted {
            inner.greeted = true;
            let hello = "QEMU 10.0.2 monitor - type 'help' for more information\r\n";
            inner.out.send(hello.as_bytes());
        }
        inner.out.send(PROMPT.as_bytes());
    }
}
