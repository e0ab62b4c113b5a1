use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use backend_core::Wake;
use backend_core::disk::{Disk, Done, Io, Op};
use block_core::testing::MemoryFile;
use block_core::{Perms, Root};
use reactor::Background;

use super::BlockDisk;
use crate::accounts::Tally;

fn disk(bytes: usize) -> (BlockDisk, mpsc::Receiver<()>) {
    let node = MemoryFile::new(vec![0; bytes]).node("disk", false);
    let used = Perms::CONSISTENT_READ | Perms::WRITE;
    let root = Root::attach(node, used, Perms::ALL).expect("nobody else uses it");
    let (tell, told) = mpsc::channel();
    let wake = Wake::new(move || {
        let _ = tell.send(());
    });
    let runtime = Arc::new(Background::new(1).expect("a thread"));
    (BlockDisk::new(Arc::new(root), runtime, wake, false), told)
}

fn ask(
    disk: &mut BlockDisk,
    told: &mpsc::Receiver<()>,
    op: Op,
    offset: u64,
    data: Vec<u8>,
) -> Done {
    let len = data.len() as u64;
    disk.submit(Io {
        token: 7,
        op,
        offset,
        len,
        data,
    });
    told.recv_timeout(Duration::from_secs(10)).expect("it ends");
    disk.take_done().pop().expect("one has ended")
}

#[test]
fn what_is_written_reads_back() {
    let (mut disk, told) = disk(10_000);
    assert_eq!(disk.geometry().bytes, 9728);
    assert_eq!(
        ask(&mut disk, &told, Op::Write, 512, vec![5; 1024]).result,
        Ok(())
    );
    let read = ask(&mut disk, &told, Op::Read, 1024, vec![0; 1024]);
    assert_eq!(read.result, Ok(()));
    assert_eq!(read.io.data[..512], [5; 512]);
    assert_eq!(read.io.data[512..], [0; 512]);
    assert_eq!(
        ask(&mut disk, &told, Op::Flush, 0, Vec::new()).result,
        Ok(())
    );
}

#[test]
fn a_range_beyond_the_disk_is_an_error() {
    let (mut disk, told) = disk(8192);
    assert_eq!(
        ask(&mut disk, &told, Op::Read, 8192, vec![0; 512]).result,
        Err(5)
    );
    assert_eq!(
        ask(&mut disk, &told, Op::Write, u64::MAX - 511, vec![0; 512]).result,
        Err(5)
    );
}

#[test]
fn accounts_say_what_was_done() {
    let (disk, told) = disk(8192);
    let accounts = Arc::default();
    let mut disk = disk.counted(Arc::clone(&accounts));
    ask(&mut disk, &told, Op::Write, 512, vec![5; 1024]);
    ask(&mut disk, &told, Op::Read, 0, vec![0; 512]);
    ask(&mut disk, &told, Op::Read, 8192, vec![0; 512]);
    ask(&mut disk, &told, Op::Flush, 0, Vec::new());
    let totals = accounts.totals();
    let counts = |tally: Tally| (tally.operations, tally.bytes, tally.failed);
    assert_eq!(counts(totals.write), (1, 1024, 0));
    assert_eq!(counts(totals.read), (1, 512, 1));
    assert_eq!(counts(totals.flush), (1, 0, 0));
    assert_eq!(totals.written_to, 1536);
}
