//! `cargo xtask demo`: builds release, then does the main job on a real file system, step by step, and proves
//! each step: what was put in comes out, byte for byte. At its end a disk that it made boots.

mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::packages;
use crate::shell::{cargo, find, line_of, output, root, run};

/// Most bytes of real files that go into the file system.
const CONTENT_BYTES: u64 = 160 << 20;

/// The demo's folder, our tool, and what has been done.
struct Demo {
    dir: PathBuf,
    tool: PathBuf,
    done: Vec<(String, f64)>,
}

/// Runs the demo.
///
/// # Errors
/// When a step fails or gives something wrong.
pub(crate) fn demo() -> Result<()> {
    packages::install();
    run(&mut cargo(&[
        "build",
        "--release",
        "-p",
        "qimg",
        "-p",
        "qnbd",
        "-p",
        "vmm-core",
    ]))?;
    let dir = root().join("target/demo");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    let mut demo = Demo {
        dir,
        tool: root().join("target/release/qimg"),
        done: Vec::new(),
    };
    demo.make_disk()?;
    demo.convert_everywhere()?;
    demo.snapshots()?;
    demo.sizes()?;
    demo.layers()?;
    demo.over_nbd()?;
    demo.boot()?;
    demo.summary();
    fs::remove_dir_all(&demo.dir)?;
    Ok(())
}

impl Demo {
    /// An ext4 file system with real files in it, inside a qcow2 image.
    fn make_disk(&mut self) -> Result<()> {
        self.title("a real file system in a new image");
        fill_folder(&self.dir.join("files"))?;
        self.qimg(&["create", "-f", "raw", "disk.raw", "512M"])?;
        let mkfs = find("mkfs.ext4").context("mkfs.ext4 is not installed (Debian: e2fsprogs)")?;
        self.step(Command::new(mkfs).args(["-q", "-F", "-L", "demo", "-d", "files", "disk.raw"]))?;
        self.qimg(&[
            "convert",
            "-p",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "disk.raw",
            "disk.qcow2",
        ])?;
        self.qimg(&["info", "disk.qcow2"])?;
        self.qimg(&["check", "disk.qcow2"])?;
        self.qimg(&[
            "compare",
            "-f",
            "raw",
            "-F",
            "qcow2",
            "disk.raw",
            "disk.qcow2",
        ])
    }

    /// Every format the tool can create, there and back.
    fn convert_everywhere(&mut self) -> Result<()> {
        self.title("to every format there is, and back");
        for format in self.formats()? {
            let image = format!("everywhere.{format}");
            self.qimg(&[
                "convert",
                "-p",
                "-f",
                "qcow2",
                "-O",
                &format,
                "disk.qcow2",
                &image,
            ])?;
            self.qimg(&["convert", "-f", &format, "-O", "raw", &image, "back.raw"])?;
            self.same_bytes("disk.raw", "back.raw")?;
            fs::remove_file(self.dir.join(image))?;
        }
        for packing in ["zlib", "zstd"] {
            let option = format!("compression_type={packing}");
            let image = format!("{packing}.qcow2");
            self.qimg(&[
                "convert",
                "-p",
                "-c",
                "-O",
                "qcow2",
                "-o",
                &option,
                "disk.qcow2",
                &image,
            ])?;
            self.qimg(&["convert", "-p", "-O", "raw", &image, "back.raw"])?;
            self.same_bytes("disk.raw", "back.raw")?;
        }
        self.file_system_is_whole("back.raw")
    }

    /// The disk is spoiled and brought back.
    fn snapshots(&mut self) -> Result<()> {
        self.title("a snapshot brings a spoiled disk back");
        self.qimg(&["snapshot", "-c", "before", "disk.qcow2"])?;
        self.qimg(&["create", "-f", "raw", "empty.raw", "512M"])?;
        self.qimg(&[
            "convert",
            "-n",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "empty.raw",
            "disk.qcow2",
        ])?;
        ensure!(
            self.qimg(&[
                "compare",
                "-f",
                "raw",
                "-F",
                "qcow2",
                "disk.raw",
                "disk.qcow2"
            ])
            .is_err(),
            "the disk was to be spoiled"
        );
        self.qimg(&["snapshot", "-a", "before", "disk.qcow2"])?;
        self.qimg(&["snapshot", "-l", "disk.qcow2"])?;
        self.qimg(&[
            "compare",
            "-f",
            "raw",
            "-F",
            "qcow2",
            "disk.raw",
            "disk.qcow2",
        ])?;
        self.qimg(&["snapshot", "-d", "before", "disk.qcow2"])?;
        self.qimg(&["check", "disk.qcow2"])
    }

    /// Larger and smaller again.
    fn sizes(&mut self) -> Result<()> {
        self.title("resize");
        self.qimg(&["measure", "-O", "qcow2", "disk.qcow2"])?;
        self.qimg(&["resize", "disk.qcow2", "+1G"])?;
        self.qimg(&[
            "compare",
            "-f",
            "raw",
            "-F",
            "qcow2",
            "disk.raw",
            "disk.qcow2",
        ])?;
        self.qimg(&["resize", "--shrink", "disk.qcow2", "512M"])?;
        self.qimg(&[
            "compare",
            "-f",
            "raw",
            "-F",
            "qcow2",
            "disk.raw",
            "disk.qcow2",
        ])?;
        self.qimg(&["check", "disk.qcow2"])
    }

    /// An overlay, its own data, committed into its base.
    fn layers(&mut self) -> Result<()> {
        self.title("an overlay and its base");
        self.qimg(&[
            "create",
            "-f",
            "qcow2",
            "-b",
            "disk.qcow2",
            "-F",
            "qcow2",
            "top.qcow2",
        ])?;
        self.qimg(&["info", "--backing-chain", "top.qcow2"])?;
        self.qimg(&["commit", "-p", "top.qcow2"])?;
        self.qimg(&["convert", "-O", "raw", "disk.qcow2", "back.raw"])?;
        self.same_bytes("disk.raw", "back.raw")?;
        self.file_system_is_whole("back.raw")
    }

    /// Served to others: their client, then ours. A server ends with its client.
    fn over_nbd(&mut self) -> Result<()> {
        self.title("the disk over NBD");
        if let Some(nbdinfo) = find("nbdinfo") {
            self.serve("first.sock")?;
            self.step(Command::new(nbdinfo).arg("nbd+unix:///?socket=first.sock"))?;
        } else {
            println!("  left out: nbdinfo is not installed (Debian: libnbd-bin)");
        }
        self.serve("second.sock")?;
        let from = "nbd+unix:///?socket=second.sock";
        self.qimg(&["convert", "-p", "-f", "raw", "-O", "raw", from, "back.raw"])?;
        self.same_bytes("disk.raw", "back.raw")
    }

    fn serve(&mut self, socket: &str) -> Result<()> {
        let server = self.tool.with_file_name("qnbd");
        let path = self.dir.join(socket);
        self.step(
            Command::new(server)
                .args(["--fork", "-r", "-f", "qcow2", "-k"])
                .arg(path)
                .arg("disk.qcow2"),
        )
    }

    /// Names of formats that the tool can create: it is asked, not told.
    fn formats(&self) -> Result<Vec<String>> {
        let help = output(Command::new(&self.tool).arg("--help"))?;
        let (_, list) = help
            .split_once("Supported image formats:")
            .context("the help names the formats")?;
        let names = list.lines().take_while(|l| !l.starts_with("See "));
        let formats: Vec<String> = names
            .flat_map(str::split_whitespace)
            .filter(|format| {
                let probe = self.dir.join("probe");
                let made = Command::new(&self.tool)
                    .args(["create", "-q", "-f", format])
                    .args([probe.as_os_str(), "1M".as_ref()])
                    .output()
                    .is_ok_and(|o| o.status.success());
                // What made no file here is a protocol.
                fs::remove_file(probe).is_ok()
                    && made
                    && *format != "file"
                    && !format.starts_with("host_")
            })
            .map(str::to_owned)
            .collect();
        ensure!(formats.len() > 1, "formats found: {formats:?}");
        println!("formats it can create: {}", formats.join(" "));
        Ok(formats)
    }

    fn qimg(&mut self, words: &[&str]) -> Result<()> {
        let tool = self.tool.clone();
        self.step(Command::new(tool).args(words))
    }

    /// Runs and times one command.
    fn step(&mut self, command: &mut Command) -> Result<()> {
        let line = line_of(command).replace(&format!("{}/", root().display()), "");
        println!("\n$ {line}");
        let start = Instant::now();
        let status = command.current_dir(&self.dir).status()?;
        let seconds = start.elapsed().as_secs_f64();
        println!("  [{seconds:.2} s]");
        if !status.success() {
            bail!("`{line}` failed ({status})");
        }
        self.done.push((line, seconds));
        Ok(())
    }

    /// Some formats round sizes up: what `b` has behind the end of `a` must be zeroes.
    fn same_bytes(&self, a: &str, b: &str) -> Result<()> {
        let len = |name: &str| fs::metadata(self.dir.join(name)).map(|meta| meta.len());
        let (short, long) = (len(a)?, len(b)?);
        ensure!(long >= short, "{b} is shorter than {a}");
        let cmp = |args: &[&str]| output(Command::new("cmp").args(args).current_dir(&self.dir));
        cmp(&["-n", &short.to_string(), a, b])?;
        if long > short {
            let skip = format!("0:{short}");
            cmp(&[
                "-n",
                &(long - short).to_string(),
                "-i",
                &skip,
                "/dev/zero",
                b,
            ])?;
        }
        println!("  proved: {a} and {b} are equal byte for byte");
        Ok(())
    }

    fn file_system_is_whole(&self, image: &str) -> Result<()> {
        let fsck = find("e2fsck").context("e2fsck is not installed (Debian: e2fsprogs)")?;
        output(
            Command::new(fsck)
                .args(["-fn", image])
                .current_dir(&self.dir),
        )?;
        println!("  proved: e2fsck finds the file system in {image} whole");
        Ok(())
    }

    fn title(&self, title: &str) {
        println!("\n=== {}. {title}", self.done.len() + 1);
    }

    fn summary(&self) {
        println!("\n=== summary");
        for (line, seconds) in &self.done {
            println!("{seconds:>8.2} s  {line}");
        }
        println!("{} commands, all as they should be", self.done.len());
    }
}

/// Copies programs of this machine, smallest names first, up to a bound.
fn fill_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut left = CONTENT_BYTES;
    let mut names: Vec<_> = fs::read_dir("/usr/bin")?.filter_map(Result::ok).collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_file()
            && meta.len() <= left
            && fs::copy(entry.path(), folder.join(entry.file_name())).is_ok()
        {
            left -= meta.len();
        }
    }
    println!(
        "{} MiB of programs from /usr/bin",
        (CONTENT_BYTES - left) >> 20
    );
    Ok(())
}
