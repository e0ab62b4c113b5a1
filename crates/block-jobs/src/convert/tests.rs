use super::*;
use crate::fake::{CLUSTER, Disk, disk};
use crate::pool::block_on;
use block_core::WriteFlags;
use std::sync::Mutex as StdMutex;

/// Remembers what a job says.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) warnings: StdMutex<Vec<String>>,
    pub(crate) progress: StdMutex<Vec<(u64, u64)>>,
    pub(crate) stop: AtomicBool,
}

impl Watch for Told {
    fn progress(&self, done: u64, total: u64) {
        self.progress.lock().unwrap().push((done, total));
    }
    fn warn(&self, message: &str) {
        self.warnings.lock().unwrap().push(message.to_owned());
    }
    fn cancelled(&self) -> bool {
        self.stop.load(std::sync::atomic::Ordering::Relaxed)
    }
}

const SIZE: u64 = 3 << 20;

fn pattern(len: u64) -> Vec<u8> {
    (0..len)
        .map(|i| {
            let cluster = i / CLUSTER;
            match cluster % 5 {
                0 => 0,
                1 => 42,
                _ => u8::try_from((i * 31 + cluster) % 251).unwrap(),
            }
        })
        .collect()
}

fn source(size: u64) -> Disk {
    let disk = disk("source", size, None);
    let flags = WriteFlags::default();
    block_on(disk.root.write(0, &pattern(size), flags)).unwrap();
    disk
}

fn whole(disk: &Disk) -> Source {
    Source::whole(Arc::clone(&disk.root)).unwrap()
}

fn run(from: &[&Disk], to: &Disk, options: ConvertOptions) -> Result<(), ConvertError> {
    let sources = from.iter().map(|d| whole(d)).collect();
    let target = Arc::clone(&to.root);
    block_on(convert(sources, target, options, Arc::new(Told::default())))
}

fn content(disk: &Disk) -> Vec<u8> {
    let len = usize::try_from(disk.root.length().unwrap()).unwrap();
    let mut all = vec![0; len];
    block_on(disk.root.read(0, &mut all)).unwrap();
    all
}

fn zeroed() -> ConvertOptions {
    ConvertOptions {
        initial: Initial::Zero,
        ..ConvertOptions::default()
    }
}

#[test]
fn content_arrives_and_zeroes_are_not_stored() {
    let from = source(SIZE);
    let to = disk("target", SIZE, None);
    run(&[&from], &to, zeroed()).unwrap();
    assert_eq!(content(&to), content(&from));
    assert!(to.fake.layout().iter().all(|(index, ..)| index % 5 != 0));
}

#[test]
fn any_number_of_workers_makes_the_same_target() {
    for method in [Method::Copy, Method::Compress] {
        let made = [1, 2, 7].map(|workers| {
            let from = source(SIZE);
            let to = disk("target", SIZE, None);
            let options = ConvertOptions {
                workers,
                method,
                ..zeroed()
            };
            run(&[&from], &to, options).unwrap();
            assert_eq!(content(&to), pattern(SIZE));
            (to.fake.layout(), to.file.snapshot())
        });
        assert!(made[0] == made[1] && made[1] == made[2]);
    }
}

#[test]
fn sparse_size_zero_stores_everything() {
    let from = disk("source", 64 * CLUSTER, None);
    let to = disk("target", 64 * CLUSTER, None);
    let options = ConvertOptions {
        zeroes: Zeroes::Store,
        ..zeroed()
    };
    run(&[&from], &to, options).unwrap();
    assert_eq!(to.fake.layout().iter().filter(|c| c.1 == 'd').count(), 64);
}

#[test]
fn a_target_of_unknown_content_gets_its_zeroes_written() {
    let from = source(SIZE);
    let to = disk("target", SIZE, None);
    let noise = vec![9; usize::try_from(SIZE).unwrap()];
    block_on(to.root.write(0, &noise, WriteFlags::default())).unwrap();
    run(&[&from], &to, ConvertOptions::default()).unwrap();
    assert_eq!(content(&to), content(&from));
}

#[test]
fn sources_stand_one_behind_the_other_in_whole_sectors() {
    let first = source(CLUSTER + 100);
    let second = source(2 * CLUSTER);
    let from = [whole(&first), whole(&second)];
    let len = convert_length(&from).unwrap();
    assert_eq!(len, CLUSTER + 512 + 2 * CLUSTER);
    let to = disk("target", len, None);
    run(&[&first, &second], &to, zeroed()).unwrap();
    let mut expected = pattern(CLUSTER + 100);
    expected.resize(usize::try_from(CLUSTER + 512).unwrap(), 0);
    expected.extend(pattern(2 * CLUSTER));
    assert_eq!(content(&to), expected);
}

#[test]
fn what_the_top_layer_lacks_is_left_to_the_backing_file() {
    let base = source(SIZE);
    let top = disk("top", SIZE, Some(&base));
    block_on(
        top.root
            .write(8 * CLUSTER, &[5; 4096], WriteFlags::default()),
    )
    .unwrap();
    let to = disk("target", SIZE, Some(&base));
    let options = ConvertOptions {
        initial: Initial::Backing(SIZE),
        ..ConvertOptions::default()
    };
    let from = Source {
        base: Some(base.root.node()),
        ..whole(&top)
    };
    let (target, watch) = (Arc::clone(&to.root), Arc::new(Told::default()));
    block_on(convert(vec![from], target, options, watch)).unwrap();
    assert_eq!(content(&to), content(&top));
    assert_eq!(to.fake.layout().len(), 1);
}

#[test]
fn a_write_error_names_its_offset_and_stops() {
    let from = source(SIZE);
    let to = disk("target", SIZE, None);
    to.file.fail_after(0);
    let error = run(
        &[&from],
        &to,
        ConvertOptions {
            workers: 3,
            ..zeroed()
        },
    )
    .unwrap_err();
    assert_eq!(
        qapi::Error::from(error).message(),
        format!("error while writing at byte {CLUSTER}: No space left on device")
    );
}

#[test]
fn a_cancelled_job_ends() {
    let from = source(SIZE);
    let to = disk("target", SIZE, None);
    let told = Told::default();
    told.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let (sources, target) = (vec![whole(&from)], Arc::clone(&to.root));
    let error = block_on(convert(sources, target, zeroed(), Arc::new(told))).unwrap_err();
    assert_eq!(qapi::Error::from(error).errno_value(), Some(4));
}

#[test]
fn progress_ends_at_the_total() {
    for count_first in [false, true] {
        let from = source(SIZE);
        let to = disk("target", SIZE, None);
        let told = Arc::new(Told::default());
        let options = ConvertOptions {
            count_first,
            workers: 2,
            ..zeroed()
        };
        let watch: Arc<dyn Watch> = Arc::clone(&told) as Arc<dyn Watch>;
        block_on(convert(
            vec![whole(&from)],
            Arc::clone(&to.root),
            options,
            watch,
        ))
        .unwrap();
        let seen = told.progress.lock().unwrap();
        assert!(seen.iter().any(|(done, total)| done == total), "{seen:?}");
    }
}
