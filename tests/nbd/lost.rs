//! Servers that go away in the middle of work, and come back.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use house_tests::tools::{our_io, our_nbd};
use house_tests::{Scratch, ours, require};

use crate::servers::{Make, Over, Server};

const SIZE: u64 = 64 << 20;

fn disk(scratch: &Scratch) {
    let file = std::fs::File::create(scratch.path("disk")).expect("a file");
    file.set_len(SIZE).expect("a length");
}

/// A server in the place of one that was killed.
fn again(scratch: &Scratch, server: &Server) -> std::process::Child {
    let socket = server.socket.to_string_lossy().into_owned();
    our_nbd()
        .command(scratch.dir(), &["-t", "-f", "raw", "-k", &socket, "disk"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

#[test]
fn writes_go_on_when_a_killed_server_comes_back() {
    let scratch = Scratch::new();
    disk(&scratch);
    let mut server = require!(Server::start(
        Make::Ours,
        Over::Unix,
        &scratch,
        None,
        "disk"
    ));
    let options = format!(
        "driver=raw,file.driver=nbd,file.path={},file.reconnect-delay=30",
        server.socket.display()
    );
    let mut client = Command::new(&our_io().path)
        .args(["--image-opts", &options])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = client.stdin.take().expect("it was piped");
    for n in 0..64 {
        writeln!(input, "aio_write -P {} {n}M 1M", n % 250 + 1).expect("it reads");
        if n == 20 {
            input.flush().expect("it reads");
            std::thread::sleep(Duration::from_millis(50));
            server.kill();
        }
    }
    writeln!(input, "aio_flush\nflush\nquit").expect("it reads");
    drop(input);
    std::thread::sleep(Duration::from_millis(300));
    let mut second = again(&scratch, &server);
    let output = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    second.kill().expect("it runs");
    second.wait().expect("it ended");
    assert!(output.status.success(), "{said}{complaints}");
    assert!(!said.contains("failed"), "{said}{complaints}");
    let bytes = std::fs::read(scratch.path("disk")).expect("a file");
    for (n, part) in bytes.chunks(1 << 20).enumerate() {
        let wanted = u8::try_from(n % 250 + 1).expect("small");
        assert!(part.iter().all(|b| *b == wanted), "MiB {n}");
    }
}

#[test]
fn without_a_delay_a_lost_server_is_an_error_at_once() {
    let scratch = Scratch::new();
    disk(&scratch);
    let mut server = require!(Server::start(
        Make::Ours,
        Over::Unix,
        &scratch,
        None,
        "disk"
    ));
    let uri = server.uri(None);
    let mut client = Command::new(&our_io().path)
        .args(["-f", "raw", &uri])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = client.stdin.take().expect("it was piped");
    writeln!(input, "write 0 4k").expect("it reads");
    input.flush().expect("it reads");
    std::thread::sleep(Duration::from_millis(300));
    server.kill();
    writeln!(input, "read 0 4k\nread 0 4k\nquit").expect("it reads");
    drop(input);
    let output = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("Input/output error").count(), 2, "{said}");
}

#[test]
fn opening_waits_for_a_server_that_is_late() {
    let scratch = Scratch::new();
    disk(&scratch);
    let mut server = require!(Server::start(
        Make::Ours,
        Over::Unix,
        &scratch,
        None,
        "disk"
    ));
    server.kill();
    let options = format!(
        "driver=nbd,path={},open-timeout=30",
        server.socket.display()
    );
    let client = ours()
        .command(scratch.dir(), &["info", "--image-opts", &options])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    std::thread::sleep(Duration::from_millis(500));
    let mut second = again(&scratch, &server);
    let output = client.wait_with_output().expect("it ends");
    second.kill().expect("it runs");
    second.wait().expect("it ended");
    assert!(output.status.success());
}
