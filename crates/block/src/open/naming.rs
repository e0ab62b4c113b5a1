//! What nodes are called: by a plain file name where opening that name again makes the same tree, else by `json:` and
//! the options that matter.

use std::sync::Arc;

use block_core::{Edge, FilterDriver, Node, ProtocolDriver, Role};
use qapi::{Dict, Value, json};

use crate::registry::is_protocol;

/// The name of a node and the options behind it.
pub(super) struct Naming {
    pub(super) filename: String,
    pub(super) options: Dict,
}

/// Options that change what a format shows.
pub(super) fn of_format(driver: &str) -> &'static [&'static str] {
    match driver {
        "raw" => &["offset", "size"],
        "luks" => &["key-secret"],
        "qcow" | "qcow2" => &["encrypt."],
        _ => &[],
    }
}

/// Those of a node's options that are listed; names that end with a dot stand for all below, flat.
pub(super) fn strong(options: &Dict, listed: &[&str]) -> Dict {
    let mut out = Dict::new();
    for name in listed {
        match name.strip_suffix('.') {
            Some(prefix) => {
                if let Some(value) = options.get(prefix) {
                    flatten(prefix, value, &mut out);
                }
            }
            None => {
                if let Some(value) = options.get(name) {
                    out.insert(*name, value.clone());
                }
            }
        }
    }
    out
}

fn flatten(prefix: &str, value: &Value, out: &mut Dict) {
    match value {
        Value::Dict(inner) => {
            for (key, value) in inner.iter() {
                flatten(&format!("{prefix}.{key}"), value, out);
            }
        }
        Value::List(list) => {
            for (index, value) in list.iter().enumerate() {
                flatten(&format!("{prefix}.{index}"), value, out);
            }
        }
        plain => out.insert(prefix, plain.clone()),
    }
}

fn plain(node: &Node) -> Option<String> {
    let name = node.filename();
    (!name.is_empty() && !name.starts_with("json:")).then(|| name.to_owned())
}

fn by_options(options: &Dict) -> String {
    format!("json:{}", json::compact(&Value::Dict(options.clone())))
}

impl Naming {
    /// A leaf opened with these options.
    pub(super) fn of_leaf(driver: &ProtocolDriver, options: &Dict) -> Self {
        let mut kept = strong(options, driver.strong);
        kept.insert("driver", driver.name);
        let filename = (driver.plain_name)(options).unwrap_or_else(|| by_options(&kept));
        Self {
            filename,
            options: kept,
        }
    }

    /// A format over its children, with those options that matter. `backing`: the backing file is another one than
    /// the image names.
    pub(super) fn of_image(
        driver: &str,
        strong: Dict,
        edges: &[Arc<Edge>],
        backing: Option<&Arc<Edge>>,
    ) -> Self {
        let changed = !strong.is_empty() || backing.is_some();
        let mut options = strong;
        options.insert("driver", driver);
        for edge in edges.iter().chain(backing) {
            options.insert(edge.name(), edge.node().options().clone());
        }
        let file = edges.iter().find(|e| e.role() != Role::Data);
        let filename = file
            .map(|file| file.node())
            .filter(|node| !changed && is_protocol(node.driver()))
            .and_then(|node| plain(&node));
        Self {
            filename: filename.unwrap_or_else(|| by_options(&options)),
            options,
        }
    }

    /// A filter over its children.
    pub(super) fn of_filter(driver: &FilterDriver, strong: Dict, children: &[Arc<Edge>]) -> Self {
        let nodes: Vec<_> = children.iter().map(|edge| edge.node()).collect();
        let names: Option<Vec<String>> = nodes.iter().map(|node| plain(node)).collect();
        let filename = names.and_then(|names| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            (driver.plain_name)(&strong, &names)
        });
        let mut options = strong;
        options.insert("driver", driver.name);
        let mut list = Vec::new();
        for (edge, node) in children.iter().zip(&nodes) {
            if edge.name().starts_with("children.") {
                list.push(Value::Dict(node.options().clone()));
            } else {
                options.insert(edge.name(), node.options().clone());
            }
        }
        if !list.is_empty() {
            options.insert("children", list);
        }
        Self {
            filename: filename.unwrap_or_else(|| by_options(&options)),
            options,
        }
    }
}
