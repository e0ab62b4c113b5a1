//! `blkdebug`: puts errors into requests and holds them back at events, and narrows what requests may look like.
//!
//! Names: `blkdebug:CONFIG:IMAGE`, where CONFIG may be empty. The child is called `image`.

mod config;
mod rules;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use block_core::{
    BoxFuture, Edge, Event, EventSink, Filter, FilterDriver, FilterLimits, FilterOpen, Perms,
    Status, WriteFlags, ZeroFlags,
};
use qapi::{Dict, Error, opts, out};
use tokio::sync::Notify;

use super::options::take_list;
use rules::{Action, IoType, Rules};

/// The driver.
pub(crate) const BLKDEBUG: FilterDriver = FilterDriver {
    name: "blkdebug",
    parse_filename: Some(parse_filename),
    open: |request| Box::pin(open(request)),
    strong: &[
        "config",
        "inject-error.",
        "set-state.",
        "align",
        "max-transfer",
        "opt-write-zero",
        "max-write-zero",
        "opt-discard",
        "max-discard",
    ],
    files: &["config", "x-image"],
    plain_name,
};

fn parse_filename(name: &str, options: &mut Dict) -> qapi::Result<()> {
    let Some(rest) = name.strip_prefix("blkdebug:") else {
        options.insert("x-image", name);
        return Ok(());
    };
    let (config, image) = rest
        .split_once(':')
        .ok_or_else(|| Error::new("blkdebug requires both config file and image path"))?;
    if !config.is_empty() {
        options.insert("config", config);
    }
    options.insert("x-image", image);
    Ok(())
}

fn plain_name(strong: &Dict, children: &[&str]) -> Option<String> {
    if strong.iter().any(|(key, _)| key != "config") {
        return None;
    }
    // A number is one as well: its text is shown.
    let config = opts::take_str(&mut strong.clone(), "config").ok()?;
    let config = config.unwrap_or_default();
    Some(format!("blkdebug:{config}:{}", children.first()?))
}

/// Somebody who is held back.
struct Suspended {
    tag: String,
    go: Arc<Notify>,
}

struct State {
    rules: Rules,
    suspended: Vec<Suspended>,
}

struct Blkdebug {
    image: Arc<Edge>,
    limits: FilterLimits,
    take: Perms,
    unshare: Perms,
    state: Mutex<State>,
    /// A request was held back.
    changed: Notify,
    /// Something was written, or was to be, since the last flush: others pass without being looked at.
    unflushed: AtomicBool,
}

/// Sizes as they were asked for, before they are checked.
struct Sizes {
    align: u64,
    max_transfer: u64,
    opt_write_zero: u64,
    max_write_zero: u64,
    opt_discard: u64,
    max_discard: u64,
}

impl Sizes {
    fn take(options: &mut Dict) -> qapi::Result<Self> {
        let mut size = |name| Ok::<_, Error>(opts::take_size(options, name)?.unwrap_or(0));
        Ok(Self {
            align: size("align")?,
            max_transfer: size("max-transfer")?,
            opt_write_zero: size("opt-write-zero")?,
            max_write_zero: size("max-write-zero")?,
            opt_discard: size("opt-discard")?,
            max_discard: size("max-discard")?,
        })
    }

    /// What the node asks for over a child with this alignment.
    fn limits(&self, below: u32) -> qapi::Result<FilterLimits> {
        let fits = |name: &str, size: u64, good: bool| match i32::try_from(size) {
            Ok(small) if size == 0 || (good && small < i32::MAX) => {
                Ok(u32::try_from(size).unwrap_or(0))
            }
            _ => Err(Error::new(format!("Cannot meet constraints with {name} {size}")).errno(22)),
        };
        let own = fits("align", self.align, self.align.is_power_of_two())?;
        let align = u64::from(own.max(below));
        let whole = |size: u64, unit: u64| size.is_multiple_of(unit.max(align));
        Ok(FilterLimits {
            request_alignment: own.max(1),
            max_transfer: fits(
                "max-transfer",
                self.max_transfer,
                whole(self.max_transfer, 1),
            )?,
            zero_alignment: fits(
                "opt-write-zero",
                self.opt_write_zero,
                whole(self.opt_write_zero, 1),
            )?,
            max_zero: fits(
                "max-write-zero",
                self.max_write_zero,
                whole(self.max_write_zero, self.opt_write_zero),
            )?,
            discard_alignment: fits("opt-discard", self.opt_discard, whole(self.opt_discard, 1))?,
            max_discard: fits(
                "max-discard",
                self.max_discard,
                whole(self.max_discard, self.opt_discard),
            )?,
        })
    }
}

fn take_perms(options: &mut Dict, name: &str) -> qapi::Result<Perms> {
    let mut all = Perms::NONE;
    for value in take_list(options, name)? {
        let word = match value {
            qapi::Value::Str(word) => word,
            _ => {
                return Err(Error::new(format!(
                    "Invalid parameter type for '{name}', expected: string"
                )));
            }
        };
        all = all
            | match word.as_str() {
                "consistent-read" => Perms::CONSISTENT_READ,
                "write" => Perms::WRITE,
                "write-unchanged" => Perms::WRITE_UNCHANGED,
                "resize" => Perms::RESIZE,
                _ => {
                    return Err(Error::new(format!(
                        "Parameter 'null' does not accept value '{word}'"
                    )));
                }
            };
    }
    Ok(all)
}

async fn open(request: FilterOpen<'_>) -> qapi::Result<Box<dyn Filter>> {
    let options = request.options;
    let sizes = Sizes::take(options)?;
    let text = match opts::take_str(options, "config")? {
        None => None,
        Some(path) => Some(
            std::fs::read(&path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|e| Error::from_io("Could not read blkdebug config file", &e))?,
        ),
    };
    let rules = config::read(text.as_deref(), options)?;
    let take = take_perms(options, "take-child-perms")?;
    let unshare = take_perms(options, "unshare-child-perms")?;
    let filename = opts::take_str(options, "x-image")?;
    let twice = |image: &Dict| filename.is_some() && image.get("filename").is_some();
    if matches!(options.get("image"), Some(qapi::Value::Dict(image)) if twice(image)) {
        return Err(Error::new(
            "Can't specify 'file' and 'filename' options at the same time",
        ));
    }
    let image = request
        .gate
        .open_filtered("image", options.remove("image"), filename.as_deref(), false)
        .await?;
    let limits = sizes.limits(image.node().request_alignment())?;
    let node = Blkdebug {
        image,
        limits,
        take,
        unshare,
        state: Mutex::new(State {
            rules,
            suspended: Vec::new(),
        }),
        changed: Notify::new(),
        unflushed: AtomicBool::new(false),
    };
    node.raise(Event::None).await;
    Ok(Box::new(node))
}

/// Lets others have a turn.
async fn step_aside() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Blkdebug {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails when a rule says so.
    async fn check(&self, iotype: IoType, offset: u64, len: u64) -> io::Result<()> {
        let hit = self.state().rules.check(iotype, offset, len);
        let Some(inject) = hit else { return Ok(()) };
        if !inject.immediately {
            step_aside().await;
        }
        let errno = i32::try_from(inject.errno).unwrap_or(5);
        Err(io::Error::from_raw_os_error(errno))
    }

    /// Takes one request out that is held back under a tag, and tells so.
    fn let_go(&self, tag: &str) -> Option<Arc<Notify>> {
        let mut state = self.state();
        let at = state.suspended.iter().position(|s| s.tag == tag)?;
        out::line(format!("blkdebug: Resuming request '{tag}'"));
        Some(state.suspended.remove(at).go)
    }
}

impl EventSink for Blkdebug {
    fn raise(&self, event: Event) -> BoxFuture<'_, ()> {
        let mut waits = Vec::new();
        {
            let mut state = self.state();
            for tag in state.rules.process(event) {
                out::line(format!("blkdebug: Suspended request '{tag}'"));
                let go = Arc::new(Notify::new());
                waits.push(Arc::clone(&go));
                state.suspended.insert(0, Suspended { tag, go });
            }
        }
        if waits.is_empty() {
            return Box::pin(std::future::ready(()));
        }
        self.changed.notify_waiters();
        Box::pin(async move {
            for go in waits {
                go.notified().await;
            }
        })
    }

    fn set_break(&self, event: &str, tag: &str) -> io::Result<()> {
        let event = Event::parse(event).ok_or_else(not_there)?;
        let action = Action::Suspend(tag.to_owned());
        self.state().rules.add(event, 0, action);
        Ok(())
    }

    fn remove_break(&self, tag: &str) -> io::Result<()> {
        let found = self.state().rules.remove_breaks(tag);
        while let Some(go) = self.let_go(tag) {
            go.notify_one();
        }
        // Requests that were held back do not count: their breakpoint is gone already.
        if found { Ok(()) } else { Err(not_there()) }
    }

    fn resume(&self, tag: &str) -> io::Result<()> {
        self.let_go(tag).ok_or_else(not_there)?.notify_one();
        Ok(())
    }

    fn suspended<'a>(&'a self, tag: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let changed = self.changed.notified();
                if self.state().suspended.iter().any(|s| s.tag == tag) {
                    return;
                }
                changed.await;
            }
        })
    }
}

fn not_there() -> io::Error {
    io::Error::from_raw_os_error(ENOENT)
}

fn unsupported() -> io::Error {
    io::Error::from_raw_os_error(ENOTSUP)
}

const ENOENT: i32 = 2;
const ENOTSUP: i32 = 95;

impl Filter for Blkdebug {
    fn child(&self) -> &Arc<Edge> {
        &self.image
    }

    fn child_perms(&self, _child: &Edge, used: Perms, shared: Perms) -> (Perms, Perms) {
        (used | self.take, shared - self.unshare)
    }

    fn is_for_tests(&self) -> bool {
        true
    }

    fn limits(&self) -> Option<FilterLimits> {
        Some(self.limits)
    }

    fn events(&self) -> Option<&dyn EventSink> {
        Some(self)
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.check(IoType::Read, offset, buf.len() as u64).await?;
            self.image.read(offset, buf).await
        })
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.unflushed.store(true, Ordering::Release);
            self.check(IoType::Write, offset, buf.len() as u64).await?;
            self.image.write(offset, buf, flags).await
        })
    }

    fn write_zeroes(
        &self,
        offset: u64,
        len: u64,
        flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let unit = self
                .limits
                .request_alignment
                .max(self.limits.zero_alignment);
            if len < u64::from(unit) {
                return Err(unsupported());
            }
            self.unflushed.store(true, Ordering::Release);
            self.check(IoType::WriteZeroes, offset, len).await?;
            self.image.write_zeroes(offset, len, flags).await
        })
    }

    fn discard(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            if len < u64::from(self.limits.request_alignment) {
                return Err(unsupported());
            }
            self.unflushed.store(true, Ordering::Release);
            self.check(IoType::Discard, offset, len).await?;
            self.image.discard(offset, len).await
        })
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            if self.unflushed.load(Ordering::Acquire) {
                self.check(IoType::Flush, 0, 0).await?;
            }
            self.image.flush().await?;
            self.unflushed.store(false, Ordering::Release);
            Ok(())
        })
    }

    fn status(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<Status>> {
        Box::pin(async move {
            self.check(IoType::BlockStatus, offset, len).await?;
            self.image.status(offset, len).await
        })
    }
}

#[cfg(test)]
mod tests;
