//! The human monitor's lists of commands and `info` items.

mod commands;
mod items;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use accel_core::Registers as CpuRegisters;
use monitor_core::Command;
use monitor_core::hmp::{Editor, Hmp, Registers};
use qapi::record::Record;
use qapi::{Error, Result};

use super::{Vm, memory};

/// The lists.
pub(super) static HMP: LazyLock<Hmp<Seat>> = LazyLock::new(|| Hmp {
    commands: vec![commands::CONTROL, commands::MEMORY, commands::DEVICES],
    items: vec![items::ITEMS],
});

#[derive(Debug, Record)]
struct LineArguments {
    command_line: String,
    cpu_index: Option<i64>,
}

/// Lines of this monitor as a QMP command.
pub(super) const COMMANDS: &[Command<Vm>] = &[monitor_core::command!(
    "human-monitor-command",
    monitor_core::Flags::NONE,
    LineArguments => String,
    run_line
)];

async fn run_line(vm: &Vm, wanted: LineArguments) -> Result<String> {
    let seat = Seat::new(vm.own()?);
    if let Some(cpu) = wanted.cpu_index {
        let cpu = usize::try_from(cpu).unwrap_or(usize::MAX);
        if cpu >= vm.machine.processors() {
            return Err(Error::new("Parameter 'cpu-index' expects a CPU number"));
        }
        seat.cpu.store(cpu, Ordering::Release);
    }
    let said = HMP.run(&seat, &wanted.command_line).await;
    Ok(said.replace('\n', "\r\n"))
}

/// Where a person sits: the machine, the processor looked at, what was typed.
pub(crate) struct Seat {
    pub(super) vm: Arc<Vm>,
    pub(super) cpu: AtomicUsize,
    editor: Mutex<Editor>,
    ended: AtomicBool,
}

impl Seat {
    pub(super) fn new(vm: Arc<Vm>) -> Self {
        Self {
            vm,
            cpu: AtomicUsize::new(0),
            editor: Mutex::default(),
            ended: AtomicBool::new(false),
        }
    }

    /// The processor looked at.
    fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Acquire)
    }

    fn registers(&self) -> Result<CpuRegisters> {
        let registers = self.vm.machine.registers(self.cpu());
        registers.ok_or_else(|| Error::new("No CPU available"))
    }

    /// Whether the person has said goodbye.
    pub(super) fn quits(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// What is typed, and was. Not to be held while a line runs: that may ask for what was typed.
    pub(super) fn editor(&self) -> MutexGuard<'_, Editor> {
        self.editor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn history(&self) -> String {
        let editor = self.editor();
        let lines = editor.history().enumerate();
        lines.map(|(n, line)| format!("{n}: '{line}'\n")).collect()
    }
}

/// Names of the general registers in the order of their numbers, without their first letter.
const GENERAL: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];

impl Registers for Seat {
    fn register(&self, name: &str) -> Option<u64> {
        let registers = self.vm.machine.registers(self.cpu())?;
        let general = |n: usize| registers.general.get(n).copied();
        let segment = |n: usize| registers.segments.get(n).map(|s| u64::from(s.selector));
        if let Some(rest) = name.strip_prefix('e').or(name.strip_prefix('r'))
            && let Some(n) = GENERAL.iter().position(|known| *known == rest)
        {
            let value = general(n)?;
            let narrow = name.starts_with('e');
            return Some(if narrow { value & 0xffff_ffff } else { value });
        }
        match name {
            // With the code segment's base, and without.
            "pc" => Some(memory::program_counter(&registers)),
            "eip" | "rip" => Some(registers.rip),
            "eflags" => Some(registers.rflags),
            "es" => segment(0),
            "cs" => segment(1),
            "ss" => segment(2),
            "ds" => segment(3),
            "fs" => segment(4),
            "gs" => segment(5),
            "cr0" => Some(registers.cr0),
            "cr2" => Some(registers.cr2),
            "cr3" => Some(registers.cr3),
            "cr4" => Some(registers.cr4),
            _ => {
                let n: usize = name.strip_prefix('r')?.parse().ok()?;
                (8..16).contains(&n).then(|| general(n)).flatten()
            }
        }
    }
}
