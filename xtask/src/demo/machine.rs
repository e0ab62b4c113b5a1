//! The demo's end: a disk that it makes boots by itself, from GRUB in its first sector to a shell, in two processors.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use guest_kit::{Console, Guest, grub};

use super::Demo;
use crate::shell::{find, output};

/// Longest that a step of the guest may take.
const PATIENCE: Duration = Duration::from_secs(600);
const MEGABYTES: u64 = 96;

impl Demo {
    /// Makes the disk, boots it, writes a file, powers off, and looks at what is left.
    pub(super) fn boot(&mut self) -> Result<()> {
        self.title("a disk that boots: GRUB, Debian's kernel, busybox");
        let machine = self.tool.with_file_name("qsystem-x86_64");
        let guest = Guest::of(machine.clone(), "").map_err(Error::msg)?;
        let root = guest
            .root(&["virtio_pci", "virtio_blk", "ext4", "button", "evdev"])
            .map_err(Error::msg)?;
        let initrd = Guest::initrd(root, &grub::SHELL.replace("DISK", "vda1"));
        let folder = self.dir.join("boot");
        fs::create_dir(&folder)?;
        grub::disk(&guest, &initrd, &folder, MEGABYTES).map_err(Error::msg)?;
        self.qimg(&["convert", "-O", "qcow2", "boot/disk.raw", "boot.qcow2"])?;

        let words = "-m 512M -smp 2 -drive file=boot.qcow2,if=virtio -nographic";
        println!("\n$ qsystem-x86_64 {words}");
        let image = self.dir.join("boot.qcow2").display().to_string();
        let words = words.replace("boot.qcow2", &image);
        let start = Instant::now();
        let mut console = Console::start(&machine, &words.split(' ').collect::<Vec<_>>());
        console.hear("GRUB starts Linux", PATIENCE);
        console.hear("/ # ", PATIENCE);
        let booted = start.elapsed().as_secs_f64();
        console.enter("uname -r; nproc\n");
        console.hear("/ # ", PATIENCE);
        console.enter("head -c 2000000 /dev/urandom > /mnt/noise; md5sum < /mnt/noise > /mnt/sum; cat /mnt/sum\n");
        console.hear("/ # ", PATIENCE);
        console.enter("umount /mnt; poweroff -f\n");
        let code = console.code(PATIENCE);
        for line in console.said().lines() {
            println!("  | {}", visible(line));
        }
        ensure!(code == 0, "the machine ended with code {code}");
        let line = format!("qsystem-x86_64: to the prompt in {booted:.2} s, then powered off");
        println!("  [{line}]");
        self.done.push((line, start.elapsed().as_secs_f64()));

        self.qimg(&["check", "boot.qcow2"])?;
        self.qimg(&["convert", "-O", "raw", "boot.qcow2", "back.raw"])?;
        let partition = format!("back.raw?offset={}", grub::PARTITION);
        self.file_system_is_whole(&partition)?;
        self.sum_is_right(&partition)
    }

    /// What the guest wrote has the sum that the guest wrote down.
    fn sum_is_right(&self, partition: &str) -> Result<()> {
        let debugfs = find("debugfs").context("debugfs is not installed (Debian: e2fsprogs)")?;
        let ask = |what: &str| {
            let mut command = Command::new(&debugfs);
            output(command.args(["-R", what, partition]).current_dir(&self.dir))
        };
        let inside = ask("cat /sum")?;
        ask("dump /noise noise")?;
        let outside = output(Command::new("md5sum").arg("noise").current_dir(&self.dir))?;
        ensure!(
            inside.split(' ').next() == outside.split(' ').next() && inside.len() > 32,
            "the guest's file has the sum {outside}, not {inside}"
        );
        println!("  proved: the file that the guest wrote is in the image");
        Ok(())
    }
}

/// A line of a console without what moves the cursor and colours.
fn visible(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            // Up to the letter that ends it.
            let _ = chars.by_ref().find(char::is_ascii_alphabetic);
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_of_a_console_is_shown() {
        assert_eq!(visible("\x1b[2J\x1b[01;1H/ # \x07ls"), "/ # ls");
    }
}
