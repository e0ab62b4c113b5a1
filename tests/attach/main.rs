//! `qnbd` and the real kernel: attaching, detaching, partitions, file systems, and what is left when a server dies, all
//! in one guest, since booting it takes longest.
#![forbid(unsafe_code)]

use std::time::Duration;

use house_tests::guest::{Guest, Report, Root};
use house_tests::require;
use house_tests::tools::{built, find};

/// The programs of ours that the script calls.
const OURS: &[&str] = &["qimg", "qio", "qnbd"];

fn root(guest: &Guest) -> Result<Root, String> {
    let mut root = guest.root(&["nbd", "ext4"])?;
    root.file("module-options-nbd", "nbds_max=4 max_part=8", 0o644);
    for name in OURS {
        root.program(&built(name), &format!("bin/{name}"))?;
    }
    root.program(&find("mkfs.ext4", "e2fsprogs")?, "sbin/mkfs.ext4")?;
    if let Ok(theirs) = find("qemu-nbd", "qemu-utils") {
        root.program(&theirs, "bin/qemu-nbd")?;
    }
    Ok(root)
}

#[test]
fn a_kernel_uses_the_disks() {
    let guest = require!(Guest::find());
    let root = require!(root(&guest));
    let report = guest.run(root, include_str!("guest.sh"), Duration::from_secs(170));
    attached_and_detached(&report);
    other_ways(&report);
    by_ioctl(&report);
    servers_that_die(&report);
}

/// The four facts of a device that scripts look at.
fn facts(report: &Report, step: &str) -> Vec<(String, String, bool, String)> {
    let list: serde_json::Value = serde_json::from_str(report.ok(step)).expect("JSON");
    let text = |d: &serde_json::Value, key: &str| d[key].as_str().unwrap_or_default().to_owned();
    let fact = |d: &serde_json::Value| {
        let read_only = d["read-only"].as_bool().expect("a boolean");
        (
            text(d, "device"),
            text(d, "image"),
            read_only,
            text(d, "state"),
        )
    };
    list.as_array().expect("a list").iter().map(fact).collect()
}

fn fact(device: &str, image: &str, read_only: bool) -> (String, String, bool, String) {
    let alive = "alive".to_owned();
    (device.to_owned(), format!("/tmp/{image}"), read_only, alive)
}

const HELD: &str = "qnbd: /dev/nbd0 is in use\n/dev/nbd0p1 is mounted on /mnt/a";
const CLEAN: &str = "No errors were found on the image.\n";
const NONE: &str = "No NBD device is attached.";

fn attached_and_detached(report: &Report) {
    for step in ["make", "attach", "mkfs", "mount", "write"] {
        assert_eq!(report.ok(step), "", "{step}");
    }
    assert_eq!(report.ok("none"), NONE);
    assert!(facts(report, "none-json").is_empty());
    assert_eq!(report.ok("size"), "67108864\n512\n0");
    assert_eq!(report.ok("partition"), "/dev/nbd0p1  /dev/nbd0p2");
    let devices = report.ok("devices");
    for part in [
        "/dev/nbd0: 64 MiB, alive\n    image: /tmp/disk.qcow2\n    server: ",
        " (qnbd -c /dev/nbd0 -f qcow2 disk.qcow2)\n    partitions: nbd0p1 nbd0p2\n",
        "    /dev/nbd0p1 is mounted on /mnt/a",
    ] {
        assert!(devices.contains(part), "{devices}");
    }
    assert_eq!(
        facts(report, "devices-json"),
        [fact("/dev/nbd0", "disk.qcow2", false)]
    );
    assert!(
        report
            .refused("busy")
            .starts_with("qnbd: Failed to set NBD socket\n")
    );
    assert_eq!(report.refused("held"), HELD);
    report.ok("still");
    assert_eq!(report.ok("detach"), "/dev/nbd0 disconnected");
    // No size, no partitions, no server.
    assert_eq!(report.ok("free"), format!("0\n{NONE}"));
    assert!(report.ok("check").starts_with(CLEAN));
    assert_eq!(report.ok("again"), "/dev/nbd0p1  /dev/nbd0p2\nwords");
    let kib = |step| -> u64 {
        let first = report.ok(step).lines().next().expect("a line");
        first.parse().expect("a number")
    };
    report.ok("unmap");
    let (before, after) = (kib("trim"), kib("after-trim"));
    assert!(after + 5000 < before, "{before} KiB, then {after}");
    assert!(report.ok("after-trim").contains(CLEAN));
}

fn other_ways(report: &Report) {
    assert_eq!(report.ok("read-only"), "1");
    report.refused("no-write");
    assert_eq!(report.ok("mount-ro"), "words");
    assert_eq!(
        facts(report, "devices-ro"),
        [fact("/dev/nbd1", "disk.qcow2", true)]
    );
    assert_eq!(report.ok("snapshot"), "/dev/nbd1 disconnected");
    assert_eq!(report.ok("unchanged"), "words\n/dev/nbd1 disconnected");
    assert_eq!(report.ok("auto"), "/dev/nbd0");
    let mut more: Vec<&str> = report.ok("auto-more").split_whitespace().collect();
    more.sort_unstable();
    assert_eq!(more, ["/dev/nbd1", "/dev/nbd2"]);
    let images: Vec<String> = facts(report, "all").into_iter().map(|f| f.1).collect();
    assert_eq!((images.len(), images[0].as_str()), (3, "/tmp/other.raw"));
    assert!(images[1] != images[2]);
    report.ok("auto-detach");
    let new = report.ok("auto-new");
    assert!(
        new.starts_with("/dev/nbd0\n/dev/nbd1\n/dev/nbd2\n/dev/nbd3\n/dev/nbd4\n"),
        "{new}"
    );
    let listed = report.ok("beside");
    assert!(listed.contains("  size:  33554432\n"), "{listed}");
    assert!(report.ok("nested").contains(CLEAN));
    let hidden = report.refused("hide");
    assert!(
        hidden.contains("/dev/nbd0p1 is mounted on /mnt/a (where process "),
        "{hidden}"
    );
    assert!(hidden.contains("/dev/nbd0 disconnected"), "{hidden}");
    let front: Vec<&str> = report
        .ok("front")
        .lines()
        .filter(|l| !l.is_empty())
        .collect();
    let sum = report.ok("write-front");
    assert_eq!(
        front,
        [
            "NBD device /dev/nbd0 is now connected to other.raw",
            NONE,
            sum
        ]
    );
    assert_eq!(
        report.ok("alias"),
        format!("/tmp/alias disconnected\n{NONE}")
    );
    assert!(
        report
            .refused("absent")
            .contains("/dev/nbd77: No such file or directory")
    );
    report.ok("not-attached");
    assert!(report.refused("no-module").contains("modprobe nbd"));
}

fn by_ioctl(report: &Report) {
    assert_eq!(report.ok("ioctl"), "words");
    let devices = report.ok("ioctl-devices");
    assert!(
        devices.starts_with("/dev/nbd2: 64 MiB, alive\n    server: "),
        "{devices}"
    );
    report.refused("ioctl-held");
    let detached = format!("/dev/nbd2 disconnected\n{NONE}");
    assert_eq!(report.ok("ioctl-detach"), detached);
    assert_eq!(report.ok("ioctl-ro"), "1\n/dev/nbd2 disconnected");
    if report.has("theirs") {
        assert!(
            report
                .ok("theirs")
                .contains("(qemu-nbd -c /dev/nbd1 -f qcow2 disk.qcow2)")
        );
        for step in ["theirs-detach", "ours-by-theirs"] {
            let detached = format!("/dev/nbd1 disconnected\n{NONE}");
            assert_eq!(report.ok(step), detached, "{step}");
        }
    }
}

fn servers_that_die(report: &Report) {
    let stale = report.ok("stale");
    assert!(
        stale.contains("/dev/nbd0: 64 MiB, stale\n    image: /tmp/disk.qcow2\n"),
        "{stale}"
    );
    assert!(stale.contains("/dev/nbd1: 32 MiB, alive"), "{stale}");
    let cleaned = report.ok("cleanup");
    assert!(
        cleaned.starts_with("/dev/nbd0 disconnected\n/dev/nbd1: "),
        "{cleaned}"
    );
    assert_eq!(report.ok("cleanup-none"), "");
    assert_eq!(report.ok("reuse"), "words");
    assert!(report.refused("stale-held").starts_with(HELD));
    let freed = format!("/dev/nbd0 disconnected\n/dev/nbd1 disconnected\n{NONE}");
    assert_eq!(report.ok("stale-freed"), freed);
    assert!(report.ok("stale-check").starts_with(CLEAN));
    report.ok("killed");
    let check = report.ok("killed-check");
    assert!(
        check.starts_with(CLEAN) && check.contains("/dev/nbd0 disconnected"),
        "{check}"
    );
}
