use super::*;
use crate::convert::tests::Told;
use crate::fake::{CLUSTER, Disk, disk};
use crate::pool::block_on;

const SIZE: u64 = 2 << 20;

fn filled(name: &str, size: u64, backing: Option<&Disk>, writes: &[(u64, u8)]) -> Disk {
    let disk = disk(name, size, backing);
    for (cluster, byte) in writes {
        let flags = WriteFlags::default();
        let bytes = [*byte; 4096];
        block_on(disk.root.write(cluster * CLUSTER, &bytes, flags)).unwrap();
    }
    disk
}

/// First bytes of the clusters that are not zero, read through a backing chain by hand.
fn through(overlay: &Disk, below: Option<&Disk>) -> Vec<(u64, u8)> {
    let own: Vec<u64> = overlay.fake.layout().iter().map(|c| c.0).collect();
    let mut all = Vec::new();
    for cluster in 0..SIZE / CLUSTER {
        let mut byte = [0];
        let disk = if own.contains(&cluster) {
            Some(overlay)
        } else {
            below
        };
        if let Some(disk) = disk.filter(|d| cluster * CLUSTER < d.root.length().unwrap()) {
            block_on(disk.root.read(cluster * CLUSTER, &mut byte)).unwrap();
        }
        if byte[0] != 0 {
            all.push((cluster, byte[0]));
        }
    }
    all
}

fn run(overlay: &Disk, old: Option<&Disk>, new: Option<&Disk>, common: Option<&Disk>) {
    let request = RebaseRequest {
        overlay: Arc::clone(&overlay.root),
        old: old.map(|d| Arc::clone(&d.root)),
        new: new.map(|d| Arc::clone(&d.root)),
        common: common.map(|d| d.root.node()),
        compress: false,
        workers: 3,
    };
    block_on(rebase(request, Arc::new(Told::default()))).unwrap();
}

#[test]
fn what_differs_is_copied_and_nothing_else() {
    let old = filled("old", SIZE, None, &[(0, 1), (1, 2), (200, 3), (400, 9)]);
    let new = filled("new", SIZE / 2, None, &[(0, 1), (1, 7), (100, 4), (210, 5)]);
    let overlay = filled("overlay", SIZE, Some(&old), &[(210, 6)]);
    let before = through(&overlay, Some(&old));
    run(&overlay, Some(&old), Some(&new), None);
    assert_eq!(through(&overlay, Some(&new)), before);
    let held: Vec<_> = overlay.fake.layout().iter().map(|c| (c.0, c.1)).collect();
    assert_eq!(
        held,
        [(1, 'd'), (100, 'd'), (200, 'd'), (210, 'd'), (400, 'd')]
    );
}

#[test]
fn without_a_new_backing_file_all_data_is_copied() {
    let old = filled("old", SIZE, None, &[(3, 1), (300, 2)]);
    let overlay = filled("overlay", SIZE, Some(&old), &[]);
    let before = through(&overlay, Some(&old));
    run(&overlay, Some(&old), None, None);
    assert_eq!(through(&overlay, None), before);
    assert_eq!(overlay.fake.layout().len(), 2);
}

#[test]
fn below_a_common_layer_nothing_is_copied() {
    let base = filled("base", SIZE, None, &[(1, 1), (2, 2)]);
    let middle = filled("middle", SIZE, Some(&base), &[(2, 5), (9, 9)]);
    let overlay = filled("overlay", SIZE, Some(&middle), &[]);
    let before = through(&overlay, Some(&middle));
    run(&overlay, Some(&middle), Some(&base), Some(&base));
    assert_eq!(through(&overlay, Some(&base)), before);
    assert_eq!(overlay.fake.layout().len(), 2);
}
