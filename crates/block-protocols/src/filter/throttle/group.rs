//! `throttle-group`: limits that several nodes share.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use qapi::{Dict, Error, OptionKind, Value, opts};
use tokio::sync::Mutex as Turn;

use super::bucket::{Bucket, real};

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// Names of the limits, and the buckets they belong to.
const KINDS: [&str; 6] = [
    "bps-total",
    "bps-read",
    "bps-write",
    "iops-total",
    "iops-read",
    "iops-write",
];

/// Longest wait between two looks at the clock.
const MAX_WAIT: f64 = 3600.0;

#[derive(Debug, Default, Clone)]
struct Limits {
    /// In the order of [`KINDS`].
    buckets: [Bucket; 6],
    /// Larger requests count as several.
    op_size: u64,
}

struct State {
    limits: Limits,
    leaked: Instant,
}

/// Limits and what has passed.
pub(crate) struct ThrottleGroup {
    state: Mutex<State>,
    /// Requests wait one after the other.
    turns: [Turn<()>; 2],
}

/// Makes the object from its options, all of which it takes.
///
/// # Errors
/// In QEMU's words.
pub(crate) fn create(options: &mut Dict) -> qapi::Result<Arc<dyn Any + Send + Sync>> {
    let mut limits = Limits::default();
    for (index, name) in KINDS.into_iter().enumerate() {
        limits.set(&format!("x-{name}"), options, "", index)?;
    }
    if let Some(size) = take(options, "", "x-iops-size")? {
        limits.op_size = size;
    }
    if let Some(Value::Dict(mut given)) = options.remove("limits") {
        for (index, name) in KINDS.into_iter().enumerate() {
            limits.set(name, &mut given, "limits.", index)?;
        }
        if let Some(size) = take(&mut given, "limits.", "iops-size")? {
            limits.op_size = size;
        }
        if let Some((key, _)) = given.iter().next() {
            return Err(Error::new(format!(
                "Parameter 'limits.{key}' is unexpected"
            )));
        }
    }
    limits.check()?;
    Ok(Arc::new(ThrottleGroup {
        state: Mutex::new(State {
            limits,
            leaked: Instant::now(),
        }),
        turns: [Turn::new(()), Turn::new(())],
    }))
}

/// Takes a number; `prefix` is what its name has before it for users.
fn take(options: &mut Dict, prefix: &str, name: &str) -> qapi::Result<Option<u64>> {
    let wrong = || Error::new(format!("Parameter '{prefix}{name}' expects integer"));
    let value = match options.remove(name) {
        None => return Ok(None),
        Some(Value::Str(text)) => {
            opts::typed(name, &text, OptionKind::Number).map_err(|_| wrong())?
        }
        Some(other) => other,
    };
    match value {
        Value::Int(n) => u64::try_from(n)
            .map(Some)
            .map_err(|_| Error::new("Property values cannot be negative")),
        // What is above the largest signed number was a negative one.
        Value::Uint(_) => Err(Error::new("Property values cannot be negative")),
        _ => Err(wrong()),
    }
}

impl Limits {
    fn set(
        &mut self,
        name: &str,
        options: &mut Dict,
        prefix: &str,
        index: usize,
    ) -> qapi::Result<()> {
        let bucket = &mut self.buckets[index];
        if let Some(avg) = take(options, prefix, name)? {
            bucket.avg = avg;
        }
        if let Some(max) = take(options, prefix, &format!("{name}-max"))? {
            bucket.max = max;
        }
        let length_name = format!("{name}-max-length");
        if let Some(length) = take(options, prefix, &length_name)? {
            if length > u64::from(u32::MAX) {
                let range = if !prefix.is_empty() {
                    "must be in the range"
                } else {
                    "must be in therange"
                };
                return Err(Error::new(format!(
                    "{length_name} value {range} [0, {}]",
                    u32::MAX
                )));
            }
            bucket.burst_length = length;
        }
        Ok(())
    }

    fn check(&self) -> qapi::Result<()> {
        let b = &self.buckets;
        let both = |total: usize, of: fn(&Bucket) -> u64| {
            of(&b[total]) > 0 && (of(&b[total + 1]) > 0 || of(&b[total + 2]) > 0)
        };
        let avg: fn(&Bucket) -> u64 = |b| b.avg;
        let max: fn(&Bucket) -> u64 = |b| b.max;
        if both(0, avg) || both(3, avg) || both(0, max) || both(3, max) {
            return Err(Error::new(
                "bps/iops/max total values and read/write values cannot be used at the same time",
            ));
        }
        if self.op_size > 0 && b[3..].iter().all(|b| b.avg == 0) {
            return Err(Error::new("iops size requires an iops value to be set"));
        }
        b.iter().try_for_each(Bucket::check)
    }
}

impl ThrottleGroup {
    /// Waits until a request may pass, and counts it.
    pub(super) async fn admit(&self, direction: Direction, bytes: u64) {
        let turn = match direction {
            Direction::Read => &self.turns[0],
            Direction::Write => &self.turns[1],
        };
        let _turn = turn.lock().await;
        loop {
            let wait = self.look(direction, bytes);
            if wait <= 0.0 {
                return;
            }
            reactor::sleep(Duration::from_secs_f64(wait.min(MAX_WAIT))).await;
        }
    }

    /// Lets a request pass, or says for how many seconds it has to wait.
    fn look(&self, direction: Direction, bytes: u64) -> f64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let seconds = now.duration_since(state.leaked).as_secs_f64();
        state.leaked = now;
        let own = match direction {
            Direction::Read => [0, 1, 3, 4],
            Direction::Write => [0, 2, 3, 5],
        };
        let limits = &mut state.limits;
        for bucket in &mut limits.buckets {
            bucket.leak(seconds);
        }
        let wait = own
            .iter()
            .map(|index| limits.buckets[*index].wait())
            .fold(0.0, f64::max);
        if wait > 0.0 {
            return wait;
        }
        let mut units = 1.0;
        if limits.op_size > 0 && bytes > limits.op_size {
            units = real(bytes) / real(limits.op_size);
        }
        for index in own {
            let amount = if index < 3 { real(bytes) } else { units };
            limits.buckets[index].fill(amount);
        }
        0.0
    }
}
