use super::*;
use crate::plan::PanicAction;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn plan(text: &str) -> Plan {
    match parse(&words(text)) {
        Ok(Outcome::Run(plan)) => *plan,
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str) -> String {
    match parse(&words(text)) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{text} was taken"),
    }
}

#[test]
fn options_fill_the_plan() {
    let plan = plan(
        "-M q35,accel=kvm:tcg,hpet=off --smp 4,sockets=2 -m 1G -nographic -S -no-reboot -action panic=exit-failure -device isa-debug-exit,iobase=0xf4,iosize=4",
    );
    assert_eq!(
        (plan.machine.as_str(), plan.hpet, plan.ram),
        ("q35", false, 1 << 30)
    );
    assert_eq!(plan.machine_accels.as_deref(), Some("kvm:tcg"));
    assert_eq!(plan.topology().expect("fits"), (2, 2, 1));
    assert!(plan.stopped && plan.nographic && plan.actions.no_reboot);
    assert_eq!(plan.actions.panic, PanicAction::ExitFailure);
    assert_eq!(plan.devices[0].properties["iobase"], "0xf4");
}

#[test]
fn refusals_have_the_reference_s_words() {
    for (text, wanted) in [
        ("-bogus", "-bogus: invalid option"),
        ("-m", "-m: requires an argument"),
        ("-append x", "-append only allowed with -kernel option"),
        ("-M nix", "-M nix: unsupported machine type: \"nix\""),
        (
            "-M pc,foo=1",
            "-M pc,foo=1: Property 'pc-i440fx-10.0-machine.foo' not found",
        ),
        (
            "-smp 300",
            "Invalid SMP CPUs 300. The max CPUs supported by machine 'pc-i440fx-10.0' is 255",
        ),
        (
            "-smp 4,sockets=2,cores=3",
            "Invalid CPU topology: product of the hierarchy must match maxcpus: sockets (2) * dies (1) * modules (1) * cores (3) * threads (1) != maxcpus (4)",
        ),
        (
            "-accel tcg,foo=1",
            "-accel tcg,foo=1: Property 'tcg-accel.foo' not found",
        ),
        (
            "-accel kvm,kernel-irqchip=bad",
            "-accel kvm,kernel-irqchip=bad: Parameter 'kernel-irqchip' does not accept value 'bad'",
        ),
        (
            "-accel tcg,thread=bad",
            "-accel tcg,thread=bad: Invalid 'thread' setting bad",
        ),
        (
            "-device bogus",
            "-device bogus: 'bogus' is not a valid device model name",
        ),
        (
            "-uuid 1234",
            "-uuid 1234: failed to parse UUID string: wrong format",
        ),
        ("-spice port=1", "-spice: this option is not supported yet"),
    ] {
        assert_eq!(refused(text), wanted);
    }
}

#[test]
fn every_option_has_one_entry() {
    let mut names: Vec<&str> = OPTIONS
        .iter()
        .flat_map(|(_, options)| options.iter().map(|option| option.name))
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count > 105, "{count}");
}
