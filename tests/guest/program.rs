//! The program itself: firmware's words on the serial port, the monitor behind the multiplexer, exit codes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use house_tests::require;
use house_tests::tools::{Scratch, built};

/// The firmware of Debian's package.
const FIRMWARE: &str = "/usr/share/seabios/bios-256k.bin";

fn firmware() -> Result<(), String> {
    if Path::new(FIRMWARE).exists() {
        Ok(())
    } else {
        Err("no SeaBIOS here (package seabios)".to_owned())
    }
}

fn start(arguments: &str) -> Child {
    Command::new(built("qsystem-x86_64"))
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

fn ended(arguments: &str) -> Output {
    let child = start(arguments);
    child.wait_with_output().expect("the program ends")
}

/// Reads until `wanted` was said, or for two minutes.
fn hear(stream: &mut dyn Read, wanted: &str) -> String {
    let start = Instant::now();
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while start.elapsed() < Duration::from_secs(120) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => said.extend(&buffer[..bytes]),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
        if String::from_utf8_lossy(&said).contains(wanted) {
            break;
        }
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains(wanted), "no '{wanted}' in: {said}");
    said
}

#[test]
fn firmware_speaks_on_the_serial_port_and_the_keys_reach_the_monitor() {
    require!(firmware());
    for board in ["pc", "q35"] {
        let mut child = start(&format!("-M {board} -smp 2 -nographic"));
        let mut out = child.stdout.take().expect("a pipe");
        let mut keys = child.stdin.take().expect("a pipe");
        hear(&mut out, "No bootable device.");
        keys.write_all(b"\x01c").expect("typed");
        hear(&mut out, "(qemu) ");
        keys.write_all(b"info status\rinfo cpus\r").expect("typed");
        hear(&mut out, "CPU #1");
        keys.write_all(b"stop\rinfo status\r").expect("typed");
        hear(&mut out, "VM status: paused");
        keys.write_all(b"\x01x").expect("typed");
        hear(&mut out, "QEMU: Terminated");
        assert_eq!(child.wait().expect("ended").code(), Some(0));
    }
}

/// The socket of a program that was started just now.
pub(crate) fn connect(socket: &Path) -> UnixStream {
    let begin = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return stream,
            Err(error) if begin.elapsed() > Duration::from_secs(60) => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[test]
fn the_monitor_on_a_socket_starts_resets_and_quits() {
    require!(firmware());
    let scratch = Scratch::new();
    let socket = scratch.path("monitor");
    let mut child = start(&format!(
        "-S -display none -serial file:{} -monitor unix:{},server=on,wait=off",
        scratch.path("serial").display(),
        socket.display()
    ));
    let mut monitor = connect(&socket);
    let mut say = |line: &str, wanted: &str| {
        monitor.write_all(line.as_bytes()).expect("typed");
        hear(&mut monitor, wanted);
    };
    say("info status\n", "VM status: paused (prelaunch)");
    say("cont\ninfo status\n", "VM status: running");
    say("system_reset\ninfo registers\n", "EIP=");
    say("info pci\n", "PCI device 8086:7113");
    say("nonsense\n", "unknown command: 'nonsense'");
    monitor.write_all(b"quit\n").expect("typed");
    assert_eq!(child.wait().expect("ended").code(), Some(0));
}

/// Real-mode code at the reset vector of a firmware of 64 KiB.
pub(crate) fn firmware_of(code: &[u8]) -> Vec<u8> {
    let mut firmware = vec![0xf4; 0x1_0000];
    firmware[..code.len()].copy_from_slice(code);
    firmware[0xfff0..0xfff5].copy_from_slice(&[0xea, 0, 0, 0, 0xf0]);
    firmware
}

fn own_firmware(scratch: &Scratch, code: &[u8]) -> String {
    let path = scratch.path("firmware");
    fs::write(&path, firmware_of(code)).expect("the scratch folder can be written");
    path.display().to_string()
}

#[test]
fn exit_codes_are_the_guest_s_own() {
    let scratch = Scratch::new();
    // mov al,0x21; out 0xf4,al; hlt
    let bios = own_firmware(&scratch, &[0xb0, 0x21, 0xe6, 0xf4, 0xf4]);
    let end = ended(&format!(
        "-bios {bios} -nodefaults -display none -device isa-debug-exit,iobase=0xf4,iosize=4"
    ));
    assert_eq!(end.status.code(), Some(0x43), "{end:?}");
    // mov al,0xfe; out 0x64,al: the keyboard controller resets.
    let bios = own_firmware(&scratch, &[0xb0, 0xfe, 0xe6, 0x64, 0xf4]);
    let end = ended(&format!(
        "-bios {bios} -nodefaults -display none -no-reboot"
    ));
    assert_eq!(end.status.code(), Some(0), "{end:?}");
    // mov al,1; mov dx,0x505; out dx,al
    let bios = own_firmware(&scratch, &[0xb0, 1, 0xba, 5, 5, 0xee, 0xf4]);
    let end = ended(&format!(
        "-bios {bios} -nodefaults -display none -device pvpanic -action panic=exit-failure"
    ));
    assert_eq!(end.status.code(), Some(1), "{end:?}");
}

#[test]
fn a_debug_console_writes_to_its_file() {
    let scratch = Scratch::new();
    let file = scratch.path("console");
    // mov al,'k'; out 0xe9,al; in al,0xe9; out 0xf4,al
    let bios = own_firmware(
        &scratch,
        &[0xb0, b'k', 0xe6, 0xe9, 0xe4, 0xe9, 0xe6, 0xf4, 0xf4],
    );
    let end = ended(&format!(
        "-bios {bios} -nodefaults -display none -debugcon file:{} -device isa-debug-exit,iobase=0xf4",
        file.display()
    ));
    assert_eq!(end.status.code(), Some(0xd3), "{end:?}");
    assert_eq!(fs::read(file).expect("written"), b"k");
}

#[test]
fn a_signal_ends_the_program_and_names_its_sender() {
    let scratch = Scratch::new();
    let bios = own_firmware(&scratch, &[0xf4]);
    let socket = scratch.path("monitor");
    let child = start(&format!(
        "-bios {bios} -nodefaults -display none -monitor unix:{},server=on,wait=off",
        socket.display()
    ));
    hear(&mut connect(&socket), "(qemu)");
    let pid = child.id().to_string();
    let sent = Command::new("kill").arg(&pid).status();
    assert!(sent.expect("kill runs").success());
    let end = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    assert!(
        said.contains("terminating on signal 15 from pid "),
        "{said}"
    );
    assert_eq!(end.status.code(), Some(0));
}

/// Options that make a socket and a file with the number, and where these are.
fn traces(scratch: &Scratch, more: &str) -> (String, [std::path::PathBuf; 2]) {
    let (socket, pidfile) = (scratch.path("socket"), scratch.path("pid"));
    let options = format!(
        "-S -nodefaults -display none -pidfile {} -monitor unix:{},server=on{more}",
        pidfile.display(),
        socket.display()
    );
    (options, [socket, pidfile])
}

#[test]
fn a_refusal_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let (options, files) = traces(&scratch, ",wait=off -drive file=/nowhere/disk");
    let end = ended(&options);
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    assert_eq!(
        (end.status.code(), said.lines().count()),
        (Some(1), 1),
        "{said}"
    );
    assert!(files.iter().all(|file| !file.exists()), "{files:?}");
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let scratch = Scratch::new();
    // Before there is a machine, the program has failed; afterwards it ends as it was told to.
    for (more, signal, code) in [("", "INT", 1), (",wait=off", "TERM", 0)] {
        let (options, files) = traces(&scratch, more);
        let child = start(&options);
        let begin = Instant::now();
        while !files.iter().all(|file| file.exists()) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{files:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        if code == 0 {
            hear(&mut connect(&files[0]), "(qemu)");
        }
        let sent = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
        let end = child.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&end.stderr).into_owned();
        assert_eq!(end.status.code(), Some(code), "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains("terminating on signal "), "{said}");
        assert!(files.iter().all(|file| !file.exists()), "{files:?}");
    }
}

#[test]
fn refusals_are_one_line_with_the_program_s_name() {
    for (arguments, wanted) in [
        ("-bogus", "qsystem-x86_64: -bogus: invalid option\n"),
        (
            "-kernel /nowhere/k",
            "qsystem-x86_64: could not open kernel file '/nowhere/k': No such file or directory\n",
        ),
        (
            "-bios /nowhere/b",
            "qsystem-x86_64: could not load PC BIOS '/nowhere/b'\n",
        ),
        (
            "-m 99999999G",
            "qsystem-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory\n",
        ),
        (
            "-serial stdio -monitor stdio",
            "qsystem-x86_64: -serial stdio: cannot use stdio by multiple character devices\n",
        ),
    ] {
        let end = ended(arguments);
        let said = String::from_utf8_lossy(&end.stderr).into_owned();
        assert_eq!(end.status.code(), Some(1), "{arguments}");
        assert!(said.starts_with(wanted), "{arguments}: {said}");
    }
}
