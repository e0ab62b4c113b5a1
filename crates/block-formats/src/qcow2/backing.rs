//! Another backing file's name in the header.

use block_core::{BackingLink, BoxFuture, ChangeBacking};
use qapi::{Error, Result};

use super::Qcow2;
use super::header::{MAX_BACKING, autoclear, extension};

const EINVAL: i32 = 22;
const EIO: i32 = 5;

impl ChangeBacking for Qcow2 {
    fn set_backing<'a>(&'a self, link: Option<&'a BackingLink>) -> BoxFuture<'a, Result<()>> {
        Box::pin(change(self, link))
    }
}

async fn change(image: &Qcow2, link: Option<&BackingLink>) -> Result<()> {
    let invalid = || Error::with_errno("Could not change the backing file", EINVAL);
    let _still = image.stand_still().await;
    let header = image.header().await;
    let raw_data = header.autoclear & autoclear::RAW_DATA_FILE != 0;
    if link.is_some_and(|l| raw_data || l.file.len() > MAX_BACKING as usize) {
        return Err(invalid());
    }
    let mut new = header;
    new.backing = link.map(|l| l.file.clone().into_bytes());
    let format = link.and_then(|l| l.format.clone());
    new.set_extension(extension::BACKING_FORMAT, format.map(String::into_bytes));
    // Before anything is written: it may not fit.
    new.encode()?;
    image
        .change_header(|header| *header = new)
        .await
        .map_err(|e| {
            let errno = e.raw_os_error().unwrap_or(EIO);
            Error::with_errno("Could not change the backing file", errno)
        })
}
