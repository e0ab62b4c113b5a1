//! Tables of chunks in a property list: the base64 texts of its `data` elements, whatever they are about.

use std::sync::Arc;

use block_core::Edge;

use super::Failure;
use super::chunks::Chunks;

/// Longest list that is read.
const MAX_LEN: u64 = 16 << 20;
const BEGIN: &[u8] = b"<data>";
const END: &[u8] = b"</data>";

/// Reads the list at `at`; it is inside the file.
pub(super) async fn read(
    file: &Arc<Edge>,
    at: u64,
    len: u64,
    chunks: &mut Chunks,
) -> Result<(), Failure> {
    let len = usize::try_from(len).ok().filter(|_| len <= MAX_LEN);
    let mut text = vec![0; len.ok_or(Failure::Invalid)?];
    file.read(at, &mut text)
        .await
        .map_err(|_| Failure::Invalid)?;
    parse(&text, chunks)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

/// Adds the tables of all `data` elements; the text ends at the first NUL.
pub(super) fn parse(text: &[u8], chunks: &mut Chunks) -> Result<(), Failure> {
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    let mut rest = &text[..end];
    while let Some(begin) = find(rest, BEGIN) {
        rest = &rest[begin + BEGIN.len()..];
        let end = find(rest, END).ok_or(Failure::Invalid)?;
        chunks.add(&decode(&rest[..end]))?;
        rest = &rest[end + 1..];
    }
    Ok(())
}

fn digit(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Decodes base64, passing over everything that is no digit of it. Bits that make no whole byte are dropped.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for digit in text.iter().filter_map(|b| digit(*b)) {
        bits = bits << 6 | digit;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).unwrap_or(0));
            bits &= (1 << held) - 1;
        }
    }
    out
}
