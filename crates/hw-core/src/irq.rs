//! Interrupt lines: a device drives its end; the machine collects the changes and hands them to the interrupt
//! controllers after the device returns.
//!
//! Several devices may drive one wire: it is high while anyone holds it high. Changes are kept in order, so a pulse
//! within one access is not lost. A message-signalled interrupt is such a change too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Changes kept at most; a machine takes them after each access, so only a broken one comes near.
const MOST_CHANGES: usize = 4096;

/// What reaches the interrupt controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A wire went to a level.
    Wire(usize, bool),
    /// A device wrote a message: address and data.
    Message(u64, u32),
}

/// All wires of a machine; copies name the same wires.
#[derive(Debug, Clone)]
pub struct Lines {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    changed: AtomicBool,
    wires: Mutex<Wires>,
}

#[derive(Debug)]
struct Wires {
    /// How many drivers hold each wire high.
    high: Vec<u32>,
    changes: Vec<Signal>,
}

impl Lines {
    /// `count` wires, all low.
    pub fn new(count: usize) -> Self {
        let wires = Wires {
            high: vec![0; count],
            changes: Vec::new(),
        };
        Self {
            inner: Arc::new(Inner {
                changed: AtomicBool::new(false),
                wires: Mutex::new(wires),
            }),
        }
    }

    /// A new driver of wire `index`, low. A wire that does not exist swallows everything.
    pub fn line(&self, index: usize) -> Line {
        Line {
            lines: self.clone(),
            index,
            level: false,
        }
    }

    /// Whether [`Lines::take`] would give anything.
    pub fn changed(&self) -> bool {
        self.inner.changed.load(Ordering::Acquire)
    }

    /// Takes the changes since the last call, oldest first.
    pub fn take(&self) -> Vec<Signal> {
        self.inner.changed.store(false, Ordering::Release);
        let mut wires = self.wires();
        std::mem::take(&mut wires.changes)
    }

    /// Sends a message-signalled interrupt.
    pub fn message(&self, address: u64, data: u32) {
        let mut wires = self.wires();
        if wires.changes.len() < MOST_CHANGES {
            wires.changes.push(Signal::Message(address, data));
            self.inner.changed.store(true, Ordering::Release);
        }
    }

    /// Whether anyone holds a wire high.
    pub fn level(&self, index: usize) -> bool {
        self.wires().high.get(index).is_some_and(|high| *high > 0)
    }

    fn wires(&self) -> std::sync::MutexGuard<'_, Wires> {
        self.inner
            .wires
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn drive(&self, index: usize, level: bool) {
        let mut wires = self.wires();
        let Some(high) = wires.high.get_mut(index) else {
            return;
        };
        let before = *high > 0;
        *high = if level {
            *high + 1
        } else {
            high.saturating_sub(1)
        };
        let after = *high > 0;
        if before != after && wires.changes.len() < MOST_CHANGES {
            wires.changes.push(Signal::Wire(index, after));
            self.inner.changed.store(true, Ordering::Release);
        }
    }
}

/// One driver's end of a wire.
#[derive(Debug)]
pub struct Line {
    lines: Lines,
    index: usize,
    level: bool,
}

impl Line {
    /// Drives the line.
    pub fn set(&mut self, level: bool) {
        if self.level != level {
            self.level = level;
            self.lines.drive(self.index, level);
        }
    }

    /// Up and down again: one edge.
    pub fn pulse(&mut self) {
        self.set(true);
        self.set(false);
    }

    /// What this driver drives.
    pub fn level(&self) -> bool {
        self.level
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_wire_is_high_while_anyone_holds_it() {
        let lines = Lines::new(4);
        let (mut a, mut b) = (lines.line(2), lines.line(2));
        a.set(true);
        b.set(true);
        a.set(false);
        assert_eq!(lines.take(), vec![Signal::Wire(2, true)]);
        b.set(false);
        assert_eq!(lines.take(), vec![Signal::Wire(2, false)]);
        assert!(!lines.changed());
    }

    #[test]
    fn a_pulse_is_not_lost() {
        let lines = Lines::new(1);
        lines.line(0).pulse();
        assert_eq!(
            lines.take(),
            vec![Signal::Wire(0, true), Signal::Wire(0, false)]
        );
    }

    #[test]
    fn a_driver_that_goes_lets_go() {
        let lines = Lines::new(1);
        let mut line = lines.line(0);
        line.set(true);
        drop(line);
        assert_eq!(
            lines.take(),
            vec![Signal::Wire(0, true), Signal::Wire(0, false)]
        );
        lines.line(9).set(true);
        assert!(lines.take().is_empty());
    }
}
