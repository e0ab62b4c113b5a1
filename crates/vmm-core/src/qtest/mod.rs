//! The protocol by which tests drive devices from outside (`-qtest`): a line asks for one access, one line answers.
//!
//! ```text
//! > outb 0x70 0x0a          > readl 0xfed00000       > clock_step 1000000
//! < OK                      < OK 0x0000000000000001  < OK 1000000
//! ```
//! It works beside any accelerator; with `-accel qtest` nobody but it touches the machine.

mod command;
mod words;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use backend_core::chars::Sink;
use char_backends::mux::Receiver;
use machine::Machine;
use qapi::{Error, Result};

/// Longest line: what is written at once comes as hexadecimal digits.
const LONGEST: usize = 64 << 20;

/// Where the conversation is kept.
pub(crate) enum Log {
    /// Nowhere.
    None,
    /// On standard error, as without `-qtest-log`.
    Stderr,
    /// In a file.
    File(File),
}

impl Log {
    /// Opens what `-qtest-log` names.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn open(path: Option<&str>) -> Result<Self> {
        match path {
            None => Ok(Self::Stderr),
            Some("none") => Ok(Self::None),
            Some(path) => File::create(Path::new(path))
                .map(Self::File)
                .map_err(|error| Error::from_io(format!("Could not open '{path}'"), &error)),
        }
    }

    fn line(&mut self, text: &str) {
        // A log that cannot be written is no reason to answer otherwise.
        let _ = match self {
            Self::None => Ok(()),
            Self::Stderr => std::io::stderr().write_all(text.as_bytes()),
            Self::File(file) => file.write_all(text.as_bytes()),
        };
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way back to whoever asks. Interrupts are told through it in the middle of a command.
pub(crate) struct Back {
    sink: Box<dyn Sink>,
    log: Log,
    /// When the other end came.
    since: Instant,
}

impl Back {
    fn send(&mut self, text: &str) {
        self.sink.send(format!("{text}\n").as_bytes());
        self.note("S", &format!(" {text}"));
    }

    fn note(&mut self, kind: &str, text: &str) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.log.line(&format!("[{kind} +{seconds:.6}]{text}\n"));
    }
}

/// The server.
pub(crate) struct Qtest {
    machine: Machine,
    back: Arc<Mutex<Back>>,
    line: Mutex<Vec<u8>>,
}

impl Qtest {
    /// One that answers on `sink`.
    pub(crate) fn new(machine: Machine, sink: Box<dyn Sink>, log: Log) -> Arc<Self> {
        let back = Back {
            sink,
            log,
            since: Instant::now(),
        };
        Arc::new(Self {
            machine,
            back: Arc::new(Mutex::new(back)),
            line: Mutex::new(Vec::new()),
        })
    }

    fn answer(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let mut told = String::new();
        for word in &words {
            // Writing to a string cannot fail.
            let _ = write!(told, " {word}");
        }
        locked(&self.back).note("R", &told);
        let answer = match words.split_first() {
            None => return,
            Some((name, arguments)) => command::run(self, name, arguments),
        };
        let text = match answer {
            Ok(text) if text.is_empty() => "OK".to_owned(),
            Ok(text) => format!("OK {text}"),
            Err(why) => format!("FAIL {why}"),
        };
        locked(&self.back).send(&text);
    }

    /// Tells every change of an interrupt line from now on.
    fn tell_interrupts(&self) {
        let back = Arc::clone(&self.back);
        self.machine.watch_interrupts(Box::new(move |wire, level| {
            let word = if level { "raise" } else { "lower" };
            locked(&back).send(&format!("IRQ {word} {wire}"));
        }));
    }
}

impl Receiver for Qtest {
    fn receive(&self, bytes: &[u8]) {
        let mut line = locked(&self.line);
        for byte in bytes {
            if *byte == b'\n' {
                let whole = std::mem::take(&mut *line);
                self.answer(String::from_utf8_lossy(&whole).trim_end_matches('\r'));
            } else if line.len() < LONGEST {
                line.push(*byte);
            }
        }
    }

    fn peer(&self, there: bool) {
        locked(&self.line).clear();
        let mut back = locked(&self.back);
        let seconds = back.since.elapsed().as_secs_f64();
        let word = if there { "OPENED" } else { "CLOSED" };
        back.log.line(&format!("[I +{seconds:.6}] {word}\n"));
        back.since = Instant::now();
    }
}
