//! `blkverify`: writes to two images, and ends the program when they read differently.
//!
//! Names: `blkverify:RAW:IMAGE`. The children are `raw`, what is compared with, and `test`, what is looked at.

use std::io;
use std::sync::Arc;

use block_core::{
    BoxFuture, Edge, Filter, FilterDriver, FilterLimits, FilterOpen, WriteFlags, ZeroFlags,
};
use qapi::{Dict, Error, opts, out};

/// The driver.
pub(crate) const BLKVERIFY: FilterDriver = FilterDriver {
    name: "blkverify",
    parse_filename: Some(parse_filename),
    open: |request| Box::pin(open(request)),
    strong: &[],
    files: &["x-raw", "x-image"],
    plain_name,
};

fn parse_filename(name: &str, options: &mut Dict) -> qapi::Result<()> {
    let Some(rest) = name.strip_prefix("blkverify:") else {
        options.insert("x-image", name);
        return Ok(());
    };
    let (raw, image) = rest
        .split_once(':')
        .ok_or_else(|| Error::new("blkverify requires raw copy and original image path"))?;
    options.insert("x-raw", raw);
    options.insert("x-image", image);
    Ok(())
}

fn plain_name(_: &Dict, children: &[&str]) -> Option<String> {
    match children {
        [raw, test] => Some(format!("blkverify:{raw}:{test}")),
        _ => None,
    }
}

struct Blkverify {
    raw: Arc<Edge>,
    test: Arc<Edge>,
}

async fn open(request: FilterOpen<'_>) -> qapi::Result<Box<dyn Filter>> {
    let (options, gate) = (request.options, request.gate);
    let raw_name = opts::take_str(options, "x-raw")?;
    let test_name = opts::take_str(options, "x-image")?;
    let raw = gate
        .open_filtered("raw", options.remove("raw"), raw_name.as_deref(), false)
        .await?;
    let test = gate
        .open_filtered("test", options.remove("test"), test_name.as_deref(), true)
        .await?;
    Ok(Box::new(Blkverify { raw, test }))
}

/// A difference: the program has nothing left to find out.
fn differ(what: &str, offset: u64, len: usize, how: &str) -> ! {
    eprintln!("blkverify: {what} offset={offset} bytes={len} {how}");
    out::flush();
    std::process::exit(1)
}

fn number(result: &io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => -error.raw_os_error().unwrap_or(5),
    }
}

fn same_result(
    what: &str,
    (offset, len): (u64, usize),
    test: io::Result<()>,
    raw: &io::Result<()>,
) -> io::Result<()> {
    let (a, b) = (number(&test), number(raw));
    if a != b {
        let how = format!("return value mismatch {a} != {b}");
        differ(what, offset, len, &how);
    }
    test
}

fn unsupported<'a>() -> BoxFuture<'a, io::Result<()>> {
    Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
}

impl Filter for Blkverify {
    fn child(&self) -> &Arc<Edge> {
        &self.raw
    }

    fn children(&self) -> Vec<Arc<Edge>> {
        vec![Arc::clone(&self.raw), Arc::clone(&self.test)]
    }

    fn limits(&self) -> Option<FilterLimits> {
        Some(FilterLimits::default())
    }

    fn keeps_folder(&self) -> qapi::Result<()> {
        Err(Error::new(
            "Cannot generate a base directory for blkverify nodes",
        ))
    }

    fn length(&self) -> io::Result<u64> {
        self.test.node().length()
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let mut other = buf.to_vec();
            let place = (offset, buf.len());
            let test = self.test.read(offset, buf).await;
            let raw = self.raw.read(offset, &mut other).await;
            let result = same_result("read", place, test, &raw);
            if let Some(at) = buf.iter().zip(&other).position(|(a, b)| a != b) {
                let how = format!("contents mismatch at offset {}", offset + at as u64);
                differ("read", offset, buf.len(), &how);
            }
            result
        })
    }

    fn write<'a>(
        &'a self,
        offset: u64,
        buf: &'a [u8],
        flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let test = self.test.write(offset, buf, flags).await;
            let raw = self.raw.write(offset, buf, flags).await;
            same_result("write", (offset, buf.len()), test, &raw)
        })
    }

    fn write_zeroes(&self, _: u64, _: u64, _: ZeroFlags) -> BoxFuture<'_, io::Result<()>> {
        unsupported()
    }

    fn discard(&self, _: u64, _: u64) -> BoxFuture<'_, io::Result<()>> {
        unsupported()
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        // The copy to compare with does not matter after a crash.
        self.test.flush()
    }
}
