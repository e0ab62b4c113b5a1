//! TLS for both ends of a connection, by rustls: credentials as objects, and streams made secure with them.
//!
//! ```text
//! tls-creds-x509   dir=DIR with ca-cert.pem, [ca-crl.pem], {server,client}-cert.pem, {server,client}-key.pem
//!                  endpoint=server|client, verify-peer=on|off, sanity-check=on|off
//! tls-creds-psk    dir=DIR with keys.psk, endpoint=server|client, username=NAME: with the feature `psk`, by OpenSSL
//! ```
//! A peer's certificate must come from an authority of the directory, unless `verify-peer=off`. A client also compares
//! the name. These are GnuTLS's rules as QEMU uses them, so a certificate without alternative names is compared by its
//! common name.

mod check;
mod creds;
#[cfg(feature = "psk")]
mod psk;
mod stream;
mod verify;
mod x509;

use std::sync::Arc;

use object::{Object, ObjectType};
use qapi::{Error, Result};

pub use creds::{Endpoint, TlsCreds};
pub use stream::{Duplex, Peer, Secure, accept, connect};

/// Certificates.
pub(crate) const X509: ObjectType = ObjectType {
    name: "tls-creds-x509",
    make: |options, _| Ok(Arc::new(TlsCreds::x509(options)?)),
};

/// Keys that both ends know.
#[cfg(feature = "psk")]
pub(crate) const PSK: ObjectType = ObjectType {
    name: "tls-creds-psk",
    make: |options, _| Ok(Arc::new(TlsCreds::psk(options)?)),
};

// GAP: rustls has no keys from outside; the feature `psk` brings them by OpenSSL.
/// Keys that both ends know.
#[cfg(not(feature = "psk"))]
pub(crate) const PSK: ObjectType = ObjectType {
    name: "tls-creds-psk",
    make: |_, _| {
        Err(Error::new(
            "tls-creds-psk is not supported: this program was built without the feature 'psk', use tls-creds-x509",
        ))
    },
};

// GAP: nothing but secrecy, and not against whoever is in the middle: neither rustls nor TLS 1.3 has it.
/// Nothing but secrecy.
pub(crate) const ANON: ObjectType = ObjectType {
    name: "tls-creds-anon",
    make: |_, _| {
        Err(Error::new(
            "tls-creds-anon is not supported: it proves nothing about the other end, use tls-creds-x509",
        ))
    },
};

/// The object of an id as credentials for one end.
///
/// # Errors
/// In QEMU's words, when it is something else.
pub fn credentials(object: Option<Object>, id: &str, end: Endpoint) -> Result<Arc<TlsCreds>> {
    let object = object.ok_or_else(|| Error::new(format!("No TLS credentials with id '{id}'")))?;
    let creds: Arc<TlsCreds> = object
        .downcast()
        .map_err(|_| Error::new(format!("Object with id '{id}' is not TLS credentials")))?;
    creds.check_endpoint(end)?;
    Ok(creds)
}
