use super::*;
use block_core::testing::MemoryFile;
use block_core::{Kind, NodeSpec, Perms, Root};

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("memory is always ready"),
    }
}

fn root(filter: Box<dyn Filter>) -> Root {
    let spec = NodeSpec::new("raw", "raw");
    Root::attach(
        Node::new(spec, Kind::Filter(filter)),
        Perms::NONE,
        Perms::ALL,
    )
    .unwrap()
}

fn window(file: &MemoryFile, offset: u64, size: u64) -> qapi::Result<Box<dyn Filter>> {
    let mut options = Dict::new();
    options.insert("offset", offset);
    options.insert("size", size);
    open(file.edge(false), &mut options)
}

#[test]
fn a_window_moves_and_bounds_requests() {
    let file = MemoryFile::new((0..=255).cycle().take(4096).collect());
    let disk = root(window(&file, 1024, 512).unwrap());
    assert_eq!(disk.length().unwrap(), 512);
    let mut byte = [0];
    now(disk.read(7, &mut byte)).unwrap();
    assert_eq!(byte[0], 7);
    assert!(now(disk.read(512, &mut byte)).is_err());
    now(disk.write(0, &[99], WriteFlags::default())).unwrap();
    assert_eq!(file.snapshot()[1024], 99);
}

#[test]
fn nothing_is_written_behind_a_window() {
    let file = MemoryFile::new(vec![7; 4096]);
    let raw = window(&file, 1024, 512).unwrap();
    let no_room = |r: io::Result<()>| assert_eq!(r.unwrap_err().raw_os_error(), Some(ENOSPC));
    no_room(now(raw.write(511, &[1, 2], WriteFlags::default())));
    no_room(now(raw.write_zeroes(512, 1, ZeroFlags::default())));
    no_room(now(raw.discard(u64::MAX, 1)));
    assert!(file.snapshot().iter().all(|byte| *byte == 7));
}

#[test]
fn a_window_past_the_end_is_refused() {
    let file = MemoryFile::new(vec![0; 4096]);
    assert!(window(&file, 8192, 512).is_err());
    assert!(window(&file, 1024, 4096).is_err());
    assert!(window(&file, u64::MAX, 512).is_err());
}

#[test]
fn lengths_are_whole_sectors() {
    let file = MemoryFile::new(vec![5; 1000]);
    let disk = root(open(file.edge(true), &mut Dict::new()).unwrap());
    assert_eq!(disk.length().unwrap(), 1024);
    let mut all = [1; 1024];
    now(disk.read(0, &mut all)).unwrap();
    assert_eq!((all[999], all[1000]), (5, 0));
    assert_eq!(now(disk.status(0, 1024)).unwrap().len, 1000);
}

#[test]
fn a_guessed_disk_cannot_become_another_format() {
    let file = MemoryFile::new(vec![0; 4096]);
    let disk = root(guessed(file.edge(false), |head| {
        head.starts_with(b"QFI\xfb")
    }));
    let flags = WriteFlags::default();
    now(disk.write(0, b"QF", flags)).unwrap();
    let error = now(disk.write(2, b"I\xfb", flags)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(1));
    now(disk.write(512, b"QFI\xfb", flags)).unwrap();
}
