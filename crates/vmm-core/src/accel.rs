//! The accelerators `-accel` knows: a list.

use std::sync::Arc;

use accel_core::Accel;
use accel_kvm::KvmAccel;
use accel_qtest::QtestAccel;
use accel_soft::SoftAccel;
use qapi::{Error, Result};
use x86_cpu::cpuid::models;

use crate::cpu;
use crate::plan::{AccelRequest, Plan};

/// What a property of an accelerator takes.
enum Kind {
    /// One of these.
    Choice(&'static [&'static str]),
    /// `thread`, which has words of its own.
    Thread,
    /// A number.
    Number,
}

const SWITCH: Kind = Kind::Choice(&["on", "off"]);

/// One accelerator.
pub(crate) struct AccelType {
    name: &'static str,
    properties: &'static [(&'static str, Kind)],
    /// Makes it for a machine of so many processors.
    make: fn(&Plan, u32, &AccelRequest) -> Result<Arc<dyn Accel>>,
}

const ACCELS: &[AccelType] = &[
    AccelType {
        name: "kvm",
        // GAP: the interrupt controllers stay with the machine, whatever `kernel-irqchip` says; guests see no difference
        // but in speed.
        properties: &[
            ("kernel-irqchip", Kind::Choice(&["on", "off", "split"])),
            ("kvm-shadow-mem", Kind::Number),
            ("dirty-ring-size", Kind::Number),
        ],
        make: kvm,
    },
    AccelType {
        name: "qtest",
        properties: &[],
        make: |_, _, _| Ok(Arc::new(QtestAccel)),
    },
    // Every processor has its own thread; the other properties size what is not there.
    AccelType {
        name: "tcg",
        properties: &[
            ("thread", Kind::Thread),
            ("tb-size", Kind::Number),
            ("one-insn-per-tb", SWITCH),
            ("split-wx", SWITCH),
        ],
        make: tcg,
    },
];

/// What is tried when no option says anything.
const DEFAULT: &str = "tcg";

/// What `-accel help` prints.
pub(crate) fn help() -> String {
    // Tests know of it; nobody runs a guest by it.
    let shown = ACCELS.iter().filter(|accel| accel.name != "qtest");
    let names = shown.map(|accel| format!("{}\n", accel.name));
    format!(
        "Accelerators supported in QEMU binary:\n{}",
        names.collect::<String>()
    )
}

fn find(name: &str) -> Result<&'static AccelType> {
    let found = ACCELS.iter().find(|accel| accel.name == name);
    found.ok_or_else(|| Error::new(format!("invalid accelerator {name}")))
}

/// Checks a property of the accelerator `name`; one that does not exist is not asked, it only fails when its turn comes.
///
/// # Errors
/// In the reference's words.
pub(crate) fn check_property(name: &str, key: &str, value: &str) -> Result<()> {
    let Ok(accel) = find(name) else {
        return Ok(());
    };
    let Some((_, kind)) = accel.properties.iter().find(|(known, _)| *known == key) else {
        let text = format!("Property '{name}-accel.{key}' not found");
        return Err(Error::new(text));
    };
    let text = match kind {
        Kind::Choice(words) if words.contains(&value) => return Ok(()),
        Kind::Choice(["on", "off"]) => format!("Parameter '{key}' expects 'on' or 'off'"),
        Kind::Choice(_) => format!("Parameter '{key}' does not accept value '{value}'"),
        Kind::Thread if matches!(value, "single" | "multi") => return Ok(()),
        Kind::Thread => format!("Invalid 'thread' setting {value}"),
        Kind::Number if value.parse::<u64>().is_ok() => return Ok(()),
        Kind::Number => format!("Parameter '{key}' expects uint64"),
    };
    Err(Error::new(text))
}

/// What is to be tried, in order.
fn requests(plan: &Plan) -> Result<Vec<AccelRequest>> {
    let named = match &plan.machine_accels {
        Some(_) if !plan.accels.is_empty() => {
            let text = "The -accel and \"-machine accel=\" options are incompatible";
            return Err(Error::new(text));
        }
        Some(list) => list.as_str(),
        None if plan.accels.is_empty() => DEFAULT,
        None => return Ok(plan.accels.clone()),
    };
    Ok(named.split(':').map(AccelRequest::named).collect())
}

/// An error about a request, as its option's.
fn said(request: &AccelRequest, error: Error) -> Error {
    match &request.option {
        Some(option) => Error::new(format!("-accel {option}: {error}")),
        None => error,
    }
}

/// The first that works of those the plan names.
pub(crate) fn choose(plan: &Plan, cpus: u32) -> Result<Arc<dyn Accel>> {
    let mut failed: Option<Error> = None;
    for request in requests(plan)? {
        if let Some(error) = failed.take() {
            qapi::report(&error);
            failed = Some(error);
        }
        match find(&request.name).and_then(|accel| (accel.make)(plan, cpus, &request)) {
            Ok(accel) => {
                if failed.is_some() {
                    qapi::report(&Error::new(format!("falling back to {}", request.name)));
                }
                return Ok(accel);
            }
            Err(error) => failed = Some(said(&request, error)),
        }
    }
    Err(failed.unwrap_or_else(|| Error::new("no accelerator found")))
}

fn kvm(plan: &Plan, _cpus: u32, request: &AccelRequest) -> Result<Arc<dyn Accel>> {
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
        qapi::report(&said(request, Error::from_io(about, &error)));
        Error::from_io("failed to initialize kvm", &error)
    })?;
    if accel.only_emulates() {
        qapi::warn(
            "this host's KVM has no hardware behind it and emulates every instruction: '-accel tcg' is much faster",
        );
    }
    Ok(Arc::new(accel))
}

/// The plan's processor, as `-cpu` would have it.
pub(crate) fn model_text(plan: &Plan) -> &str {
    let default = if plan.only_32_bits {
        "qemu32"
    } else {
        "qemu64"
    };
    plan.cpu.as_deref().unwrap_or(default)
}

/// The plan's processor, without long mode where the program has none.
fn wanted(plan: &Plan) -> Result<cpu::Wanted> {
    let default = plan.only_32_bits.then_some("qemu32");
    let mut wanted = cpu::parse(plan.cpu.as_deref().or(default))?;
    let features = &mut wanted.made.features;
    let long = models::feature("lm").filter(|long| plan.only_32_bits && features.has(*long));
    if let Some(long) = long {
        features.set(long, false);
        let text = "CPUID.80000001H:EDX.lm [bit 29]";
        wanted.made.missing.push(text.to_owned());
    }
    Ok(wanted)
}

/// What processors of the plan's model can do, where that is known.
pub(crate) fn features(plan: &Plan) -> Option<x86_cpu::cpuid::Features> {
    wanted(plan).ok().map(|wanted| wanted.made.features)
}

fn tcg(plan: &Plan, cpus: u32, _request: &AccelRequest) -> Result<Arc<dyn Accel>> {
    let wanted = wanted(plan)?;
    let missing = &wanted.made.missing;
    if wanted.check || wanted.enforce {
        for missing in missing {
            qapi::warn(&format!("TCG doesn't support requested feature: {missing}"));
        }
    }
    if wanted.enforce && !missing.is_empty() {
        return Err(Error::new("TCG doesn't support requested features"));
    }
    Ok(Arc::new(SoftAccel::new(wanted.made.features, cpus)))
}
