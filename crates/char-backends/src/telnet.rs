//! Just enough of telnet (RFC 854): the client is put into character mode, and its commands are taken out of what it
//! sends.
//!
//! ```text
//!   IAC IAC        one byte 255
//!   IAC BRK        a broken line; told as nothing here
//!   IAC SB ... IAC SE, IAC WILL|WONT|DO|DONT OPTION, IAC COMMAND    dropped
//! ```

const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;

/// What the server says first: it echoes, sends no go-aheads, and both ways are binary.
pub const HELLO: [u8; 12] = [IAC, 251, 1, IAC, 251, 3, IAC, 251, 0, IAC, 253, 0];

/// Takes commands out of a stream of bytes.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Data,
    Command,
    Option,
    Inside,
    InsideCommand,
}

impl Filter {
    /// Takes them out in place; gives how many bytes are left at the front.
    pub fn strip(&mut self, bytes: &mut [u8]) -> usize {
        let mut kept = 0;
        for at in 0..bytes.len() {
            let Some(byte) = bytes.get(at).copied() else {
                break;
            };
            let (next, data) = match (self.state, byte) {
                (State::Data, IAC) => (State::Command, None),
                (State::Data, byte) => (State::Data, Some(byte)),
                (State::Command, IAC) => (State::Data, Some(IAC)),
                (State::Command, SB) => (State::Inside, None),
                (State::Command, 251..=254) => (State::Option, None),
                (State::Command | State::Option, _) => (State::Data, None),
                (State::Inside, IAC) => (State::InsideCommand, None),
                (State::Inside, _) => (State::Inside, None),
                (State::InsideCommand, SE) => (State::Data, None),
                (State::InsideCommand, _) => (State::Inside, None),
            };
            self.state = next;
            if let (Some(byte), Some(slot)) = (data, bytes.get_mut(kept)) {
                *slot = byte;
                kept += 1;
            }
        }
        kept
    }
}
