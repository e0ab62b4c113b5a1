//! Fuzz targets: plain functions over bytes, used by the fuzzer (`cargo fuzz run TARGET`, nightly) and by the
//! smoke run on stable (`cargo xtask fuzz-smoke`). A target panics when something is wrong, and only then.
#![forbid(unsafe_code)]

mod cpu;
pub mod formats;
pub mod image;
mod luks;
mod machine;
pub mod mutate;
mod nbd;
mod text;

/// One target.
pub struct Target {
    /// Its name, also of its corpus folder.
    pub name: &'static str,
    /// The work.
    pub run: fn(&[u8]),
    /// Inputs to start from, made by code.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "header",
        run: image::header,
        seeds: image::header_seeds,
    },
    Target {
        name: "tables",
        run: image::tables,
        seeds: image::word_seeds,
    },
    Target {
        name: "snapshots",
        run: image::snapshots,
        seeds: image::word_seeds,
    },
    Target {
        name: "bitmaps",
        run: image::bitmaps,
        seeds: image::word_seeds,
    },
    Target {
        name: "extensions",
        run: image::extensions,
        seeds: image::extension_seeds,
    },
    Target {
        name: "luks",
        run: luks::header,
        seeds: luks::seeds,
    },
    Target {
        name: "vdi",
        run: formats::vdi,
        seeds: image::word_seeds,
    },
    Target {
        name: "vhdx",
        run: formats::vhdx,
        seeds: image::word_seeds,
    },
    Target {
        name: "vhdx-log",
        run: formats::vhdx_log,
        seeds: image::word_seeds,
    },
    Target {
        name: "vhdx-child",
        run: formats::vhdx_child,
        seeds: image::word_seeds,
    },
    Target {
        name: "vpc",
        run: formats::vpc,
        seeds: image::word_seeds,
    },
    Target {
        name: "vpc-child",
        run: formats::vpc_child,
        seeds: image::word_seeds,
    },
    Target {
        name: "vmdk",
        run: formats::vmdk,
        seeds: image::word_seeds,
    },
    Target {
        name: "parallels",
        run: formats::parallels,
        seeds: image::word_seeds,
    },
    Target {
        name: "qcow",
        run: formats::qcow,
        seeds: image::word_seeds,
    },
    Target {
        name: "qed",
        run: formats::qed,
        seeds: image::word_seeds,
    },
    Target {
        name: "cloop",
        run: formats::cloop,
        seeds: image::word_seeds,
    },
    Target {
        name: "bochs",
        run: formats::bochs,
        seeds: image::word_seeds,
    },
    Target {
        name: "dmg",
        run: formats::dmg,
        seeds: image::word_seeds,
    },
    Target {
        name: "options",
        run: text::options,
        seeds: text::option_seeds,
    },
    Target {
        name: "instructions",
        run: cpu::instructions,
        seeds: cpu::instruction_seeds,
    },
    Target {
        name: "json",
        run: text::json,
        seeds: text::json_seeds,
    },
    Target {
        name: "telnet",
        run: text::telnet,
        seeds: text::telnet_seeds,
    },
    Target {
        name: "keys",
        run: text::keys,
        seeds: text::key_seeds,
    },
    Target {
        name: "groups",
        run: text::groups,
        seeds: text::group_seeds,
    },
    Target {
        name: "registers",
        run: ::machine::contract::registers,
        seeds: ::machine::contract::register_seeds,
    },
    Target {
        name: "device-state",
        run: ::machine::contract::state,
        seeds: ::machine::contract::state_seeds,
    },
    Target {
        name: "kernel",
        run: machine::kernel,
        seeds: machine::kernel_seeds,
    },
    Target {
        name: "nbd-client",
        run: nbd::client,
        seeds: nbd::client_seeds,
    },
    Target {
        name: "nbd-server",
        run: nbd::server,
        seeds: nbd::server_seeds,
    },
];

/// Runs a target by name.
///
/// # Panics
/// When there is none, or when it finds something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|t| t.name == name);
    (target.expect("the name is in the list").run)(data);
}
