//! The new structure's content on an image in memory.

use block_core::testing::MemoryFile;

use super::*;

/// An image of 512-byte clusters with 16-bit refcounts: block at 512, table at 1024, clusters 0..4 used.
fn image(extra: &[(usize, u16)]) -> (MemoryFile, Frozen) {
    let mut bytes = vec![0; 2048];
    for cluster in 0..4 {
        bytes[512 + cluster * 2 + 1] = 1;
    }
    for (cluster, count) in extra {
        bytes[512 + cluster * 2..][..2].copy_from_slice(&count.to_be_bytes());
    }
    let file = MemoryFile::new(bytes);
    let frozen = Frozen {
        file: file.edge(false),
        cluster_bits: 9,
        refcount_order: 4,
        refcount_table: vec![512],
        extended_l2: false,
    };
    (file, frozen)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut work = std::pin::pin!(work);
    loop {
        if let std::task::Poll::Ready(value) = work.as_mut().poll(&mut context) {
            return value;
        }
    }
}

#[test]
fn rewritten_refcounts_are_the_old_ones_without_the_old_structure() {
    for order in 0..=6 {
        let (_file, old) = image(&[]);
        let new = run(rewrite(&old, order, &mut |_, _| ())).unwrap();
        run(free_old(&new.frozen, &old, (1024, 1))).unwrap();
        let mut counts = Vec::new();
        let mut source = Source {
            old: &new.frozen,
            block: u64::MAX,
            bytes: Vec::new(),
        };
        for cluster in 0..=(new.table_offset / 512) {
            counts.push(run(source.get(cluster)).unwrap());
        }
        assert_eq!(counts, [1, 0, 0, 1, 1, 1], "width {order}");
    }
}

#[test]
fn refcount_that_does_not_fit_is_named() {
    let (file, old) = image(&[(3, 2)]);
    let before = file.snapshot();
    let error = run(rewrite(&old, 0, &mut |_, _| ())).err().unwrap();
    assert_eq!(
        error.message(),
        "Cannot decrease refcount entry width to 1 bits: Cluster at offset 0x600 has a refcount of 2"
    );
    assert_eq!(file.snapshot(), before);
}

#[test]
fn refcounts_of_every_width_are_read_back() {
    for order in 0..=6 {
        let mut block = vec![0; 512];
        let top = frozen::max(order);
        for index in 0..(4096 >> order) {
            frozen::set(&mut block, index, order, (index as u64 * 7 + 1) & top);
        }
        for index in 0..(4096 >> order) {
            assert_eq!(
                frozen::get(&block, index, order),
                (index as u64 * 7 + 1) & top
            );
        }
    }
}
