//! How far a command is: QEMU's text, a bar on a terminal, or JSON lines; and the signals that ask for it or stop it.
//!
//! `-p` prints `    (12.34/100%)` and a carriage return on standard output whenever a step is made, and a newline at
//! the end. Without it `SIGUSR1` prints the same once on standard error. `SIGINT` and `SIGTERM` ask the job to stop
//! where nothing is left half done; the second one ends the process at once.

use qapi::out;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use block::jobs::Watch;
use clap::{Arg, ArgMatches};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use qapi::{Dict, Error};
use reactor::Signal;

/// Exit code of a command that a signal stopped.
pub(crate) const INTERRUPTED: u8 = 130;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    None,
    Text,
    Bar,
    Json,
}

/// The option `-p`, `--progress[=text|json|none]`.
pub(crate) fn arg() -> Arg {
    Arg::new("progress")
        .short('p')
        .long("progress")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("auto")
        .value_name("text|json|none")
        .help("show operation progress")
}

#[derive(Default)]
struct State {
    done: u64,
    total: u64,
    shown: Option<f64>,
}

impl State {
    fn percent(&self) -> f64 {
        if self.total == 0 {
            return 100.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
        let percent = self.done as f64 * 100.0 / self.total as f64;
        percent.min(100.0)
    }
}

/// Shows a job's progress and carries the wish to stop.
pub(crate) struct Meter {
    style: Style,
    /// Smallest step shown, in percent.
    step: f64,
    state: Mutex<State>,
    bar: Option<ProgressBar>,
    stop: AtomicBool,
    quiet: bool,
}

impl Meter {
    /// A meter for the command line's `-p` and `-q`, which shows steps of `step` percent. Signals reach it from
    /// now on.
    ///
    /// # Errors
    /// When `--progress` has a wrong value, or signals cannot be caught.
    pub(crate) fn new(matches: &ArgMatches, quiet: bool, step: f64) -> qapi::Result<Arc<Self>> {
        let asked = matches
            .try_get_one::<String>("progress")
            .ok()
            .flatten()
            .map(String::as_str);
        let style = match asked {
            None | Some("none") => Style::None,
            Some("json") => Style::Json,
            Some("text") => Style::Text,
            Some("auto") if std::io::stdout().is_terminal() => Style::Bar,
            Some("auto") => Style::Text,
            Some(other) => {
                return Err(Error::new(format!(
                    "--progress expects 'text', 'json' or 'none' not '{other}'"
                )));
            }
        };
        let style = if quiet { Style::None } else { style };
        let meter = Arc::new(Self {
            style,
            step,
            state: Mutex::default(),
            bar: (style == Style::Bar).then(new_bar),
            stop: AtomicBool::new(false),
            quiet,
        });
        meter.catch_signals()?;
        Ok(meter)
    }

    fn catch_signals(self: &Arc<Self>) -> qapi::Result<()> {
        let failed = |e| Error::from_io("Could not catch signals", &e);
        let meter = Arc::clone(self);
        reactor::on_signal(Signal::User1, move || meter.tell_once()).map_err(failed)?;
        for signal in [Signal::Interrupt, Signal::Terminate] {
            let meter = Arc::clone(self);
            let act = move || {
                if meter.stop.swap(true, Ordering::AcqRel) {
                    std::process::exit(i32::from(INTERRUPTED));
                }
            };
            reactor::on_signal(signal, act).map_err(failed)?;
        }
        Ok(())
    }

    /// Whether it shows anything by itself.
    pub(crate) fn shows(&self) -> bool {
        self.style != Style::None
    }

    /// The start: 0 percent.
    pub(crate) fn start(&self) {
        self.show(0, u64::MAX);
    }

    /// The end of what went well: 100 percent.
    pub(crate) fn full(&self) {
        let total = {
            let mut state = self.lock();
            // Told again even if the last step did.
            state.shown = None;
            state.total.max(1)
        };
        self.show(total, total);
    }

    /// The end, wherever it got to: the cursor stands in a new line.
    pub(crate) fn end(&self) {
        match (self.style, &self.bar) {
            (Style::Text, _) => out::line(""),
            (_, Some(bar)) => bar.finish_and_clear(),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_once(&self) {
        let state = self.lock();
        eprintln!("    ({:3.2}/100%)", state.percent());
    }

    fn show(&self, done: u64, total: u64) {
        let mut state = self.lock();
        // Workers report as they finish, so an earlier piece may come later.
        if total == state.total && done < state.done {
            return;
        }
        (state.done, state.total) = (done, total);
        let percent = state.percent();
        let due = state.shown.is_none_or(|shown| {
            percent - shown >= self.step || (percent >= 100.0 && shown < 100.0)
        });
        if due {
            state.shown = Some(percent);
        }
        match self.style {
            Style::Text if due => {
                out::text(&format!("    ({percent:3.2}/100%)\r"));
                out::flush();
            }
            Style::Json if due => {
                let mut line = Dict::new();
                line.insert("done", done);
                line.insert("total", total);
                line.insert("percent", (percent * 100.0).round() / 100.0);
                eprintln!("{}", qapi::json::compact(&line.into()));
            }
            Style::Bar => {
                // At the start the total is not known yet.
                if let Some(bar) = self.bar.as_ref().filter(|_| total < u64::MAX) {
                    bar.set_length(total);
                    bar.set_position(done);
                }
            }
            _ => {}
        }
    }
}

impl Watch for Meter {
    fn progress(&self, done: u64, total: u64) {
        self.show(done, total);
    }

    fn warn(&self, message: &str) {
        if !self.quiet {
            qapi::warn(message);
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

impl block::Progress for Meter {
    fn set(&self, done: u64, total: u64) {
        self.show(done, total);
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stdout());
    let template = "{wide_bar} {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}

#[cfg(test)]
mod tests;
