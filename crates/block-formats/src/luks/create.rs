//! Makes an image, or a header for one.

use block_core::{CreateRequest, Preallocation};
use qapi::Result;

use super::volume::{self, Area};
use super::{Given, too_large};
use crate::make::{self, flag, invalid, number};

/// [`block_core::FormatDriver::create`].
pub(super) async fn create(request: CreateRequest<'_>) -> Result<()> {
    let given = Given {
        options: request.options,
        prefix: "",
    };
    let preallocation = match request.options.get_str("preallocation") {
        None => Preallocation::Off,
        Some(name) => match Preallocation::parse(name) {
            // There is no metadata that could be made ahead.
            Some(Preallocation::Metadata) => Preallocation::Off,
            Some(mode) => mode,
            None => return Err(invalid(format!("invalid parameter value: {name}"))),
        },
    };
    let detached = flag(request.options, "detached-header");
    let size = number(request.options, "size", 0);
    let options = given.create()?;
    let find = |id: &str| request.gate.object(id);
    let passphrase = volume::passphrase(&find, given.key_secret()?)?;
    options.check()?;
    // A header alone has no payload.
    let payload = if detached { 0 } else { size };
    let end = payload
        .checked_add(options.header_bytes())
        .filter(|end| i64::try_from(*end).is_ok())
        .ok_or_else(too_large)?;
    let made = volume::make(options, &passphrase, detached).await?;
    // The file itself starts empty: the payload's length is what is made ahead.
    let mut options = request.options.clone();
    options.remove("preallocation");
    let empty = CreateRequest {
        options: &options,
        ..request
    };
    let file = make::file(&empty).await?;
    file.truncate(end, preallocation).await?;
    let area = Area {
        file,
        base: 0,
        len: None,
    };
    made.store(&area).await
}
