//! Memory shown as numbers, letters or instructions (`x`, `xp`), and numbers in any base (`print`, `i`).

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction};
use monitor_core::hmp::DumpFormat;

use super::Vm;
use super::memory::{View, read};

/// What was used last, for a format that does not say it all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Last {
    pub(super) letter: char,
    pub(super) size: u8,
}

impl Default for Last {
    fn default() -> Self {
        Self {
            letter: 'x',
            size: 4,
        }
    }
}

impl Last {
    /// Letter and size that a format means: what it does not say is as it was the last time, in whichever command.
    pub(super) fn chosen(&mut self, format: DumpFormat) -> (char, u8) {
        self.letter = format.letter.unwrap_or(self.letter);
        if self.letter != 'i' {
            self.size = format.size.unwrap_or(self.size);
        }
        (self.letter, self.size)
    }
}

/// Bytes of one row.
const ROW: usize = 16;
/// Longest instruction.
const LONGEST: usize = 15;

/// Shows memory; `digits` of an address, `bits` of the code segment.
pub(super) fn memory(
    vm: &Vm,
    view: View,
    start: u64,
    format: DumpFormat,
    last: &mut Last,
    bits: u32,
) -> String {
    let (letter, size) = last.chosen(format);
    if letter == 'i' {
        return instructions(vm, view, start, format.count, bits);
    }
    // Letters are bytes whatever the user says.
    let size = if letter == 'c' { 1 } else { size };
    let width = usize::from(size);
    let each_row = if letter == 'c' || width == 1 {
        8
    } else {
        ROW / width
    };
    let mut text = String::new();
    let mut address = start;
    let mut left = usize::try_from(format.count).unwrap_or(0);
    while left > 0 {
        let count = left.min(each_row.max(1));
        let mut bytes = vec![0; count * width];
        text.push_str(&format!("{address:016x}:"));
        if !read(vm, view, address, &mut bytes) {
            text.push_str(" Cannot access memory\n");
            break;
        }
        for item in bytes.chunks(width) {
            let mut raw = [0; 8];
            raw[..item.len().min(8)].copy_from_slice(item.get(..8).unwrap_or(item));
            let value = u64::from_le_bytes(raw);
            text.push(' ');
            text.push_str(&padded(value, letter, size));
        }
        text.push('\n');
        address = address.wrapping_add(bytes.len() as u64);
        left -= count;
    }
    text
}

/// A number as wide as its size makes it.
fn padded(value: u64, letter: char, size: u8) -> String {
    let size = usize::from(size);
    match letter {
        'o' => format!("{:>width$}", octal(value), width = (size * 8).div_ceil(3)),
        'u' => format!("{value:width$}", width = (size * 80).div_ceil(33)),
        'd' => format!(
            "{:width$}",
            value.cast_signed(),
            width = (size * 80).div_ceil(33)
        ),
        'c' => letter_text(value),
        _ => format!("0x{value:0width$x}", width = size * 2),
    }
}

/// As C writes it with a leading zero.
fn octal(value: u64) -> String {
    if value == 0 {
        "0".to_owned()
    } else {
        format!("0{value:o}")
    }
}

fn letter_text(value: u64) -> String {
    let Ok(byte) = u8::try_from(value) else {
        return format!("'\\x{:x}'", value & 0xffff_ffff);
    };
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'\\' => "'\\\\'".to_owned(),
        b'\n' => "'\\n'".to_owned(),
        b'\r' => "'\\r'".to_owned(),
        32..=126 => format!("'{}'", char::from(byte)),
        _ => format!("'\\x{byte:02x}'"),
    }
}

/// A number as `print` and `i` show it.
pub(super) fn plain(value: i64, letter: char) -> String {
    match letter {
        'o' => octal(value.cast_unsigned()),
        'u' => format!("{}", value.cast_unsigned()),
        'd' => format!("{value}"),
        'c' => letter_text(value.cast_unsigned()),
        _ => format!("{value:#x}"),
    }
}

/// Code as instructions, in AT&T's notation.
fn instructions(vm: &Vm, view: View, start: u64, count: u32, bits: u32) -> String {
    let mut text = String::new();
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    let mut address = start;
    for _ in 0..count {
        let bytes = readable(vm, view, address);
        let shown = if bits == 64 {
            format!("0x{address:016x}:")
        } else {
            format!("0x{address:08x}:")
        };
        if bytes.is_empty() {
            text.push_str(&format!("{shown} unable to read memory\n"));
            break;
        }
        let mut decoder = Decoder::with_ip(bits, &bytes, address, DecoderOptions::NONE);
        let instruction: Instruction = decoder.decode();
        let len = instruction.len().clamp(1, bytes.len());
        let raw: Vec<String> = bytes.iter().take(len).map(|b| format!("{b:02x}")).collect();
        let mut words = String::new();
        formatter.format(&instruction, &mut words);
        let (name, operands) = words.split_once(' ').unwrap_or((&words, ""));
        let line = format!("{shown}  {:<23}  {name:<8} {operands}", raw.join(" "));
        text.push_str(line.trim_end());
        text.push('\n');
        address = address.wrapping_add(len as u64);
    }
    text
}

/// As many bytes as there are of the longest instruction.
fn readable(vm: &Vm, view: View, address: u64) -> Vec<u8> {
    for len in (1..=LONGEST).rev() {
        let mut bytes = vec![0; len];
        if read(vm, view, address, &mut bytes) {
            return bytes;
        }
    }
    Vec::new()
}
