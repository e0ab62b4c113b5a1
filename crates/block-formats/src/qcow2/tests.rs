//! The mapping against a flat byte model, on all shapes of images, with crashes at every write.

mod audit;
mod clean;
mod image;
mod moved;

use block_core::{Preallocation, Root, WriteFlags, ZeroFlags};
use proptest::prelude::*;

use audit::audit;
use image::{Shape, blank, open, run};

const SIZE: u64 = 1536 * 1024 + 512;

#[derive(Debug, Clone)]
enum Op {
    Write(u64, u64, u8),
    Zero(u64, u64, bool),
    Discard(u64, u64),
    Packed(u64, u8),
    Resize(u64, Preallocation),
    Flush,
    Reopen,
}

fn shape() -> impl Strategy<Value = Shape> {
    let plain = (
        prop_oneof![Just(9_u32), Just(12), Just(16)],
        0..7_u32,
        2..4_u32,
    );
    let plain = plain.prop_map(|(cluster_bits, order, version)| Shape {
        cluster_bits,
        order: if version == 2 { 4 } else { order },
        version,
        extended: false,
        lazy: false,
    });
    let extended =
        (14..17_u32, 0..7_u32, any::<bool>()).prop_map(|(cluster_bits, order, lazy)| Shape {
            cluster_bits,
            order,
            version: 3,
            extended: true,
            lazy,
        });
    prop_oneof![2 => plain, 1 => extended]
}

fn op() -> impl Strategy<Value = Op> {
    let range = (0..SIZE / 512, 0..300_u64).prop_flat_map(|(start, len)| {
        let end = (start + len).min(SIZE / 512);
        (
            Just(start * 512),
            Just((end - start) * 512),
            0..512_u64,
            0..512_u64,
        )
    });
    let bytes = range.clone().prop_map(|(start, len, skip, cut)| {
        let (start, end) = (start + skip, (start + len).saturating_sub(cut));
        (start.min(end), end - start.min(end))
    });
    let range = range.prop_map(|(start, len, ..)| (start, len));
    let mode = prop_oneof![4 => Just(Preallocation::Off), 1 => Just(Preallocation::Metadata), 1 => Just(Preallocation::Full)];
    prop_oneof![
        8 => (bytes, 1..=255_u8).prop_map(|((o, l), b)| Op::Write(o, l, b)),
        3 => (range.clone(), any::<bool>()).prop_map(|((o, l), u)| Op::Zero(o, l, u)),
        2 => range.prop_map(|(o, l)| Op::Discard(o, l)),
        3 => (0..SIZE, any::<u8>()).prop_map(|(o, b)| Op::Packed(o, b)),
        1 => (1..SIZE / 512, mode).prop_map(|(s, m)| Op::Resize(s * 512, m)),
        1 => Just(Op::Flush),
        1 => Just(Op::Reopen),
    ]
}

fn span(offset: u64, len: u64) -> std::ops::Range<usize> {
    usize::try_from(offset).unwrap()..usize::try_from(offset + len).unwrap()
}

async fn content(disk: &Root) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(disk.length().unwrap()).unwrap()];
    disk.read(0, &mut bytes).await.unwrap();
    bytes
}

/// Does one thing to the disk and, when it went well, to the model. The byte range of what failed is given back.
async fn apply(disk: &Root, model: &mut Vec<u8>, op: &Op, cluster: u64) -> Result<(), (u64, u64)> {
    let size = model.len() as u64;
    let clip = |offset: u64, len: u64| (offset.min(size), len.min(size - offset.min(size)));
    match *op {
        Op::Write(offset, len, byte) => {
            let (offset, len) = clip(offset, len);
            let bytes = vec![byte; usize::try_from(len).unwrap()];
            let done = disk.write(offset, &bytes, WriteFlags::default()).await;
            done.map_err(|_| (offset, len))?;
            model[span(offset, len)].fill(byte);
        }
        Op::Zero(offset, len, may_unmap) => {
            let (offset, len) = clip(offset, len);
            let flags = ZeroFlags {
                may_unmap,
                ..ZeroFlags::default()
            };
            disk.write_zeroes(offset, len, flags)
                .await
                .map_err(|_| (offset, len))?;
            model[span(offset, len)].fill(0);
        }
        Op::Discard(offset, len) => {
            let (offset, len) = clip(offset, len);
            disk.discard(offset, len).await.map_err(|_| (offset, len))?;
            let mut now = vec![0; usize::try_from(len).unwrap()];
            disk.read(offset, &mut now).await.unwrap();
            for (old, new) in model[span(offset, len)].iter_mut().zip(now) {
                assert!(new == *old || new == 0);
                *old = new;
            }
        }
        Op::Packed(offset, byte) => {
            let offset = clip(offset, 0).0 / cluster * cluster;
            let len = cluster.min(size - offset);
            if len > 0 {
                let bytes = vec![byte; usize::try_from(len).unwrap()];
                disk.write_compressed(offset, &bytes)
                    .await
                    .map_err(|_| (offset, len))?;
                model[span(offset, len)].fill(byte);
            }
        }
        Op::Resize(new, mode) => {
            let mode = if new < size { Preallocation::Off } else { mode };
            // The tail of the last cluster keeps what it held: start from zeroes to know what shows up.
            if new < size {
                let tail = (new.next_multiple_of(cluster).min(size)) - new;
                disk.write_zeroes(new, tail, ZeroFlags::default())
                    .await
                    .map_err(|_| (new, size - new))?;
            }
            disk.truncate(new, mode)
                .await
                .map_err(|_| (new.min(size), size - new.min(size)))?;
            model.resize(usize::try_from(new).unwrap(), 0);
        }
        Op::Flush | Op::Reopen => disk.flush().await.map_err(|_| (0, 0))?,
    }
    Ok(())
}

proptest! {

    #[test]
    fn content_is_that_of_a_flat_file(shape in shape(), ops in prop::collection::vec(op(), 1..40)) {
        let file = blank(shape, SIZE);
        let mut model = vec![0; usize::try_from(SIZE).unwrap()];
        run(async {
            let mut disk = open(&file, true).await.unwrap();
            for op in &ops {
                apply(&disk, &mut model, op, 1 << shape.cluster_bits).await.unwrap();
                if matches!(op, Op::Reopen) {
                    disk.node().close().await.unwrap();
                    audit(&file, true);
                    disk = open(&file, true).await.unwrap();
                }
                assert!(content(&disk).await == model, "after {op:?}");
            }
            disk.node().close().await.unwrap();
            audit(&file, true);
            let again = open(&file, false).await.unwrap();
            assert!(content(&again).await == model, "after all");
        });
    }

    #[test]
    fn a_crash_loses_nothing_that_was_flushed(
        shape in shape().prop_filter("dirty images need repair", |s| !s.lazy),
        ops in prop::collection::vec(op(), 1..25),
        writes in 0..400_i64,
    ) {
        let file = blank(shape, SIZE);
        let mut model = vec![0; usize::try_from(SIZE).unwrap()];
        // What may differ from the model since the last flush.
        let mut open_ranges: Vec<(u64, u64)> = Vec::new();
        run(async {
            let disk = open(&file, true).await.unwrap();
            file.fail_after(writes);
            for op in &ops {
                let len = model.len() as u64;
                match apply(&disk, &mut model, op, 1 << shape.cluster_bits).await {
                    Ok(()) if matches!(op, Op::Flush | Op::Reopen | Op::Resize(..)) => open_ranges.clear(),
                    Ok(()) => open_ranges.push(extent(op, 1 << shape.cluster_bits, len)),
                    Err(range) => {
                        open_ranges.push(range);
                        break;
                    }
                }
            }
            // The process is gone here: nothing more is written.
            file.fail_after(0);
            drop(disk);
            file.fail_after(-1);
            audit(&file, false);
            let disk = open(&file, false).await.unwrap();
            let now = content(&disk).await;
            for (at, (old, new)) in model.iter().zip(&now).enumerate() {
                let at = at as u64;
                let known = !open_ranges.iter().any(|(o, l)| (*o..o + l).contains(&at));
                assert!(old == new || !known, "byte {at} is {new}, was {old}");
            }
        });
    }
}

fn extent(op: &Op, cluster: u64, size: u64) -> (u64, u64) {
    match *op {
        Op::Write(o, l, _) | Op::Zero(o, l, _) | Op::Discard(o, l) => (o, l),
        Op::Packed(o, _) => (o.min(size) / cluster * cluster, cluster),
        _ => (0, 0),
    }
}
