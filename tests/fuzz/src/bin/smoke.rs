//! The smoke run: replays seeds and corpora, then mutates them for some seconds a target, all on stable.
//!
//! `smoke CORPUS ARTIFACTS SECONDS [TARGET...]`. An input may take two seconds. What fails is written to ARTIFACTS; put it
//! into the corpus when it is mended.
#![forbid(unsafe_code)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fuzz_targets::mutate::{self, Random};
use fuzz_targets::{TARGETS, Target};

/// Most processor time of one input, so that a busy machine is not taken for a slow parser.
const BUSY: Duration = Duration::from_secs(2);
/// Longest time of one input, for what waits without end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most memory of the whole run, in KiB.
const MEMORY_KIB: u64 = 768 << 10;

/// What is being run now, for the watchdog.
#[derive(Default)]
struct Current {
    /// Counts inputs, and the pauses between them.
    turn: AtomicU64,
    input: Mutex<(String, Vec<u8>)>,
}

struct Smoke {
    artifacts: PathBuf,
    current: Arc<Current>,
    failed: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [corpus, artifacts, seconds, wanted @ ..] = &words[..] else {
        eprintln!("smoke CORPUS ARTIFACTS SECONDS [TARGET...]");
        return ExitCode::FAILURE;
    };
    let seconds = seconds.parse().unwrap_or(5.0);
    let mut smoke = Smoke {
        artifacts: artifacts.into(),
        current: Arc::default(),
        failed: 0,
    };
    smoke.watch();
    for target in TARGETS {
        if wanted.is_empty() || wanted.iter().any(|w| w == target.name) {
            smoke.target(target, Path::new(corpus), Duration::from_secs_f64(seconds));
        }
    }
    let peak = peak_kib();
    println!(
        "fuzz-smoke: peak memory {} MiB, {} failed",
        peak >> 10,
        smoke.failed
    );
    if smoke.failed > 0 || peak > MEMORY_KIB {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

impl Smoke {
    /// Ends the process, with the input saved, when one takes too long.
    fn watch(&self) {
        let (current, artifacts) = (self.current.clone(), self.artifacts.clone());
        std::thread::spawn(move || {
            let (mut turn, mut start, mut busy) = (0, Instant::now(), processor_time());
            loop {
                std::thread::sleep(Duration::from_millis(100));
                let now = current.turn.load(Ordering::Relaxed);
                if now != turn {
                    (turn, start, busy) = (now, Instant::now(), processor_time());
                    continue;
                }
                if processor_time() - busy > BUSY || start.elapsed() > PATIENCE {
                    let (name, input) = current.input.lock().map(|i| i.clone()).unwrap_or_default();
                    let path = save(&artifacts, &name, &input);
                    eprintln!("{name}: takes too long, input in {}", path.display());
                    std::process::exit(2);
                }
            }
        });
    }

    fn target(&mut self, target: &Target, corpus: &Path, time: Duration) {
        let mut inputs = (target.seeds)();
        if let Ok(entries) = fs::read_dir(corpus.join(target.name)) {
            let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|e| e.path()).collect();
            paths.sort();
            inputs.extend(paths.iter().filter_map(|p| fs::read(p).ok()));
        }
        for input in &inputs {
            self.one(target, input);
        }
        let mut random = Random::new(target.name.bytes().map(u64::from).sum());
        let (start, mut runs) = (Instant::now(), inputs.len());
        while start.elapsed() < time {
            let mut input = inputs[random.below(inputs.len())].clone();
            mutate::bytes(&mut input, &mut random);
            self.one(target, &input);
            runs += 1;
        }
        println!("{:<12} {} seeds, {runs} runs", target.name, inputs.len());
    }

    fn one(&mut self, target: &Target, input: &[u8]) {
        if let Ok(mut current) = self.current.input.lock() {
            *current = (target.name.to_owned(), input.to_vec());
        }
        self.current.turn.fetch_add(1, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        self.current.turn.fetch_add(1, Ordering::Relaxed);
        if result.is_err() {
            self.failed += 1;
            let path = save(&self.artifacts, target.name, input);
            eprintln!("{}: failed, input in {}", target.name, path.display());
        }
    }
}

/// Processor time of the whole process.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Writes an input that failed; named by its content.
fn save(artifacts: &Path, target: &str, input: &[u8]) -> PathBuf {
    let sum = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = artifacts.join(format!("{target}-{sum:016x}"));
    if let Err(error) = fs::create_dir_all(artifacts).and_then(|()| fs::write(&path, input)) {
        eprintln!("cannot write {}: {error}", path.display());
    }
    path
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
