//! Devices driven from outside, by the qtest protocol, beside the reference.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use house_tests::require;
use house_tests::tools::{Scratch, built, find};

/// What each line is answered; interrupts come before the answer.
fn answers(program: &Path, options: &str, script: &[&str]) -> Vec<String> {
    let scratch = Scratch::new();
    let socket = scratch.path("qtest");
    let mut child = Command::new(program)
        .args(options.split_whitespace())
        .args(["-display", "none", "-nodefaults"])
        .args(["-qtest-log", "/dev/null", "-qtest"])
        .arg(format!("unix:{},server=on,wait=off", socket.display()))
        .stdin(Stdio::null())
        .spawn()
        .expect("an emulator can be started");
    let stream = crate::program::connect(&socket);
    let mut back = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut all = Vec::new();
    for line in script {
        ask(&stream, line);
        loop {
            let mut answer = String::new();
            let heard = back.read_line(&mut answer).expect("a line");
            assert!(heard > 0, "{line}: no answer");
            let interrupt = answer.starts_with("IRQ");
            all.push(format!("{line}: {}", answer.trim_end()));
            if !interrupt {
                break;
            }
        }
    }
    // Nothing of it is to be kept.
    let _ = child.kill();
    let _ = child.wait();
    all
}

fn ask(mut stream: &UnixStream, line: &str) {
    stream
        .write_all(format!("{line}\n").as_bytes())
        .expect("typed");
}

const SCRIPT: &[&str] = &[
    "endianness",
    "nonsense 1 2",
    // Memory, in every width and in pieces.
    "writeb 0x1000 0x12",
    "writew 0x1002 0x3456",
    "writel 0x1004 0x789abcde",
    "writeq 0x1008 0x1122334455667788",
    "readb 0x1000",
    "readw 4098",
    "readl 0x1004",
    "readq 0x1008",
    "read 0x1000 16",
    "b64read 0x1001 7",
    "write 0x2001 5 0x0102030405",
    "read 0x2000 8",
    "b64write 0x3000 3 AQID",
    "read 0x3000 4",
    "memset 0x4000 4 0x5a",
    "read 0x3fff 6",
    // The real-time clock's memory, the timer, the interrupt controllers.
    "outb 0x70 0x3f",
    "outb 0x71 0x77",
    "outb 0x70 0x3f",
    "inb 0x71",
    "irq_intercept_in ioapic",
    "outb 0x21 0xfb",
    "inb 0x21",
    // Configuration space, and ports where nothing is.
    "outl 0xcf8 0x80000000",
    "inl 0xcfc",
    "inw 0xcfe",
    "inb 0xcff",
    "inl 0x608",
    // The keyboard's controller tests itself, and its keyboard answers.
    "outb 0x64 0xaa",
    "inb 0x60",
    "outb 0x64 0x60",
    "outb 0x60 0x61",
    "outb 0x60 0xee",
    "inb 0x60",
    // Time runs by itself here.
    "clock_step 1",
];

#[test]
fn devices_answer_from_outside_as_those_of_the_reference() {
    let reference = require!(find("qemu-system-x86_64", "qemu-system-x86"));
    for board in ["pc", "q35"] {
        // Debian's build of the reference has no `-accel qtest`; one that does not start is as good, but for the time.
        let options = format!("-M {board} -accel tcg -S");
        let ours = answers(&built("qsystem-x86_64"), &options, SCRIPT);
        let theirs = answers(&reference, &options, SCRIPT);
        assert_eq!(ours, theirs, "{board}");
    }
}

#[test]
fn time_moves_by_hand_and_timers_interrupt() {
    let script = [
        "irq_intercept_in ioapic",
        "clock_set 1000000",
        // The interval timer, a pulse every 1193 cycles.
        "outb 0x43 0x34",
        "outb 0x40 0xa9",
        "outb 0x40 0x04",
        "clock_step 2500000",
        "clock_set 3500000",
        // The end of the second interrupts.
        "outb 0x43 0x30",
        "outb 0x70 0x0b",
        "outb 0x71 0x12",
        "clock_step 1000000000",
        "outb 0x70 0x0c",
        "inb 0x71",
    ];
    let seen = answers(&built("qsystem-x86_64"), "-M pc -accel qtest", &script);
    let of = |line: &str| -> Vec<&str> {
        let of_line = seen
            .iter()
            .filter_map(|seen| seen.strip_prefix(line)?.strip_prefix(": "));
        of_line.collect()
    };
    assert_eq!(of("clock_set 1000000"), ["OK 1000000"]);
    let ticks = of("clock_step 2500000");
    let raised = ticks.iter().filter(|seen| **seen == "IRQ raise 0").count();
    assert_eq!(
        (raised, ticks.last()),
        (2, Some(&"OK 3500000")),
        "{ticks:?}"
    );
    assert_eq!(of("clock_set 3500000"), ["OK 3500000"]);
    let second = of("clock_step 1000000000");
    assert_eq!(second.first(), Some(&"IRQ raise 8"), "{second:?}");
    assert_eq!(of("inb 0x71"), ["IRQ lower 8", "OK 0x00d0"]);
}
