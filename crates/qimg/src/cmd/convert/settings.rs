//! What the command line asks of a conversion.

use std::num::NonZeroU64;

use block::CacheMode;
use block::jobs::{ConvertOptions, Initial, Method, Order, Zeroes};
use qapi::Error;

use crate::cli::{self, Args};
use crate::number;
use crate::options::{self, SnapshotKey};

/// Largest value of `-S`.
const MAX_SPARSE: u64 = 16 << 20;

/// Default of `-S`.
const SPARSE: usize = 4096;

/// The options, checked.
pub(super) struct Settings {
    pub(super) format: String,
    pub(super) options: Option<String>,
    pub(super) snapshot: Option<SnapshotKey>,
    pub(super) source_cache: CacheMode,
    pub(super) target_cache: CacheMode,
    pub(super) compress: bool,
    pub(super) create: bool,
    pub(super) is_zero: bool,
    pub(super) target_image_opts: bool,
    pub(super) bitmaps: bool,
    pub(super) skip_broken: bool,
    /// `None`: zeroes are stored.
    pub(super) sparse: Option<usize>,
    offload: bool,
    salvage: bool,
    any_order: bool,
    workers: usize,
    rate: Option<NonZeroU64>,
}

impl Settings {
    /// Reads and checks them.
    ///
    /// # Errors
    /// In QEMU's words.
    pub(super) fn read(args: &Args) -> qapi::Result<Self> {
        let options = options::joined(args)?;
        let snapshot = args
            .text("source-snapshot")
            .map(SnapshotKey::parse)
            .transpose()?;
        let sparse = sparse(args)?;
        let workers = match args.text("parallel") {
            Some(text) => {
                let count = number::parse("number of coroutines", text, 1..=16)?;
                usize::try_from(count).unwrap_or(1)
            }
            // Packing keeps its processor busy; reading and writing wait for each other.
            None if args.has("compress") => reactor::threads() + 1,
            None => reactor::threads() * 2,
        };
        let rate = match args.text("rate") {
            Some(text) => NonZeroU64::new(number::parse("rate limit", text, number::ANY)?),
            None => None,
        };
        let settings = Self {
            format: args.text("target-format").unwrap_or("raw").to_owned(),
            options,
            snapshot,
            source_cache: cli::cache(
                args.text("source-cache"),
                CacheMode::Writeback,
                "Invalid source cache option",
            )?,
            target_cache: cli::cache(
                args.text("target-cache"),
                CacheMode::Unsafe,
                "Invalid cache option",
            )?,
            compress: args.has("compress"),
            create: !args.has("no-create"),
            is_zero: args.has("target-is-zero"),
            target_image_opts: args.has("target-image-opts"),
            bitmaps: args.has("bitmaps"),
            skip_broken: args.has("skip-broken-bitmaps"),
            sparse,
            offload: args.has("copy-range-offloading"),
            salvage: args.has("salvage"),
            any_order: args.has("oob-writes"),
            workers,
            rate,
        };
        settings.check(args)?;
        Ok(settings)
    }

    fn check(&self, args: &Args) -> qapi::Result<()> {
        let source_opts = args.has("source-image-opts") && args.text("source-format").is_some();
        let target_opts = self.target_image_opts && args.text("target-format").is_some();
        let wrong = [
            (
                source_opts || target_opts,
                "--image-opts and --format are mutually exclusive",
            ),
            (
                self.skip_broken && !self.bitmaps,
                "Use of --skip-broken-bitmaps requires --bitmaps",
            ),
            (
                self.any_order && self.compress,
                "Out of order write and compress are mutually exclusive",
            ),
            (
                self.offload && self.compress,
                "Cannot enable copy offloading when -c is used",
            ),
            (
                self.offload && args.text("sparse-size").is_some(),
                "Cannot enable copy offloading when -S is used",
            ),
            (
                self.offload && self.salvage,
                "Cannot use copy offloading in salvaging mode",
            ),
            (
                self.target_image_opts && self.create,
                "--target-image-opts requires use of -n flag",
            ),
            (
                !self.create && self.options.is_some(),
                "-o has no effect when skipping image creation",
            ),
            (
                self.is_zero && self.create,
                "--target-is-zero requires use of -n flag",
            ),
        ];
        match wrong.iter().find(|(holds, _)| *holds) {
            Some((_, message)) => Err(Error::new(*message)),
            None => Ok(()),
        }
    }

    /// How the engine is to work; `packs_all`: the target takes nothing but packed clusters.
    pub(super) fn convert_options(
        &self,
        initial: Initial,
        packs_all: bool,
        count_first: bool,
    ) -> ConvertOptions {
        let method = match (self.compress || packs_all, self.offload) {
            (true, _) => Method::Compress,
            (false, true) => Method::Offload,
            (false, false) => Method::Copy,
        };
        let zeroes = match self.sparse {
            None => Zeroes::Store,
            Some(_) if self.offload => Zeroes::AsTold,
            Some(min) => Zeroes::Find(min),
        };
        ConvertOptions {
            method,
            order: if self.any_order {
                Order::Any
            } else {
                Order::Sequential
            },
            initial,
            workers: self.workers,
            zeroes,
            salvage: self.salvage,
            rate: self.rate,
            count_first,
            ..ConvertOptions::default()
        }
    }
}

fn sparse(args: &Args) -> qapi::Result<Option<usize>> {
    let Some(text) = args.text("sparse-size") else {
        return Ok(Some(SPARSE));
    };
    let valid = |size: &u64| *size <= MAX_SPARSE && size.is_multiple_of(512);
    match qapi::parse_size(text).ok().filter(valid) {
        Some(0) => Ok(None),
        Some(size) => Ok(usize::try_from(size).ok()),
        None => Err(Error::new(format!(
            "Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to {MAX_SPARSE}. \
             Select 0 to disable sparse detection (fully allocates output)."
        ))),
    }
}
