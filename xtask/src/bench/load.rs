//! Load on a server of disks: a small client that keeps a number of requests under way on each of some connections, the same
//! for every server, so that only the servers differ.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wait4::Wait4;

use super::measure::Cost;

/// What the requests do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Reads at places all over the disk.
    RandomRead,
    /// Reads from front to back, over and over.
    Read,
    /// Writes from front to back, over and over.
    Write,
}

/// A load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) work: Work,
    /// Bytes of a request.
    pub(super) len: u32,
    /// Requests under way on a connection.
    pub(super) depth: usize,
    pub(super) connections: usize,
    /// Requests of all connections.
    pub(super) count: usize,
}

const OPTION_GO: u32 = 7;
const OPTION_STRUCTURED: u32 = 8;
const REPLY_ACK: u32 = 1;
const CHUNK: u32 = 0x668e_33ef;
const SIMPLE: u32 = 0x6744_6698;
/// Memory that is copied from, in bytes.
const MEMORY: usize = 128 << 20;
/// How long a server may take to open its socket.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a server by a command line in which `SOCKET` stands for its socket, puts the load on it, and stops it. What it
/// cost: the wall time of the load alone, the server's processor time and memory.
pub(super) fn measure(program: &Path, args: &str, dir: &Path, load: Load) -> Result<Cost> {
    let socket = dir.join("load.sock");
    // One that a server left over.
    let _ = std::fs::remove_file(&socket);
    let words: Vec<String> = args
        .split_whitespace()
        .map(|w| w.replace("SOCKET", &socket.to_string_lossy()))
        .collect();
    let server = Command::new(program)
        .args(&words)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let wall = run(&socket, load);
    let stopped = stop(server);
    let wall = wall.with_context(|| format!("{} {args}", program.display()))?;
    let used = stopped?;
    Ok(Cost {
        wall,
        cpu: (used.utime + used.stime).as_secs_f64(),
        peak: used.maxrss,
    })
}

/// What copying the same bytes once costs, from memory that is larger than caches to a buffer of a request's length: no server
/// can be faster.
pub(super) fn memory_copy(load: Load) -> f64 {
    let len = load.len as usize;
    let disk = vec![0x5a_u8; MEMORY.max(len)];
    let mut buffer = vec![0; len];
    let places = disk.len() / len;
    let mut place = 0;
    let start = Instant::now();
    for _ in 0..load.count {
        // Steps that visit all places in no order that a processor guesses.
        place = (place + places / 2 + 1) % places;
        buffer.copy_from_slice(&disk[place * len..][..len]);
        std::hint::black_box(&mut buffer);
    }
    start.elapsed().as_secs_f64()
}

fn stop(server: Child) -> Result<wait4::ResourceUsage> {
    let pid = server.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status()?;
    Ok(server.wait4()?.rusage)
}

fn connect(socket: &Path) -> Result<UnixStream> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if start.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn run(socket: &Path, load: Load) -> Result<f64> {
    let mut clients = Vec::new();
    for number in 0..load.connections {
        clients.push(Client::new(connect(socket)?, load, number)?);
    }
    let start = Instant::now();
    let threads: Vec<_> = clients
        .into_iter()
        .map(|client| std::thread::spawn(move || client.run()))
        .collect();
    for thread in threads {
        match thread.join() {
            Ok(result) => result?,
            Err(_) => bail!("a client panicked"),
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

struct Client {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    load: Load,
    size: u64,
    /// Requests not sent yet.
    left: usize,
    under_way: usize,
    next: u64,
    random: u64,
    out: Vec<u8>,
    payload: Vec<u8>,
}

impl Client {
    fn new(stream: UnixStream, load: Load, number: usize) -> Result<Self> {
        let reader = BufReader::with_capacity(256 << 10, stream.try_clone()?);
        let mut client = Self {
            stream,
            reader,
            load,
            size: 0,
            left: load.count / load.connections,
            under_way: 0,
            next: 0,
            random: 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1),
            out: Vec::new(),
            payload: vec![0x5a; load.len as usize],
        };
        client.handshake()?;
        let share = client.size / load.connections as u64;
        client.next = share * number as u64;
        Ok(client)
    }

    fn u32(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.reader.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn option(&mut self, number: u32, payload: &[u8]) -> Result<()> {
        let mut out = b"IHAVEOPT".to_vec();
        out.extend(number.to_be_bytes());
        out.extend(u32::try_from(payload.len())?.to_be_bytes());
        out.extend(payload);
        self.stream.write_all(&out)?;
        loop {
            self.skip(12)?;
            let (kind, len) = (self.u32()?, self.u32()?);
            let mut reply = vec![0; len as usize];
            self.reader.read_exact(&mut reply)?;
            match kind {
                REPLY_ACK => return Ok(()),
                3 if reply.starts_with(&[0, 0]) => {
                    let size = reply.get(2..10).context("a short reply")?;
                    self.size = u64::from_be_bytes(size.try_into()?);
                }
                3 => {}
                other => bail!("option {number}: reply {other:#x}"),
            }
        }
    }

    fn handshake(&mut self) -> Result<()> {
        self.skip(18)?;
        self.stream.write_all(&3_u32.to_be_bytes())?;
        self.option(OPTION_STRUCTURED, &[])?;
        // The export without a name, and no facts beside the usual ones.
        self.option(OPTION_GO, &[0; 6])?;
        ensure!(self.size >= u64::from(self.load.len), "an empty disk");
        Ok(())
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        let skipped = std::io::copy(&mut (&mut self.reader).take(len), &mut std::io::sink())?;
        ensure!(skipped == len, "the server hung up");
        Ok(())
    }

    fn offset(&mut self) -> u64 {
        let len = u64::from(self.load.len);
        let places = self.size / len;
        if self.load.work == Work::RandomRead {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            return self.random % places * len;
        }
        let at = self.next / len % places * len;
        self.next = at + len;
        at
    }

    fn send(&mut self) -> Result<()> {
        while self.left > 0 && self.under_way < self.load.depth {
            let write = self.load.work == Work::Write;
            let offset = self.offset();
            self.out.extend(0x2560_9513_u32.to_be_bytes());
            self.out.extend([0, 0, 0, u8::from(write)]);
            self.out.extend((self.left as u64).to_be_bytes());
            self.out.extend(offset.to_be_bytes());
            self.out.extend(self.load.len.to_be_bytes());
            if write {
                self.out.extend(&self.payload);
            }
            self.left -= 1;
            self.under_way += 1;
        }
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Takes one chunk; whether it was the last of its reply.
    fn receive(&mut self) -> Result<bool> {
        match self.u32()? {
            SIMPLE => {
                let error = self.u32()?;
                ensure!(error == 0, "error {error}");
                self.skip(8)?;
                Ok(true)
            }
            CHUNK => {
                let (flags, len) = (self.u32()?, {
                    self.skip(8)?;
                    self.u32()?
                });
                ensure!(flags & 0x8000 == 0, "a request failed");
                self.skip(len.into())?;
                Ok(flags >> 16 & 1 == 1)
            }
            other => bail!("magic {other:#x}"),
        }
    }

    fn run(mut self) -> Result<()> {
        self.send()?;
        while self.under_way > 0 {
            if self.receive()? {
                self.under_way -= 1;
            }
            // What came together is answered together.
            if self.reader.buffer().is_empty() || self.under_way == 0 {
                self.send()?;
            }
        }
        Ok(())
    }
}
