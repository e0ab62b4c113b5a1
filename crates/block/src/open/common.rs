//! The options that every node has.

use block_core::{CacheMode, DetectZeroes, FormatDriver, Graph, NodeSpec};
use qapi::{Dict, Error, Value, opts};

use super::Flags;

/// Longest name of a node in bytes.
const MAX_NAME: usize = 31;

/// Options that every node has.
pub(super) struct Common {
    pub(super) node_name: Option<String>,
    pub(super) read_only: bool,
    pub(super) auto_read_only: bool,
    pub(super) force_share: bool,
    pub(super) cache: CacheMode,
    pub(super) detect_zeroes: DetectZeroes,
    pub(super) writable: bool,
    /// Space that becomes free goes back to what is below.
    pub(super) unmap: bool,
    /// Not `discard=ignore`.
    discards: bool,
}

impl Common {
    /// Takes them out, and refuses a name that no node can have before anything is done for the node.
    pub(super) fn take(graph: &Graph, options: &mut Dict, flags: Flags) -> qapi::Result<Self> {
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
        let discard = match opts::take_str(options, "discard")?.as_deref() {
            None => None,
            Some("ignore" | "off") => Some(false),
            Some("unmap" | "on") => Some(true),
            Some(_) => return Err(Error::new("Invalid discard option")),
        };
        let unmap = discard.unwrap_or(flags.unmap);
        if detect_zeroes == DetectZeroes::Unmap && !unmap {
            return Err(Error::new(
                "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap",
            ));
        }
        let node_name = opts::take_str(options, "node-name")?;
        if let Some(name) = &node_name {
            check_name(graph, name)?;
        }
        Ok(Self {
            node_name,
            read_only,
            auto_read_only,
            force_share,
            cache: cache(options, flags.cache)?,
            detect_zeroes,
            writable: flags.writable && !read_only,
            unmap,
            discards: discard != Some(false),
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
        graph: &Graph,
        driver: &'static str,
        filename: String,
        options: Dict,
    ) -> NodeSpec {
        NodeSpec {
            name: self.node_name.unwrap_or_else(|| graph.auto_name()),
            driver,
            filename,
            options,
            read_only: !self.writable,
            detect_zeroes: self.detect_zeroes,
            discards: self.discards,
            force_share: self.force_share,
        }
    }
}

fn check_name(graph: &Graph, name: &str) -> qapi::Result<()> {
    if !opts::is_id(name) {
        return Err(Error::new(format!("Invalid node-name: '{name}'")));
    }
    if name.len() > MAX_NAME {
        return Err(Error::new("Node name too long"));
    }
    if graph.find(name).is_some() {
        return Err(Error::new(format!(
            "Duplicate nodes with node-name='{name}'"
        )));
    }
    Ok(())
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
