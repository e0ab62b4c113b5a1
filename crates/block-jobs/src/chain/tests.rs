use super::*;
use crate::fake::{CLUSTER, Disk, disk};
use block_core::{WriteFlags, ZeroFlags};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    crate::pool::block_on(future)
}

fn chain() -> (Disk, Disk) {
    let base = disk("base", 4 * CLUSTER, None);
    let top = disk("top", 8 * CLUSTER, Some(&base));
    block_on(async {
        let flags = WriteFlags::default();
        base.root.write(0, &[1; 4096], flags).await.unwrap();
        let zero = base
            .root
            .write_zeroes(CLUSTER, CLUSTER, ZeroFlags::default());
        zero.await.unwrap();
        let packed = top.root.write_compressed(2 * CLUSTER, &[7; 4096]);
        packed.await.unwrap();
    });
    (base, top)
}

fn letters(top: &Disk) -> Vec<String> {
    block_on(async {
        let mut walk = MapWalk::new(&top.root, 0, u64::MAX).unwrap();
        let mut all = Vec::new();
        while let Some(MapEntry { start, status }) = walk.next().await.unwrap() {
            let mut line = format!(
                "{}+{} {}",
                start / CLUSTER,
                status.len / CLUSTER,
                status.depth
            );
            for (set, letter) in [
                (status.allocated, 'p'),
                (status.zero, 'z'),
                (status.data, 'd'),
                (status.compressed, 'c'),
            ] {
                line.push(if set { letter } else { '-' });
            }
            all.push(line);
        }
        all
    })
}

#[test]
fn map_shows_the_first_layer_that_knows() {
    let (_base, top) = chain();
    let expected = [
        "0+1 1p-d-",
        "1+1 1pz--",
        "2+1 0p-dc",
        "3+1 1-z--",
        "4+4 0-z--",
    ];
    assert_eq!(letters(&top), expected);
}

#[test]
fn status_above_a_base_stops_there() {
    let (base, top) = chain();
    let node = base.root.node();
    block_on(async {
        let at_zero = status_above(&top.root, Some(&node), 0, 8 * CLUSTER)
            .await
            .unwrap();
        assert!(!at_zero.allocated && !at_zero.data && !at_zero.zero);
        let at_two = status_above(&top.root, Some(&node), 2 * CLUSTER, CLUSTER)
            .await
            .unwrap();
        assert!(at_two.allocated && at_two.data);
    });
}

#[test]
fn space_past_a_short_layer_counts_as_its_zeroes() {
    let (_base, top) = chain();
    block_on(async {
        let past = status_above(&top.root, None, 5 * CLUSTER, CLUSTER)
            .await
            .unwrap();
        assert!(past.allocated && past.zero);
        assert_eq!(past.depth, 1);
    });
}

#[test]
fn layers_lists_the_chain_from_the_top() {
    let (base, top) = chain();
    let nodes = layers(&top.root.node());
    assert_eq!(nodes.len(), 2);
    assert!(Arc::ptr_eq(&nodes[1], &base.root.node()));
}
