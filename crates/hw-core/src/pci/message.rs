//! MSI: one message, whose address and data are in configuration space (PCI local bus 3.0, 6.8.1).
//! ```text
//!   capability:  id 5, next, control (bit 0 on, bit 7 64-bit address), address (8), data (2)
//! ```

use super::Config;
use crate::bits::low32;
use crate::irq::Lines;

/// Capability id of MSI.
const ID: u8 = 5;
const ON: u64 = 1;
const WIDE: u8 = 1 << 7;

/// A function's one message.
#[derive(Debug)]
pub struct Msi {
    lines: Lines,
    /// Where the capability is in configuration space.
    at: usize,
}

impl Msi {
    /// The message, and its capability in `config` at `at` (14 bytes).
    pub fn new(config: Config, at: u8, lines: &Lines) -> (Self, Config) {
        let mut body = [0; 12];
        body[0] = WIDE;
        let mut config = config.with_capability(at, ID, &body);
        let at = usize::from(at);
        config.allow(at + 2, 2, ON);
        config.allow(at + 4, 8, !3);
        config.allow(at + 12, 2, 0xffff);
        let lines = lines.clone();
        (Self { lines, at }, config)
    }

    /// Whether the guest uses the message; the function's pin is then not to be driven.
    pub fn on(&self, config: &Config) -> bool {
        config.read(self.at + 2, 2) & ON != 0
    }

    /// Sends the message, if the guest uses it.
    pub fn raise(&self, config: &Config) {
        if self.on(config) {
            let address = config.read(self.at + 4, 8);
            self.lines
                .message(address, low32(config.read(self.at + 12, 2)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irq::Signal;
    use crate::pci::tests::WHO;

    #[test]
    fn the_message_is_sent_only_while_it_is_on() {
        let lines = Lines::new(1);
        let config = Config::new(&WHO);
        let (msi, mut config) = Msi::new(config, 0x80, &lines);
        config.write(0x84, 4, 0xfee0_2003);
        config.write(0x8c, 2, 0x51);
        msi.raise(&config);
        assert!(lines.take().is_empty());
        config.write(0x82, 2, 0xffff);
        assert_eq!(config.read(0x82, 2), 0x81);
        msi.raise(&config);
        assert_eq!(lines.take(), [Signal::Message(0xfee0_2000, 0x51)]);
    }
}
