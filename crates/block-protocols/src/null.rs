//! `null-co`, `null-aio`: a disk that forgets. Reads give zeroes (with `read-zeroes=on`; otherwise the buffer as
//! it was, which is zero here too), for measuring what is above.

use std::any::Any;
use std::io;
use std::time::Duration;

use block_core::{
    BoxFuture, LeafStatus, Limits, Preallocation, Protocol, ProtocolDriver, ProtocolOpen,
    WriteFlags, ZeroFlags,
};
use qapi::{Dict, Error, opts};

/// `null-co`
pub(crate) const NULL_CO: ProtocolDriver = driver("null-co", &["null-co"], |options| {
    plain_name("null-co", options)
});
/// `null-aio`
pub(crate) const NULL_AIO: ProtocolDriver = driver("null-aio", &["null-aio"], |options| {
    plain_name("null-aio", options)
});

/// Size without `size=`.
const DEFAULT_SIZE: u64 = 1 << 30;

/// Options that change what is in it.
const STRONG: &[&str] = &["size", "read-zeroes"];

const fn driver(
    name: &'static str,
    prefixes: &'static [&'static str],
    plain_name: fn(&Dict) -> Option<String>,
) -> ProtocolDriver {
    ProtocolDriver {
        name,
        prefixes,
        parse_filename,
        open: |request| Box::pin(std::future::ready(open(request))),
        create: None,
        create_options: &[],
        strong: STRONG,
        plain_name,
    }
}

fn plain_name(driver: &str, options: &Dict) -> Option<String> {
    let plain = STRONG.iter().all(|name| options.get(name).is_none());
    plain.then(|| format!("{driver}://"))
}

fn parse_filename(name: &str, _options: &mut Dict) -> qapi::Result<()> {
    match name.split_once("://") {
        Some((_, "")) => Ok(()),
        _ => Err(Error::new(format!(
            "The only allowed filename for this driver is '{}://'",
            name.split(':').next().unwrap_or(name)
        ))),
    }
}

struct Null {
    size: u64,
    reads_zero: bool,
    /// How long every request takes.
    latency: Duration,
}

fn open(request: ProtocolOpen<'_>) -> qapi::Result<Box<dyn Protocol>> {
    let options = request.options;
    let size = opts::take_size(options, "size")?.unwrap_or(DEFAULT_SIZE);
    let latency = opts::take_size(options, "latency-ns")?.unwrap_or(0);
    let latency = match i64::try_from(latency) {
        Ok(_) => Duration::from_nanos(latency),
        Err(_) => return Err(Error::new("latency-ns is invalid").errno(22)),
    };
    let reads_zero = opts::take_bool(options, "read-zeroes")?.unwrap_or(false);
    Ok(Box::new(Null {
        size,
        reads_zero,
        latency,
    }))
}

impl Null {
    fn done(&self) -> BoxFuture<'_, io::Result<()>> {
        if self.latency.is_zero() {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async move {
            reactor::sleep(self.latency).await;
            Ok(())
        })
    }
}

impl Protocol for Null {
    fn read<'a>(&'a self, _offset: u64, buf: &'a mut [u8]) -> BoxFuture<'a, io::Result<()>> {
        if self.reads_zero {
            buf.fill(0);
        }
        self.done()
    }

    fn write<'a>(
        &'a self,
        _offset: u64,
        _buf: &'a [u8],
        _flags: WriteFlags,
    ) -> BoxFuture<'a, io::Result<()>> {
        self.done()
    }

    fn write_zeroes(
        &self,
        _offset: u64,
        _len: u64,
        _flags: ZeroFlags,
    ) -> BoxFuture<'_, io::Result<()>> {
        self.done()
    }

    fn discard(&self, _offset: u64, _len: u64) -> BoxFuture<'_, io::Result<()>> {
        self.done()
    }

    fn flush(&self) -> BoxFuture<'_, io::Result<()>> {
        self.done()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn truncate(
        &self,
        _len: u64,
        _preallocation: Preallocation,
    ) -> BoxFuture<'_, qapi::Result<()>> {
        Box::pin(std::future::ready(Err(Error::new(
            "Image format driver does not support resize",
        )
        .errno(95))))
    }

    fn status(&self, _offset: u64, len: u64) -> BoxFuture<'_, io::Result<LeafStatus>> {
        // Bytes that are not there, of which nothing is known otherwise.
        let status = LeafStatus {
            len,
            data: false,
            zero: self.reads_zero,
        };
        Box::pin(std::future::ready(Ok(status)))
    }

    fn limits(&self) -> Limits {
        Limits {
            growable: false,
            ..Limits::default()
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
