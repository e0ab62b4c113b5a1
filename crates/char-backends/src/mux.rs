//! The multiplexer: several fronts share one backend; Ctrl-A and a letter decide who hears what is typed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use backend_core::chars::Sink;

use super::{Arrival, Source};

/// Ctrl-A, unless `-echr` says otherwise.
pub const ESCAPE: u8 = 1;

/// Hears what is typed at a backend.
pub trait Receiver: Send + Sync {
    /// Takes bytes; may wait until there is room.
    fn receive(&self, bytes: &[u8]);
    /// The line was broken (Ctrl-A b).
    fn line_break(&self) {}
    /// What is typed comes here from now on, or no longer.
    fn focus(&self, _on: bool) {}
    /// Someone is at the other end now, or nobody any more.
    fn peer(&self, _there: bool) {}
}

/// What keys ask of the program.
pub trait Host: Send + Sync {
    /// Ctrl-A x.
    fn quit(&self);
    /// Ctrl-A s: all disks are to be safe.
    fn sync(&self);
}

#[derive(Default)]
struct Below {
    sink: Option<Box<dyn Sink>>,
    line_start: bool,
    started: Option<std::time::Instant>,
}

struct Inner {
    below: Mutex<Below>,
    focus: AtomicUsize,
    times: AtomicBool,
    escape: u8,
}

/// A multiplexer over one backend; copies are the same one.
#[derive(Clone)]
pub struct Mux {
    inner: Arc<Inner>,
}

/// A front's way out.
struct Front(Mux);

impl Sink for Front {
    fn send(&mut self, bytes: &[u8]) {
        self.0.send(bytes);
    }
}

impl Mux {
    /// A multiplexer that sends to `sink`, whose keys follow the byte `escape`.
    pub fn new(sink: Box<dyn Sink>, escape: u8) -> Self {
        let below = Below {
            sink: Some(sink),
            line_start: true,
            started: None,
        };
        Self {
            inner: Arc::new(Inner {
                below: Mutex::new(below),
                focus: AtomicUsize::new(0),
                times: AtomicBool::new(false),
                escape,
            }),
        }
    }

    /// The way out of a front.
    pub fn front(&self) -> Box<dyn Sink> {
        Box::new(Front(self.clone()))
    }

    fn send(&self, bytes: &[u8]) {
        let mut below = self
            .inner
            .below
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !self.inner.times.load(Ordering::Acquire) {
            if let Some(sink) = &mut below.sink {
                sink.send(bytes);
            }
            return;
        }
        let mut out = Vec::with_capacity(bytes.len() + 20);
        for byte in bytes {
            if below.line_start {
                let since = *below.started.get_or_insert_with(std::time::Instant::now);
                let ms = since.elapsed().as_millis();
                let (s, ms) = (ms / 1000, ms % 1000);
                let stamp = format!(
                    "[{:02}:{:02}:{:02}.{ms:03}] ",
                    s / 3600,
                    s / 60 % 60,
                    s % 60
                );
                out.extend(stamp.bytes());
                below.line_start = false;
            }
            out.push(*byte);
            below.line_start = *byte == b'\n';
        }
        if let Some(sink) = &mut below.sink {
            sink.send(&out);
        }
    }

    /// Reads the backend to its end and hands what is typed to the front that has the focus, the last at first.
    pub fn run(&self, source: &mut dyn Source, fronts: &[Arc<dyn Receiver>], host: &dyn Host) {
        let first = fronts.len().saturating_sub(1);
        self.inner.focus.store(first, Ordering::Release);
        let mut escaped = false;
        let mut buffer = [0; 256];
        while let Ok(arrival) = source.next(&mut buffer) {
            match arrival {
                Arrival::Opened => {
                    fronts.iter().for_each(|front| front.peer(true));
                    let focus = self.inner.focus.load(Ordering::Acquire);
                    if let Some(front) = fronts.get(focus) {
                        front.focus(true);
                    }
                }
                Arrival::Closed => fronts.iter().for_each(|front| front.peer(false)),
                Arrival::Bytes(bytes) => {
                    let typed = buffer.get(..bytes).unwrap_or(&[]);
                    self.typed(typed, &mut escaped, fronts, host);
                }
            }
        }
    }

    fn typed(
        &self,
        bytes: &[u8],
        escaped: &mut bool,
        fronts: &[Arc<dyn Receiver>],
        host: &dyn Host,
    ) {
        let escape = self.inner.escape;
        let mut plain = Vec::new();
        for byte in bytes {
            match (*escaped, *byte) {
                (false, byte) if byte == escape => *escaped = true,
                (false, byte) => plain.push(byte),
                (true, byte) if byte == escape => {
                    *escaped = false;
                    plain.push(escape);
                }
                (true, key) => {
                    *escaped = false;
                    self.deliver(fronts, &std::mem::take(&mut plain));
                    self.key(key, fronts, host);
                }
            }
        }
        self.deliver(fronts, &plain);
    }

    fn deliver(&self, fronts: &[Arc<dyn Receiver>], bytes: &[u8]) {
        let front = fronts.get(self.inner.focus.load(Ordering::Acquire));
        if let Some(front) = front.filter(|_| !bytes.is_empty()) {
            front.receive(bytes);
        }
    }

    fn help(&self) {
        const KEYS: [(&str, &str); 7] = [
            ("h ", "print this help"),
            ("x ", "exit emulator"),
            ("s ", "save disk data back to file (if -snapshot)"),
            ("t ", "toggle console timestamps"),
            ("b ", "send break (magic sysrq)"),
            ("c ", "switch between console and monitor"),
            ("", "sends "),
        ];
        let escape = self.inner.escape;
        let name = if (1..26).contains(&escape) {
            format!("C-{}", char::from(escape - 1 + b'a'))
        } else {
            format!("<ESC>0x{escape:02x} ")
        };
        let mut text = String::from("\n\r");
        for (key, what) in KEYS {
            let line = if key.is_empty() {
                format!("{name} {name}  {what}{name}\n\r")
            } else {
                format!("{name} {key}   {what}\n\r")
            };
            text.push_str(&line);
        }
        self.send(text.as_bytes());
    }

    fn key(&self, key: u8, fronts: &[Arc<dyn Receiver>], host: &dyn Host) {
        match key {
            b'h' | b'?' => self.help(),
            b'x' => {
                self.send(b"QEMU: Terminated\n\r");
                host.quit();
            }
            b's' => host.sync(),
            b't' => {
                self.inner.times.fetch_xor(true, Ordering::AcqRel);
            }
            b'b' => {
                let front = fronts.get(self.inner.focus.load(Ordering::Acquire));
                if let Some(front) = front {
                    front.line_break();
                }
            }
            b'c' if !fronts.is_empty() => {
                let old = self.inner.focus.load(Ordering::Acquire);
                let new = (old + 1) % fronts.len();
                if let (Some(before), Some(after)) = (fronts.get(old), fronts.get(new)) {
                    before.focus(false);
                    self.inner.focus.store(new, Ordering::Release);
                    after.focus(true);
                }
            }
            _ => {}
        }
    }
}

/// Reads a backend that is not shared to its end.
pub fn run_plain(source: &mut dyn Source, front: &dyn Receiver) {
    let mut buffer = [0; 4096];
    while let Ok(arrival) = source.next(&mut buffer) {
        match arrival {
            Arrival::Opened => {
                front.peer(true);
                front.focus(true);
            }
            Arrival::Closed => front.peer(false),
            Arrival::Bytes(bytes) => front.receive(buffer.get(..bytes).unwrap_or(&[])),
        }
    }
}
