//! The table and the JSON.

use serde_json::{Value, json};

use super::Outcome;
use super::measure::Cost;

/// What a ratio that must not be above 1 may be, as shown.
const EVEN: f64 = 1.005;

/// The middle of some numbers.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One count divided by another.
#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio of sizes is shown with two digits"
)]
pub(super) fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

/// The numbers of a row that are shown.
struct Numbers {
    ours: f64,
    reference: f64,
    wall: f64,
    cpu: f64,
    peak: f64,
}

impl Outcome {
    fn numbers(&self) -> Numbers {
        let pairs = || self.ours.iter().zip(&self.reference);
        let of = |costs: &[Cost], f: fn(&Cost) -> f64| median(costs.iter().map(f).collect());
        Numbers {
            ours: of(&self.ours, |c| c.wall),
            reference: of(&self.reference, |c| c.wall),
            wall: median(pairs().map(|(a, b)| a.wall / b.wall).collect()),
            cpu: median(pairs().map(|(a, b)| a.cpu / b.cpu).collect()),
            peak: median(pairs().map(|(a, b)| ratio(a.peak, b.peak)).collect()),
        }
    }

    fn verdict(&self) -> String {
        let n = self.numbers();
        let converts = self.row.name.contains("convert");
        let missed = [
            (n.wall > self.row.must, "wall"),
            // Two digits are shown, so two digits count.
            (converts && n.cpu > EVEN, "cpu"),
            (converts && n.peak > EVEN, "memory"),
            (self.size.is_some_and(|size| size > EVEN), "size"),
        ];
        let missed: Vec<&str> = missed
            .iter()
            .filter_map(|(holds, what)| holds.then_some(*what))
            .collect();
        match missed.as_slice() {
            [] if n.wall <= self.row.aim => "aim".to_owned(),
            [] => "ok".to_owned(),
            missed => format!("MISS {}", missed.join(",")),
        }
    }
}

/// Prints the head of the table.
pub(super) fn print_head() {
    println!(
        "{:<30} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7}  {:>11}  {:<5} limit",
        "work", "ours s", "theirs s", "wall", "cpu", "memory", "size", "must (aim)", ""
    );
}

/// Prints a row, as soon as it is measured.
pub(super) fn print_row(outcome: &Outcome) {
    let n = outcome.numbers();
    let row = outcome.row;
    let size = outcome.size.map_or(String::new(), |s| format!("{s:.2}"));
    let goal = format!("{} ({})", row.must, row.aim);
    let mut limits = Vec::new();
    if let (Some((name, _)), Some(seconds)) = (row.limit, outcome.limit) {
        limits.push(format!("{seconds:.3} s {name}"));
    }
    if let Some(seconds) = outcome.copy {
        limits.push(format!("{seconds:.3} s memory copy"));
    }
    let limit = limits.join(", ");
    println!(
        "{:<30} {:>9.3} {:>9.3} {:>7.3} {:>7.3} {:>7.2} {:>7}  {:>11}  {:<5} {}",
        row.name,
        n.ours,
        n.reference,
        n.wall,
        n.cpu,
        n.peak,
        size,
        goal,
        outcome.verdict(),
        limit
    );
}

/// The same as JSON.
pub(super) fn json(outcomes: &[Outcome]) -> Value {
    let cost = |c: &Cost| json!({ "wall": c.wall, "cpu": c.cpu, "peak": c.peak });
    let rows: Vec<Value> = outcomes
        .iter()
        .map(|o| {
            let n = o.numbers();
            json!({
                "name": o.row.name,
                "wall-ratio": n.wall,
                "cpu-ratio": n.cpu,
                "memory-ratio": n.peak,
                "size-ratio": o.size,
                "must": o.row.must,
                "aim": o.row.aim,
                "verdict": o.verdict(),
                "limit": o.row.limit.map(|(name, _)| name),
                "limit-seconds": o.limit,
                "memory-copy-seconds": o.copy,
                "ours": o.ours.iter().map(cost).collect::<Vec<_>>(),
                "reference": o.reference.iter().map(cost).collect::<Vec<_>>(),
            })
        })
        .collect();
    Value::Array(rows)
}
