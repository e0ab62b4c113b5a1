//! `cargo xtask bench [--quick] [--rounds N] [--dir DIR] [ROW...]`: our tool against the real one, in pairs
//! (A B A B ...), with the outputs verified and the machine's own limit beside them.
//!
//! Prints a table and writes `target/bench.json`. A ratio is ours divided by theirs, median of the pairs: below
//! 1 we are faster. A row whose name contains one of the words given is run.

mod fixtures;
mod load;
mod measure;
mod rows;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, find, root, run};
use measure::{Cost, measure, shell};
use rows::{Kind, ROWS, Row, SERVER_ROWS, Verify};

/// What to run and how often.
struct Plan {
    sizes: fixtures::Sizes,
    rounds: usize,
    dir: PathBuf,
    words: Vec<String>,
}

/// The two programs.
struct Tools {
    ours: PathBuf,
    reference: PathBuf,
}

impl Tools {
    /// Those of a kind: ours built beside `qimg`, theirs installed beside `qemu-img`.
    fn of(&self, kind: Kind) -> Self {
        let (ours, reference) = match kind {
            Kind::Image => ("qimg", "qemu-img"),
            Kind::Io => ("qio", "qemu-io"),
            Kind::Server => ("qnbd", "qemu-nbd"),
        };
        Self {
            ours: self.ours.with_file_name(ours),
            reference: self.reference.with_file_name(reference),
        }
    }
}

/// The numbers of one row.
struct Outcome {
    row: &'static Row,
    ours: Vec<Cost>,
    reference: Vec<Cost>,
    limit: Option<f64>,
    /// Of a server: the same bytes copied once in memory.
    copy: Option<f64>,
    /// Our output's size on disk divided by theirs, where there is one.
    size: Option<f64>,
}

/// Runs the benchmark.
///
/// # Errors
/// When a tool fails or an output is wrong. A row that misses its goal is only marked.
pub(crate) fn bench(words: &[String]) -> Result<()> {
    let plan = plan(words)?;
    let tools = Tools {
        ours: ours()?,
        reference: find("qemu-img").context("qemu-img is not installed (Debian: qemu-utils)")?,
    };
    std::fs::create_dir_all(&plan.dir)?;
    let mut outcomes = Vec::new();
    table::print_head();
    for row in ROWS.iter().chain(SERVER_ROWS).filter(|r| plan.wants(r)) {
        let outcome = run_row(row, &plan, &tools).with_context(|| format!("row `{}`", row.name))?;
        table::print_row(&outcome);
        outcomes.push(outcome);
    }
    let json = root().join("target/bench.json");
    std::fs::write(&json, format!("{:#}\n", table::json(&outcomes)))?;
    println!("\nwritten to {}", json.display());
    std::fs::remove_dir_all(&plan.dir)?;
    Ok(())
}

/// Our tool, built; or the program that `HOUSE_OURS` names (to try the benchmark itself).
fn ours() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HOUSE_OURS") {
        return Ok(path.into());
    }
    run(&mut cargo(&[
        "build",
        "--release",
        "-p",
        "qimg",
        "-p",
        "qio",
        "-p",
        "qnbd",
    ]))?;
    Ok(root().join("target/release/qimg"))
}

fn plan(words: &[String]) -> Result<Plan> {
    let mut plan = Plan {
        sizes: fixtures::Sizes::full(),
        rounds: 5,
        dir: root().join("target/bench"),
        words: Vec::new(),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => {
                plan.sizes = fixtures::Sizes::quick();
                plan.rounds = 3;
            }
            "--rounds" => plan.rounds = words.next().context("--rounds needs a number")?.parse()?,
            "--dir" => plan.dir = words.next().context("--dir needs a folder")?.into(),
            option if option.starts_with('-') => bail!("unknown option `{option}`"),
            name => plan.words.push(name.to_owned()),
        }
    }
    Ok(plan)
}

impl Plan {
    fn wants(&self, row: &Row) -> bool {
        self.words.is_empty() || self.words.iter().any(|w| row.name.contains(w.as_str()))
    }
}

fn run_row(row: &'static Row, plan: &Plan, tools: &Tools) -> Result<Outcome> {
    for fixture in row.needs {
        fixtures::make(fixture, &plan.dir, plan.sizes, &tools.reference)?;
    }
    let tools = &tools.of(row.tool);
    let mut outcome = Outcome {
        row,
        ours: Vec::new(),
        reference: Vec::new(),
        limit: None,
        copy: row.load.map(load::memory_copy),
        size: None,
    };
    // The first pair only warms the caches.
    for round in 0..=plan.rounds {
        let (ours, our_text) = one(row, &plan.dir, &tools.ours, "ours")?;
        let (reference, text) = one(row, &plan.dir, &tools.reference, "reference")?;
        if round == 0 {
            outcome.size = verify(row, &plan.dir, tools, (&our_text, &text))?;
            continue;
        }
        outcome.ours.push(ours);
        outcome.reference.push(reference);
    }
    if let (Some((name, line)), Some(load)) = (row.limit, row.load) {
        if let Some(program) = find(name) {
            let cost = load::measure(&program, line, &plan.dir, load)?;
            outcome.limit = Some(cost.wall);
        }
    } else if let Some((_, line)) = row.limit {
        let mut seconds = Vec::new();
        for _ in 0..plan.rounds {
            shell("rm -f limit.out", &plan.dir)?;
            settle(&plan.dir)?;
            let (cost, _) = measure(Path::new("sh"), &["-c", line], &plan.dir)?;
            seconds.push(cost.wall);
        }
        outcome.limit = Some(table::median(seconds));
    }
    shell("rm -f ours.* reference.* limit.*", &plan.dir)?;
    Ok(outcome)
}

/// Runs one tool once. `OUT` in the row's lines stands for a name of its own.
fn one(row: &Row, dir: &Path, tool: &Path, name: &str) -> Result<(Cost, String)> {
    shell(&format!("rm -f {name}.*"), dir)?;
    if !row.before.is_empty() {
        shell(&row.before.replace("OUT", name), dir)?;
    }
    settle(dir)?;
    let line = row.args.replace("OUT", name);
    if let Some(load) = row.load {
        return Ok((load::measure(tool, &line, dir, load)?, String::new()));
    }
    let args: Vec<&str> = line.split_whitespace().collect();
    let mut sum = Cost::default();
    let mut text = String::new();
    for _ in 0..row.times {
        let input = (!row.input.is_empty()).then(|| dir.join(row.input));
        let (cost, out) = measure::measure_with(tool, &args, dir, input.as_deref())?;
        sum = sum.then(cost);
        text = out;
    }
    Ok((sum, text))
}

/// Lets earlier writes reach the disk, so that nobody pays for another.
fn settle(dir: &Path) -> Result<()> {
    shell("sync -f .", dir)
}

/// Compares what the two tools made; gives the ratio of sizes where files were made.
fn verify(row: &Row, dir: &Path, tools: &Tools, texts: (&str, &str)) -> Result<Option<f64>> {
    match row.verify {
        Verify::Nothing => Ok(None),
        Verify::Text => {
            if texts.0 != texts.1 {
                bail!(
                    "outputs differ: {} and {} bytes",
                    texts.0.len(),
                    texts.1.len()
                );
            }
            Ok(None)
        }
        Verify::Image(format) => same_images(format, "", dir, tools).map(Some),
        Verify::Encrypted(format, key) => {
            let key = format!("{key}=s,");
            same_images(format, &key, dir, tools).map(Some)
        }
    }
}

/// Compares images of a format that options open; gives the ratio of their sizes.
fn same_images(format: &str, options: &str, dir: &Path, tools: &Tools) -> Result<f64> {
    let names = ["ours", "reference"].map(|name| format!("{name}.{format}"));
    let [a, b] = names
        .each_ref()
        .map(|name| format!("driver={format},{options}file.filename={name}"));
    let run = |words: &[&str]| {
        let secret = ["--object", "secret,id=s,data=letmein"];
        measure(&tools.reference, &[words, &secret].concat(), dir)
    };
    run(&["compare", "--image-opts", &a, &b]).context("our output is wrong")?;
    if format == "qcow2" {
        run(&["check", "-q", "--image-opts", &a]).context("our output is damaged")?;
    }
    let [ours, reference] = names.map(|name| fixtures::disk_size(&dir.join(name)));
    Ok(table::ratio(ours?, reference?))
}
