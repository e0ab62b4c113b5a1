//! Wrong command lines: ours ends as the reference ends, with the same words.

use std::path::Path;
use std::process::{Command, Stdio};

use house_tests::require;
use house_tests::tools::{Scratch, built};

use crate::tables::release;

/// Command lines without what every one of them has.
const WRONG: &[&str] = &[
    "-bogus",
    "-m",
    "-m 0x",
    "-m 1Z",
    "-m size=x",
    "-m 64,foo=1",
    "-smp 4,sockets=3",
    "-smp 300",
    "-M pc,accel=bogus",
    "-accel bogus",
    "-accel tcg,foo=1",
    "-cpu bogus",
    "-cpu qemu64,foo=on",
    "-uuid x",
    "-drive file=/nix/disk",
    "-drive file=/nix/disk,format=raw",
    "-drive foo=1",
    "-drive if=bogus",
    "-drive file=d.raw,format=raw,index=0 -drive file=d.raw,format=raw,index=0",
    "-drive file=d.raw,format=bogus",
    "-drive file=d.raw,format=raw,cache=bogus",
    "-drive file=d.raw,format=raw,media=bogus",
    "-drive file=d.raw,format=raw,werror=bogus",
    "-blockdev driver=file,filename=/nix/f,node-name=x",
    "-blockdev driver=file,filename=d.raw",
    "-blockdev {x",
    "-device bogus",
    "-device virtio-blk-pci",
    "-device virtio-rng-pci,id=a -device virtio-rng-pci,id=a",
    "-device virtio-rng-pci,foo=1",
    "-device virtio-rng-pci,rng=x",
    "-device",
    "-netdev bogus,id=n",
    "-netdev socket,id=n",
    "-chardev bogus,id=c",
    "-chardev null",
    "-chardev file,id=c",
    "-chardev socket,id=c",
    "-chardev null,id=c -chardev null,id=c",
    "-serial bogus",
    "-serial chardev:nix",
    "-monitor bogus",
    "-mon chardev=nix",
    "-mon foo=1",
    "-qmp unix:/nix/dir/sock,server=on,wait=off",
    "-serial file:/nix/dir/f",
    "-object bogus,id=o",
    "-object secret",
    "-object memory-backend-ram,id=m",
    "-initrd /nix/i",
    "-append x",
    "-pflash /nix/f",
    "-rtc foo=1",
    "-smbios foo=1",
    "-smbios type=5",
    "-smbios type=999",
    "-smbios type=0,foo=1",
    "-smbios type=0,release=x",
    "-smbios type=0,uefi=x",
    "-smbios type=1,uuid=x",
    "-smbios type=4,max-speed=99999",
    "-smbios type=4,processor-id=x",
    "-smbios type=11,path=/nix",
    "-smbios type=41,kind=x",
    "-smbios file=/nix",
    "-acpitable sig=x",
    "-acpitable foo=1",
    "-acpitable data=/nix",
    "-fw_cfg foo=1",
    "-action reboot=x",
    "-action foo=x",
    "-msg timestamp=x",
    "-name foo=1",
    "-display bogus",
    "-D /nix/dir/log -d int",
    "-pidfile /nix/dir/pid",
    "-readconfig /nix",
    "-overcommit foo=on",
    "-option-rom",
    "-L",
    "-kernel",
];

/// Exit code and words, under the reference's name.
fn ended(program: &Path, arguments: &str, dir: &Path) -> (Option<i32>, String) {
    let mut words = vec!["-S", "-nodefaults"];
    if !arguments.contains("-display") {
        words.extend(["-display", "none"]);
    }
    let end = Command::new(program)
        .args(words)
        .args(arguments.split(' '))
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    let said = said.replace("qsystem-x86_64: ", "qemu-system-x86_64: ");
    (end.status.code(), said)
}

#[test]
fn wrong_command_lines_end_as_the_reference_ends() {
    let real = require!(release());
    let scratch = Scratch::new();
    std::fs::write(scratch.path("d.raw"), [0; 1 << 20]).expect("written");
    for arguments in WRONG {
        let ours = ended(&built("qsystem-x86_64"), arguments, scratch.dir());
        let real = ended(&real, arguments, scratch.dir());
        assert_eq!(ours, real, "{arguments}");
        assert_eq!(ours.0, Some(1), "{arguments}");
    }
}
