//! Cuts the sources into numbered pieces by their block status.

use std::io;

use super::{
    ConvertError, ConvertOptions, Initial, MAX_BUFFER, SECTOR, Setup, Source, Zeroes, cluster_size,
};
use crate::chain::status_above;

/// Longest piece of zeroes to be written, in bytes.
const MAX_ZERO: u64 = 1 << 30;

/// What a piece holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Bytes to be read.
    Data,
    /// Zeroes.
    Zero,
    /// What shows through from the target's backing file.
    Backing,
}

/// A part of the sources: of one, but for a packed cluster that begins in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    /// Counts from 0, without gaps.
    pub(crate) number: u64,
    /// Index of the source.
    pub(crate) source: usize,
    /// Where in the source, in bytes.
    pub(crate) from: u64,
    /// Where in the target, in bytes.
    pub(crate) to: u64,
    /// In bytes, a multiple of the sector.
    pub(crate) len: u64,
    pub(crate) content: Content,
    /// The offset that error messages name.
    pub(crate) named: u64,
    /// Progress is told after it: at the end of a stretch and of each longest buffer in it, however small the pieces are.
    pub(crate) told: bool,
}

/// A stretch of equal block status.
#[derive(Debug, Clone, Copy)]
struct Known {
    start: u64,
    end: u64,
    content: Content,
}

struct Part {
    source: Source,
    /// Where it begins and ends in the target.
    start: u64,
    end: u64,
    cluster: u64,
}

/// Hands out pieces.
pub(crate) struct Plan {
    parts: Vec<Part>,
    current: usize,
    at: u64,
    number: u64,
    known: Option<Known>,
    setup: Setup,
    backing: Option<u64>,
    /// Zeroes need no work: the target has them already.
    skip_zero: bool,
    /// Zeroes are stored as data.
    full: bool,
    /// Sectors whose status is not known count as data, with a warning.
    salvage: bool,
    warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn new(sources: Vec<Source>, options: &ConvertOptions, setup: Setup) -> Self {
        let mut end = 0;
        let parts = sources.into_iter().map(|source| {
            let start = end;
            end = start + source.len.next_multiple_of(SECTOR);
            Part {
                cluster: cluster_size(&source.root),
                source,
                start,
                end,
            }
        });
        let full = options.zeroes == Zeroes::Store;
        Self {
            parts: parts.collect(),
            current: 0,
            at: 0,
            number: 0,
            known: None,
            setup,
            backing: match options.initial {
                Initial::Backing(len) => Some(len),
                _ => None,
            },
            skip_zero: options.initial == Initial::Zero && !full,
            full,
            salvage: options.salvage,
            warnings: Vec::new(),
        }
    }

    /// Bytes of all parts.
    pub(crate) fn end(&self) -> u64 {
        self.parts.last().map_or(0, |p| p.end)
    }

    /// Warnings since the last call.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Walks everything once and counts the bytes that will be copied; the plan is at its start again after.
    pub(crate) async fn count(&mut self) -> Result<u64, ConvertError> {
        let mut sum = 0;
        while let Some(known) = self.known().await? {
            if self.counts(known.content) {
                sum += known.end - self.at;
            }
            self.at = known.end;
        }
        (self.at, self.current, self.known) = (0, 0, None);
        self.warnings.clear();
        Ok(sum)
    }

    /// Whether a piece of this content is work that progress counts.
    pub(crate) fn counts(&self, content: Content) -> bool {
        content == Content::Data || (self.full && content == Content::Zero)
    }

    /// How far the plan is, in bytes.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// The next piece that needs work.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, ConvertError> {
        loop {
            let Some(known) = self.known().await? else {
                return Ok(None);
            };
            let (len, content) = self.piece_at(known).await?;
            let start = self.at;
            self.at += len;
            let skip = match content {
                Content::Data => false,
                Content::Zero => self.skip_zero,
                Content::Backing => true,
            };
            if skip {
                continue;
            }
            let part = &self.parts[self.current];
            let piece = Piece {
                number: self.number,
                source: self.current,
                from: part.source.from + (start - part.start),
                to: start,
                len,
                content,
                named: start - (start - known.start.min(start)) % MAX_BUFFER,
                told: self.at >= known.end
                    || (self.at - known.start.min(start)).is_multiple_of(MAX_BUFFER),
            };
            self.number += 1;
            return Ok(Some(piece));
        }
    }

    /// Length and content of the piece that begins here: as long as the status and the buffer allow.
    async fn piece_at(&mut self, known: Known) -> Result<(u64, Content), ConvertError> {
        let start = self.at;
        let part_end = self.parts[self.current].end;
        if let Some(cluster) = self.setup.cluster {
            let len = known.end - start;
            if len < cluster {
                // Whole clusters only: a shorter stretch drags the rest of its cluster along, of the next source too.
                let len = cluster.min(self.end() - start);
                return Ok((len, Content::Data));
            }
            let len = len - len % cluster;
            let limit = self.limit(start, known.content);
            return Ok((len.min(limit), known.content));
        }
        let limit = start + self.limit(start, known.content);
        let mut end = known.end;
        while self.setup.fixed_grid && end < limit.min(part_end) {
            // The next stretch may be alike: one piece for all of them.
            self.at = end;
            let next = self.known().await;
            self.at = start;
            match next? {
                Some(next) if next.content == known.content => end = next.end,
                _ => break,
            }
        }
        Ok((end.min(limit) - start, known.content))
    }

    /// Longest piece from `start` on.
    fn limit(&self, start: u64, content: Content) -> u64 {
        match content {
            Content::Data => {}
            Content::Zero if self.full => {}
            Content::Zero => return MAX_ZERO,
            Content::Backing => return u64::MAX - start,
        }
        let buffer = self.setup.buffer;
        if self.setup.fixed_grid {
            buffer - start % buffer
        } else {
            buffer
        }
    }

    /// Status at the current position, asked of the source only when the last answer is used up.
    async fn known(&mut self) -> Result<Option<Known>, ConvertError> {
        while self.at >= self.parts.get(self.current).map_or(u64::MAX, |p| p.end) {
            self.current += 1;
        }
        if self.current >= self.parts.len() {
            return Ok(None);
        }
        match self.known {
            Some(known) if known.end > self.at => Ok(Some(known)),
            _ => {
                let known = self.ask().await?;
                self.known = Some(known);
                Ok(Some(known))
            }
        }
    }

    async fn ask(&mut self) -> Result<Known, ConvertError> {
        let start = self.at;
        let part = &self.parts[self.current];
        let done = start - part.start;
        let from = part.source.from + done;
        let mut len = part.source.len - done;
        let past_backing = self.backing.is_some_and(|end| start >= end);
        if let Some(end) = self.backing.filter(|end| *end > start) {
            len = len.min(end - start);
        }
        let base = part.source.base.as_ref();
        let status = match status_above(&part.source.root, base, from, len).await {
            Ok(status) => status,
            Err(error) if self.salvage => return Ok(self.unknown(start, error)),
            Err(error) => return Err(ConvertError::Status(start, error)),
        };
        let content = match (status.zero, status.data || base.is_none()) {
            (true, _) if past_backing => Content::Backing,
            (true, _) => Content::Zero,
            (false, true) => Content::Data,
            (false, false) => Content::Backing,
        };
        let mut len = status.len.next_multiple_of(SECTOR).min(part.end - start);
        let over = (from + len) % part.cluster;
        if len > over {
            len -= over;
        }
        Ok(Known {
            start,
            end: start + len,
            content,
        })
    }

    /// A sector whose status cannot be had counts as data.
    fn unknown(&mut self, start: u64, error: io::Error) -> Known {
        let error = qapi::Error::from(ConvertError::Status(start, error));
        self.warnings.push(error.message().to_owned());
        Known {
            start,
            end: start + SECTOR,
            content: Content::Data,
        }
    }
}
