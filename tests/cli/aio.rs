//! `aio=`: words and refusals beside the reference, requests that queue in the kernel, and the way without a kernel ring.

use std::process::Command;
use std::time::Duration;

use house_tests::tools::{find, our_io};
use house_tests::{Output, Pair, Scratch, ours, require, run, tools};

const MODES: [&str; 3] = ["threads", "native", "io_uring"];

#[test]
fn words_and_refusals_are_the_references() {
    let mut pair = require!(Pair::new("aio"));
    pair.run(&["create", "-q", "-f", "raw", "a.raw", "1M"]);
    pair.run(&["create", "-q", "-f", "qcow2", "a.qcow2", "1M"]);
    for cache in ["none", "writeback", "writethrough", "directsync", "unsafe"] {
        for aio in MODES.into_iter().chain(["bogus"]) {
            for (format, name) in [("raw", "a.raw"), ("qcow2", "a.qcow2")] {
                let words = ["bench", "-f", format, "-t", cache, "-i", aio, "-c", "50"];
                pair.run(&[&words[..], &[name]].concat());
                pair.run(&[&words[..], &["-w", "--flush-interval=64", name]].concat());
            }
        }
        pair.run(&["bench", "-f", "raw", "-n", "-t", cache, "-c", "9", "a.raw"]);
    }
    pair.run(&["create", "-q", "-f", "qcow2", "b.qcow2", "1M"]);
    for aio in ["threads", "native", "io_uring", "bogus"] {
        pair.run(&[
            "info",
            "--image-opts",
            &format!("driver=file,filename=a.raw,aio={aio}"),
        ]);
        let json = format!(
            "json:{{\"driver\":\"qcow2\",\"file\":{{\"driver\":\"file\",\"filename\":\"b.qcow2\",\
             \"aio\":\"{aio}\",\"cache\":{{\"direct\":true}}}}}}"
        );
        pair.run(&["info", &json]);
        pair.run(&["check", &json]);
    }
}

/// Writes and reads back through an engine and a cache mode, at places and lengths that direct requests cannot have.
fn round_trip(dir: &Scratch, cache: &str, aio: &str, format: &str) -> Output {
    let args = [
        "-f",
        format,
        "-t",
        cache,
        "-i",
        aio,
        "-c",
        "write -P 1 0 3M",
        "-c",
        "write -P 2 1000 70001",
        "-c",
        "write -P 3 2999999 5000",
        "-c",
        "write -z 512k 100k",
        "-c",
        "discard 1M 128k",
        "-c",
        "flush",
        "-c",
        "read -P 1 0 1000",
        "-c",
        "read -P 2 1000 70001",
        "-c",
        "read -P 3 2999999 5000",
        "-c",
        "read -P 0 512k 100k",
        "-c",
        "read -P 1 2097152 900000",
        "-c",
        "read -P 0 3148740 200",
        "x.img",
    ];
    our_io().run(dir.dir(), &args)
}

#[test]
fn every_engine_and_cache_mode_keeps_the_bytes() {
    require!(tools::ours_runs());
    let dir = Scratch::new();
    for format in ["raw", "qcow2"] {
        for aio in MODES {
            for cache in ["none", "directsync", "writeback", "writethrough", "unsafe"] {
                if aio == "native" && !["none", "directsync"].contains(&cache) {
                    continue;
                }
                // An end that is no multiple of any alignment.
                let args = ["create", "-q", "-f", format, "x.img", "3148941"];
                ours().run(dir.dir(), &args).ok();
                let output = round_trip(&dir, cache, aio, format).ok();
                assert!(!output.stdout.contains("failed"), "{}", output.report());
            }
        }
    }
}

/// Runs our tool under `strace` with these words; its report goes to a file.
fn traced(dir: &Scratch, words: &[&str], args: &[&str]) -> Result<(Output, String), String> {
    let strace = find("strace", "strace")?;
    let mut command = Command::new(strace);
    command.args(["-f", "-o", "calls"]).args(words);
    command.arg(&ours().path).args(args).current_dir(dir.dir());
    let output = run::finish(command, "strace".to_owned(), Duration::from_secs(60));
    let calls = std::fs::read_to_string(dir.path("calls")).map_err(|e| e.to_string())?;
    if output.stderr.contains("ptrace") {
        return Err(format!("strace cannot trace here: {}", output.stderr));
    }
    Ok((output, calls))
}

/// What the tool asked of the kernel in its largest submission.
fn largest_submission(calls: &str) -> u32 {
    let enters = calls
        .lines()
        .filter_map(|l| l.split("io_uring_enter(").nth(1));
    let counts = enters.filter_map(|words| words.split(", ").nth(1)?.parse().ok());
    counts.max().unwrap_or(0)
}

const BENCH: [&str; 9] = ["bench", "-f", "raw", "-t", "none", "-d", "64", "-c", "1000"];

#[test]
fn requests_queue_in_the_kernel() {
    require!(tools::ours_runs());
    let dir = Scratch::new();
    ours()
        .run(dir.dir(), &["create", "-q", "-f", "raw", "a.raw", "8M"])
        .ok();
    let args = [&BENCH[..], &["-i", "io_uring", "a.raw"]].concat();
    let (output, calls) = require!(traced(&dir, &["-e", "trace=io_uring_enter,pread64"], &args));
    output.ok();
    if !calls.contains("io_uring_enter(") {
        require!(Err::<(), _>(
            "the kernel gives no rings to this process".to_owned()
        ));
    }
    assert!(largest_submission(&calls) >= 16, "{calls}");
}

#[test]
fn without_a_ring_threads_do_the_same() {
    require!(tools::ours_runs());
    let dir = Scratch::new();
    ours()
        .run(dir.dir(), &["create", "-q", "-f", "raw", "a.raw", "8M"])
        .ok();
    for (call, error) in [("setup", "EPERM"), ("setup", "ENOSYS"), ("enter", "EPERM")] {
        let call = format!("io_uring_{call}");
        let words = [
            "-e",
            &format!("trace={call},pread64"),
            "-e",
            &format!("inject={call}:error={error}"),
        ];
        let args = [&BENCH[..], &["-i", "io_uring", "a.raw"]].concat();
        let (output, calls) = require!(traced(&dir, &words, &args));
        assert_eq!(output.code, Some(0), "{call} {error}: {}", output.report());
        assert_eq!(output.stderr, "", "{call} {error}");
        assert!(calls.matches("pread64(").count() >= 1000, "{call} {error}");
    }
}
