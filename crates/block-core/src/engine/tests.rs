use std::sync::Arc;

use proptest::prelude::*;

use crate::testing::{MemoryFile, ToyFormat};
use crate::{DetectZeroes, Node, Perms, Root, WriteFlags, ZeroFlags, is_zero};

const SIZE: u64 = 64 * 1024 + 512;

fn root(node: Arc<Node>) -> Root {
    Root::attach(node, Perms::CONSISTENT_READ | Perms::WRITE, Perms::ALL).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// An overlay half as long again as its backing file, which is filled with 0xbb.
fn overlay() -> (Root, Vec<u8>) {
    let base_size = SIZE / 3 * 2;
    let (base, _) = ToyFormat::node("base", base_size, None);
    let fill = vec![0xbb; usize::try_from(base_size).unwrap()];
    let base_root = root(Arc::clone(&base));
    run(base_root.write(0, &fill, WriteFlags::default())).unwrap();
    drop(base_root);
    let (top, _) = ToyFormat::node("top", SIZE, Some(ToyFormat::backing(base)));
    let mut model = fill;
    model.resize(usize::try_from(SIZE).unwrap(), 0);
    (root(top), model)
}

#[derive(Debug, Clone)]
enum Op {
    Write(u64, u64, u8),
    Zero(u64, u64, bool),
    Discard(u64, u64),
    Read(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let range = (0..SIZE).prop_flat_map(|start| (Just(start), 0..=(SIZE - start).min(20_000)));
    prop_oneof![
        (range.clone(), any::<u8>()).prop_map(|((o, l), b)| Op::Write(o, l, b)),
        (range.clone(), any::<bool>()).prop_map(|((o, l), u)| Op::Zero(o, l, u)),
        range.clone().prop_map(|(o, l)| Op::Discard(o, l)),
        range.prop_map(|(o, l)| Op::Read(o, l)),
    ]
}

fn span(offset: u64, len: u64) -> std::ops::Range<usize> {
    usize::try_from(offset).unwrap()..usize::try_from(offset + len).unwrap()
}

async fn apply(disk: &Root, model: &mut [u8], op: &Op) {
    match *op {
        Op::Write(offset, len, byte) => {
            model[span(offset, len)].fill(byte);
            let data = vec![byte; usize::try_from(len).unwrap()];
            disk.write(offset, &data, WriteFlags::default())
                .await
                .unwrap();
        }
        Op::Zero(offset, len, may_unmap) => {
            model[span(offset, len)].fill(0);
            let flags = ZeroFlags {
                may_unmap,
                ..ZeroFlags::default()
            };
            disk.write_zeroes(offset, len, flags).await.unwrap();
        }
        Op::Discard(offset, len) => {
            let cluster = ToyFormat::CLUSTER;
            let end = offset + len;
            let end = if end == SIZE {
                end
            } else {
                end - end % cluster
            };
            let start = offset.next_multiple_of(cluster).min(end);
            model[span(start, end - start)].fill(0);
            disk.discard(offset, len).await.unwrap();
        }
        Op::Read(offset, len) => {
            let mut buf = vec![1; usize::try_from(len).unwrap()];
            disk.read(offset, &mut buf).await.unwrap();
            assert_eq!(buf, model[span(offset, len)]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_requests_gives_what_a_flat_disk_gives(ops in prop::collection::vec(op(), 1..40)) {
        let (disk, mut model) = overlay();
        run(async {
            for op in &ops {
                apply(&disk, &mut model, op).await;
            }
            apply(&disk, &mut model, &Op::Read(0, SIZE)).await;
        });
    }

    #[test]
    fn an_enciphered_overlay_does_what_a_flat_disk_does(
        ops in prop::collection::vec(op(), 1..30),
        by_place in any::<bool>(),
    ) {
        let (base, _) = ToyFormat::enciphered("base", SIZE / 3 * 2, None, !by_place);
        let below = Some(ToyFormat::backing(base));
        let (top, _) = ToyFormat::enciphered("top", SIZE, below, by_place);
        let (disk, mut model) = (root(top), vec![0; usize::try_from(SIZE).unwrap()]);
        run(async {
            for op in &ops {
                apply(&disk, &mut model, op).await;
            }
            apply(&disk, &mut model, &Op::Read(0, SIZE)).await;
        });
    }

    #[test]
    fn zero_detection_finds_any_single_byte(len in 0_usize..2000, at in any::<prop::sample::Index>()) {
        let mut buf = vec![0; len];
        prop_assert!(is_zero(&buf));
        if len > 0 {
            buf[at.index(len)] = 1;
            prop_assert!(!is_zero(&buf));
        }
    }
}

#[test]
fn block_status_of_an_overlay_ends_at_the_end_of_its_backing_file() {
    let (disk, _) = overlay();
    let base = SIZE / 3 * 2;
    let below = run(disk.status(base - 100, 4096)).unwrap();
    assert_eq!(
        (below.allocated, below.zero, below.len),
        (false, false, 100)
    );
    let past = run(disk.status(base, 4096)).unwrap();
    assert!(!past.allocated && past.zero);
}

#[test]
fn requests_past_the_end_fail_with_eio() {
    let (disk, _) = overlay();
    let error = run(disk.read(SIZE - 1, &mut [0; 2])).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5));
}

#[test]
fn what_is_enciphered_ahead_is_what_a_write_makes() {
    let flags = WriteFlags::default();
    let (node, plain_file) = ToyFormat::enciphered("plain", SIZE, None, false);
    run(root(node).write(512, &[7; 5120], flags)).unwrap();
    let (node, ahead_file) = ToyFormat::enciphered("ahead", SIZE, None, false);
    let ahead = root(node);
    assert!(ahead.enciphers_ahead());
    let mut buf = [7; 5120];
    ahead.encipher(512, &mut buf).unwrap();
    run(ahead.write_enciphered(512, &buf)).unwrap();
    assert_eq!(plain_file.snapshot(), ahead_file.snapshot());
    assert!(!plain_file.snapshot().contains(&7));
    let status = run(ahead.status(512, 512)).unwrap();
    assert!(status.data && status.at.is_none());
}

#[test]
fn where_the_place_matters_nothing_is_enciphered_ahead() {
    let (node, _) = ToyFormat::enciphered("disk", SIZE, None, true);
    let disk = root(node);
    assert!(!disk.enciphers_ahead());
    assert!(disk.encipher(0, &mut [0; 512]).is_err());
    assert!(run(disk.write_enciphered(0, &[0; 512])).is_err());
}

#[test]
fn a_failed_data_write_leaves_the_mapping_as_it_was() {
    let (node, file) = ToyFormat::node("disk", SIZE, None);
    let disk = root(node);
    file.fail_after(0);
    let error = run(disk.write(100, &[1; 50], WriteFlags::default())).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(28));
    assert!(!run(disk.status(0, 4096)).unwrap().allocated);
}

#[test]
fn detected_zeroes_take_no_space() {
    let (node, file) = ToyFormat::node("disk", SIZE, None);
    node.set_detect_zeroes(DetectZeroes::On);
    let disk = root(node);
    run(disk.write(0, &[0; 8192], WriteFlags::default())).unwrap();
    assert!(file.snapshot().is_empty());
    assert!(run(disk.status(0, 4096)).unwrap().zero);
}

#[test]
fn a_writer_that_does_not_share_keeps_others_out() {
    let node = MemoryFile::new(vec![0; 512]).node("disk", false);
    let write = Perms::CONSISTENT_READ | Perms::WRITE;
    let first = Root::attach(Arc::clone(&node), write, Perms::CONSISTENT_READ).unwrap();
    let second = Root::attach(Arc::clone(&node), write, Perms::ALL);
    assert!(second.is_err());
    drop(first);
    assert!(Root::attach(node, write, Perms::ALL).is_ok());
}

#[test]
fn a_drained_root_holds_requests_back() {
    run(async {
        let (disk, _) = overlay_in_place();
        let drained = disk.drain().await;
        let mut buf = [0; 16];
        let mut read = std::pin::pin!(disk.read(0, &mut buf));
        let waiting =
            std::future::poll_fn(|cx| std::task::Poll::Ready(read.as_mut().poll(cx).is_pending()));
        assert!(waiting.await);
        drop(drained);
        read.await.unwrap();
    });
}

fn overlay_in_place() -> (Root, MemoryFile) {
    let (node, file) = ToyFormat::node("disk", SIZE, None);
    (root(node), file)
}

#[test]
fn writers_of_one_cluster_from_many_threads_lose_nothing() {
    let (node, _) = ToyFormat::node("disk", SIZE, None);
    let disk = root(node);
    std::thread::scope(|scope| {
        for lane in 0..8_u8 {
            let disk = &disk;
            scope.spawn(move || {
                run(async {
                    for n in 0..SIZE / 512 {
                        let at = n * 512 + u64::from(lane) * 64;
                        disk.write(at, &[lane + 1; 64], WriteFlags::default())
                            .await
                            .unwrap();
                    }
                });
            });
        }
    });
    let mut all = vec![0; usize::try_from(SIZE).unwrap()];
    run(disk.read(0, &mut all)).unwrap();
    for (n, byte) in all.iter().enumerate() {
        assert_eq!(usize::from(*byte), n % 512 / 64 + 1, "at {n}");
    }
}
