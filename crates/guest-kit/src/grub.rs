//! Disks and discs that start by themselves: GRUB, Debian's cloud kernel and a first file system, made here.
//!
//! ```text
//! disk:  sector 0 GRUB's first sector and the partition table, from sector 1 its core with the modules it needs,
//!        from 1 MiB one ext4 partition with /boot
//! disc:  what grub-mkrescue makes (El Torito)
//! ```

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Guest;
use crate::tools::find;

/// Where the partition begins.
pub const PARTITION: u64 = 1 << 20;
/// Where Debian keeps GRUB for a PC's BIOS.
const IMAGES: &str = "/usr/lib/grub/i386-pc";
/// Modules of the core: enough to find its configuration and all that this asks for.
const MODULES: &str = "biosdisk part_msdos ext2 serial terminal linux normal configfile echo boot";
/// Code of the first sector; the partition table follows.
const CODE: usize = 440;
const SECTOR: u64 = 512;

/// Both consoles are the serial port, and nobody is asked.
const SETTINGS: &str = "serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
menuentry Linux {
  echo GRUB starts Linux
  linux /boot/vmlinuz console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check
  initrd /boot/initrd
}
";

/// The guest's side: the power button ends it as a daemon of ACPI events would, and a shell reads the
/// console. `DISK` stands for the partition.
pub const SHELL: &str = r#"
mkdir -p /etc/acpi/PWRF
cat > /etc/acpi/PWRF/00000080 <<'END'
#!/bin/sh
echo The button was pressed. > /dev/ttyS0
umount /mnt
poweroff -f
END
chmod 755 /etc/acpi/PWRF/00000080
acpid -l /dev/null
for try in 1 2 3 4 5 6 7 8 9 10; do test -b /dev/DISK && break; sleep 1; done
mount /dev/DISK /mnt && echo "The disk is mounted."
cd /
exec setsid cttyhack sh -i
"#;

fn run(command: &mut Command) -> Result<(), String> {
    let line = format!("{command:?}");
    let output = command.output().map_err(|e| format!("{line}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{line} failed: {}", said.trim()))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |e| format!("{}: {e}", path.display())
}

/// A folder below `folder` with what a disk holds.
fn tree(guest: &Guest, initrd: &[u8], folder: &Path) -> Result<PathBuf, String> {
    let tree = folder.join("tree");
    let boot = tree.join("boot");
    fs::create_dir_all(boot.join("grub")).map_err(failed(&tree))?;
    fs::copy(guest.kernel.image(), boot.join("vmlinuz")).map_err(failed(&boot))?;
    fs::write(boot.join("initrd"), initrd).map_err(failed(&boot))?;
    fs::write(boot.join("grub/grub.cfg"), SETTINGS).map_err(failed(&boot))?;
    Ok(tree)
}

/// A raw disk of `megabytes` in `folder` that boots this guest's kernel with `initrd`.
///
/// # Errors
/// What is missing, for tests that skip.
pub fn disk(
    guest: &Guest,
    initrd: &[u8],
    folder: &Path,
    megabytes: u64,
) -> Result<PathBuf, String> {
    let mkimage = find("grub-mkimage", "grub-common")?;
    let mkfs = find("mkfs.ext4", "e2fsprogs")?;
    let first = Path::new(IMAGES).join("boot.img");
    let first = fs::read(&first).map_err(|e| format!("{} (grub-pc-bin): {e}", first.display()))?;
    let tree = tree(guest, initrd, folder)?;
    let (disk, core) = (folder.join("disk.raw"), folder.join("core"));
    run(Command::new(mkimage)
        .args(["-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o"])
        .arg(&core)
        .args(MODULES.split(' ')))?;
    let core = fs::read(&core).map_err(failed(&core))?;
    let bytes = megabytes << 20;
    let file = fs::File::create(&disk).map_err(failed(&disk))?;
    file.set_len(bytes).map_err(failed(&disk))?;
    run(Command::new(mkfs)
        .args(["-q", "-F", "-E", &format!("offset={PARTITION}"), "-d"])
        .arg(tree)
        .arg(&disk)
        .arg(format!("{}k", (bytes - PARTITION) / 1024)))?;
    let mut head = vec![0; usize::try_from(SECTOR).expect("small")];
    head[..CODE].copy_from_slice(&first[..CODE]);
    head[446..462].copy_from_slice(&partition(bytes));
    head[510..].copy_from_slice(&[0x55, 0xaa]);
    head.extend(core);
    assert!(
        head.len() as u64 <= PARTITION,
        "GRUB's core has too many modules"
    );
    let mut file = OpenOptions::new()
        .write(true)
        .open(&disk)
        .map_err(failed(&disk))?;
    file.seek(SeekFrom::Start(0)).map_err(failed(&disk))?;
    file.write_all(&head).map_err(failed(&disk))?;
    Ok(disk)
}

/// An entry of the partition table: active, Linux, to the end of the disk.
fn partition(bytes: u64) -> [u8; 16] {
    let number = |bytes: u64| u32::try_from(bytes / SECTOR).expect("disks here are small");
    let mut entry = [
        0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    entry[8..12].copy_from_slice(&number(PARTITION).to_le_bytes());
    entry[12..].copy_from_slice(&number(bytes - PARTITION).to_le_bytes());
    entry
}

/// A disc in `folder` that boots this guest's kernel with `initrd`.
///
/// # Errors
/// What is missing, for tests that skip.
pub fn disc(guest: &Guest, initrd: &[u8], folder: &Path) -> Result<PathBuf, String> {
    let mkrescue = find("grub-mkrescue", "grub-common")?;
    find("xorriso", "xorriso")?;
    find("mformat", "mtools")?;
    if !Path::new(IMAGES).exists() {
        return Err(format!("no {IMAGES} (Debian package grub-pc-bin)"));
    }
    let tree = tree(guest, initrd, folder)?;
    let disc = folder.join("disc.iso");
    run(Command::new(mkrescue)
        .args(["-d", IMAGES, "-o"])
        .arg(&disc)
        .arg(tree))?;
    Ok(disc)
}
