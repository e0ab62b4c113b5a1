//! Rows 1 to 3: names inside images, and formats that are guessed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use house_tests::bytes::{peek, poke};
use house_tests::watch::Watch;
use house_tests::{Scratch, ours, require, tools};

use crate::images::Lab;

/// A file outside the image's folder that nobody may read.
struct Secret {
    _outside: Scratch,
    path: PathBuf,
}

impl Secret {
    fn new() -> Self {
        let outside = Scratch::new();
        let path = outside.path("secret");
        fs::write(&path, [b'S'; 4096]).expect("a scratch file can be written");
        Self {
            _outside: outside,
            path,
        }
    }

    fn name(&self) -> &str {
        self.path.to_str().expect("scratch names are plain")
    }
}

/// Every verb as a user types it without naming a format.
fn verbs(name: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["info", name],
        vec!["info", "--backing-chain", name],
        vec!["check", name],
        vec!["check", "-r", "all", name],
        vec!["map", name],
        vec!["measure", "-O", "qcow2", name],
        vec!["compare", name, name],
        vec!["snapshot", "-l", name],
        vec!["snapshot", "-c", "s", name],
        vec!["bitmap", "--add", name, "b"],
        vec!["amend", "-o", "lazy_refcounts=on", name],
        vec!["convert", "-O", "raw", name, "stolen"],
        vec!["dd", "-O", "raw", "if=", "of=stolen"],
        vec!["resize", name, "+1M"],
        vec!["bench", "-c", "1", name],
        vec!["rebase", "-u", "-b", "", name],
        vec!["commit", name],
    ]
}

#[test]
fn cve_2008_2004_header_written_by_a_guest_opens_nothing() {
    let lab = require!(Lab::new());
    let secret = Secret::new();
    let watch = Watch::new(&secret.path);
    for (index, mut verb) in verbs("guest.img").into_iter().enumerate() {
        // The guest's disk is raw; its first sectors are a qcow2 header that names the secret.
        lab.image("guest.img", &["-b", secret.name(), "-F", "raw", "1M"], &[]);
        let input = "if=guest.img".to_owned();
        if let Some(word) = verb.iter_mut().find(|w| **w == "if=") {
            *word = &input;
        }
        lab.try_on(&verb);
        assert!(!watch.opened(), "verb {index} opened it: {verb:?}");
        let _ = fs::remove_file(lab.scratch.path("stolen"));
    }
}

#[test]
fn cve_2008_2004_probed_raw_disk_cannot_become_another_format() {
    let lab = require!(Lab::new());
    // A backing file without a named format, found to be raw.
    fs::write(lab.scratch.path("base.img"), vec![0; 1 << 20]).expect("a scratch file");
    let overlay = lab.image("top.img", &["-b", "base.img", "-F", "raw", "1M"], &[]);
    forget_backing_format(&overlay);
    let header = lab.image("evil.img", &["64k"], &[]);
    let evil = peek(&header, 0, 512);
    let text = lab.scratch.path("evil.raw");
    fs::write(&text, &evil).expect("a scratch file");
    let write = "write -s evil.raw 0 512";
    let args = ["-f", "qcow2", "-c", write, "top.img"];
    lab.io.run(lab.scratch.dir(), &args).ok();
    let output = lab.try_on(&["commit", "-f", "qcow2", "top.img"]);
    assert_eq!(output.code, Some(1), "{}", output.report());
    assert_eq!(peek(&lab.scratch.path("base.img"), 0, 4), [0; 4]);
}

/// Turns the extension that names the backing file's format into one that nobody knows.
fn forget_backing_format(image: &Path) {
    let start = peek(image, 0, 512);
    let at = start
        .windows(4)
        .position(|w| w == [0xe2, 0x79, 0x2a, 0xca])
        .expect("the extension is there");
    poke(image, at as u64, b"none");
}

#[test]
fn cve_2024_32498_names_outside_the_folder_are_refused() {
    let lab = require!(Lab::new());
    let secret = Secret::new();
    let watch = Watch::new(&secret.path);
    let link = lab.scratch.path("link");
    std::os::unix::fs::symlink(&secret.path, &link).expect("a link can be made");
    let up = format!("../../../../../../../..{}", secret.name());
    for name in [secret.name(), &up, "link"] {
        lab.image("x.qcow2", &["-b", name, "-F", "raw", "1M"], &[]);
        let info = lab.try_on(&["info", "x.qcow2"]).ok();
        assert!(info.stdout.contains(name), "{}", info.report());
        let convert = lab.try_on(&["convert", "-O", "raw", "x.qcow2", "stolen"]);
        assert_eq!(convert.code, Some(1), "{}", convert.report());
        assert!(!watch.opened(), "{name} was opened");
        with_data_file(&lab, name);
        lab.try_on(&["info", "y.qcow2"]);
        let convert = lab.try_on(&["convert", "-O", "raw", "y.qcow2", "stolen"]);
        assert_eq!(convert.code, Some(1), "{}", convert.report());
        assert!(!watch.opened(), "{name} was opened as a data file");
    }
}

#[test]
fn cve_2024_32498_the_caller_can_allow_a_folder() {
    let lab = require!(Lab::new());
    let secret = Secret::new();
    lab.image("x.qcow2", &["-b", secret.name(), "-F", "raw", "4096"], &[]);
    let mut command = ours().command(
        lab.scratch.dir(),
        &["convert", "-O", "raw", "x.qcow2", "copy"],
    );
    let folder = secret.path.parent().expect("it lies in a folder");
    command.env("QIMG_ALLOW_PATH", folder);
    house_tests::run::finish(command, "ours convert".to_owned(), Duration::from_secs(10)).ok();
    assert_eq!(peek(&lab.scratch.path("copy"), 0, 4), b"SSSS");
}

#[test]
fn cve_2024_32498_special_files_do_not_hang() {
    let lab = require!(Lab::new());
    let mkfifo = require!(tools::find("mkfifo", "coreutils"));
    let fifo = lab.scratch.path("pipe");
    let made = std::process::Command::new(mkfifo).arg(&fifo).status();
    assert!(made.is_ok_and(|s| s.success()));
    for name in ["pipe", "/dev/zero", "/dev/tty", "/proc/self/mem"] {
        lab.image("x.qcow2", &["-b", name, "-F", "raw", "1M"], &[]);
        lab.try_on(&["info", "x.qcow2"]).ok();
        let convert = lab.try_on(&["convert", "-O", "raw", "x.qcow2", "out"]);
        assert_eq!(convert.code, Some(1), "{name}: {}", convert.report());
    }
}

#[test]
fn cve_2024_4467_protocols_inside_names_are_not_followed() {
    let lab = require!(Lab::new());
    let secret = Secret::new();
    let watch = Watch::new(&secret.path);
    let json = format!(
        "json:{{\"driver\":\"raw\",\"file\":{{\"driver\":\"file\",\"filename\":\"{}\"}}}}",
        secret.name()
    );
    let file = format!("file:{}", secret.name());
    for name in [
        &json,
        &file,
        "nbd://127.0.0.1:1/x",
        "fat:/etc",
        "json:{",
        "json:",
    ] {
        for (image, make) in [
            ("x.qcow2", as_backing as fn(&Lab, &str)),
            ("y.qcow2", with_data_file),
        ] {
            make(&lab, name);
            let info = ours()
                .run_measured(lab.scratch.dir(), &["info", image], Duration::from_secs(5))
                .civil();
            assert!(info.peak < 64 << 20, "{}", info.report());
            let convert = lab.try_on(&["convert", "-O", "raw", image, "stolen"]);
            assert_eq!(convert.code, Some(1), "{name}: {}", convert.report());
            assert!(!watch.opened(), "{name} in {image} was followed");
        }
    }
}

fn as_backing(lab: &Lab, name: &str) {
    lab.image("x.qcow2", &["-b", name, "-F", "raw", "1M"], &[]);
}

/// `y.qcow2` whose external data file is called `name`: made with a plain name of the same length, which is
/// then replaced.
fn with_data_file(lab: &Lab, name: &str) {
    let plain = "d".repeat(name.len());
    let option = format!("data_file={plain}");
    let image = lab.image("y.qcow2", &["-o", &option, "1M"], &[]);
    let start = peek(&image, 0, 4096);
    let at = start
        .windows(plain.len())
        .position(|w| w == plain.as_bytes())
        .expect("the name is in the header's cluster");
    poke(&image, at as u64, name.as_bytes());
    let _ = fs::remove_file(lab.scratch.path(&plain));
}
