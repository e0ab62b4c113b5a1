//! Block status ahead of whoever asks: a walk over a disk is one request for many extents, not one for each, which would
//! have to wait behind all data that is on its way.
//!
//! What was told is kept for a moment only, since other clients write too, and not over a change by this one.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nbd_proto::Extent;

/// Longest range that is asked for beyond the first extent; a server looks at all of it before it answers.
pub(super) const RANGE: u64 = 256 << 20;
/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(1);

/// What a server told last.
#[derive(Default)]
pub(super) struct Ahead(Mutex<Told>);

#[derive(Default)]
struct Told {
    /// Goes up with each change by this client.
    changes: u64,
    /// Where the first extent begins.
    at: u64,
    extents: VecDeque<Extent>,
    since: Option<Instant>,
}

/// The time of a question, for its answer to be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked(u64);

impl Ahead {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is written: what was told may be wrong now.
    pub(super) fn change(&self) {
        let mut told = self.told();
        told.changes = told.changes.wrapping_add(1);
        told.extents.clear();
    }

    /// To be called before the question.
    pub(super) fn asking(&self) -> Asked {
        Asked(self.told().changes)
    }

    /// Keeps what was told from `at` on, unless something changed meanwhile.
    pub(super) fn keep(&self, asked: Asked, at: u64, extents: Vec<Extent>) {
        let mut told = self.told();
        if told.changes == asked.0 {
            told.at = at;
            told.extents = extents.into();
            told.since = Some(Instant::now());
        }
    }

    /// What is known from `offset` on; what lies before is forgotten.
    pub(super) fn find(&self, offset: u64) -> Option<Extent> {
        let mut told = self.told();
        if offset < told.at || told.since.is_none_or(|since| since.elapsed() > FRESH) {
            return None;
        }
        while let Some(first) = told.extents.front().copied() {
            let end = told.at.saturating_add(first.len);
            if offset < end {
                let len = end - offset;
                return Some(Extent { len, ..first });
            }
            told.at = end;
            told.extents.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(len: u64, flags: u64) -> Extent {
        Extent { len, flags }
    }

    #[test]
    fn a_walk_finds_each_extent_and_its_rest() {
        let ahead = Ahead::default();
        assert_eq!(ahead.find(0), None);
        ahead.keep(
            ahead.asking(),
            100,
            vec![extent(10, 0), extent(5, 3), extent(1, 0)],
        );
        assert_eq!(ahead.find(99), None);
        assert_eq!(ahead.find(100), Some(extent(10, 0)));
        assert_eq!(ahead.find(104), Some(extent(6, 0)));
        assert_eq!(ahead.find(110), Some(extent(5, 3)));
        assert_eq!(ahead.find(115), Some(extent(1, 0)));
        assert_eq!(ahead.find(116), None);
        assert_eq!(ahead.find(100), None);
    }

    #[test]
    fn a_change_forgets_what_was_told_and_what_is_being_told() {
        let ahead = Ahead::default();
        ahead.keep(ahead.asking(), 0, vec![extent(10, 0)]);
        let asked = ahead.asking();
        ahead.change();
        assert_eq!(ahead.find(0), None);
        ahead.keep(asked, 0, vec![extent(10, 0)]);
        assert_eq!(ahead.find(0), None);
    }

    #[test]
    fn lengths_without_end_do_no_harm() {
        let ahead = Ahead::default();
        ahead.keep(
            ahead.asking(),
            7,
            vec![extent(u64::MAX, 1), extent(u64::MAX, 2)],
        );
        assert!(ahead.find(u64::MAX - 1).is_some());
        assert_eq!(ahead.find(u64::MAX), None);
    }
}
