//! A power cut at every write: what a flush had promised is there, and nothing else is harmed.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use block_core::testing::MemoryFile;
use block_core::{
    BoxFuture, CheckRequest, CreateRequest, Edge, Fix, FormatDriver, Gate, Kind, Node, NodeSpec,
    OpenRequest, Perms, Role, Root, WriteFlags,
};
use qapi::{Dict, Error, Value};

use crate::{parallels, qcow, qed, vdi, vhdx, vpc};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 12 * MIB;
/// Bytes of a write.
const LEN: usize = 3000;

/// Runs a future whose leaves never wait.
fn run<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = work.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// Makes files in memory and opens nothing.
#[derive(Default)]
struct MemoryGate(Mutex<Option<MemoryFile>>);

impl Gate for MemoryGate {
    fn open_child<'a>(
        &'a self,
        _role: Role,
        _name: &'static str,
        _options: Option<Value>,
        _named_by_image: Option<&'a str>,
    ) -> BoxFuture<'a, qapi::Result<Arc<Edge>>> {
        Box::pin(std::future::ready(Err(Error::new("not here"))))
    }

    fn create_file<'a>(
        &'a self,
        filename: &'a str,
        _options: &'a Dict,
    ) -> BoxFuture<'a, qapi::Result<Arc<Node>>> {
        let file = MemoryFile::new(Vec::new());
        let node = file.node(filename, false);
        *self.0.lock().expect("no test panics in here") = Some(file);
        Box::pin(std::future::ready(Ok(node)))
    }
}

fn create(driver: &FormatDriver, options: &[(&'static str, u64)]) -> Vec<u8> {
    let gate = MemoryGate::default();
    let mut dict = Dict::new();
    dict.insert("size", SIZE);
    for (name, value) in options {
        dict.insert(*name, *value);
    }
    let create = driver.create.expect("it can be made");
    run(create(CreateRequest {
        filename: "image",
        options: &dict,
        gate: &gate,
    }))
    .expect("it can be made");
    let file = gate.0.lock().expect("no test panics in here").take();
    file.expect("a file was made").snapshot()
}

fn open(driver: &FormatDriver, file: &MemoryFile) -> qapi::Result<Root> {
    let mut options = Dict::new();
    let opened = run((driver.open)(OpenRequest {
        file: file.edge(false),
        options: &mut options,
        read_write: true,
        check_only: false,
        no_io: false,
        unmap: false,
        gate: &MemoryGate::default(),
    }))?;
    let spec = NodeSpec {
        options,
        ..NodeSpec::new("image", driver.name)
    };
    let node = Node::new(spec, Kind::format(opened.format, opened.edges, None));
    let used = Perms::CONSISTENT_READ | Perms::WRITE | Perms::RESIZE;
    Root::attach(node, used, Perms::ALL)
}

fn put(root: &Root, at: u64, byte: u8) -> std::io::Result<()> {
    run(root.write(at, &[byte; LEN], WriteFlags::default()))
}

fn holds(root: &Root, at: u64) -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    run(root.read(at, &mut bytes)).expect("it can be read");
    bytes
}

/// Nothing is wrong; space that nothing uses is no harm.
fn is_sound(root: &Root, story: &str) {
    let node = root.node();
    let Some(check) = node.format().and_then(|f| f.check()) else {
        return;
    };
    let mut said = Vec::new();
    let request = CheckRequest {
        fix: Fix::default(),
        detail: &mut |line| said.push(line.to_owned()),
    };
    let report = run(check.check(request)).expect("it can be checked");
    // The count in vdi's header is written behind the blocks that it counts.
    said.retain(|line| !line.contains("allocated blocks mismatch"));
    let errors = report.corruptions + report.check_errors;
    assert!(said.is_empty() && errors <= 1, "{story}: {said:?}");
}

/// Writes A and flushes, then B to other blocks and to A's, and stops after `writes` writes of that.
fn cut(driver: &FormatDriver, image: &[u8], writes: i64) -> bool {
    let story = format!("{} after {writes} writes", driver.name);
    let file = MemoryFile::new(image.to_vec());
    let root = open(driver, &file).expect("it can be opened");
    put(&root, 100, 1).expect("A");
    run(root.flush()).expect("A is flushed");
    file.fail_after(writes);
    let later = [5 * MIB + 7, 9 * MIB];
    let wrote = later.iter().all(|at| put(&root, *at, 2).is_ok());
    let flushed = wrote && run(root.flush()).is_ok();
    let file = MemoryFile::new(file.snapshot());
    drop(root);
    let root = open(driver, &file).unwrap_or_else(|e| panic!("{story}: {e}"));
    is_sound(&root, &story);
    assert_eq!(holds(&root, 100), [1; LEN], "{story}: A is lost");
    for at in later {
        let bytes = holds(&root, at);
        let whole = bytes == [2; LEN];
        assert!(whole || bytes == [0; LEN], "{story}: B is torn");
        assert!(whole || !flushed, "{story}: B was flushed and is lost");
    }
    put(&root, 7 * MIB, 3).unwrap_or_else(|e| panic!("{story}: {e}"));
    run(root.flush()).expect("it can be flushed");
    assert_eq!(holds(&root, 100), [1; LEN], "{story}: later A is lost");
    is_sound(&root, &story);
    flushed
}

#[test]
fn a_power_cut_at_any_write_loses_nothing_that_was_flushed() {
    let cases: [(&FormatDriver, &[(&str, u64)]); 6] = [
        (&vhdx::DRIVER, &[("block_size", MIB)]),
        (&qed::DRIVER, &[]),
        (&vdi::DRIVER, &[]),
        (&vpc::DRIVER, &[]),
        (&parallels::DRIVER, &[]),
        (&qcow::DRIVER, &[]),
    ];
    for (driver, options) in cases {
        let image = create(driver, options);
        let done = (0..200).find(|writes| cut(driver, &image, *writes));
        assert!(done.is_some_and(|n| n > 3), "{}: {done:?}", driver.name);
    }
}
