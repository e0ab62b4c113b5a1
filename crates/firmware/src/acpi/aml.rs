//! ACPI machine language, as much of it as our tables use (ACPI 6.5, chapter 20): every function gives the bytes of a
//! term, and terms are put together by concatenation.

/// A piece of machine language.
pub(super) type Term = Vec<u8>;

/// Terms one after the other.
pub(super) fn all(terms: &[Term]) -> Term {
    terms.concat()
}

/// A name: segments of four characters, with a leading `\` and dots as they are written in ASL.
pub(super) fn name_string(path: &str) -> Term {
    let mut term = Vec::new();
    let rest = path.strip_prefix('\\');
    if rest.is_some() {
        term.push(b'\\');
    }
    let segments: Vec<&str> = rest
        .unwrap_or(path)
        .split('.')
        .filter(|s| !s.is_empty())
        .collect();
    match segments.len() {
        0 => term.push(0),
        1 => {}
        2 => term.push(0x2e),
        n => term.extend([0x2f, n.to_le_bytes()[0]]),
    }
    for segment in segments {
        let mut padded = [b'_'; 4];
        for (slot, byte) in padded.iter_mut().zip(segment.bytes()) {
            *slot = byte;
        }
        term.extend(padded);
    }
    term
}

/// An integer in its shortest form.
pub(super) fn integer(value: u64) -> Term {
    let raw = value.to_le_bytes();
    match value {
        0 => vec![0],
        1 => vec![1],
        2..=0xff => vec![0x0a, raw[0]],
        0x100..=0xffff => [&[0x0b], &raw[..2]].concat(),
        0x1_0000..=0xffff_ffff => [&[0x0c], &raw[..4]].concat(),
        _ => [&[0x0e], &raw[..]].concat(),
    }
}

/// A string.
pub(super) fn string(text: &str) -> Term {
    [&[0x0d], text.as_bytes(), &[0]].concat()
}

/// A compressed EISA id such as `PNP0A03`, as an integer.
pub(super) fn eisa_id(id: &str) -> Term {
    let raw = id.as_bytes();
    let letter = |n: usize| u32::from(raw.get(n).map_or(0, |b| b.wrapping_sub(0x40)) & 31);
    let number = id
        .get(3..)
        .and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let value = letter(0) << 26 | letter(1) << 21 | letter(2) << 16 | number.unwrap_or(0);
    integer(u64::from(value.swap_bytes()))
}

/// Length of a package, which counts itself.
fn length(body: usize) -> Term {
    let byte = |value: usize| value.to_le_bytes()[0];
    if body + 1 < 0x40 {
        return vec![byte(body + 1)];
    }
    let extra = match body {
        _ if body + 2 < 1 << 12 => 1,
        _ if body + 3 < 1 << 20 => 2,
        _ => 3,
    };
    let total = body + 1 + extra;
    let mut term = vec![byte(extra << 6 | total & 15)];
    term.extend((0..extra).map(|n| byte(total >> (4 + 8 * n))));
    term
}

fn packed(opcode: &[u8], body: &[u8]) -> Term {
    [opcode, &length(body.len()), body].concat()
}

/// `Scope (path) { body }`.
pub(super) fn scope(path: &str, body: &[Term]) -> Term {
    packed(&[0x10], &[name_string(path), all(body)].concat())
}

/// `Device (name) { body }`.
pub(super) fn device(name: &str, body: &[Term]) -> Term {
    packed(&[0x5b, 0x82], &[name_string(name), all(body)].concat())
}

/// `Name (name, value)`.
pub(super) fn name(name: &str, value: &[u8]) -> Term {
    [&[0x08], name_string(name).as_slice(), value].concat()
}

/// `Method (name, arguments) { body }`.
pub(super) fn method(name: &str, arguments: u8, body: &[Term]) -> Term {
    packed(
        &[0x14],
        &[name_string(name), vec![arguments & 7], all(body)].concat(),
    )
}

/// `Package () { elements }`, up to 255 of them.
pub(super) fn package(elements: &[Term]) -> Term {
    let count = u8::try_from(elements.len()).unwrap_or(u8::MAX);
    packed(&[0x12], &[vec![count], all(elements)].concat())
}

/// `Buffer () { bytes }`.
pub(super) fn buffer(bytes: &[u8]) -> Term {
    packed(&[0x11], &[&integer(bytes.len() as u64), bytes].concat())
}

/// `Return (value)`.
pub(super) fn returns(value: &[u8]) -> Term {
    [&[0xa4], value].concat()
}

/// `If (condition) { body }`.
pub(super) fn when(condition: &[u8], body: &[Term]) -> Term {
    packed(&[0xa0], &[condition, &all(body)].concat())
}

/// `Store (Arg0, name)`.
pub(super) fn store_argument(to: &str) -> Term {
    [&[0x70, 0x68], name_string(to).as_slice()].concat()
}

/// `Method (name, arguments, Serialized) { body }`.
pub(super) fn serialized_method(name: &str, arguments: u8, body: &[Term]) -> Term {
    const SERIALIZED: u8 = 8;
    let flags = vec![arguments & 7 | SERIALIZED];
    packed(&[0x14], &[name_string(name), flags, all(body)].concat())
}

/// `Local0`.
pub(super) fn local0() -> Term {
    vec![0x60]
}

/// `Store (from, to)`.
pub(super) fn store(from: &[u8], to: &[u8]) -> Term {
    [&[0x70], from, to].concat()
}

/// `And (left, right)`.
pub(super) fn and(left: &[u8], right: &[u8]) -> Term {
    [&[0x7b], left, right, &[0]].concat()
}

/// `LEqual (left, right)`.
pub(super) fn equal(left: &[u8], right: &[u8]) -> Term {
    [&[0x93], left, right].concat()
}

/// `Notify (name, value)`.
pub(super) fn notify(name: &str, value: &[u8]) -> Term {
    [&[0x86], name_string(name).as_slice(), value].concat()
}

/// `OperationRegion (name, SystemMemory, at, bytes)`.
pub(super) fn memory_region(name: &str, at: u32, bytes: u32) -> Term {
    let (at, bytes) = (integer(u64::from(at)), integer(u64::from(bytes)));
    [
        &[0x5b, 0x80],
        name_string(name).as_slice(),
        &[0],
        &at,
        &bytes,
    ]
    .concat()
}

/// `Field (region, DWordAcc, NoLock, WriteAsZeros) { name, 32 }`.
pub(super) fn double_word_field(region: &str, name: &str) -> Term {
    const FLAGS: u8 = 3 | 2 << 5;
    let (region, name) = (name_string(region), name_string(name));
    packed(
        &[0x5b, 0x81],
        &[region.as_slice(), &[FLAGS], &name, &[32]].concat(),
    )
}

/// A global interrupt of the device's own, active high, by edge or by level.
pub(super) fn interrupt(gsi: u32, edge: bool) -> Term {
    let flags = 1 | u8::from(edge) << 1;
    let mut term = vec![0x89, 6, 0, flags, 1];
    term.extend(gsi.to_le_bytes());
    term
}

/// Resources, ended and wrapped in a buffer.
pub(super) fn resources(descriptors: &[Term]) -> Term {
    // A checksum of zero counts as right.
    buffer(&[all(descriptors), vec![0x79, 0]].concat())
}

/// Fixed ports.
pub(super) fn io(port: u16, count: u8) -> Term {
    let [low, high] = port.to_le_bytes();
    vec![0x47, 1, low, high, low, high, 1, count]
}

/// An edge-triggered interrupt of the 8259 pair.
pub(super) fn irq(number: u8) -> Term {
    let mask = (1_u16 << (number & 15)).to_le_bytes();
    vec![0x22, mask[0], mask[1]]
}

/// Fixed memory below 4 GiB, writable.
pub(super) fn memory(start: u32, size: u32) -> Term {
    let mut term = vec![0x86, 9, 0, 1];
    term.extend(start.to_le_bytes());
    term.extend(size.to_le_bytes());
    term
}

/// What a bridge passes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    /// Bus numbers.
    Bus,
    /// Ports.
    Io,
    /// Memory.
    Memory,
}

impl Window {
    fn kind(self) -> (u8, u8) {
        match self {
            Self::Memory => (0, 1),
            Self::Io => (1, 3),
            Self::Bus => (2, 0),
        }
    }
}

/// Addresses that a bridge passes on, `first` to `last`; in 16, 32 or 64 bits as they need.
pub(super) fn window(what: Window, first: u64, last: u64) -> Term {
    let (kind, flags) = what.kind();
    let (tag, width) = match (what, last) {
        (Window::Bus | Window::Io, _) => (0x88, 2),
        (_, 0..=0xffff_ffff) => (0x87, 4),
        _ => (0x8a, 8),
    };
    // Fixed minimum and maximum, produced by the bridge, positive decoding.
    let mut body = vec![kind, 0x0c, flags];
    for value in [0, first, last, 0, last - first + 1] {
        body.extend(&value.to_le_bytes()[..width]);
    }
    let size = u16::try_from(body.len()).unwrap_or(0).to_le_bytes();
    [&[tag, size[0], size[1]], body.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_have_the_bytes_of_the_specification() {
        assert_eq!(name_string("\\_SB.PCI0"), b"\\\x2e_SB_PCI0");
        assert_eq!(eisa_id("PNP0A03"), [0x0c, 0x41, 0xd0, 0x0a, 0x03]);
        assert_eq!(integer(0x1234), [0x0b, 0x34, 0x12]);
        assert_eq!(package(&[integer(0), integer(5)]), [0x12, 5, 2, 0, 0x0a, 5]);
        assert_eq!(name("_S5", &integer(1)), b"\x08_S5_\x01");
        let long = packed(&[0x10], &[0; 100]);
        assert_eq!(long[..3], [0x10, 0x46, 0x06]);
        assert_eq!(io(0x70, 8), [0x47, 1, 0x70, 0, 0x70, 0, 1, 8]);
        assert_eq!(
            resources(&[irq(8)]),
            [0x11, 8, 0x0a, 5, 0x22, 0, 1, 0x79, 0]
        );
    }
}
