//! The board without a PCI bus: Debian's kernel finds its disk by the tables, in a slot of memory registers.

use std::process::Command;
use std::time::Duration;

use house_tests::guest;
use house_tests::require;
use house_tests::tools::{Scratch, find};

/// Longest that a boot may take where everything else runs at the same time.
const PATIENCE: Duration = Duration::from_secs(900);

const SCRIPT: &str = r#"
for try in 1 2 3 4 5 6 7 8 9 10; do test -b /dev/vda && break; sleep 1; done
step processors 'nproc'
step mount 'mount -t ext4 /dev/vda /mnt'
step write 'dd if=/dev/urandom of=/mnt/data bs=64k count=64 2>/dev/null && sync'
step sum 'sha256sum < /mnt/data'
step again 'echo 3 > /proc/sys/vm/drop_caches; sha256sum < /mnt/data'
step unmount 'umount /mnt'
step interrupts 'grep virtio /proc/interrupts'
"#;

/// The kernel has nothing here to measure the counter by, and is told: it counts nanoseconds.
const TOLD: &str = "tsc=reliable tsc_early_khz=1000000";

fn boots(processors: &str) {
    let qemu_img = require!(find("qemu-img", "qemu-utils"));
    let mkfs = require!(find("mkfs.ext4", "e2fsprogs"));
    let scratch = Scratch::new();
    let raw = scratch.path("disk.raw").display().to_string();
    let image = scratch.path("disk.qcow2").display().to_string();
    let run = |program: &std::path::Path, words: &[&str]| {
        let output = Command::new(program)
            .args(words)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    run(&qemu_img, &["create", "-q", "-f", "raw", &raw, "32M"]);
    run(&mkfs, &["-q", "-F", &raw]);
    run(&qemu_img, &["convert", "-O", "qcow2", &raw, &image]);
    let options = format!(
        "-M microvm -cpu max -smp {processors} -m 256M -drive file={image},if=virtio,format=qcow2"
    );
    let guest = require!(guest::ours(&options)).told(TOLD);
    let root = guest
        .root(&["virtio_mmio", "virtio_blk", "ext4"])
        .expect("modules of the kernel");
    let report = guest.run(root, SCRIPT, PATIENCE);
    assert_eq!(report.ok("processors"), processors);
    report.ok("mount");
    report.ok("write");
    let sum = report.ok("sum");
    assert_eq!(report.ok("again"), sum);
    report.ok("unmount");
    report.ok("interrupts");
    run(&qemu_img, &["check", &image]);
}

#[test]
fn linux_boots_on_microvm() {
    boots("1");
}

#[test]
fn linux_boots_on_microvm_with_two_processors() {
    boots("2");
}
