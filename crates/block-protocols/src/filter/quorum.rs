//! `quorum`: several copies of a disk; a read gives what enough of them agree on.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use block_core::{
    BoxFuture, Edge, Filter, FilterDriver, FilterLimits, FilterOpen, Perms, Preallocation, Status,
    WriteFlags, ZeroFlags,
};
use qapi::{Dict, Error, Value, opts, out};

use super::options::take_list;

/// The driver.
pub(crate) const QUORUM: FilterDriver = FilterDriver {
    name: "quorum",
    parse_filename: None,
    open: |request| Box::pin(open(request)),
    strong: &[
        "vote-threshold",
        "blkverify",
        "rewrite-corrupted",
        "read-pattern",
    ],
    files: &[],
    plain_name: |_, _| None,
};

/// Children that one quorum may have.
const MAX_CHILDREN: usize = 256;

const EIO: i32 = 5;
const ENOTSUP: i32 = 95;

struct Quorum {
    children: Vec<Arc<Edge>>,
    threshold: usize,
    /// Two children that must never differ: the program ends when they do.
    verify: bool,
    rewrite: bool,
    /// The first child that can be read decides.
    fifo: bool,
}

/// What was asked for beside the children.
struct Settings {
    threshold: usize,
    verify: bool,
    rewrite: bool,
    fifo: bool,
}

/// `children.N`, made once for each number.
fn child_name(index: usize) -> &'static str {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    while names.len() <= index {
        let name = format!("children.{}", names.len());
        // Kept for good: there are no more of them than children one quorum may have.
        names.push(Box::leak(name.into_boxed_str()));
    }
    names[index]
}

fn invalid(text: &str) -> Error {
    Error::new(text).errno(22)
}

fn take_children(options: &mut Dict) -> qapi::Result<Vec<Value>> {
    let children = take_list(options, "children")
        .map_err(|_| invalid("Option children is not a valid array"))?;
    match children.len() {
        0 => Err(invalid("Number of provided children must be 1 or more")),
        n if n > MAX_CHILDREN => Err(invalid("Too many children")),
        _ => Ok(children),
    }
}

impl Settings {
    fn take(options: &mut Dict, children: usize) -> qapi::Result<Self> {
        let threshold = opts::take_number(options, "vote-threshold")?.unwrap_or(0);
        // QEMU's number is a signed one of 32 bits.
        let threshold = i32::try_from(threshold).unwrap_or(-1);
        let verify = opts::take_bool(options, "blkverify")?.unwrap_or(false);
        let rewrite = opts::take_bool(options, "rewrite-corrupted")?.unwrap_or(false);
        let pattern = opts::take_str(options, "read-pattern")?;
        let threshold = match usize::try_from(threshold) {
            Ok(n) if n > children => {
                return Err(invalid("threshold may not exceed children count"));
            }
            Ok(n) if n >= 1 => n,
            _ => {
                return Err(invalid("Parameter 'vote-threshold' expects a value >= 1"));
            }
        };
        let fifo = match pattern.as_deref() {
            None | Some("quorum") => false,
            Some("fifo") => true,
            Some(_) => return Err(invalid("Please set read-pattern as fifo or quorum")),
        };
        if !fifo && verify && (children != 2 || threshold != 2) {
            return Err(invalid(
                "blkverify=on can only be set if there are exactly two files and vote-threshold is 2",
            ));
        }
        if !fifo && verify && rewrite {
            return Err(invalid(
                "rewrite-corrupted=on cannot be used with blkverify=on",
            ));
        }
        Ok(Self {
            threshold,
            verify: verify && !fifo,
            rewrite: rewrite && !fifo,
            fifo,
        })
    }
}

async fn open(request: FilterOpen<'_>) -> qapi::Result<Box<dyn Filter>> {
    let given = take_children(request.options)?;
    let settings = Settings::take(request.options, given.len())?;
    let mut children = Vec::new();
    for (index, options) in given.into_iter().enumerate() {
        let name = child_name(index);
        let child = request
            .gate
            .open_filtered(name, Some(options), None, true)
            .await?;
        children.push(child);
    }
    Ok(Box::new(Quorum {
        children,
        threshold: settings.threshold,
        verify: settings.verify,
        rewrite: settings.rewrite,
        fifo: settings.fifo,
    }))
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(EIO)
}

/// The value that most have; of several the one seen last.
fn winner<T: PartialEq + Copy>(votes: impl Iterator<Item = T>) -> Option<(T, usize)> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for vote in votes {
        match counts.iter_mut().find(|(value, _)| *value == vote) {
            Some((_, count)) => *count += 1,
            None => counts.insert(0, (vote, 1)),
        }
    }
    let mut best: Option<(T, usize)> = None;
    for (value, count) in counts {
        if best.is_none_or(|(_, most)| count > most) {
            best = Some((value, count));
        }
    }
    best
}

impl Quorum {
    /// Success when enough children had it, else the error that most had.
    fn verdict(&self, results: &[io::Result<()>]) -> io::Result<()> {
        let good = results.iter().filter(|r| r.is_ok()).count();
        if good >= self.threshold {
            return Ok(());
        }
        let errors = results.iter().filter_map(|r| r.as_ref().err().map(errno));
        let number = winner(errors).map_or(EIO, |(number, _)| number);
        Err(io::Error::from_raw_os_error(number))
    }

    async fn read_first(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut result = Err(io::Error::from_raw_os_error(EIO));
        for child in &self.children {
            result = child.read(offset, buf).await;
            match &result {
                Ok(()) => break,
                Err(error) => told(child, error),
            }
        }
        result
    }

    async fn read_all(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut copies = Vec::new();
        let mut results = Vec::new();
        for (index, child) in self.children.iter().enumerate() {
            let mut copy = vec![0; buf.len()];
            let result = child.read(offset, &mut copy).await;
            match &result {
                Ok(()) => copies.push((index, copy)),
                Err(error) => told(child, error),
            }
            results.push(result);
        }
        self.verdict(&results)?;
        let Some((first, others)) = copies.split_first() else {
            return Err(io::Error::from_raw_os_error(EIO));
        };
        let differs = others.iter().find(|(_, copy)| *copy != first.1);
        let Some((_, other)) = differs else {
            buf.copy_from_slice(&first.1);
            return Ok(());
        };
        if self.verify {
            mismatch(offset, &first.1, other);
        }
        let (best, count) = winner(copies.iter().map(|(_, copy)| &copy[..]))
            .ok_or_else(|| io::Error::from_raw_os_error(EIO))?;
        if count < self.threshold {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        buf.copy_from_slice(best);
        self.correct(offset, best, &copies).await;
        Ok(())
    }

    /// Writes what was agreed on to the children that differ, if that is wanted. Failures are theirs.
    async fn correct(&self, offset: u64, best: &[u8], copies: &[(usize, Vec<u8>)]) {
        for (index, copy) in copies {
            if copy[..] == *best {
                continue;
            }
            let child = &self.children[*index];
            tracing::warn!(
                node = child.node().name(),
                offset,
                "a copy of a quorum differs"
            );
            if self.rewrite {
                let flags = WriteFlags::default();
                if let Err(error) = child.write(offset, best, flags).await {
                    told(child, &error);
                }
            }
        }
    }
}

fn told(child: &Edge, error: &io::Error) {
    tracing::warn!(node = child.node().name(), %error, "a child of a quorum failed");
}

/// Two copies that must never differ do: the program has nothing left to find out.
fn mismatch(offset: u64, a: &[u8], b: &[u8]) -> ! {
    let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(0);
    eprintln!(
        "quorum: offset={offset} bytes={} contents mismatch at offset {}",
        a.len(),
        offset + at as u64
    );
    out::flush();
    std::process::exit(1)
}

impl Filter for Quorum {
    fn child(&self) -> &Arc<Edge> {
        &self.children[0]
    }

    fn children(&self) -> Vec<Arc<Edge>> {
        self.children.clone()
    }

    fn child_perms(&self, _child: &Edge, used: Perms, shared: Perms) -> (Perms, Perms) {
        // Nobody else may make the copies differ.
        let own = if self.rewrite {
            Perms::WRITE
        } else {
            Perms::NONE
        };
        let others = shared & (Perms::CONSISTENT_READ | Perms::WRITE_UNCHANGED);
        (used | own, others | Perms::WRITE_UNCHANGED)
    }

    fn limits(&self) -> Option<FilterLimits> {
        Some(FilterLimits::default())
    }

    fn is_transparent(&self) -> bool {
        false
    }

    fn keeps_folder(&self) -> qapi::Result<()> {
        Err(Error::new(
            "Cannot generate a base directory for quorum nodes",
        ))
    }

    fn length(&self) -> io::Result<u64> {
        let mut length = None;
        for child in &self.children {
            let this = child.node().length()?;
            if length.is_some_and(|length| length != this) {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            length = Some(this);
        }
        length.ok_or_else(|| io::Error::from_raw_os_error(EIO))
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            if self.fifo {
                self.read_first(offset, buf).await
            } else {
                self.read_all(offset, buf).await
            }
        })
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let mut results = Vec::new();
            for child in &self.children {
                results.push(child.write(offset, buf, flags).await);
            }
            self.verdict(&results)
        })
    }

    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let mut results = Vec::new();
            for child in &self.children {
                results.push(child.write_zeroes(offset, len, flags).await);
            }
            self.verdict(&results)
        })
    }

    fn discard(&self, _offset: u64, _len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(std::future::ready(Err(io::Error::from_raw_os_error(
            ENOTSUP,
        ))))
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let mut results = Vec::new();
            for child in &self.children {
                results.push(child.flush().await);
            }
            self.verdict(&results)
        })
    }

    fn truncate(
        &self,
        _len: u64,
        _preallocation: Preallocation,
    ) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(std::future::ready(Err(Error::new(
            "Image format driver does not support resize",
        )
        .errno(ENOTSUP))))
    }

    fn status(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Status>> {
        Box::pin(async move {
            let (mut zero, mut data) = (len, 0);
            for child in &self.children {
                match child.status(offset, len).await {
                    Ok(status) if status.zero => zero = zero.min(status.len),
                    Ok(status) => data = data.max(status.len),
                    Err(error) => {
                        told(child, &error);
                        data = len;
                        break;
                    }
                }
            }
            Ok(Status {
                len: if data > 0 { data } else { zero },
                allocated: true,
                data: data > 0,
                zero: data == 0,
                compressed: false,
                at: None,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::winner;

    #[test]
    fn the_majority_wins_and_of_equals_the_last() {
        assert_eq!(winner([1, 2, 1].into_iter()), Some((1, 2)));
        assert_eq!(winner([1, 2].into_iter()), Some((2, 1)));
        assert_eq!(winner(std::iter::empty::<u8>()), None);
    }
}
