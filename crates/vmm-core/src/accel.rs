//! The accelerators `-accel` knows: a list.

use std::sync::Arc;

use accel_core::Accel;
use accel_kvm::KvmAccel;
use accel_soft::SoftAccel;
use qapi::{Error, Result};
use x86_cpu::cpuid::Features;

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

/// Whether the processor model is one that there is. GAP: one model for each accelerator.
fn check_model(plan: &Plan, known: &[&str]) -> Result<()> {
    match plan.cpu.as_deref() {
        Some(model) if !known.contains(&model) => Err(Error::new(format!(
            "CPU model '{model}' is not supported yet"
        ))),
        _ => Ok(()),
    }
}

fn kvm(plan: &Plan, _cpus: u32) -> Result<Arc<dyn Accel>> {
    check_model(plan, &["host", "max"])?;
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
    check_model(plan, &["max"])?;
    Ok(Arc::new(SoftAccel::new(Features::default(), cpus)))
}
