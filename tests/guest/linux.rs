//! Debian's cloud kernel with a small first file system on our own processor.

use std::time::Duration;

use house_tests::guest::{self, Report};

/// Longest that a boot may take where everything else runs at the same time.
const PATIENCE: Duration = Duration::from_secs(600);

/// What every guest shows, whatever it runs on.
const SCRIPT: &str = r#"
step processors 'nproc'
step memory 'awk "/MemTotal/ { print \$2 }" /proc/meminfo'
step interrupts 'cat /proc/interrupts'
step tables 'ls /sys/firmware/acpi/tables'
step product 'cat /sys/class/dmi/id/product_name'
step devices 'cat /sys/bus/pci/devices/*/vendor | wc -l'
step clock 'cat /sys/devices/system/clocksource/clocksource0/available_clocksource'
step sum 'dd if=/dev/zero bs=64k count=16 2>/dev/null | sha256sum'
step time 'date +%Y'
step panic 'dmesg | grep -iE "BUG:|Oops|Call Trace|unchecked MSR"'
"#;

const SUM: &str = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58  -";

fn boot(options: &str) -> Option<Report> {
    let guest = match guest::ours(options) {
        Ok(guest) => guest,
        Err(why) => {
            house_tests::skip::record(&why);
            return None;
        }
    };
    let root = guest.root(&[]).expect("a first file system");
    Some(guest.run(root, SCRIPT, PATIENCE))
}

fn usual(report: &Report, processors: &str, product: &str) {
    assert_eq!(report.ok("processors"), processors);
    assert_eq!(report.ok("product"), product);
    assert_eq!(report.ok("sum"), SUM);
    let tables = report.ok("tables");
    for table in ["APIC", "DSDT", "FACP", "HPET", "WAET"] {
        assert!(tables.contains(table), "{tables}");
    }
    let year: u32 = report.ok("time").parse().expect("a year");
    assert!(year >= 2024, "{year}");
    // Nothing found: grep's own code.
    assert_eq!(
        report.step("panic").code,
        Some(1),
        "{:?}",
        report.step("panic")
    );
}

#[test]
fn linux_boots_on_pc() {
    let options = "-M pc -m 256M";
    let Some(report) = boot(options) else { return };
    usual(&report, "1", "Standard PC (i440FX + PIIX, 1996)");
    let memory: u32 = report.ok("memory").parse().expect("a number");
    assert!((180_000..262_144).contains(&memory), "{memory}");
}
