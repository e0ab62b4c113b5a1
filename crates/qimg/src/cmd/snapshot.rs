//! `snapshot`: lists, takes, applies and drops internal snapshots.

use qapi::out;
use std::time::{SystemTime, UNIX_EPOCH};

use block::Flags;
use block::core::SnapshotInfo;
use clap::ArgMatches;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use qapi::{Error, Value, format_size};

use super::Command;
use crate::cli::{self, Args, Failure, Outcome, flag, value};

pub(super) const COMMAND: Command = Command {
    name: "snapshot",
    light: true,
    about: "List or manipulate snapshots within the image",
    operands: "FILENAME",
    examples: &[
        ("snapshot -c before disk.qcow2", "take a snapshot"),
        ("snapshot -l disk.qcow2", "list them"),
        ("snapshot -a before disk.qcow2", "go back to it"),
    ],
    args,
    run: |matches| Box::pin(run(matches)),
};

fn args(command: clap::Command) -> clap::Command {
    command
        .arg(flag("list", 'l', "list the snapshots (the default)"))
        .arg(value("create", 'c', "take a snapshot of this name"))
        .arg(value("apply", 'a', "go back to this snapshot"))
        .arg(value("delete", 'd', "drop this snapshot"))
        .arg(value(
            "format",
            'f',
            "specify FILENAME image format explicitly",
        ))
        .arg(cli::image_opts())
        .arg(flag(
            "force-share",
            'U',
            "open image in shared mode for concurrent access",
        ))
        .arg(flag("quiet", 'q', "quiet operation"))
        .arg(cli::object())
        .arg(cli::operands())
}

/// What is to be done.
enum Action<'a> {
    List,
    Create(&'a str),
    Apply(&'a str),
    Delete(&'a str),
}

fn action(args: &Args) -> Result<Action<'_>, Failure> {
    let asked = [
        args.has("list").then_some(Action::List),
        args.text("create").map(Action::Create),
        args.text("apply").map(Action::Apply),
        args.text("delete").map(Action::Delete),
    ];
    let mut asked = asked.into_iter().flatten();
    match (asked.next(), asked.next()) {
        (None, _) => Ok(Action::List),
        (Some(action), None) => Ok(action),
        (Some(_), Some(_)) => Err(Failure::Usage(
            "Cannot mix '-l', '-a', '-c', '-d'".to_owned(),
        )),
    }
}

async fn run(matches: ArgMatches) -> Outcome {
    let args = Args(matches);
    let action = action(&args)?;
    let names = args.all("operands");
    let [name] = names.as_slice() else {
        return Err(Failure::Usage("Expecting one image file name".to_owned()));
    };
    args.check_format("format")?;
    let list = matches!(action, Action::List);
    let flags = Flags {
        writable: !list,
        force_share: args.has("force-share"),
        ..Flags::default()
    };
    let (format, image_opts) = (args.text("format"), args.has("image-opts"));
    let disk = cli::open(&args.session()?, name, format, image_opts, flags).await?;
    let node = disk.node();
    let snapshots = node.format().and_then(|f| f.snapshots());
    let unsupported = |what: String| Error::with_errno(what, 95);
    let drained = disk.drain().await;
    match action {
        Action::List => {
            let all = snapshots.map(|s| s.list()).unwrap_or_default();
            show(&args, &all);
            return Ok(0);
        }
        Action::Create(tag) => {
            let what = format!("Could not create snapshot '{tag}'");
            let snapshots = snapshots.ok_or_else(|| unsupported(what.clone()))?;
            let info = new_snapshot(tag);
            snapshots
                .create(info)
                .await
                .map_err(|e| e.prefix(format!("{what}: ")))?;
        }
        Action::Apply(key) => {
            let what = format!("Could not apply snapshot '{key}'");
            let none = "Block driver does not support snapshots";
            let snapshots = snapshots.ok_or_else(|| Error::new(format!("{what}: {none}")))?;
            snapshots
                .apply(key)
                .await
                .map_err(|e| e.prefix(format!("{what}: ")))?;
        }
        Action::Delete(key) => {
            let what = format!("Could not delete snapshot '{key}': ");
            let not_found = || Error::new(format!("{what}snapshot not found"));
            let snapshots = snapshots.ok_or_else(not_found)?;
            // By name only; the id then says which one.
            let found = snapshots.list().into_iter().find(|s| s.name == key);
            let found = found.ok_or_else(not_found)?;
            snapshots
                .delete(&found.id)
                .await
                .map_err(|e| e.prefix(what))?;
        }
    }
    drop(drained);
    let now = snapshots.map(|s| s.list()).filter(|_| args.json());
    cli::close(&disk).await?;
    if let Some(all) = now {
        show(&args, &all);
    }
    Ok(0)
}

fn show(args: &Args, all: &[SnapshotInfo]) {
    if args.json() {
        let all = all
            .iter()
            .map(|s| Value::Dict(block::snapshot_record(s)))
            .collect();
        cli::print_json(&Value::List(all));
    } else if !all.is_empty() {
        out::text(&format!("Snapshot list:\n{}", table(all)));
    }
}

fn new_snapshot(tag: &str) -> SnapshotInfo {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    SnapshotInfo {
        name: tag.to_owned(),
        date_sec: u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
        date_nsec: now.subsec_nanos(),
        icount: Some(0),
        ..SnapshotInfo::default()
    }
}

/// The table that `snapshot -l` and `info` show: a header and a line for each.
pub(super) fn table(all: &[SnapshotInfo]) -> String {
    let row = |id: &str, tag: &str, size: &str, date: &str, clock: &str, icount: &str| {
        format!("{id:<7} {tag:<16} {size:>8} {date:>19} {clock:>15} {icount:>10}\n")
    };
    let mut out = row("ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT");
    let zone = TimeZone::system();
    for snapshot in all {
        let icount = snapshot
            .icount
            .map_or_else(|| "--".to_owned(), |n| n.to_string());
        out.push_str(&row(
            &snapshot.id,
            &snapshot.name,
            &format_size(snapshot.vm_state_size),
            &date(snapshot.date_sec, &zone),
            &clock(snapshot.vm_clock_nsec),
            &icount,
        ));
    }
    out
}

fn date(seconds: u32, zone: &TimeZone) -> String {
    let at = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(i64::from(seconds));
    at.to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// `hours:minutes:seconds.milliseconds`
fn clock(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    format!(
        "{:04}:{:02}:{:02}.{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        nanoseconds / 1_000_000 % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_hours_past_a_day() {
        assert_eq!(clock(0), "0000:00:00.000");
        assert_eq!(
            clock(100 * 3_600_000_000_000 + 61_005_000_000),
            "0100:01:01.005"
        );
    }

    #[test]
    fn rows_stand_under_their_heads() {
        let info = SnapshotInfo {
            id: "1".to_owned(),
            name: "alpha".to_owned(),
            icount: Some(0),
            ..SnapshotInfo::default()
        };
        let table = table(&[info]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[0],
            "ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT"
        );
        assert!(lines[1].starts_with("1       alpha                 0 B 19"));
        assert!(lines[1].ends_with("0000:00:00.000          0"));
    }
}
