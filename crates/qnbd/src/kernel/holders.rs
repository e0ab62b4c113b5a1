//! Who still uses a device: mounts, swap, and devices built on it.

use std::collections::BTreeSet;
use std::{fmt, fs};

use super::sysfs;

/// One use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    /// `nbd0`, `nbd0p1`
    pub(super) device: String,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Mount {
        place: String,
        /// A process in the namespace where it is seen, if that is not ours.
        inside: Option<u32>,
    },
    Swap,
    Device(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = &self.device;
        match &self.what {
            What::Mount { place, inside } => {
                write!(f, "/dev/{device} is mounted on {place}")?;
                match inside {
                    Some(process) => write!(f, " (where process {process} lives)"),
                    None => Ok(()),
                }
            }
            What::Swap => write!(f, "/dev/{device} is swap space"),
            What::Device(holder) => write!(f, "/dev/{device} is part of /dev/{holder}"),
        }
    }
}

/// All uses of a device and its partitions.
pub(super) fn of(index: u32) -> Vec<Holder> {
    let numbers = sysfs::numbers(index);
    let mut all = Vec::new();
    for (inside, mounts) in namespaces() {
        all.extend(mounted(&mounts, &numbers, inside));
    }
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    all.extend(swapped(&swaps, &numbers));
    all.extend(
        sysfs::holders(index)
            .into_iter()
            .map(|(device, holder)| Holder {
                device,
                what: What::Device(holder),
            }),
    );
    all
}

/// The mounts of each namespace: first our own, then others, each with a process inside it.
fn namespaces() -> Vec<(Option<u32>, String)> {
    let name = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let mounts = |process: &str| fs::read_to_string(format!("/proc/{process}/mountinfo")).ok();
    let mut seen = BTreeSet::from_iter(name("self"));
    let mut all = vec![(None, mounts("self").unwrap_or_default())];
    let Ok(entries) = fs::read_dir("/proc") else {
        return all;
    };
    for entry in entries.filter_map(|e| e.ok()?.file_name().into_string().ok()) {
        let Ok(process) = entry.parse() else {
            continue;
        };
        // Those of other users cannot be read by all; who detaches is root.
        if name(&entry).is_some_and(|n| seen.insert(n))
            && let Some(mounts) = mounts(&entry)
        {
            all.push((Some(process), mounts));
        }
    }
    all
}

/// Reads `mountinfo`: number, parent, `major:minor`, root, place...
fn mounted(mounts: &str, numbers: &[(String, String)], inside: Option<u32>) -> Vec<Holder> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(2);
            let (number, place) = (words.next()?, words.nth(1)?);
            let (_, device) = numbers.iter().find(|(n, _)| n == number)?;
            Some(Holder {
                device: device.clone(),
                what: What::Mount {
                    place: unescape(place),
                    inside,
                },
            })
        })
        .collect()
}

fn swapped(swaps: &str, numbers: &[(String, String)]) -> Vec<Holder> {
    swaps
        .lines()
        .filter_map(|line| {
            let name = line.split_whitespace().next()?.strip_prefix("/dev/")?;
            let (_, device) = numbers.iter().find(|(_, device)| device == name)?;
            Some(Holder {
                device: device.clone(),
                what: What::Swap,
            })
        })
        .collect()
}

/// Blanks in names are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 4);
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            _ => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_swap_are_found_by_device() {
        let numbers = [
            ("43:0".to_owned(), "nbd0".to_owned()),
            ("43:1".to_owned(), "nbd0p1".to_owned()),
        ];
        let mounts = "22 1 43:1 / /mnt/a\\040b rw - ext4 /dev/nbd0p1 rw\n23 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
        let found = mounted(mounts, &numbers, None);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "/dev/nbd0p1 is mounted on /mnt/a b");
        let swaps = "Filename Type Size Used Priority\n/dev/nbd0 partition 1 0 -2\n";
        let found = swapped(swaps, &numbers);
        assert_eq!(found[0].to_string(), "/dev/nbd0 is swap space");
    }

    #[test]
    fn broken_escapes_stay() {
        assert_eq!(unescape("a\\"), "a\\");
        assert_eq!(unescape("a\\9z"), "a\\9z");
        assert_eq!(unescape("\\134040"), "\\040");
    }
}
