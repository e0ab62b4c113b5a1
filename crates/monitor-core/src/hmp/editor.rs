//! The line editor of the human monitor: what is typed comes in, what the terminal is to show goes out.
//!
//! ```text
//! Ctrl-A/E  start/end     Ctrl-D  delete          Ctrl-U  delete to the start    Tab  complete
//! Ctrl-N/P  history       Ctrl-W  delete a word   Ctrl-L  clear the screen       arrows, Home, End, Delete
//! ```
//! The line is drawn again after each key, also where no terminal is, as scripts have come to expect.

use std::borrow::Cow;

/// Longest line.
const MOST: usize = 4095;
/// Lines that are remembered.
const HISTORY: usize = 64;

/// What a key led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What the terminal is to show.
    pub shown: String,
    /// The line, when it is whole.
    pub line: Option<String>,
    /// What stands before the cursor is to be completed.
    pub complete: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    Escape,
    /// Behind `ESC [`, with the number so far.
    Control(u32),
    /// Behind `ESC O`.
    Shift,
}

/// A line under way.
#[derive(Debug, Default)]
pub struct Editor {
    state: State,
    line: Vec<u8>,
    cursor: usize,
    drawn: Vec<u8>,
    drawn_cursor: usize,
    history: Vec<Vec<u8>>,
    /// Where in the history the line came from.
    entry: Option<usize>,
}

impl Editor {
    /// Takes one byte.
    pub fn typed(&mut self, byte: u8) -> Step {
        let mut step = Step::default();
        match (self.state, byte) {
            (State::Plain, b'\n' | b'\r') => {
                step.shown.push('\n');
                step.line = Some(self.finish());
                return step;
            }
            (State::Plain, b'\t') => {
                let before = self.line.get(..self.cursor).unwrap_or(&[]);
                step.complete = Some(String::from_utf8_lossy(before).into_owned());
            }
            (State::Plain, 12) => {
                step.shown.push_str("\x1b[2J\x1b[1;1H");
                self.drawn.clear();
                self.drawn_cursor = 0;
            }
            (State::Plain, 27) => self.state = State::Escape,
            (State::Plain, 155) => self.state = State::Control(0),
            (State::Plain, byte) => self.key(byte),
            (State::Escape, b'[' | b'O') => {
                self.state = if byte == b'[' {
                    State::Control(0)
                } else {
                    State::Shift
                };
            }
            (State::Escape, _) => self.state = State::Plain,
            (State::Control(number), digit @ b'0'..=b'9') => {
                let digit = u32::from(digit - b'0');
                self.state = State::Control(number.saturating_mul(10).saturating_add(digit));
            }
            (State::Control(number), byte) => {
                self.state = State::Plain;
                self.control(number, byte);
            }
            (State::Shift, byte) => {
                self.state = State::Plain;
                match byte {
                    b'F' => self.cursor = self.line.len(),
                    b'H' => self.cursor = 0,
                    _ => {}
                }
            }
        }
        self.draw(&mut step.shown);
        step
    }

    /// Forgets the line under way; lines that were entered stay.
    pub fn restart(&mut self) {
        *self = Self {
            history: std::mem::take(&mut self.history),
            ..Self::default()
        };
    }

    /// The lines that were entered, the oldest first; each stands there once.
    pub fn history(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.history
            .iter()
            .map(|line| String::from_utf8_lossy(line))
    }

    /// Puts text at the cursor, as if it had been typed; gives what the terminal is to show.
    pub fn insert(&mut self, text: &str) -> String {
        text.bytes().for_each(|byte| self.key(byte));
        let mut shown = String::new();
        self.draw(&mut shown);
        shown
    }

    /// Draws prompt and line anew, on a line of their own.
    pub fn redraw(&mut self, prompt: &str) -> String {
        let mut shown = prompt.to_owned();
        self.drawn.clear();
        self.drawn_cursor = 0;
        self.draw(&mut shown);
        shown
    }

    fn finish(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        self.cursor = 0;
        self.drawn.clear();
        self.drawn_cursor = 0;
        self.entry = None;
        if !line.is_empty() {
            self.history.retain(|old| *old != line);
            self.history.push(line.clone());
            if self.history.len() > HISTORY {
                self.history.remove(0);
            }
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    fn key(&mut self, byte: u8) {
        match byte {
            1 => self.cursor = 0,
            4 => self.delete(),
            5 => self.cursor = self.line.len(),
            14 => self.down(),
            16 => self.up(),
            21 => {
                self.line.drain(..self.cursor);
                self.cursor = 0;
            }
            23 => self.delete_word(),
            8 | 127 if self.cursor > 0 => {
                self.cursor -= 1;
                self.delete();
            }
            32.. if self.line.len() < MOST => {
                self.line.insert(self.cursor, byte);
                self.cursor += 1;
            }
            _ => {}
        }
    }

    fn control(&mut self, number: u32, byte: u8) {
        match (byte, number) {
            (b'A' | b'F', _) => self.up(),
            (b'B' | b'E', _) => self.down(),
            (b'D', _) => self.cursor = self.cursor.saturating_sub(1),
            (b'C', _) => self.cursor = (self.cursor + 1).min(self.line.len()),
            (b'~', 1) => self.cursor = 0,
            (b'~', 3) => self.delete(),
            (b'~', 4) => self.cursor = self.line.len(),
            _ => {}
        }
    }

    fn delete(&mut self) {
        if self.cursor < self.line.len() {
            self.line.remove(self.cursor);
        }
    }

    fn delete_word(&mut self) {
        let before = self.line.get(..self.cursor).unwrap_or(&[]);
        let word_end = before.iter().rposition(|b| !b.is_ascii_whitespace());
        let start = word_end.and_then(|end| {
            let word = before.get(..end)?;
            word.iter().rposition(u8::is_ascii_whitespace)
        });
        let start = start.map_or(0, |space| space + 1);
        self.line.drain(start..self.cursor);
        self.cursor = start;
    }

    fn recall(&mut self, entry: Option<usize>) {
        if let Some(line) = entry.and_then(|n| self.history.get(n)) {
            self.line.clone_from(line);
            self.entry = entry;
        } else {
            self.entry = None;
        }
        self.cursor = self.line.len();
    }

    fn up(&mut self) {
        let from = self.entry.unwrap_or(self.history.len());
        if from > 0 {
            self.recall(Some(from - 1));
        }
    }

    fn down(&mut self) {
        if let Some(entry) = self.entry {
            self.recall(Some(entry + 1));
        }
    }

    fn draw(&mut self, out: &mut String) {
        if self.line != self.drawn {
            out.push_str(&"\x1b[D".repeat(self.drawn_cursor));
            out.push_str(&String::from_utf8_lossy(&self.line));
            out.push_str("\x1b[K");
            self.drawn.clone_from(&self.line);
            self.drawn_cursor = self.line.len();
        }
        let (new, old) = (self.cursor, self.drawn_cursor);
        out.push_str(&"\x1b[C".repeat(new.saturating_sub(old)));
        out.push_str(&"\x1b[D".repeat(old.saturating_sub(new)));
        self.drawn_cursor = new;
    }
}

/// How several completions are shown: in columns.
pub fn columns(words: &[&str]) -> String {
    const WIDTH: usize = 80;
    let widest = words.iter().map(|word| word.len()).max().unwrap_or(0) + 2;
    let widest = widest.clamp(10, WIDTH);
    let each_line = (WIDTH / widest).max(1);
    let mut text = String::new();
    for (n, word) in words.iter().enumerate() {
        text.push_str(&format!("{word:<widest$}"));
        if (n + 1) % each_line == 0 || n + 1 == words.len() {
            text.push('\n');
        }
    }
    text
}
