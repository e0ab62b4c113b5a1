//! Character backends: where the bytes of serial ports and debug consoles go.
//!
//! Only the way out is here. What comes in is given to the device by the machine, under its lock, through
//! `Device::receive`.

use std::sync::{Arc, Mutex, PoisonError};

/// Takes the bytes a device sends.
pub trait Sink: Send {
    /// Takes bytes; never blocks for long and never fails: what cannot be delivered is dropped.
    fn send(&mut self, bytes: &[u8]);
}

/// A sink that drops everything.
#[derive(Debug, Default)]
pub struct Null;

impl Sink for Null {
    fn send(&mut self, _bytes: &[u8]) {}
}

/// A sink that keeps everything for whoever holds a copy, for tests.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Capture {
    /// What was sent so far, as text.
    pub fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Sink for Capture {
    fn send(&mut self, bytes: &[u8]) {
        let mut kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
    }
}

/// A sink over anything that writes; each send is flushed.
#[derive(Debug)]
pub struct Writer<W>(pub W);

impl<W: std::io::Write + Send> Sink for Writer<W> {
    fn send(&mut self, bytes: &[u8]) {
        // A terminal that went away must not stop the guest.
        let _ = self.0.write_all(bytes).and_then(|()| self.0.flush());
    }
}
