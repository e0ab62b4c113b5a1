//! What `/sys/block` tells of a device.

use std::fs;
use std::path::PathBuf;

/// The folder of a device.
fn folder(index: u32) -> PathBuf {
    PathBuf::from(format!("/sys/block/nbd{index}"))
}

fn read(index: u32, name: &str) -> Option<String> {
    let text = fs::read_to_string(folder(index).join(name)).ok()?;
    Some(text.trim_end().to_owned())
}

/// Numbers of all devices, ascending.
pub(super) fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/sys/block") else {
        return Vec::new();
    };
    let mut all: Vec<u32> = entries
        .filter_map(|e| {
            e.ok()?
                .file_name()
                .to_str()?
                .strip_prefix("nbd")?
                .parse()
                .ok()
        })
        .collect();
    all.sort_unstable();
    all
}

/// The task that attached it; `None` when it is free.
pub(super) fn task(index: u32) -> Option<u32> {
    read(index, "pid")?.parse().ok()
}

/// What the one who attached it calls itself.
pub(super) fn backend(index: u32) -> Option<String> {
    read(index, "backend").filter(|b| !b.is_empty())
}

/// Length in bytes.
pub(super) fn size(index: u32) -> u64 {
    let sectors = read(index, "size").and_then(|s| s.parse::<u64>().ok());
    sectors.unwrap_or(0).saturating_mul(512)
}

/// It cannot be written.
pub(super) fn read_only(index: u32) -> bool {
    read(index, "ro").as_deref() == Some("1")
}

/// Names of its partitions.
pub(super) fn partitions(index: u32) -> Vec<String> {
    let prefix = format!("nbd{index}p");
    names(folder(index))
        .into_iter()
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

/// Device numbers (`43:0`) of it and its partitions, with their names.
pub(super) fn numbers(index: u32) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if let Some(number) = read(index, "dev") {
        all.push((number, format!("nbd{index}")));
    }
    for part in partitions(index) {
        if let Some(number) = read(index, &format!("{part}/dev")) {
            all.push((number, part));
        }
    }
    all
}

/// Devices that are built on it or its partitions.
pub(super) fn holders(index: u32) -> Vec<(String, String)> {
    let whole = (folder(index).join("holders"), format!("nbd{index}"));
    let parts = partitions(index)
        .into_iter()
        .map(|part| (folder(index).join(&part).join("holders"), part));
    std::iter::once(whole)
        .chain(parts)
        .flat_map(|(folder, part)| {
            names(folder)
                .into_iter()
                .map(move |holder| (part.clone(), holder))
        })
        .collect()
}

fn names(folder: PathBuf) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The process that a task belongs to, if it lives, and its command line.
pub(super) fn process(task: u32) -> Option<(u32, String)> {
    let status = fs::read_to_string(format!("/proc/{task}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    // A zombie serves nobody.
    if field("State:").is_some_and(|s| s.starts_with(['Z', 'X'])) {
        return None;
    }
    let process = field("Tgid:")?.parse().ok()?;
    let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&words);
    Some((process, text.trim_end_matches('\0').replace('\0', " ")))
}
