use super::*;
use crate::plan::{MonitorMode, PanicAction};

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
        ("-rtc base=nix", "-rtc base=nix: invalid datetime format"),
        ("-chardev null", "-chardev null: chardev: no id specified"),
        (
            "-mon chardev=c,mode=x",
            "-mon chardev=c,mode=x: Parameter 'mode' does not accept value 'x'",
        ),
        (
            "-object iothread,id=x",
            "-object iothread,id=x: object type 'iothread' is not supported yet",
        ),
        ("-spice port=1", "-spice: this option is not supported yet"),
    ] {
        assert_eq!(refused(text), wanted);
    }
}

#[test]
fn monitors_and_character_devices_are_kept_in_order() {
    let plan = plan(
        "-chardev socket,id=c,fd=22,server=on,wait=off -mon chardev=c,mode=control -monitor stdio -qmp-pretty null -serial chardev:c",
    );
    let modes: Vec<MonitorMode> = plan.monitors.iter().map(|m| m.mode).collect();
    let control = |pretty| MonitorMode::Control { pretty };
    assert_eq!(
        modes,
        [control(false), MonitorMode::Readline, control(true)]
    );
    assert_eq!(plan.chardevs[0].id, "c");
    assert_eq!(plan.serial, ["chardev:c"]);
}

#[test]
fn globals_are_defaults_of_devices() {
    let plan = plan(
        "-global isa-debug-exit.iobase=0xf4 -device isa-debug-exit -device isa-debug-exit,iobase=0x501",
    );
    let bases: Vec<&str> = plan
        .devices
        .iter()
        .map(|device| device.properties["iobase"].as_str())
        .collect();
    assert_eq!(bases, ["0xf4", "0x501"]);
}

#[test]
fn names_of_the_program_have_their_own_defaults() {
    let named = crate::called::defaults;
    assert_eq!(named("qsystem-x86_64-microvm").machine, "microvm");
    assert!(named("qsystem-i386").only_32_bits);
    let plan = named("qemu-kvm");
    let accels: Vec<&str> = plan
        .accels
        .iter()
        .map(|accel| accel.name.as_str())
        .collect();
    assert_eq!(accels, ["kvm", "tcg"]);
    assert_eq!(named("qemu-system-x86_64"), Plan::default());
}

#[test]
fn a_file_of_groups_gives_options() {
    let file = std::env::temp_dir().join(format!("vmm-core-{}.cfg", std::process::id()));
    let text = "# test\n[machine]\n  type = \"q35\"\n[smp-opts]\n cpus = \"2\"\n[device \"d1\"]\n driver = \"pvpanic\"\n";
    std::fs::write(&file, text).expect("the folder can be written");
    let plan = plan(&format!("-readconfig {}", file.display()));
    std::fs::remove_file(&file).expect("it is there");
    assert_eq!((plan.machine.as_str(), plan.smp.cpus), ("q35", Some(2)));
    assert_eq!(plan.devices[0].properties["id"], "d1");
}

#[test]
fn every_group_of_a_file_is_an_option_with_a_value() {
    for (group, option) in opt::GROUPS {
        let mut all = OPTIONS.iter().flat_map(|(_, options)| *options);
        let found = all.find(|entry| entry.name == *option);
        let takes = found.is_some_and(|entry| matches!(entry.action, opt::Action::Value(_)));
        assert!(takes, "{group}");
    }
    let file = std::env::temp_dir().join(format!("vmm-core-{}-again.cfg", std::process::id()));
    let text = format!("[readconfig]\n file = \"{}\"\n", file.display());
    std::fs::write(&file, text).expect("the folder can be written");
    let said = refused(&format!("-readconfig {}", file.display()));
    std::fs::remove_file(&file).expect("it is there");
    assert!(
        said.ends_with("There is no option group 'readconfig'"),
        "{said}"
    );
    let said = refused("-readconfig /dev/zero");
    assert!(
        said.ends_with("Could not open '/dev/zero': File too large"),
        "{said}"
    );
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
