//! Failures that pass, at each write around the refcount table's move to a longer place.

use block_core::WriteFlags;
use block_core::testing::MemoryFile;

use super::audit::audit;
use super::image::{Shape, blank, open, run};

/// Where the first refcount table of one cluster ends: 64 blocks of 256 clusters of 512 bytes.
const TABLE_END: u64 = 8 << 20;

#[test]
fn a_table_that_could_not_be_moved_at_first_is_moved_before_it_is_needed() {
    let shape = Shape {
        cluster_bits: 9,
        order: 4,
        version: 3,
        extended: false,
        lazy: false,
    };
    let file = blank(shape, 16 << 20);
    let filled = TABLE_END - (512 << 10);
    let piece = vec![7; 512 << 10];
    run(async {
        let disk = open(&file, true).await.unwrap();
        let whole = vec![7; usize::try_from(filled).unwrap()];
        disk.write(0, &whole, WriteFlags::default()).await.unwrap();
        disk.node().close().await.unwrap();
    });
    let before = file.snapshot();
    for writes in 0..80 {
        let file = MemoryFile::new(before.clone());
        run(async {
            let disk = open(&file, true).await.unwrap();
            file.fail_after(writes);
            let flags = WriteFlags {
                fua: true,
                ..WriteFlags::default()
            };
            // Fails for most of the numbers.
            let _ = disk.write(filled, &piece, flags).await;
            file.fail_after(-1);
            disk.node().close().await.unwrap();
        });
        audit(&file, false);
    }
}

#[test]
fn the_area_for_vm_state_keeps_what_is_written_and_grows() {
    let shape = Shape {
        cluster_bits: 12,
        order: 4,
        version: 3,
        extended: false,
        lazy: false,
    };
    let file = blank(shape, 1 << 20);
    run(async {
        let disk = open(&file, true).await.unwrap();
        let state = vec![9; 10_000];
        disk.write_vm_state(3 << 20, &state).await.unwrap();
        disk.write(0, &[1; 512], WriteFlags::default())
            .await
            .unwrap();
        disk.node().close().await.unwrap();
        let again = open(&file, false).await.unwrap();
        let mut back = vec![0; 10_002];
        again.read_vm_state((3 << 20) - 1, &mut back).await.unwrap();
        assert_eq!((back[0], back[10_001]), (0, 0));
        assert!(back[1..10_001] == state[..]);
        assert!(again.read_vm_state(u64::MAX - 5, &mut back).await.is_err());
        assert!(again.write_vm_state(1 << 62, &state).await.is_err());
    });
    audit(&file, false);
}
