//! Names by which the program is called, and what they change.

use crate::plan::{AccelRequest, Plan};

/// The defaults under a name; the last word of the name counts, as in `qsystem-x86_64-microvm`.
pub(crate) fn defaults(name: &str) -> Plan {
    let mut plan = Plan::default();
    if name.ends_with("-microvm") {
        plan.machine = "microvm".to_owned();
    }
    if name.ends_with("-i386") {
        plan.only_32_bits = true;
    }
    if name == "qemu-kvm" || name == "kvm" {
        plan.accels = ["kvm", "tcg"].map(AccelRequest::named).to_vec();
    }
    plan
}
