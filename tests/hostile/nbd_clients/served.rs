//! Our server under attack, and a client that writes bytes by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use house_tests::Scratch;
use house_tests::run::until;
use house_tests::tools::our_nbd;
use rustix::process::{Pid, Signal, kill_process};

/// Size of the disk that is served.
pub(super) const SIZE: u64 = 1 << 20;
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and the folder that it works in.
pub(super) struct Served {
    child: Child,
    scratch: Scratch,
}

/// What a process holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holds {
    pub(super) descriptors: usize,
    pub(super) threads: usize,
    /// Resident memory in bytes.
    pub(super) memory: u64,
}

impl Served {
    pub(super) fn start(options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let file = std::fs::File::create(scratch.path("disk")).expect("a file");
        file.set_len(SIZE).expect("a length");
        let mut served = Self {
            child: spawn(&scratch, options),
            scratch,
        };
        served.wait_until_it_listens();
        served
    }

    /// The same disk, served once more after [`Served::stop`].
    pub(super) fn again(&mut self, options: &[&str]) {
        self.child = spawn(&self.scratch, options);
        self.wait_until_it_listens();
    }

    fn wait_until_it_listens(&mut self) {
        let listens = until(PATIENCE, || {
            let ended = self.child.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "the server ended: {ended:?}");
            self.socket().exists().then_some(())
        });
        listens.expect("a server");
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.scratch.path("s")
    }

    pub(super) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// A connection of which nothing was read.
    pub(super) fn connect(&self) -> UnixStream {
        // Its queue may be full, or it does not listen yet.
        let stream = until(PATIENCE, || UnixStream::connect(self.socket()).ok());
        let stream = stream.expect("a server");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream
    }

    /// Ends it as a service manager would; gives back its exit code and how long that took.
    pub(super) fn stop(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let ended = until(PATIENCE, || self.child.try_wait().expect("it can be asked"));
        (ended.expect("it stops"), start.elapsed())
    }

    pub(super) fn holds(&self) -> Holds {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let count = |folder| {
            let entries = std::fs::read_dir(proc.join(folder));
            entries.expect("it runs").count()
        };
        let status = std::fs::read_to_string(proc.join("status")).expect("it runs");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .and_then(|l| l.trim().strip_suffix(" kB"))
            .and_then(|n| n.parse().ok())
            .expect("Linux tells it");
        Holds {
            descriptors: count("fd"),
            threads: count("task"),
            memory: kib << 10,
        }
    }

    /// Waits until it has at most so many descriptors: it closes what clients left a moment later.
    #[track_caller]
    pub(super) fn settles_at(&self, descriptors: usize) {
        let few = || (self.holds().descriptors <= descriptors).then_some(());
        let settled = until(PATIENCE, few).is_some();
        assert!(settled, "{:?}, not {descriptors}", self.holds());
    }

    /// Somebody else is served.
    #[track_caller]
    pub(super) fn serves(&self) {
        Client::ready(self).read_something();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(scratch: &Scratch, options: &[&str]) -> Child {
    let socket = scratch.path("s").to_string_lossy().into_owned();
    let mut words = vec!["-k", &socket, "-f", "raw"];
    words.extend(options);
    words.push("disk");
    our_nbd()
        .command(scratch.dir(), &words)
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// An option as it is sent.
pub(super) fn option(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = b"IHAVEOPT".to_vec();
    out.extend(number.to_be_bytes());
    out.extend(u32::try_from(payload.len()).expect("small").to_be_bytes());
    out.extend(payload);
    out
}

/// The payload of `INFO` and `GO`.
pub(super) fn named(name: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(name.len())
        .expect("small")
        .to_be_bytes()
        .to_vec();
    out.extend(name);
    out.extend([0, 0]);
    out
}

/// The payload of `SET_META_CONTEXT` and `LIST_META_CONTEXT`.
pub(super) fn contexts(name: &[u8], queries: &[&[u8]]) -> Vec<u8> {
    let word = |n: usize| u32::try_from(n).expect("small").to_be_bytes();
    let mut out = word(name.len()).to_vec();
    out.extend(name);
    out.extend(word(queries.len()));
    for query in queries {
        out.extend(word(query.len()));
        out.extend(*query);
    }
    out
}

/// A request as it is sent.
pub(super) fn request(command: u16, cookie: u64, offset: u64, len: u32) -> Vec<u8> {
    let mut out = 0x2560_9513_u32.to_be_bytes().to_vec();
    out.extend([0, 0]);
    out.extend(command.to_be_bytes());
    out.extend(cookie.to_be_bytes());
    out.extend(offset.to_be_bytes());
    out.extend(len.to_be_bytes());
    out
}

pub(super) const READ: u16 = 0;
pub(super) const WRITE: u16 = 1;
/// Options.
pub(super) const EXPORT_NAME: u32 = 1;
pub(super) const ABORT: u32 = 2;
pub(super) const LIST: u32 = 3;
pub(super) const INFO: u32 = 6;
pub(super) const GO: u32 = 7;
pub(super) const STRUCTURED_REPLY: u32 = 8;
pub(super) const LIST_META_CONTEXT: u32 = 9;
pub(super) const SET_META_CONTEXT: u32 = 10;
/// Kinds of replies to options.
pub(super) const ACK: u32 = 1;
pub(super) const REFUSED: u32 = 1 << 31;

/// A client by hand.
pub(super) struct Client(pub(super) UnixStream);

impl Client {
    /// One that read the greeting and told what it can.
    pub(super) fn greeted(served: &Served) -> Self {
        let mut client = Self(served.connect());
        client.0.read_exact(&mut [0; 18]).expect("a greeting");
        client.send(&[0, 0, 0, 3]);
        client
    }

    /// One that chose the export, without structured replies.
    pub(super) fn ready(served: &Served) -> Self {
        let mut client = Self::greeted(served);
        client.send(&option(GO, &named(b"")));
        while client.answer().0 != ACK {}
        client
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("it reads");
    }

    /// The next reply to an option: its kind and its text.
    pub(super) fn answer(&mut self) -> (u32, Vec<u8>) {
        let mut head = [0; 20];
        self.0.read_exact(&mut head).expect("a reply");
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut text = vec![0; word(16) as usize];
        self.0.read_exact(&mut text).expect("its text");
        (word(12), text)
    }

    /// The server hung up.
    #[track_caller]
    pub(super) fn is_dropped(&mut self) {
        let read = self.0.read(&mut [0; 64]);
        assert!(
            matches!(read, Ok(0))
                || read.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }

    /// Reads a block, which goes well.
    #[track_caller]
    pub(super) fn read_something(&mut self) {
        self.send(&request(READ, 7, 4096, 512));
        let mut reply = [0; 16 + 512];
        self.0.read_exact(&mut reply).expect("a reply");
        assert_eq!(reply[..8], [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0]);
    }
}
