//! Standard input and output; a terminal is set to raw mode until [`restore`].

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use backend_core::chars::Writer;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, isatty,
    tcgetattr, tcsetattr,
};

use super::{Plain, Port};

/// The terminal's settings before ours.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Opens the streams.
pub(super) fn open(signal: bool) -> io::Result<Port> {
    let input = io::stdin();
    if isatty(&input) {
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        raw.input_modes -= InputModes::IGNBRK
            | InputModes::BRKINT
            | InputModes::PARMRK
            | InputModes::ISTRIP
            | InputModes::INLCR
            | InputModes::IGNCR
            | InputModes::ICRNL
            | InputModes::IXON;
        raw.output_modes |= OutputModes::OPOST;
        raw.local_modes -=
            LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN;
        if !signal {
            raw.local_modes -= LocalModes::ISIG;
        }
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&input, OptionalActions::Now, &raw)?;
        let mut kept = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert(before);
    }
    Ok(Port::new(
        "stdio",
        Box::new(Writer(io::stdout())),
        Some(Box::new(Plain::new(Input))),
    ))
}

/// Gives the terminal back as it was; to be called before the program ends.
pub fn restore() {
    let mut kept = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) = kept.take() {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// Standard input without a buffer of its own.
struct Input;

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(io::stdin(), into)?)
    }
}
