//! Tables that the machine hands to the firmware, read through the ports of the firmware configuration device, byte by byte, and
//! compared with the reference's.

use std::fs;
use std::path::Path;

use house_tests::qmp::Machine;
use house_tests::require;
use house_tests::tools::{Scratch, built, find};

/// The reference, if it is the release whose tables ours are.
pub(crate) fn release() -> Result<std::path::PathBuf, String> {
    let real = find("qemu-system-x86_64", "qemu-system-x86")?;
    let said = std::process::Command::new(&real)
        .arg("--version")
        .output()
        .expect("the reference runs");
    if String::from_utf8_lossy(&said.stdout).contains("version 10.0.") {
        Ok(real)
    } else {
        Err("another release of the reference makes other tables".to_owned())
    }
}

fn byte(machine: &mut Machine) -> u8 {
    let said = machine.human("i/b 0x511");
    let digits = said.trim().rsplit("0x").next().expect("a number");
    u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{said}"))
}

fn bytes(machine: &mut Machine, count: usize) -> Vec<u8> {
    (0..count).map(|_| byte(machine)).collect()
}

fn select(machine: &mut Machine, key: u16) {
    assert_eq!(machine.human(&format!("o/h 0x510 {key}")), "");
}

/// Bytes of a file that are looked at: behind ACPI tables is only room.
const MOST: usize = 12 << 10;

/// A file of the firmware configuration device.
fn item(machine: &mut Machine, wanted: &str) -> Option<Vec<u8>> {
    const DIRECTORY: u16 = 0x19;
    select(machine, DIRECTORY);
    let count = u32::from_be_bytes(bytes(machine, 4).try_into().expect("four"));
    for _ in 0..count {
        let entry = bytes(machine, 64);
        let name = entry[8..].split(|byte| *byte == 0).next().expect("a name");
        if name == wanted.as_bytes() {
            let size = u32::from_be_bytes(entry[..4].try_into().expect("four"));
            let size = MOST.min(size as usize);
            select(machine, u16::from_be_bytes([entry[4], entry[5]]));
            return Some(bytes(machine, size));
        }
    }
    None
}

fn smbios(program: &Path, options: &str, dir: &Path) -> [Option<Vec<u8>>; 2] {
    let all = format!("-S -nodefaults -display none -m 64 {options}");
    let words: Vec<&str> = all.split_whitespace().collect();
    let mut machine = Machine::start(program, &words, dir);
    let mut anchor = item(&mut machine, "etc/smbios/smbios-anchor");
    // The firmware computes both sums when it knows where the tables lie.
    for sum in [4, 21] {
        anchor.as_mut().expect("there is an anchor")[sum] = 0;
    }
    [anchor, item(&mut machine, "etc/smbios/smbios-tables")]
}

#[test]
fn smbios_tables_are_the_reference_s() {
    let real = require!(release());
    let scratch = Scratch::new();
    fs::write(scratch.path("board"), [2, 5, 0, 2, 1, b'x', 0, 0]).expect("written");
    fs::write(scratch.path("text"), "from a file").expect("written");
    for options in [
        "",
        "-M q35 -uuid 66181e57-7dc6-4832-a17a-bdbf6a99d752 -smp 8,sockets=2,cores=2,threads=2",
        "-smp 17,sockets=17 -smbios type=4,sock_pfx=S",
        "-smbios type=0,vendor=V,version=1.2,date=1/2/2003,release=4.5,uefi=on",
        "-smbios type=0,version= -smbios type=2",
        "-smbios type=1,manufacturer=M,product=P,version=VV,serial=S,uuid=11223344-5566-7788-99aa-bbccddeeff00,sku=K,family=F",
        "-smbios type=2,manufacturer=A,product=B,version=C,serial=D,asset=E,location=L",
        "-smbios type=3,manufacturer=cm,version=cv,serial=cs,asset=ca,sku=ck",
        "-smbios type=4,sock_pfx=SP,manufacturer=pm,version=pv,serial=ps,asset=pa,part=pp,max-speed=3000,current-speed=2500,processor-id=1234567,processor-family=7",
        "-smbios type=8,internal_reference=ir,external_reference=er,connector_type=1,port_type=2 -smbios type=8,internal_reference=ir",
        "-smbios type=11,value=one,value=two -smbios type=11,value=three,path=text",
        "-smbios type=17,loc_pfx=LP,bank=bk,manufacturer=mm,serial=ms,asset=ma,part=mp,speed=2400",
        "-smbios type=41,designation=des,kind=ethernet,instance=1",
        "-smbios file=board",
    ] {
        let ours = smbios(&built("qsystem-x86_64"), options, scratch.dir());
        let real = smbios(&real, options, scratch.dir());
        assert!(real.iter().all(Option::is_some), "{options}");
        assert_eq!(ours, real, "{options}");
    }
}

#[test]
fn option_roms_and_acpi_tables_reach_the_firmware() {
    let real = require!(release());
    let scratch = Scratch::new();
    fs::write(scratch.path("rom.bin"), [0x55, 0xaa, 1, 0xcb]).expect("written");
    fs::write(scratch.path("data"), "some data").expect("written");
    let options = "-S -nodefaults -display none -m 64 -option-rom rom.bin,bootindex=3 -acpitable sig=TEST,data=data -acpitable sig=LONGER,rev=3,oem_id=ab,oem_table_id=cdefghijkl,oem_rev=7,asl_compiler_id=zz,asl_compiler_rev=9,data=data:data";
    let words: Vec<&str> = options.split_whitespace().collect();
    let look = |program: &Path| {
        let mut machine = Machine::start(program, &words, scratch.dir());
        let rom = item(&mut machine, "genroms/rom.bin").expect("the ROM is there");
        let order = item(&mut machine, "bootorder").expect("there is an order");
        let tables = item(&mut machine, "etc/acpi/tables").expect("there are tables");
        let at = tables.windows(4).position(|at| at == b"TEST");
        // Both tables with what follows their headers.
        let own = at.and_then(|at| tables.get(at..at + 2 * 36 + 3 * 9));
        (
            rom,
            order,
            own.map(<[u8]>::to_vec).expect("the tables are there"),
        )
    };
    assert_eq!(look(&built("qsystem-x86_64")), look(&real));
}
