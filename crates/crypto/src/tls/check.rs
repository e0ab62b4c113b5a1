//! `sanity-check=on`: what is wrong with certificates is said when they are loaded, not when somebody connects.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use qapi::{Error, Result};

use super::creds::{Endpoint, Files};
use super::x509::{CERT_SIGN, DIGITAL_SIGNATURE, Facts, KEY_ENCIPHERMENT};

/// Looks at the authorities and at the certificate of this end.
///
/// # Errors
/// In QEMU's words.
pub(super) fn files(files: &Files, endpoint: Endpoint) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |t| i64::try_from(t.as_secs()).unwrap_or(i64::MAX));
    if let Some(own) = &files.own
        && let Some(first) = own.chain.first()
    {
        own_certificate(&read(first, &own.path)?, &own.path, endpoint, now)?;
    }
    for authority in &files.authorities {
        let path = &files.authority_path;
        authority_certificate(&read(authority, path)?, path, now)?;
    }
    Ok(())
}

fn read(der: &[u8], path: &Path) -> Result<Facts> {
    Facts::read(der).ok_or_else(|| {
        Error::new(format!(
            "Unable to import certificate {}: not a certificate",
            path.display()
        ))
    })
}

fn times(facts: &Facts, kind: &str, path: &Path, now: i64) -> Result<()> {
    let path = path.display();
    if facts.not_after < now {
        return Err(Error::new(format!(
            "The {kind} certificate {path} has expired"
        )));
    }
    if facts.not_before > now {
        return Err(Error::new(format!(
            "The {kind} certificate {path} is not yet active"
        )));
    }
    Ok(())
}

fn authority_certificate(facts: &Facts, path: &Path, now: i64) -> Result<()> {
    times(facts, "CA", path, now)?;
    let path = path.display();
    match facts.authority {
        Some(true) => {}
        Some(false) => {
            return Err(Error::new(format!(
                "The certificate {path} basic constraints do not show a CA"
            )));
        }
        None => {
            return Err(Error::new(format!(
                "The certificate {path} is missing basic constraints for a CA"
            )));
        }
    }
    if facts.key_usage.is_some_and(|usage| usage & CERT_SIGN == 0) {
        return Err(Error::new(format!(
            "Certificate {path} usage does not permit certificate signing"
        )));
    }
    Ok(())
}

fn own_certificate(facts: &Facts, path: &Path, endpoint: Endpoint, now: i64) -> Result<()> {
    let kind = endpoint.name();
    times(facts, kind, path, now)?;
    let path = path.display();
    if facts.authority == Some(true) {
        return Err(Error::new(format!(
            "The certificate {path} basic constraints show a CA, but we need one for a {kind}"
        )));
    }
    for (bit, what) in [
        (DIGITAL_SIGNATURE, "digital signature"),
        (KEY_ENCIPHERMENT, "key encipherment"),
    ] {
        if facts.key_usage.is_some_and(|usage| usage & bit == 0) {
            return Err(Error::new(format!(
                "Certificate {path} usage does not permit {what}"
            )));
        }
    }
    let fits = facts.purposes.is_none_or(|p| match endpoint {
        Endpoint::Server => p.server,
        Endpoint::Client => p.client,
    });
    if !fits {
        return Err(Error::new(format!(
            "Certificate {path} purpose does not allow use with a TLS {kind}"
        )));
    }
    Ok(())
}
