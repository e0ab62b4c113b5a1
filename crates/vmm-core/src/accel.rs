//! The accelerators `-accel` knows: a list.

use std::sync::Arc;

use accel_core::Accel;
use accel_kvm::KvmAccel;
use accel_soft::SoftAccel;
use qapi::{Error, Result};
use x86_cpu::cpuid::models::{self, Made};

use crate::plan::Plan;

/// One accelerator.
pub(crate) struct AccelType {
    name: &'static str,
    /// Makes it for a machine of so many processors.
    make: fn(&Plan, u32) -> Result<Arc<dyn Accel>>,
}

const ACCELS: &[AccelType] = &[
    AccelType {
        name: "kvm",
        make: kvm,
    },
    AccelType {
        name: "tcg",
        make: tcg,
    },
];

/// What is tried when no option says anything.
const DEFAULT: &[&str] = &["tcg"];
/// The processor when `-cpu` says nothing.
const DEFAULT_MODEL: &str = "qemu64";

/// What `-accel help` prints.
pub(crate) fn help() -> String {
    let names = ACCELS.iter().map(|accel| format!("{}\n", accel.name));
    format!(
        "Accelerators supported in QEMU binary:\n{}",
        names.collect::<String>()
    )
}

/// An accelerator by its name.
pub(crate) fn find(name: &str) -> Result<&'static AccelType> {
    let found = ACCELS.iter().find(|accel| accel.name == name);
    found.ok_or_else(|| Error::new(format!("invalid accelerator {name}")))
}

/// The first that works of those the plan names.
pub(crate) fn choose(plan: &Plan, cpus: u32) -> Result<Arc<dyn Accel>> {
    let named: Vec<&str> = plan.accels.iter().map(String::as_str).collect();
    let names: &[&str] = if named.is_empty() { DEFAULT } else { &named };
    let mut last = Error::new("no accelerator found");
    for (n, name) in names.iter().enumerate() {
        match find(name).and_then(|accel| (accel.make)(plan, cpus)) {
            Ok(accel) => {
                if n > 0 {
                    qapi::report(&Error::new(format!("falling back to {name}")));
                }
                return Ok(accel);
            }
            Err(error) => {
                if n + 1 < names.len() {
                    qapi::report(&error);
                }
                last = error;
            }
        }
    }
    Err(last)
}

fn kvm(plan: &Plan, _cpus: u32) -> Result<Arc<dyn Accel>> {
    // GAP: KVM's processors are the host's own, whatever they are called.
    if let Some(model) = plan
        .cpu
        .as_deref()
        .filter(|m| !matches!(*m, "host" | "max"))
    {
        let text = format!("CPU model '{model}' is not supported with KVM yet: use 'host'");
        return Err(Error::new(text));
    }
    let accel = KvmAccel::new().map_err(|error| {
        let about = "Could not access KVM kernel module";
        qapi::report(&Error::from_io(about, &error));
        Error::from_io("failed to initialize kvm", &error)
    })?;
    if accel.only_emulates() {
        qapi::warn(
            "this host's KVM has no hardware behind it and emulates every instruction: '-accel tcg' is much faster",
        );
    }
    Ok(Arc::new(accel))
}

fn tcg(plan: &Plan, cpus: u32) -> Result<Arc<dyn Accel>> {
    let text = plan.cpu.as_deref().unwrap_or(DEFAULT_MODEL);
    let (made, enforce) = model(text)?;
    // Nobody asked for the default, so nobody wants to hear what it lacks.
    if plan.cpu.is_some() {
        for missing in &made.missing {
            qapi::warn(&format!("TCG doesn't support requested feature: {missing}"));
        }
        if enforce && !made.missing.is_empty() {
            return Err(Error::new("TCG doesn't support requested features"));
        }
    }
    Ok(Arc::new(SoftAccel::new(made.features, cpus)))
}

/// A processor from `MODEL[,+flag][,-flag][,flag=on|off][,check][,enforce]`, and whether it must be whole.
fn model(text: &str) -> Result<(Made, bool)> {
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or("");
    let mut enforce = false;
    let mut changes: Vec<(&str, bool)> = Vec::new();
    for part in parts {
        if let Some(flag) = part.strip_prefix('+') {
            changes.push((flag, true));
        } else if let Some(flag) = part.strip_prefix('-') {
            changes.push((flag, false));
        } else {
            let (flag, value) = part.split_once('=').unwrap_or((part, "on"));
            let on = qapi::opts::parse_bool(flag, value)?;
            match flag {
                "enforce" => enforce = on,
                // Said in any case; a machine that does not move needs no migratable processor.
                "check" | "migratable" => {}
                _ => changes.push((flag, on)),
            }
        }
    }
    let made = models::make(name, &changes).map_err(|error| Error::new(error.to_string()))?;
    Ok((made, enforce))
}

/// What `-cpu help` prints.
pub(crate) fn cpu_help() -> String {
    let mut names = models::names();
    names.sort_unstable();
    names.dedup();
    let lines = names.iter().map(|name| format!("  {name}\n"));
    format!("Available CPUs:\n{}", lines.collect::<String>())
}
