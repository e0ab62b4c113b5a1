//! `kill -9` of a server and of its clients in the middle of writes: whatever was answered after a flush, or asked for as
//! stable, is in the image, and the image is in order.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use house_tests::tools::our_io;
use house_tests::{Rng, Scratch, reference, require};

use crate::clients::{libnbd_for_python, python};
use crate::servers::{Make, Over, Server};

/// Blocks lie across the borders of clusters, so that each write copies from the backing file on both sides.
const STRIDE: usize = 128 << 10;
const SKIP: usize = 20 << 10;
const LEN: usize = 72 << 10;
const BLOCKS: usize = 256;
/// What the backing file is full of.
const BACKING: u8 = 0xbb;
const ROUNDS: u64 = 6;

/// A client by libnbd: eight writes at a time, a flush after each eight, stable writes between. It prints a block's number
/// once that block must survive.
const LIBNBD: &str = r"
import nbd, os, random, sys
stride, skip, length, blocks = [int(x) for x in sys.argv[1:5]]
rng = random.Random(int(sys.argv[5]))
order = list(range(blocks))
rng.shuffle(order)
def content(n):
    return bytearray((n + 1).to_bytes(8, 'big') * (length // 8))
h = nbd.NBD()
h.connect_unix(os.environ['SOCKET'])
try:
    while order:
        now, order = order[:8], order[8:]
        cookies = [h.aio_pwrite(nbd.Buffer.from_bytearray(content(n)), n * stride + skip) for n in now]
        while cookies:
            cookies = [c for c in cookies if not h.aio_command_completed(c)]
            if cookies:
                h.poll(-1)
        h.flush()
        print(*now, sep='\n', flush=True)
        if order:
            n = order.pop()
            h.pwrite(content(n), n * stride + skip, nbd.CMD_FLAG_FUA)
            print(n, flush=True)
except nbd.Error:
    sys.exit(3)
";

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Libnbd,
    Ours,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Server,
    Client,
}

/// The bytes that a writer puts into a block.
fn content(writer: Writer, n: usize) -> Vec<u8> {
    match writer {
        Writer::Libnbd => (n as u64 + 1).to_be_bytes().repeat(LEN / 8),
        Writer::Ours => vec![u8::try_from(n % 180 + 1).expect("small"); LEN],
    }
}

fn start(writer: Writer, scratch: &Scratch, server: &Server, seed: u64) -> Child {
    let mut command = match writer {
        Writer::Libnbd => {
            let mut command = python(LIBNBD);
            let words = [STRIDE, SKIP, LEN, BLOCKS].map(|n| n.to_string());
            command.args(words).arg(seed.to_string());
            command.env("SOCKET", &server.socket);
            command
        }
        Writer::Ours => {
            let mut words = vec!["-f".to_owned(), "raw".to_owned()];
            let mut order: Vec<usize> = (0..BLOCKS).collect();
            let mut rng = Rng::new(seed);
            for n in (1..BLOCKS).rev() {
                let other = rng.below(n as u64 + 1);
                order.swap(n, usize::try_from(other).expect("small"));
            }
            for n in order {
                let (byte, at) = (content(Writer::Ours, n)[0], n * STRIDE + SKIP);
                words.push("-c".to_owned());
                words.push(format!("write -f -P {byte} {at} {LEN}"));
            }
            words.push(server.uri(None));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            our_io().command(scratch.dir(), &words)
        }
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// The block that a line says is safe.
fn safe(writer: Writer, line: &str) -> Option<usize> {
    match writer {
        Writer::Libnbd => line.parse().ok(),
        Writer::Ours => {
            let at = line.strip_prefix(&format!("wrote {LEN}/{LEN} bytes at offset "))?;
            at.parse::<usize>().ok().map(|at| at / STRIDE)
        }
    }
}

fn images(scratch: &Scratch) -> Result<(), String> {
    let backing = vec![BACKING; BLOCKS * STRIDE];
    std::fs::write(scratch.path("base"), backing).map_err(|e| e.to_string())?;
    let words = [
        "create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "disk",
    ];
    reference()?.run(scratch.dir(), &words).ok();
    Ok(())
}

/// Every block that must be there is, and nothing lies where nobody wrote.
fn check(scratch: &Scratch, path: &Path, safe: &[usize], writer: Writer, story: &str) {
    let theirs = reference().expect("it was there");
    let check = theirs.run(scratch.dir(), &["check", "-f", "qcow2", "disk"]);
    assert!(
        matches!(check.code, Some(0 | 3)),
        "{story}\n{}",
        check.report()
    );
    let words = ["convert", "-f", "qcow2", "-O", "raw", "disk", "out"];
    theirs.run(scratch.dir(), &words).ok();
    let disk = std::fs::read(path).expect("it was converted");
    assert_eq!(disk.len(), BLOCKS * STRIDE);
    for (n, block) in disk.chunks(STRIDE).enumerate() {
        let wanted = content(writer, n);
        let (before, rest) = block.split_at(SKIP);
        let (written, after) = rest.split_at(LEN);
        let around = before.iter().chain(after).all(|b| *b == BACKING);
        assert!(around, "{story}: around block {n}");
        if safe.contains(&n) {
            assert!(written == wanted, "{story}: block {n} is lost");
        } else {
            let known = |(a, b): (&u8, &u8)| a == b || *a == BACKING;
            let fine = written.iter().zip(&wanted).all(known);
            assert!(fine, "{story}: block {n} is something else");
        }
    }
}

fn killed(writer: Writer, victim: Victim, seed: u64) -> Result<(), String> {
    let scratch = Scratch::new();
    images(&scratch)?;
    let mut rng = Rng::new(seed);
    let after = usize::try_from(5 + rng.below(150)).expect("small");
    let story = format!("{writer:?}, {victim:?} killed after {after} blocks, seed {seed}");
    let more = ["-f", "qcow2"];
    let mut server = Server::start_with(Make::Ours, Over::Unix, &scratch, None, &more, "disk")?;
    let mut client = start(writer, &scratch, &server, seed);
    let output = BufReader::new(client.stdout.take().expect("it was piped"));
    let mut told = Vec::new();
    for line in output.lines() {
        let line = line.expect("its output is text");
        told.extend(safe(writer, &line));
        if told.len() == after {
            std::thread::sleep(Duration::from_micros(rng.below(3000)));
            match victim {
                Victim::Server => server.kill(),
                Victim::Client => client.kill().expect("it runs"),
            }
        }
    }
    client.wait().expect("it ended");
    assert!(told.len() >= after, "{story}: only {}", told.len());
    if victim == Victim::Client {
        let code = server.terminate();
        assert_eq!(code, Some(0), "{story}");
    }
    check(&scratch, &scratch.path("out"), &told, writer, &story);
    Ok(())
}

fn rounds(writer: Writer, victim: Victim) -> Result<(), String> {
    let seed = Rng::seed_from_env(23);
    (0..ROUNDS).try_for_each(|round| killed(writer, victim, seed + round))
}

#[test]
fn a_killed_server_loses_nothing_that_libnbd_flushed() {
    require!(libnbd_for_python());
    require!(rounds(Writer::Libnbd, Victim::Server));
}

#[test]
fn a_killed_libnbd_client_leaves_all_that_was_flushed() {
    require!(libnbd_for_python());
    require!(rounds(Writer::Libnbd, Victim::Client));
}

#[test]
fn a_killed_server_loses_nothing_that_our_client_wrote_as_stable() {
    require!(rounds(Writer::Ours, Victim::Server));
}

#[test]
fn our_client_killed_leaves_all_that_it_wrote_as_stable() {
    require!(rounds(Writer::Ours, Victim::Client));
}
