use super::*;
use crate::convert::tests::Told;
use crate::fake::{CLUSTER, Disk, disk};
use crate::pool::block_on;
use block_core::{WriteFlags, ZeroFlags};

fn put(disk: &Disk, cluster: u64, byte: u8) {
    let flags = WriteFlags::default();
    block_on(disk.root.write(cluster * CLUSTER, &[byte; 4096], flags)).unwrap();
}

fn bytes(disk: &Disk) -> Vec<u8> {
    block_on(async {
        let mut all = Vec::new();
        for cluster in 0..disk.root.length().unwrap() / CLUSTER {
            let mut byte = [0];
            disk.root.read(cluster * CLUSTER, &mut byte).await.unwrap();
            all.push(byte[0]);
        }
        all
    })
}

fn run(top: &Disk, base: &Disk, empty_top: bool) -> qapi::Result<()> {
    let (top, base) = (Arc::clone(&top.root), Arc::clone(&base.root));
    let options = CommitOptions {
        empty_top,
        rate: None,
        workers: 2,
        count_first: true,
    };
    let layer = base.node();
    block_on(commit(top, base, layer, options, Arc::new(Told::default())))
}

fn chain() -> [Disk; 3] {
    let base = disk("base", 4 * CLUSTER, None);
    let middle = disk("middle", 4 * CLUSTER, Some(&base));
    let top = disk("top", 6 * CLUSTER, Some(&middle));
    for (cluster, byte) in [(0, 1), (1, 1), (2, 1)] {
        put(&base, cluster, byte);
    }
    put(&middle, 1, 2);
    let zero = middle
        .root
        .write_zeroes(2 * CLUSTER, CLUSTER, ZeroFlags::default());
    block_on(zero).unwrap();
    put(&top, 5, 3);
    [base, middle, top]
}

#[test]
fn all_layers_above_the_base_reach_it_and_it_grows() {
    let [base, middle, top] = chain();
    let before = bytes(&top);
    run(&top, &base, false).unwrap();
    assert_eq!(bytes(&base), before);
    assert_eq!(bytes(&top), before);
    assert_eq!(middle.fake.layout().len(), 2);
    assert_eq!(base.fake.layout()[2].1, 'z');
}

#[test]
fn an_emptied_top_still_reads_the_same() {
    let [_base, middle, top] = chain();
    let before = bytes(&top);
    run(&top, &middle, true).unwrap();
    assert!(top.fake.layout().is_empty());
    assert_eq!(bytes(&top), before);
}

#[test]
fn a_failed_commit_leaves_the_top_alone() {
    let [base, _middle, top] = chain();
    let before = bytes(&top);
    base.file.fail_after(0);
    let error = run(&top, &base, true).unwrap_err();
    assert_eq!(error.message(), "Block job failed: No space left on device");
    base.file.fail_after(-1);
    assert_eq!(bytes(&top), before);
}

#[test]
fn a_base_that_grows_does_not_show_its_own_longer_backing_file() {
    let lowest = disk("lowest", 6 * CLUSTER, None);
    let base = disk("base", 2 * CLUSTER, Some(&lowest));
    let top = disk("top", 6 * CLUSTER, Some(&base));
    put(&lowest, 3, 4);
    let before = bytes(&top);
    assert_eq!(before, [0; 6]);
    run(&top, &base, true).unwrap();
    assert_eq!(bytes(&top), before);
}
