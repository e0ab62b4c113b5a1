//! From the firmware through GRUB to a shell: the disk and the disc boot by themselves.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use house_tests::guest::{self, Console, Guest, grub};
use house_tests::require;
use house_tests::tools::{Scratch, built, find};

/// Longest that a boot may take where everything else runs at the same time.
const PATIENCE: Duration = Duration::from_secs(900);

fn run(program: &Path, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Boots a disk of ours to a shell, writes, presses the power button from the monitor, and looks at the disk.
fn from_disk_to_shell(accelerator: &str) {
    let qemu_img = require!(find("qemu-img", "qemu-utils"));
    let fsck = require!(find("e2fsck", "e2fsprogs"));
    let debugfs = require!(find("debugfs", "e2fsprogs"));
    let guest = require!(guest::ours(""));
    let modules = ["virtio_pci", "virtio_blk", "ext4", "button", "evdev"];
    let root = guest.root(&modules).expect("modules of the kernel");
    let initrd = Guest::initrd(root, &grub::SHELL.replace("DISK", "vda1"));
    let scratch = Scratch::new();
    let raw = require!(grub::disk(&guest, &initrd, scratch.dir(), 96));
    let raw = raw.display().to_string();
    let image = scratch.path("disk.qcow2").display().to_string();
    run(&qemu_img, &["convert", "-O", "qcow2", &raw, &image]);

    let line = format!("{accelerator} -m 512M -smp 2 -drive file={image},if=virtio -nographic");
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut console = Console::start(&built("qsystem-x86_64"), &words);
    console.hear("SeaBIOS (version ", PATIENCE);
    console.hear("GRUB starts Linux", PATIENCE);
    console.hear("The disk is mounted.", PATIENCE);
    console.hear("/ # ", PATIENCE);
    console.enter("echo $((6 * 7)) processors: $(nproc)\n");
    console.hear("42 processors: 2", PATIENCE);
    console.enter("head -c 4000000 /dev/urandom > /mnt/noise && sha256sum < /mnt/noise > /mnt/sum; echo done=$?\n");
    console.hear("done=0", PATIENCE);
    console.enter("\x01c");
    console.hear("(qemu) ", PATIENCE);
    console.enter("system_powerdown\n");
    console.hear("The button was pressed.", PATIENCE);
    assert_eq!(console.code(PATIENCE), 0, "{}", console.said());

    run(&qemu_img, &["check", &image]);
    run(&qemu_img, &["convert", "-O", "raw", &image, &raw]);
    let part = scratch.path("part").display().to_string();
    let bytes = fs::read(&raw).expect("the disk");
    let first = usize::try_from(grub::PARTITION).expect("small");
    fs::write(&part, &bytes[first..]).expect("the scratch folder can be written");
    run(&fsck, &["-fn", &part]);
    let sum = run(&debugfs, &["-R", "cat /sum", &part]);
    let noise = scratch.path("noise").display().to_string();
    run(&debugfs, &["-R", &format!("dump /noise {noise}"), &part]);
    let outside = run(Path::new("/usr/bin/sha256sum"), &[&noise]);
    assert_eq!(sum.split(' ').next(), outside.split(' ').next());
}

#[test]
fn grub_on_a_disk_boots_linux_to_a_shell_and_the_power_button_ends_it() {
    from_disk_to_shell("");
}

/// KVM without hardware for it takes an hour for what is done in seconds.
fn kvm_runs() -> Result<(), String> {
    fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .map_err(|e| format!("/dev/kvm: {e}"))?;
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let hardware = processors
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm");
    if hardware {
        Ok(())
    } else {
        Err("/dev/kvm has no hardware below it here".to_owned())
    }
}

#[test]
fn grub_on_a_disk_boots_linux_under_kvm() {
    require!(kvm_runs());
    from_disk_to_shell("-enable-kvm");
}

#[test]
fn grub_on_a_cd_boots_linux() {
    let guest = require!(guest::ours(""));
    let root = guest
        .root(&["ata_piix", "sr_mod", "cdrom", "isofs"])
        .expect("modules of the kernel");
    let script = r#"
for try in 1 2 3 4 5 6 7 8 9 10; do test -b /dev/sr0 && break; sleep 1; done
step mount 'mount -t iso9660 /dev/sr0 /mnt'
step read 'grep menuentry /mnt/boot/grub/grub.cfg'
step sum 'sha256sum < /mnt/boot/vmlinuz'
"#;
    let initrd = Guest::initrd(root, script);
    let scratch = Scratch::new();
    let disc = require!(grub::disc(&guest, &initrd, scratch.dir()));
    let disc = disc.display().to_string();
    let words = ["-m", "512M", "-cdrom", &disc, "-boot", "d", "-nographic"];
    let mut console = Console::start(&built("qsystem-x86_64"), &words);
    console.hear("GRUB starts Linux", PATIENCE);
    console.hear("[[[ sum", PATIENCE);
    assert_eq!(console.code(PATIENCE), 0, "{}", console.said());
    let said = console.said();
    assert!(said.contains("menuentry Linux {"), "{said}");
    let kernel = scratch.path("tree/boot/vmlinuz").display().to_string();
    let sum = run(Path::new("/usr/bin/sha256sum"), &[&kernel]);
    let sum = sum.split(' ').next().unwrap_or_default();
    assert!(said.contains(sum), "{said}");
}
