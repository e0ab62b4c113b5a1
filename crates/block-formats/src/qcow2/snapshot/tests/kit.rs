//! An image in memory that the reference tool can look at and change.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use block_core::testing::MemoryFile;
use block_core::{Edge, Slot, WriteFlags};
use qapi::Dict;

use crate::qcow2::{Qcow2, open};

/// Runs a future whose leaves never wait.
pub(in crate::qcow2) fn run<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = work.as_mut().poll(&mut context) {
            return value;
        }
    }
}

async fn open_edge(file: Arc<Edge>) -> Qcow2 {
    let header = open::read_header(&file).await.unwrap();
    let options = open::Options::take(&mut Dict::new(), &header, false).unwrap();
    let data = (Slot::FILE, Arc::clone(&file));
    let mut image = open::build(file, data, header, options, false)
        .await
        .unwrap();
    image.read_lists().await.unwrap();
    image
}

impl Qcow2 {
    /// Fills the cluster at `offset` with `byte`; it is in the file after.
    pub(in crate::qcow2) async fn put(&self, offset: u64, byte: u8) -> io::Result<()> {
        let place = self.place(offset, self.cluster_size()).await?;
        let bytes = vec![byte; usize::try_from(place.len).unwrap()];
        let file = self.file();
        file.write(place.at.offset, &bytes, WriteFlags::default())
            .await?;
        if place.fresh {
            self.enter(&place).await?;
        }
        self.write_out().await
    }
}

/// Whether the reference tool is here; says so when a test is skipped.
pub(in crate::qcow2) fn reference() -> bool {
    let found = Command::new("qemu-img").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no qemu-img here");
    }
    found
}

/// What a run of the reference tool gave.
#[derive(Debug)]
pub(in crate::qcow2) struct Ran {
    pub(in crate::qcow2) code: i32,
    pub(in crate::qcow2) text: String,
}

/// An image's bytes.
pub(in crate::qcow2) struct Image {
    pub(in crate::qcow2) file: MemoryFile,
    dir: tempfile::TempDir,
}

impl Image {
    /// Made by the reference.
    pub(in crate::qcow2) fn create(options: &str, size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let options = format!("cluster_size=4096,{options}");
        let name = path.to_str().unwrap();
        let args = [
            "create",
            "-q",
            "-f",
            "qcow2",
            "-u",
            "-o",
            options.trim_end_matches(','),
            name,
            size,
        ];
        let done = Command::new("qemu-img").args(args).status().unwrap();
        assert!(done.success());
        let file = MemoryFile::new(std::fs::read(&path).unwrap());
        Self { file, dir }
    }

    /// A copy that lives on its own.
    pub(in crate::qcow2) fn copy(&self) -> Self {
        Self {
            file: MemoryFile::new(self.file.snapshot()),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("i")
    }

    /// Opened by us for writing.
    pub(in crate::qcow2) fn open(&self) -> Qcow2 {
        run(open_edge(self.file.edge(false)))
    }

    /// Runs the reference with the image's path put in for `{}`; the image is afterwards what it made of it.
    pub(in crate::qcow2) fn qemu(&mut self, tool: &str, args: &[&str]) -> Ran {
        std::fs::write(self.path(), self.file.snapshot()).unwrap();
        let ran = self.look(tool, args);
        self.file = MemoryFile::new(std::fs::read(self.path()).unwrap());
        ran
    }

    fn look(&self, tool: &str, args: &[&str]) -> Ran {
        let path = self.path();
        let args = args.iter().map(|a| a.replace("{}", path.to_str().unwrap()));
        let output = Command::new(tool)
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        Ran {
            code: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// The reference's check of the image as it is.
    pub(in crate::qcow2) fn check(&self) -> Ran {
        std::fs::write(self.path(), self.file.snapshot()).unwrap();
        self.look("qemu-img", &["check", "-f", "qcow2", "{}"])
    }

    /// Asserts that the reference finds nothing wrong.
    pub(in crate::qcow2) fn assert_clean(&self, what: &str) {
        let ran = self.check();
        assert_eq!(ran.code, 0, "{what}: {}", ran.text);
    }

    /// The disk's content, or that of a snapshot, as the reference reads it.
    pub(in crate::qcow2) fn content(&self, snapshot: Option<&str>) -> Vec<u8> {
        std::fs::write(self.path(), self.file.snapshot()).unwrap();
        let mut args = vec!["convert", "-U", "-f", "qcow2", "-O", "raw"];
        if let Some(name) = snapshot {
            args.extend(["-l", name]);
        }
        args.extend(["{}", "{}.raw"]);
        let ran = self.look("qemu-img", &args);
        assert_eq!(ran.code, 0, "{}", ran.text);
        std::fs::read(self.dir.path().join("i.raw")).unwrap()
    }
}
