//! Sleep to RAM (ACPI S3): the firmware of a test goes to sleep, and is woken by the clock or by the user.

use std::path::Path;

use house_tests::qmp::Machine;
use house_tests::require;
use house_tests::tools::{Scratch, built, find};
use serde_json::json;

/// Opens the ports of the PIIX4's power management at 0x600. If the shutdown status in CMOS is 0xfe: keeps the status at
/// 0x502 and halts. Else: marks memory at 0x500, sets an alarm for every second, enables what is to wake it, and sleeps.
const FIRMWARE: &[u8] = &[
    0x66, 0xb8, 0x40, 0x0b, 0x00, 0x80, 0xba, 0xf8, 0x0c, 0x66, 0xef, 0xba, 0xfc, 0x0c, 0x66, 0xb8,
    0x01, 0x06, 0x00, 0x00, 0x66, 0xef, 0x66, 0xb8, 0x80, 0x0b, 0x00, 0x80, 0xba, 0xf8, 0x0c, 0x66,
    0xef, 0xba, 0xfc, 0x0c, 0xb0, 0x01, 0xee, 0x31, 0xc0, 0x8e, 0xd8, 0xb0, 0x0f, 0xe6, 0x70, 0xe4,
    0x71, 0x3c, 0xfe, 0x74, 0x37, 0xc7, 0x06, 0x00, 0x05, 0x34, 0x12, 0xb0, 0x01, 0xe6, 0x70, 0xb0,
    0xc0, 0xe6, 0x71, 0xb0, 0x03, 0xe6, 0x70, 0xb0, 0xc0, 0xe6, 0x71, 0xb0, 0x05, 0xe6, 0x70, 0xb0,
    0xc0, 0xe6, 0x71, 0xb0, 0x0b, 0xe6, 0x70, 0xb0, 0x22, 0xe6, 0x71, 0xba, 0x02, 0x06, 0xb8, 0x00,
    0x04, 0xef, 0xba, 0x04, 0x06, 0xb8, 0x00, 0x24, 0xef, 0xf4, 0xeb, 0xfd, 0xba, 0x00, 0x06, 0xed,
    0x25, 0x00, 0x85, 0xa3, 0x02, 0x05, 0xf4, 0xeb, 0xfd,
];
/// Where the mask of what is to wake it stands: the real-time clock.
const ENABLED: usize = 95;

/// Sleeps and wakes; gives what was seen.
fn nap(program: &Path, firmware: &Path, by_clock: bool) -> Vec<String> {
    let options = format!(
        "-M pc -accel tcg -S -bios {} -nodefaults -display none",
        firmware.display()
    );
    let options: Vec<&str> = options.split_whitespace().collect();
    let scratch = Scratch::new();
    let mut machine = Machine::start(program, &options, scratch.dir());
    machine.ok("cont", &json!({}));
    machine.event("SUSPEND");
    let mut seen = Vec::new();
    if !by_clock {
        seen.push(machine.ok("query-status", &json!({}))["status"].to_string());
        seen.push(machine.ask("cont", &json!({})).to_string());
        machine.ok("system_wakeup", &json!({}));
    }
    machine.event("WAKEUP");
    seen.push(machine.ok("query-status", &json!({}))["status"].to_string());
    let woken = loop {
        let memory = machine.human("xp /2hx 0x500");
        if !memory.contains("0x0000") {
            break memory;
        }
    };
    seen.push(woken);
    seen.push(machine.ask("system_wakeup", &json!({})).to_string());
    machine.quit();
    seen
}

#[test]
fn a_sleeping_machine_wakes_by_its_clock_or_its_user_as_the_reference_does() {
    let reference = require!(find("qemu-system-x86_64", "qemu-system-x86"));
    let scratch = Scratch::new();
    for (by_clock, status) in [(true, "0x8400"), (false, "0x8100")] {
        let mut code = FIRMWARE.to_vec();
        if !by_clock {
            code[ENABLED..ENABLED + 2].fill(0);
        }
        let firmware = scratch.path("firmware");
        std::fs::write(&firmware, crate::program::firmware_of(&code)).expect("written");
        let ours = nap(&built("qsystem-x86_64"), &firmware, by_clock);
        assert!(
            ours.iter()
                .any(|seen| seen.contains(&format!("0x1234 {status}"))),
            "{ours:?}"
        );
        let theirs = nap(&reference, &firmware, by_clock);
        assert_eq!(ours, theirs);
    }
}
