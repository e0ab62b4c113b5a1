use super::*;
use crate::fake::{CLUSTER, disk};
use crate::pool::block_on;

fn options(count: u64) -> BenchOptions {
    BenchOptions {
        count,
        depth: 4,
        len: 4096,
        offset: 0,
        step: CLUSTER,
        write: None,
        flushes: None,
    }
}

#[test]
fn writes_go_round_the_disk() {
    let disk = disk("disk", 8 * CLUSTER, None);
    let options = BenchOptions {
        write: Some(7),
        step: 3 * CLUSTER,
        flushes: Some(Flushes {
            interval: 4,
            drain: true,
        }),
        ..options(8)
    };
    block_on(bench(Arc::clone(&disk.root), options)).unwrap();
    assert_eq!(disk.fake.layout().len(), 8);
}

#[test]
fn a_request_past_the_end_fails() {
    let disk = disk("disk", 8 * CLUSTER, None);
    let options = BenchOptions {
        offset: 8 * CLUSTER,
        ..options(3)
    };
    let error = block_on(bench(Arc::clone(&disk.root), options)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5));
}
