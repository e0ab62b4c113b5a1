use super::*;
use proptest::prelude::*;

/// A buffer with one byte set in each of these sectors.
fn sectors(count: usize, set: &[usize]) -> Vec<u8> {
    let mut buf = vec![0; count * SECTOR];
    for sector in set {
        buf[sector * SECTOR + 100] = 1;
    }
    buf
}

fn runs(sparse: Sparse, buf: &[u8], offset: u64) -> Vec<(usize, bool)> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < buf.len() {
        let run = sparse.first_run(&buf[at..], offset + at as u64);
        all.push((run.len / SECTOR, run.data));
        at += run.len;
    }
    all
}

#[test]
fn data_is_widened_to_the_alignment() {
    let buf = sectors(24, &[9]);
    let found = runs(Sparse::new(4096, 1), &buf, 0);
    assert_eq!(found, [(8, false), (8, true), (8, false)]);
}

#[test]
fn gaps_shorter_than_the_minimum_are_data() {
    // 12 KiB is 24 sectors and aligns to 16: a gap of one unit is too short, one of two is not.
    let sparse = Sparse::new(12288, 1);
    let narrow = sectors(48, &[0, 32]);
    assert_eq!(runs(sparse, &narrow, 0), [(48, true)]);
    let wide = sectors(64, &[0, 48]);
    assert_eq!(
        runs(sparse, &wide, 0),
        [(16, true), (32, false), (16, true)]
    );
}

#[test]
fn zeroes_before_an_unaligned_end_join_the_data_behind() {
    let buf = sectors(16, &[3]);
    assert_eq!(runs(Sparse::new(4096, 1), &buf, 0), [(8, true), (8, false)]);
}

#[test]
fn a_buffer_of_zeroes_is_one_run_whatever_its_end() {
    let buf = sectors(5, &[]);
    assert_eq!(runs(Sparse::new(4096, 1), &buf, 0), [(5, false)]);
}

#[test]
fn wide_requests_widen_the_alignment() {
    let buf = sectors(64, &[33]);
    let found = runs(Sparse::new(4096, 8192), &buf, 0);
    assert_eq!(found, [(32, false), (16, true), (16, false)]);
}

proptest! {
    /// Which bytes are stored does not depend on where the buffer is cut, when `can_cut_at` says so.
    #[test]
    fn cuts_do_not_change_the_answer(
        set in proptest::collection::vec(0_usize..256, 0..40),
        cut in 1_usize..16,
        skew in 0_u64..8,
    ) {
        let sparse = Sparse::new(4096, 1);
        prop_assert!(sparse.can_cut_at(4096 * cut as u64));
        let buf = sectors(256, &set);
        let offset = skew * SECTOR as u64;
        let stored = |pieces: Vec<(usize, usize)>| {
            let mut map = vec![false; 256];
            for (from, to) in pieces {
                let mut at = from;
                for (len, data) in runs(sparse, &buf[from * SECTOR..to * SECTOR], offset + (from * SECTOR) as u64) {
                    map[at..at + len].fill(data);
                    at += len;
                }
            }
            map
        };
        let whole = stored(vec![(0, 256)]);
        let first = (cut * 8 - usize::try_from(skew).unwrap()).min(256);
        let mut pieces = vec![(0, first)];
        let mut at = first;
        while at < 256 {
            let end = (at + cut * 8).min(256);
            pieces.push((at, end));
            at = end;
        }
        prop_assert_eq!(stored(pieces), whole);
    }
}
