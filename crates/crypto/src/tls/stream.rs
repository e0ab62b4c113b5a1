//! Streams made secure.

use std::io;

use qapi::{Error, Result};
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::creds::{Config, Endpoint, TlsCreds};
use super::x509::Facts;

/// What a stream can be.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A stream inside TLS, whoever does that.
pub type Secure = Box<dyn Duplex>;

/// Who is at the other end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// The subject of its certificate, if it showed one: `CN=host,O=Org`.
    pub name: Option<String>,
}

/// Secures the connecting end. `hostname`: the name that the server's certificate must be for.
///
/// # Errors
/// In QEMU's words, when the server is not who it should be, or the handshake breaks.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    creds: &TlsCreds,
    hostname: Option<&str>,
) -> Result<Secure> {
    #[cfg(feature = "psk")]
    if let Config::Psk(keys) = &creds.config {
        creds.check_endpoint(Endpoint::Client)?;
        return Ok(Box::new(keys.secure(stream).await?));
    }
    let Config::Client(config) = &creds.config else {
        return creds.check_endpoint(Endpoint::Client).and(Err(Error::new(
            "Credentials endpoint doesn't match session",
        )));
    };
    let name = match hostname {
        Some(hostname) => {
            ServerName::try_from(hostname.to_owned()).map_err(|_| mismatch(hostname))?
        }
        None if creds.verify_peer => {
            return Err(Error::new("No hostname for certificate validation"));
        }
        // A number is not told to the server.
        None => ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()),
    };
    let connector = TlsConnector::from(std::sync::Arc::clone(config));
    let connected = connector.connect(name, stream).await;
    let stream = connected.map_err(|e| explain(&e, hostname.unwrap_or_default()))?;
    Ok(Box::new(stream))
}

/// Secures the end that was connected to.
///
/// # Errors
/// When the client has no certificate that is believed, or the handshake breaks.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    creds: &TlsCreds,
) -> Result<(Secure, Peer)> {
    #[cfg(feature = "psk")]
    if let Config::Psk(keys) = &creds.config {
        creds.check_endpoint(Endpoint::Server)?;
        return Ok((Box::new(keys.secure(stream).await?), Peer::default()));
    }
    let Config::Server(config) = &creds.config else {
        return creds.check_endpoint(Endpoint::Server).and(Err(Error::new(
            "Credentials endpoint doesn't match session",
        )));
    };
    let acceptor = TlsAcceptor::from(std::sync::Arc::clone(config));
    let accepted = acceptor.accept(stream).await;
    let stream = accepted.map_err(|e| explain(&e, ""))?;
    let (_, session) = stream.get_ref();
    let first = session.peer_certificates().and_then(|all| all.first());
    let name = first.and_then(|der| Facts::read(der)).map(|f| f.subject);
    Ok((Box::new(stream), Peer { name }))
}

fn mismatch(hostname: &str) -> Error {
    Error::new(format!(
        "Certificate does not match the hostname {hostname}"
    ))
}

fn explain(error: &io::Error, hostname: &str) -> Error {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    let reason = match inner {
        Some(rustls::Error::InvalidCertificate(wrong)) => match wrong {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                return mismatch(hostname);
            }
            CertificateError::UnknownIssuer => "The certificate hasn't got a known issuer",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "The certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "The certificate is not yet activated"
            }
            CertificateError::Revoked => "The certificate has been revoked",
            other => return Error::new(format!("Invalid certificate: {other}")),
        },
        Some(rustls::Error::NoCertificatesPresented) => "Verify failed: No certificate was found.",
        _ => return Error::new(format!("TLS handshake failed: {error}")),
    };
    Error::new(reason)
}
