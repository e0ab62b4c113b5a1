//! What formats write when blocks are new, and that packed blocks are unpacked on all processors.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use house_tests::foreign::cloop;
use house_tests::tools::{find, our_io};
use house_tests::{Scratch, ours, reference, require, run, words};

/// A format, options that make its blocks of 1 or 2 MiB, and the most bytes that one new block may cost beside its data.
const FORMATS: &[(&str, &str, u64)] = &[
    ("vdi", "", 1 << 10),
    ("vpc", "", 2 << 10),
    // An entry of the log and the headers that name it, for all of them.
    ("vhdx", "block_size=1M", 4 << 10),
    ("parallels", "cluster_size=1048576", 1 << 10),
];

const BLOCKS: u64 = 32;
const PIECE: u64 = 4096;

/// Calls that move bytes, with the number that moved.
fn moved(calls: &str, names: &[&str]) -> (u64, u64) {
    let of = |line: &&str| names.iter().any(|name| line.contains(&format!(" {name}(")));
    let bytes = |line: &str| -> Option<u64> { line.rsplit_once(" = ")?.1.trim().parse().ok() };
    let all: Vec<_> = calls.lines().filter(of).filter_map(bytes).collect();
    (all.len() as u64, all.iter().sum())
}

/// One small write into each of many blocks costs about that: no block is filled, read back or written twice.
#[test]
fn new_blocks_cost_what_is_written_into_them() {
    let strace = require!(find("strace", "strace"));
    for (format, options, most) in FORMATS {
        let scratch = Scratch::new();
        let create = words::create(format, options, "t.img", "128M");
        ours().run(scratch.dir(), &create).ok();
        // A writer's first steps (marks in headers) are not of one block.
        let cost = |blocks: u64| {
            let mut command = Command::new(&strace);
            let trace = "trace=pread64,preadv,preadv2,read,pwrite64,pwritev,pwritev2,write";
            command.args(["-f", "-o", "calls", "-e", trace]);
            command.arg(&our_io().path).args(["-f", format]);
            for n in 0..blocks {
                let at = (n * 3 + blocks) % 64 * (2 << 20) + 100 * 512;
                command.args(["-c", &format!("write -P 7 {at} {PIECE}")]);
            }
            let command = command.arg("t.img").current_dir(scratch.dir());
            let command = std::mem::replace(command, Command::new("true"));
            run::finish(command, "strace".to_owned(), Duration::from_secs(60)).ok();
            let calls = std::fs::read_to_string(scratch.path("calls")).expect("strace wrote it");
            let read = moved(&calls, &["pread64", "preadv", "preadv2"]);
            let written = moved(&calls, &["pwrite64", "pwritev", "pwritev2"]);
            (read, written)
        };
        let (read_first, written_first) = cost(1);
        let (read, written) = cost(BLOCKS + 1);
        let per_block = written.1.saturating_sub(written_first.1) / BLOCKS;
        let story = format!(
            "{format}: {written:?} written, {read:?} read, {written_first:?} {read_first:?} for one"
        );
        assert!(written.1 > BLOCKS * PIECE, "nothing was seen of {story}");
        assert!(per_block <= PIECE + most, "{story}");
        let again = read.1.saturating_sub(read_first.1) / BLOCKS;
        assert!(again <= *most, "{story}");
        let check = require!(reference()).run(scratch.dir(), &["check", "-f", format, "t.img"]);
        assert!(matches!(check.code, Some(0 | 63)), "{}", check.report());
    }
}

/// Ticks of processor time of each thread of a process, as long as it lives.
fn ticks(pid: u32, all: &mut BTreeMap<String, u64>) {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return;
    };
    for thread in threads.flatten() {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // What is behind the name: state first, user and system time are 11 and 12 fields further.
        let Some((_, fields)) = stat.rsplit_once(") ") else {
            continue;
        };
        let fields = fields.split(' ').skip(11).take(2);
        let spent = fields.filter_map(|f| f.parse::<u64>().ok()).sum();
        all.insert(thread.file_name().to_string_lossy().into_owned(), spent);
    }
}

/// A disk that takes long to unpack for its size on disk: text of few words.
fn text(bytes: usize) -> Vec<u8> {
    let mut rng = house_tests::Rng::new(8);
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        let word = rng.below(5000) * 2_654_435_761 % 90_000_001;
        out.extend(format!("{word:x} ").into_bytes());
    }
    out.truncate(bytes);
    out
}

/// Unpacking is most of the work, and no thread does more than its part of it.
#[test]
fn packed_formats_are_unpacked_on_all_processors() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if processors < 2 {
        return require!(Err::<(), _>("one processor only".to_owned()));
    }
    let reference = require!(reference());
    let scratch = Scratch::new();
    let disk = text(96 << 20);
    std::fs::write(scratch.path("disk.raw"), &disk).expect("a scratch file");
    std::fs::write(scratch.path("t.cloop"), cloop(&disk, 65536)).expect("a scratch file");
    let stream = [
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        "subformat=streamOptimized",
    ];
    let names = ["disk.raw", "t.vmdk"];
    let made = ours().run(scratch.dir(), &[&stream[..], &names].concat());
    made.ok();
    for (format, name) in [("cloop", "t.cloop"), ("vmdk", "t.vmdk")] {
        let words = ["convert", "-f", format, "-O", "raw", name, "o.raw"];
        let mut child = ours()
            .command(scratch.dir(), &words)
            .stdout(Stdio::null())
            .spawn()
            .expect("our tool can be started");
        let mut all = BTreeMap::new();
        let code = loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break status.code();
            }
            ticks(child.id(), &mut all);
            std::thread::sleep(Duration::from_millis(2));
        };
        assert_eq!(code, Some(0), "{name}");
        let (sum, most) = all
            .values()
            .fold((0, 0), |(sum, most), n| (sum + n, n.max(&most).to_owned()));
        assert!(sum >= 8, "{name}: too little work to judge: {all:?}");
        assert!(
            most * 10 <= sum * 8,
            "{name}: one thread does it all: {all:?}"
        );
        let compare = ["compare", "-f", "raw", "-F", "raw", "disk.raw", "o.raw"];
        reference.run(scratch.dir(), &compare).ok();
    }
}

/// Space that a resize has reserved takes no more of the host's when it is written, not even for the list of extents.
#[test]
fn reserved_growth_is_paid_for_at_once() {
    use std::os::unix::fs::MetadataExt;
    for (create, grow) in [
        ("metadata", "falloc"),
        ("full", "falloc"),
        ("falloc", "falloc"),
        ("full", "full"),
    ] {
        let scratch = Scratch::new();
        let run = |args: &[&str]| ours().run(scratch.dir(), args).ok();
        let write = |command: &str| {
            let args = ["-f", "qcow2", "-c", command, "t.img"];
            our_io().run(scratch.dir(), &args).ok()
        };
        let options = format!("preallocation={create}");
        run(&words::create("qcow2", &options, "t.img", "2000k"));
        let preallocation = format!("--preallocation={grow}");
        run(&[
            "resize",
            "-q",
            "-f",
            "qcow2",
            &preallocation,
            "t.img",
            "+80k",
        ]);
        write("write 0 2000k");
        let file = || std::fs::metadata(scratch.path("t.img")).expect("it was made");
        let before = file();
        write("write 2000k 80k");
        let story = format!("{create}, then {grow}");
        assert_eq!(file().len(), before.len(), "{story}");
        assert_eq!(file().blocks(), before.blocks(), "{story}");
    }
}
