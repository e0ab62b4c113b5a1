//! A function's interrupt pin (INTA# and the like).

use super::{Config, command};
use crate::irq::Line;

/// Bit of the command register that keeps the pin low.
const NO_INTX: u16 = 1 << 10;

/// The pin; the function keeps the level it wants, and the command register decides what comes out.
#[derive(Debug)]
pub struct Pin {
    line: Line,
    wanted: bool,
}

impl Pin {
    /// A pin that drives `line`.
    pub fn new(line: Line) -> Self {
        Self {
            line,
            wanted: false,
        }
    }

    /// Sets the level the function wants; the status bit in configuration space follows.
    pub fn set(&mut self, level: bool, config: &mut Config) {
        self.wanted = level;
        config.set_interrupt_status(level);
        self.follow(config);
    }

    /// To be called after a write to configuration space: the guest may have switched the pin off or on.
    pub fn follow(&mut self, config: &Config) {
        self.line.set(self.wanted && command(config) & NO_INTX == 0);
    }

    /// The level the function wants.
    pub fn wanted(&self) -> bool {
        self.wanted
    }
}
