//! Running a tool: output, exit code, processor time and peak memory, with a time limit always and
//! other limits where asked.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use wait4::Wait4;

use crate::Tool;

/// Looks again and again for so long, until there is something.
pub fn until<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = look();
        if found.is_some() || start.elapsed() > patience {
            return found;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a run may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Wall time; the tool is killed after it.
    pub time: Duration,
    /// Address space in bytes (`RLIMIT_AS`).
    pub address_space: Option<u64>,
    /// Largest file it may write in bytes (`RLIMIT_FSIZE`).
    pub file_size: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(180),
            address_space: None,
            file_size: None,
        }
    }
}

/// What a run gave.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for reports.
    pub line: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Wall time.
    pub wall: Duration,
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Peak resident memory in bytes.
    pub peak: u64,
    /// It ran into [`Limits::time`].
    pub timed_out: bool,
}

impl Output {
    /// Asserts exit code 0.
    ///
    /// # Panics
    /// With everything the tool said, when it failed.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.expect_code(0)
    }

    /// Asserts this exit code.
    ///
    /// # Panics
    /// With everything the tool said, when it ended otherwise.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.report());
        self
    }

    /// Asserts that it ended by itself, without a panic.
    ///
    /// # Panics
    /// When it hung, crashed or panicked.
    #[track_caller]
    pub fn civil(self) -> Self {
        assert!(!self.timed_out, "hung: {}", self.report());
        assert!(
            self.code.is_some_and(|c| c != 101) && !self.stderr.contains("panicked at"),
            "crashed: {}",
            self.report()
        );
        self
    }

    /// Asserts that another run, of `what`, gave the same exit code, and streams that `normal` makes equal.
    ///
    /// # Panics
    /// With both runs, when it did not.
    #[track_caller]
    pub fn same_as(&self, other: &Self, what: &str, normal: impl Fn(&str) -> String) {
        let story = || format!("{what}\n{}\n{}", other.report(), self.report());
        for (ours, theirs) in [(&self.stdout, &other.stdout), (&self.stderr, &other.stderr)] {
            assert_eq!(normal(ours), normal(theirs), "{}", story());
        }
        assert_eq!(self.code, other.code, "{}", story());
    }

    /// Everything about the run, for a failure message.
    pub fn report(&self) -> String {
        format!(
            "$ {}\nexit code {:?}{}, {:?} wall, {:?} processor, {} KiB peak\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.code,
            if self.timed_out { " (timed out)" } else { "" },
            self.wall,
            self.cpu,
            self.peak / 1024,
            self.stdout,
            self.stderr
        )
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(e) => panic!("not JSON ({e}): {}", self.report()),
        }
    }
}

impl Tool {
    /// Runs it in `dir` with default limits.
    pub fn run(&self, dir: &Path, args: &[&str]) -> Output {
        self.run_limited(dir, args, Limits::default())
    }

    /// The command to run in `dir`: English, UTC, no colours, no input.
    pub fn command(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(args);
        tame(&mut command, dir);
        command
    }

    /// Runs it in `dir` within `limits`.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn run_limited(&self, dir: &Path, args: &[&str], limits: Limits) -> Output {
        let mut command = match limit_words(limits) {
            words if words.is_empty() => Command::new(&self.path),
            words => {
                let mut command = Command::new("prlimit");
                command.args(words).arg("--").arg(&self.path);
                command
            }
        };
        command.args(args);
        tame(&mut command, dir);
        let line = format!("{} {}", self.label, args.join(" "));
        finish(command, line, limits.time)
    }
}

impl Tool {
    /// Runs it in `dir`, its peak memory measured apart from this process's own.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn run_measured(&self, dir: &Path, args: &[&str], time: Duration) -> Output {
        let report = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        let mut command = Command::new(crate::tools::built("measured"));
        command.arg(report.path()).arg(&self.path).args(args);
        tame(&mut command, dir);
        let line = format!("{} {}", self.label, args.join(" "));
        let mut output = finish(command, line, time);
        let text = std::fs::read_to_string(report.path()).unwrap_or_default();
        output.peak = text.parse().unwrap_or(u64::MAX);
        output
    }
}

fn tame(command: &mut Command, dir: &Path) {
    command
        .current_dir(dir)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
}

fn limit_words(limits: Limits) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(bytes) = limits.address_space {
        words.push(format!("--as={bytes}"));
    }
    if let Some(bytes) = limits.file_size {
        words.push(format!("--fsize={bytes}"));
    }
    words
}

/// Runs any command to its end, killing it after `time`.
///
/// # Panics
/// When it cannot be started at all.
pub fn finish(mut command: Command, line: String, time: Duration) -> Output {
    let mut files = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file can be made"));
    let [out, err] = files
        .each_ref()
        .map(|f| f.try_clone().expect("a descriptor can be copied"));
    let start = Instant::now();
    let child = command
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start `{line}`: {e}"));
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (done, wait_done) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let late = wait_done.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout);
        if let (true, Some(pid)) = (late, pid) {
            // A child that has just ended is no error.
            let _ = kill_process(pid, Signal::KILL);
        }
        late
    });
    let used = child.wait4().expect("a child can be waited for");
    let wall = start.elapsed();
    drop(done);
    Output {
        line,
        code: used.status.code(),
        stdout: slurp(&mut files[0]),
        stderr: slurp(&mut files[1]),
        wall,
        cpu: used.rusage.utime + used.rusage.stime,
        peak: used.rusage.maxrss,
        timed_out: watchdog.join().unwrap_or(true),
    }
}

fn slurp(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut bytes))
        .expect("a temporary file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
