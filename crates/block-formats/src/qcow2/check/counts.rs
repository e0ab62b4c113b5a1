//! How often each cluster is used, for any file length in little memory.
//!
//! Pages of one byte a cluster exist only where something is used; a byte of 255 says that the number is in a map.

use std::collections::HashMap;

/// Clusters on a page.
const PAGE: u64 = 1 << 16;
/// Counts from here on are in the map.
const MANY: u8 = u8::MAX;

/// Counts of uses by cluster.
#[derive(Default)]
pub(super) struct Counts {
    pages: Vec<Option<Box<[u8]>>>,
    many: HashMap<u64, u64>,
    clusters: u64,
    shared: bool,
}

impl Counts {
    /// For a file of so many clusters.
    pub(super) fn new(clusters: u64) -> Self {
        Self {
            clusters,
            ..Self::default()
        }
    }

    /// Clusters there are, used or not.
    pub(super) fn clusters(&self) -> u64 {
        self.clusters
    }

    /// Whether any cluster has more than one use.
    pub(super) fn any_shared(&self) -> bool {
        self.shared
    }

    /// There are at least so many.
    pub(super) fn grow(&mut self, clusters: u64) {
        self.clusters = self.clusters.max(clusters);
    }

    fn slot(cluster: u64) -> (usize, usize) {
        let page = usize::try_from(cluster / PAGE).unwrap_or(usize::MAX);
        (page, usize::try_from(cluster % PAGE).unwrap_or(0))
    }

    /// Uses of a cluster.
    pub(super) fn get(&self, cluster: u64) -> u64 {
        let (page, at) = Self::slot(cluster);
        match self.pages.get(page).and_then(Option::as_ref) {
            None => 0,
            Some(bytes) if bytes[at] == MANY => self.many.get(&cluster).copied().unwrap_or(0),
            Some(bytes) => u64::from(bytes[at]),
        }
    }

    /// One use more for each cluster of a run. `false`: some may be near `most`, and nothing was added.
    pub(super) fn add_unbounded(&mut self, first: u64, count: u64, most: u64) -> bool {
        if most < 2 || self.shared {
            return false;
        }
        let end = first + count;
        self.grow(end);
        let mut at = first;
        while at < end {
            let (page, from) = Self::slot(at);
            let to = from + usize::try_from((end - at).min(PAGE - at % PAGE)).unwrap_or(0);
            let mut shared = false;
            for uses in &mut self.page(page)[from..to] {
                // Nothing had two uses before, so no number is large.
                *uses += 1;
                shared |= *uses > 1;
            }
            self.shared |= shared;
            at += (to - from) as u64;
        }
        true
    }

    /// Uses of the clusters from one on, as far as they are on one page and small numbers; for a look at many.
    pub(super) fn small(&self, first: u64, count: u64) -> Option<&[u8]> {
        let (page, from) = Self::slot(first);
        let bytes = self.pages.get(page)?.as_ref()?;
        let uses = bytes.get(from..from.checked_add(usize::try_from(count).ok()?)?)?;
        (!self.shared || !uses.contains(&MANY)).then_some(uses)
    }

    /// A page, made if it is not there.
    fn page(&mut self, page: usize) -> &mut [u8] {
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let empty = || vec![0; usize::try_from(PAGE).unwrap_or(0)].into_boxed_slice();
        self.pages[page].get_or_insert_with(empty)
    }

    /// One use more, if there are fewer than `most` now; whether there are.
    pub(super) fn add_below(&mut self, cluster: u64, most: u64) -> bool {
        // Without a cluster of two uses nothing is near a bound but the narrowest.
        let near = most < 2 || self.shared;
        if near && self.get(cluster) >= most {
            return false;
        }
        self.add(cluster);
        true
    }

    /// One use more.
    pub(super) fn add(&mut self, cluster: u64) {
        self.grow(cluster + 1);
        let (page, at) = Self::slot(cluster);
        let uses = &mut self.page(page)[at];
        if *uses == MANY {
            *self.many.entry(cluster).or_default() += 1;
            return;
        }
        *uses += 1;
        let now = *uses;
        self.shared |= now > 1;
        if now == MANY {
            self.many.insert(cluster, u64::from(MANY));
        }
    }

    /// The first cluster of a run of `count` unused ones at `from` or behind it, maybe behind the end.
    pub(super) fn find_free(&self, from: u64, count: u64) -> u64 {
        let (mut start, mut at) = (from, from);
        while at < start + count && at < self.clusters {
            if self.get(at) != 0 {
                start = at + 1;
            }
            at += 1;
        }
        start
    }

    /// Whether nothing in a range is used; true only if that is seen at once.
    pub(super) fn surely_unused(&self, first: u64, end: u64) -> bool {
        let (from, to) = (Self::slot(first).0, Self::slot(end.saturating_sub(1)).0);
        (from..=to).all(|page| self.pages.get(page).is_none_or(Option::is_none))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_past_a_byte() {
        let mut counts = Counts::new(10);
        for _ in 0..1000 {
            counts.add(70_000);
        }
        counts.add(3);
        assert_eq!(counts.get(70_000), 1000);
        assert_eq!(
            (counts.get(3), counts.get(4), counts.get(1 << 40)),
            (1, 0, 0)
        );
        assert_eq!(counts.clusters(), 70_001);
    }

    #[test]
    fn runs_count_as_their_clusters_do() {
        let mut counts = Counts::new(10);
        assert!(counts.add_unbounded(PAGE - 3, 5, 65_535));
        assert_eq!(counts.small(PAGE - 4, 4), Some(&[0, 1, 1, 1][..]));
        assert_eq!((counts.get(PAGE + 1), counts.get(PAGE + 2)), (1, 0));
        assert!(!counts.add_unbounded(1, 1, 1), "one use is the bound");
        assert!(counts.add_unbounded(PAGE, 1, 65_535));
        assert!(counts.any_shared());
        assert!(
            !counts.add_unbounded(1, 1, 65_535),
            "one by one from here on"
        );
        assert_eq!((counts.get(1), counts.get(PAGE)), (0, 2));
    }

    #[test]
    fn free_runs_are_whole_or_at_the_end() {
        let mut counts = Counts::new(6);
        counts.add(1);
        counts.add(4);
        assert_eq!(counts.find_free(0, 1), 0);
        assert_eq!(counts.find_free(0, 2), 2);
        assert_eq!(counts.find_free(0, 3), 5);
    }
}
