//! Opening filters, and children of any kind by options beside a file name.

use std::sync::Arc;

use block_core::{Edge, FilterDriver, FilterOpen, Kind, Node, Perms, Role};
use qapi::{Dict, Error, Value};

use super::naming::{self, Naming};
use super::{Common, Flags, Session, no_leftovers};
use crate::name::{self, ImageName, Named};
use crate::registry::{find_filter, find_protocol};

/// Filters upon filters, as options nest them.
const MAX_FILTERS: usize = 200;

/// Options of a node with a file name that was given apart from them.
///
/// # Errors
/// What the driver says of the name.
pub(super) fn with_filename(mut options: Dict, filename: &str) -> qapi::Result<Dict> {
    let driver = options.get_str("driver").map(str::to_owned);
    let protocol = driver.as_deref().and_then(find_protocol);
    let parse = driver
        .as_deref()
        .and_then(find_filter)
        .and_then(|filter| filter.parse_filename);
    if let Some(parse) = protocol.map(|p| p.parse_filename).or(parse) {
        if options.get("filename").is_some() {
            return Err(Error::new(
                "Can't specify 'file' and 'filename' options at the same time",
            ));
        }
        if protocol.is_some_and(|p| p.prefixes.is_empty()) {
            options.insert("filename", filename);
        }
        parse(filename, &mut options)?;
        return Ok(options);
    }
    let file = match options.remove("file") {
        None => Dict::new(),
        Some(Value::Dict(file)) => file,
        Some(other) => {
            options.insert("file", other);
            return Ok(options);
        }
    };
    let file = if file.get("driver").is_some() {
        with_filename(file, filename)?
    } else {
        named(file, filename)?
    };
    options.insert("file", file);
    Ok(options)
}

/// Options of a protocol node of this name: what the name says, over what was given.
pub(super) fn named(mut options: Dict, filename: &str) -> qapi::Result<Dict> {
    match name::parse(filename)? {
        Named::Protocol(parsed) => {
            options.remove("filename");
            for (key, value) in parsed.into_entries() {
                options.insert(key, value);
            }
        }
        Named::Tree(tree) => {
            options.remove("filename");
            for (key, value) in tree.into_entries() {
                options.insert(key, value);
            }
        }
    }
    Ok(options)
}

/// Whether a name means a filter that file names can be given to, as to a protocol.
pub(crate) fn takes_name(driver: &str) -> bool {
    find_filter(driver).is_some_and(|filter| filter.parse_filename.is_some())
}

impl Session {
    /// A filter over what its options name.
    pub(super) async fn open_filter(
        &self,
        driver: &'static FilterDriver,
        mut options: Dict,
        flags: Flags,
        depth: usize,
    ) -> qapi::Result<Arc<Node>> {
        if depth >= MAX_FILTERS {
            return Err(Error::new("The tree of nodes is too deep"));
        }
        options.remove("driver");
        let common = Common::take(&self.graph, &mut options, flags)?;
        let strong = naming::strong(&options, driver.strong);
        let gate = self.gate(ImageName::plain(""), flags, depth);
        let filter = (driver.open)(FilterOpen {
            options: &mut options,
            read_write: common.writable,
            gate: &gate,
        })
        .await?;
        no_leftovers(&options, driver.name, driver.parse_filename.is_some())?;
        let naming = Naming::of_filter(driver, strong, &filter.children());
        filter
            .length()
            .map_err(|e| Error::from_io("Could not refresh total sector count", &e))?;
        let spec = common.spec(&self.graph, driver.name, naming.filename, naming.options);
        self.enter(spec, Kind::Filter(filter))
    }

    /// A child of a filter.
    pub(crate) async fn open_filtered(
        &self,
        name: &'static str,
        options: Option<Value>,
        filename: Option<&str>,
        guess: bool,
        (flags, depth): (Flags, usize),
    ) -> qapi::Result<Arc<Edge>> {
        let missing = || Error::new(format!("A block device must be specified for \"{name}\""));
        let options = match options {
            None => Dict::new(),
            Some(Value::Dict(options)) => options,
            Some(Value::Str(reference)) => {
                let node = self.find_node(&reference)?;
                return Edge::attach(name, Role::Filtered, node, Perms::NONE, Perms::ALL);
            }
            Some(_) => return Err(missing()),
        };
        if options.is_empty() && filename.is_none() {
            return Err(missing());
        }
        let named_inside = options.get_str("filename").map(str::to_owned);
        let driver = options.get("driver").is_some();
        let options = match filename {
            Some(filename) if driver || guess => with_filename(options, filename)?,
            Some(filename) => named(options, filename)?,
            None => match named_inside {
                Some(inside) if !driver && !guess => named(options, &inside)?,
                _ => options,
            },
        };
        let node = self.open_child(options, flags, depth + 1, guess).await?;
        Edge::attach(name, Role::Filtered, node, Perms::NONE, Perms::ALL)
    }

    async fn open_child(
        &self,
        options: Dict,
        flags: Flags,
        depth: usize,
        guess: bool,
    ) -> qapi::Result<Arc<Node>> {
        let named = if guess { "file" } else { "driver" };
        if options.get("driver").or(options.get(named)).is_none() {
            return Err(Error::new("Must specify either driver or file"));
        }
        Box::pin(self.open_tree(options, flags, depth)).await
    }

    /// The node of a name.
    pub(super) fn find_node(&self, name: &str) -> qapi::Result<Arc<Node>> {
        self.graph.find(name).ok_or_else(|| {
            Error::new(format!(
                "Cannot find device='{name}' nor node-name='{name}'"
            ))
        })
    }
}
