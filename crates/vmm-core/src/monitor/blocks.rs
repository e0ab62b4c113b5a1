//! Disks: drives, the nodes below them, what they hold.

use std::sync::Arc;

use block::ImageInfo;
use block::core::{CacheMode, Node, Root};
use monitor_core::{Command, Flags, command};
use qapi::record::{Any, Record};
use qapi::{Dict, Result};

use super::{Nothing, Vm};
use crate::disks::Row;

#[derive(Debug, Record)]
struct BlockInfo {
    device: String,
    qdev: Option<String>,
    #[qapi(name = "type")]
    kind: String,
    removable: bool,
    locked: bool,
    inserted: Option<Any>,
    #[qapi(name = "tray_open")]
    tray_open: Option<bool>,
    io_status: Option<String>,
}

#[derive(Debug, Record)]
struct NodesArguments {
    flat: Option<bool>,
}

pub(super) const COMMANDS: &[Command<Vm>] = &[
    command!("query-block", Flags::NONE, Nothing => Vec<BlockInfo>, drives),
    command!("query-named-block-nodes", Flags::NONE, NodesArguments => Vec<Any>, nodes),
];

async fn drives(vm: &Vm, _: Nothing) -> Result<Vec<BlockInfo>> {
    let mut all = Vec::new();
    for row in vm.disks.rows() {
        let inserted = match &row.root {
            Some(root) => Some(Any(medium(&root.node(), row.cache, true).await?.into())),
            None => None,
        };
        let attached = row.qdev.is_some();
        all.push(BlockInfo {
            device: row.device.clone(),
            qdev: row.qdev.clone(),
            kind: "unknown".to_owned(),
            removable: row.removable,
            locked: false,
            inserted,
            tray_open: (row.removable && attached).then_some(false),
            io_status: attached.then(|| "ok".to_owned()),
        });
    }
    Ok(all)
}

async fn nodes(vm: &Vm, wanted: NodesArguments) -> Result<Vec<Any>> {
    let mut all = vm.disks.nodes();
    // Later nodes stand over earlier ones; the reference lists them that way round.
    all.sort_by(|a, b| b.name().cmp(a.name()));
    let flat = wanted.flat.unwrap_or(false);
    let mut out = Vec::new();
    for node in &all {
        let shown = medium(node, cache_of(vm, node), !flat).await?;
        out.push(Any(shown.into()));
    }
    Ok(out)
}

/// How the host's cache is used for a node: as the drive says that stands over it.
fn cache_of(vm: &Vm, node: &Arc<Node>) -> CacheMode {
    let over = |row: &&Row| {
        let root = row.root.as_ref();
        root.is_some_and(|root| is_below(&root.node(), node, 0))
    };
    vm.disks
        .rows()
        .iter()
        .find(over)
        .map_or(CacheMode::default(), |row| row.cache)
}

/// Nodes that stand on each other.
const DEEPEST: usize = 200;

fn is_below(top: &Arc<Node>, node: &Arc<Node>, depth: usize) -> bool {
    Arc::ptr_eq(top, node)
        || (depth < DEEPEST
            && top
                .children()
                .iter()
                .any(|edge| is_below(&edge.node(), node, depth + 1)))
}

/// Images behind an image.
fn depth(node: &Arc<Node>) -> u64 {
    let mut count = 0;
    let mut next = node.backing();
    while let Some(edge) = next.filter(|_| count < DEEPEST as u64) {
        count += 1;
        next = edge.node().backing();
    }
    count
}

/// A node as `query-block` shows it.
async fn medium(node: &Arc<Node>, cache: CacheMode, chain: bool) -> Result<Dict> {
    let mut out = Dict::new();
    out.insert("file", node.filename());
    out.insert("node-name", node.name());
    out.insert("ro", node.read_only());
    out.insert("drv", node.driver());
    out.insert("active", true);
    out.insert("backing_file_depth", depth(node));
    let info = ImageInfo::of(node).await?;
    out.insert("encrypted", info.encrypted);
    out.insert("detect_zeroes", node.detect_zeroes());
    // GAP: nothing is throttled yet, and no threshold can be set.
    for limit in ["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"] {
        out.insert(limit, 0_u64);
    }
    out.insert("write_threshold", 0_u64);
    let mut how = Dict::new();
    how.insert("writeback", !cache.writethrough());
    how.insert("direct", cache.direct());
    how.insert("no-flush", cache == CacheMode::Unsafe);
    out.insert("cache", how);
    if let Some(edge) = node.backing() {
        out.insert("backing_file", edge.node().filename());
    }
    out.insert("image", image(node, chain, 0).await?);
    Ok(out)
}

async fn image(node: &Arc<Node>, chain: bool, level: usize) -> Result<Dict> {
    let info = ImageInfo::of(node).await?;
    let mut out = info.to_dict();
    out.remove("children");
    if let Some(edge) = node.backing().filter(|_| chain && level < DEEPEST) {
        out.insert(
            "backing-image",
            Box::pin(image(&edge.node(), chain, level + 1)).await?,
        );
    }
    Ok(out)
}

/// What `info block` prints.
pub(super) fn shown(vm: &Vm, only: Option<&str>) -> String {
    let mut parts = Vec::new();
    for row in vm.disks.rows() {
        if only.is_none_or(|only| only == row.device) {
            parts.push(drive_text(row));
        }
    }
    parts.join("\n")
}

fn drive_text(row: &Row) -> String {
    let mut text = row.device.clone();
    let root: Option<&Arc<Root>> = row.root.as_ref();
    match root {
        None => text.push_str(": [not inserted]\n"),
        Some(root) => {
            let node = root.node();
            if text.is_empty() {
                text = node.name().to_owned();
            } else {
                text.push_str(&format!(" ({})", node.name()));
            }
            let ro = if node.read_only() { ", read-only" } else { "" };
            text.push_str(&format!(": {} ({}{ro})\n", node.filename(), node.driver()));
        }
    }
    if let Some(qdev) = &row.qdev {
        text.push_str(&format!("    Attached to:      {qdev}\n"));
    }
    if row.removable && row.qdev.is_some() {
        text.push_str("    Removable device: not locked, tray closed\n");
    }
    let Some(root) = root else { return text };
    let node = root.node();
    let mut words = vec![if row.cache.writethrough() {
        "writethrough"
    } else {
        "writeback"
    }];
    if row.cache.direct() {
        words.push("direct");
    }
    if row.cache == CacheMode::Unsafe {
        words.push("ignore flushes");
    }
    text.push_str(&format!("    Cache mode:       {}\n", words.join(", ")));
    if let Some(edge) = node.backing() {
        text.push_str(&format!(
            "    Backing file:     {} (chain depth: {})\n",
            edge.node().filename(),
            depth(&node)
        ));
    }
    if node.detect_zeroes() != "off" {
        text.push_str(&format!("    Detect zeroes:    {}\n", node.detect_zeroes()));
    }
    text
}
