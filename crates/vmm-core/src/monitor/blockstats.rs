//! What disks have done: `query-blockstats` and `info blockstats`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use block::core::Node;
use dev_storage::accounts::{Tally, Totals};
use monitor_core::{Command, Flags};
use qapi::Dict;
use qapi::record::{Any, Record};

use super::{Vm, ask};

#[derive(Debug, Record)]
struct BlockstatsArguments {
    query_nodes: Option<bool>,
}

pub(super) const COMMANDS: &[Command<Vm>] = &[ask!(
    "query-blockstats",
    Flags::NONE,
    BlockstatsArguments => Vec<Any>,
    |vm: &Vm, wanted: BlockstatsArguments| {
        let all = if wanted.query_nodes == Some(true) {
            let mut nodes = vm.disks.nodes();
            nodes.sort_by(|a, b| b.name().cmp(a.name()));
            nodes.iter().map(|node| of_node(node, Chain::No)).collect()
        } else {
            drives(vm)
        };
        Ok(all.into_iter().map(|one| Any(one.into())).collect())
    }
)];

/// Whether images behind an image are shown with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    Yes,
    No,
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn drives(vm: &Vm) -> Vec<Dict> {
    let mut all = Vec::new();
    for row in vm.disks.rows() {
        let mut out = Dict::new();
        out.insert("device", row.device.as_str());
        if let Some(qdev) = &row.qdev {
            out.insert("qdev", qdev.as_str());
        }
        out.insert("stats", stats(&row.accounts.totals(), true));
        if let Some(root) = &row.root {
            node_parts(&root.node(), Chain::Yes, &mut out);
        }
        all.push(out);
    }
    all
}

/// Name, what lies below and behind it.
fn node_parts(node: &Arc<Node>, chain: Chain, out: &mut Dict) {
    out.insert("node-name", node.name());
    if node.driver() == "file" || node.driver() == "host_device" {
        let mut own = Dict::new();
        own.insert("driver", node.driver());
        // GAP: files do not count what was given up on them.
        for name in ["discard-nb-ok", "discard-nb-failed", "discard-bytes-ok"] {
            own.insert(name, 0_u64);
        }
        out.insert("driver-specific", own);
    }
    let edges = node.children();
    if let Some(below) = edges.iter().find(|edge| edge.name() == "file") {
        out.insert("parent", of_node(&below.node(), chain));
    }
    if let Some(behind) = node.backing().filter(|_| chain == Chain::Yes) {
        out.insert("backing", of_node(&behind.node(), chain));
    }
}

/// A node has no device, so there is nothing to count; the reference counts nothing but the highest write there.
fn of_node(node: &Arc<Node>, chain: Chain) -> Dict {
    let mut out = Dict::new();
    out.insert("stats", stats(&Totals::default(), false));
    node_parts(node, chain, &mut out);
    out
}

fn stats(totals: &Totals, device: bool) -> Dict {
    let mut out = Dict::new();
    let kinds = [
        ("rd", totals.read),
        ("wr", totals.write),
        ("flush", totals.flush),
        ("unmap", totals.unmap),
        // No device here has zones.
        ("zone_append", Tally::default()),
    ];
    for (kind, tally) in kinds {
        let mut put = |name: String, number: u64| out.insert(&name, number);
        if kind != "flush" {
            put(format!("{kind}_bytes"), tally.bytes);
            // Requests reach the block layer one by one.
            put(format!("{kind}_merged"), 0);
        }
        put(format!("{kind}_operations"), tally.operations);
        put(format!("{kind}_total_time_ns"), nanoseconds(tally.time));
        put(format!("failed_{kind}_operations"), tally.failed);
        put(format!("invalid_{kind}_operations"), 0);
    }
    out.insert("wr_highest_offset", totals.written_to);
    if let Some(last) = totals.last {
        let idle = Instant::now().saturating_duration_since(last);
        out.insert("idle_time_ns", nanoseconds(idle));
    }
    out.insert("account_invalid", device);
    out.insert("account_failed", device);
    out.insert("timed_stats", Vec::new());
    out
}

/// What `info blockstats` prints.
pub(super) fn shown(vm: &Vm) -> String {
    let line = |row: &crate::disks::Row| {
        let totals = row.accounts.totals();
        let Totals {
            read, write, flush, ..
        } = totals;
        let idle = totals.last.map_or(0, |last| nanoseconds(last.elapsed()));
        let time = |tally: Tally| nanoseconds(tally.time);
        format!(
            "{}: rd_bytes={} wr_bytes={} rd_operations={} wr_operations={} flush_operations={} wr_total_time_ns={} rd_total_time_ns={} flush_total_time_ns={} rd_merged=0 wr_merged=0 idle_time_ns={idle}\n",
            row.device,
            read.bytes,
            write.bytes,
            read.operations,
            write.operations,
            flush.operations,
            time(write),
            time(read),
            time(flush),
        )
    };
    vm.disks.rows().iter().map(line).collect()
}
