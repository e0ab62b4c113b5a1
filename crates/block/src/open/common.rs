//! The options that every node has.

use block_core::{CacheMode, DetectZeroes, FormatDriver, NodeSpec};
use qapi::{Dict, Error, Value, opts};

use super::{Flags, Session};

/// Options that every node has.
pub(super) struct Common {
    pub(super) node_name: Option<String>,
    pub(super) read_only: bool,
    pub(super) auto_read_only: bool,
    pub(super) force_share: bool,
    pub(super) cache: CacheMode,
    pub(super) detect_zeroes: DetectZeroes,
    pub(super) writable: bool,
    /// `discard=`, when it is given.
    pub(super) unmap: Option<bool>,
}

/// What a node is made of, and whether discards do anything.
pub(super) struct Made {
    pub(super) spec: NodeSpec,
    pub(super) discards: bool,
}

impl Common {
    pub(super) fn take(options: &mut Dict, flags: Flags) -> qapi::Result<Self> {
        let read_only = opts::take_bool(options, "read-only")?.unwrap_or(false);
        let auto_read_only = opts::take_bool(options, "auto-read-only")?.unwrap_or(false);
        let force_share = opts::take_bool(options, "force-share")?.unwrap_or(flags.force_share);
        if force_share && flags.writable && !read_only {
            return Err(Error::new(
                "force-share=on can only be used with read-only images",
            ));
        }
        let detect = opts::take_str(options, "detect-zeroes")?;
        let detect_zeroes = match detect.as_deref() {
            None | Some("off") => DetectZeroes::Off,
            Some("on") => DetectZeroes::On,
            Some("unmap") => DetectZeroes::Unmap,
            Some(other) => return Err(Error::new(format!("invalid parameter value: {other}"))),
        };
        let unmap = match opts::take_str(options, "discard")?.as_deref() {
            None => None,
            Some("ignore" | "off") => Some(false),
            Some("unmap" | "on") => Some(true),
            Some(_) => return Err(Error::new("Invalid discard option")),
        };
        if detect_zeroes == DetectZeroes::Unmap && !unmap.unwrap_or(flags.unmap) {
            return Err(Error::new(
                "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap",
            ));
        }
        Ok(Self {
            node_name: opts::take_str(options, "node-name")?,
            read_only,
            auto_read_only,
            force_share,
            cache: cache(options, flags.cache)?,
            detect_zeroes,
            writable: flags.writable && !read_only,
            unmap,
        })
    }

    /// A format that cannot be written is opened read-only if that was allowed.
    pub(super) fn check_writable(&mut self, driver: &FormatDriver) -> qapi::Result<()> {
        if !self.writable || driver.create.is_some() {
            return Ok(());
        }
        if !self.auto_read_only {
            return Err(Error::new("Image is read-only").errno(13));
        }
        self.writable = false;
        Ok(())
    }

    pub(super) fn spec(
        self,
        session: &Session,
        driver: &'static str,
        filename: String,
        options: Dict,
    ) -> Made {
        let discards = self.unmap != Some(false);
        let spec = NodeSpec {
            name: self.node_name.unwrap_or_else(|| session.graph.auto_name()),
            driver,
            filename,
            options,
            read_only: !self.writable,
            detect_zeroes: self.detect_zeroes,
            force_share: self.force_share,
        };
        Made { spec, discards }
    }
}

/// `cache.direct` and `cache.no-flush` over the mode of the whole tree.
fn cache(options: &mut Dict, mode: CacheMode) -> qapi::Result<CacheMode> {
    let Some(Value::Dict(mut cache)) = options.remove("cache") else {
        return Ok(mode);
    };
    let mut switch = |name: &str, whole: &str| match cache.remove(name) {
        Some(Value::Str(text)) => opts::parse_bool(whole, &text).map(Some),
        Some(Value::Bool(on)) => Ok(Some(on)),
        Some(_) => opts::parse_bool(whole, "").map(Some),
        None => Ok(None),
    };
    let direct = switch("direct", "cache.direct")?.unwrap_or(mode.direct());
    let no_flush = switch("no-flush", "cache.no-flush")?.unwrap_or(mode.no_flush());
    if let Some((key, value)) = cache.into_entries().into_iter().next() {
        // Whoever has no such option says so.
        options.insert(format!("cache.{key}"), value);
    }
    Ok(match (direct, no_flush) {
        (true, _) => CacheMode::None,
        (false, true) => CacheMode::Unsafe,
        (false, false) => CacheMode::Writeback,
    })
}
