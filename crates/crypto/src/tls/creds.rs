//! Credentials: what is read from a directory when the object is made.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qapi::{Dict, Error, Result, opts};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::check;
use super::verify::{self, Authorities};

/// Largest file of a directory that is read.
const MAX_FILE: u64 = 1 << 20;

/// Which end of a connection credentials are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Connects.
    Client,
    /// Is connected to.
    Server,
}

impl Endpoint {
    /// QEMU's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// What a handshake is done with.
pub(super) enum Config {
    Client(Arc<ClientConfig>),
    Server(Arc<ServerConfig>),
    #[cfg(feature = "psk")]
    Psk(super::psk::Keys),
}

/// TLS credentials of one end.
pub struct TlsCreds {
    pub(super) config: Config,
    pub(super) verify_peer: bool,
}

impl fmt::Debug for TlsCreds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsCreds({})", self.endpoint().name())
    }
}

impl TlsCreds {
    /// Which end they are for.
    pub fn endpoint(&self) -> Endpoint {
        match &self.config {
            Config::Client(_) => Endpoint::Client,
            Config::Server(_) => Endpoint::Server,
            #[cfg(feature = "psk")]
            Config::Psk(keys) => keys.endpoint,
        }
    }

    /// Refuses those for the other end.
    ///
    /// # Errors
    /// In QEMU's words.
    pub fn check_endpoint(&self, wanted: Endpoint) -> Result<()> {
        if self.endpoint() == wanted {
            return Ok(());
        }
        Err(Error::new(format!(
            "Expected TLS credentials for a {} endpoint",
            wanted.name()
        )))
    }

    /// A client's from a directory, peers verified.
    ///
    /// # Errors
    /// When something is missing there, or wrong.
    pub fn of_client(dir: &str) -> Result<Self> {
        let mut options = Dict::new();
        options.insert("dir", dir);
        Self::x509(&mut options)
    }

    /// Keys that both ends know.
    #[cfg(feature = "psk")]
    pub(super) fn psk(options: &mut Dict) -> Result<Self> {
        Ok(Self {
            config: Config::Psk(super::psk::Keys::new(options)?),
            verify_peer: false,
        })
    }

    /// Certificates from a directory.
    pub(super) fn x509(options: &mut Dict) -> Result<Self> {
        let endpoint = take_endpoint(options)?;
        let verify_peer = opts::take_bool(options, "verify-peer")?.unwrap_or(true);
        let sane = opts::take_bool(options, "sanity-check")?.unwrap_or(true);
        for (name, why) in [
            ("priority", "a priority string of GnuTLS"),
            ("passwordid", "a key with a password"),
        ] {
            if options.remove(name).is_some() {
                // GAP: which ciphers are used is rustls's choice; keys must be in the clear.
                return Err(Error::new(format!(
                    "Parameter '{name}' is not supported: {why}"
                )));
            }
        }
        let dir = opts::take_str(options, "dir")?
            .ok_or_else(|| Error::new("Missing 'dir' property value"))?;
        let files = Files::read(Path::new(&dir), endpoint)?;
        if sane {
            check::files(&files, endpoint)?;
        }
        let config = files.config(endpoint, verify_peer)?;
        Ok(Self {
            config,
            verify_peer,
        })
    }
}

/// Takes out the option that says which end credentials are for.
pub(super) fn take_endpoint(options: &mut Dict) -> Result<Endpoint> {
    match opts::take_str(options, "endpoint")?.as_deref() {
        None | Some("client") => Ok(Endpoint::Client),
        Some("server") => Ok(Endpoint::Server),
        Some(other) => Err(Error::new(format!(
            "Parameter 'endpoint' does not accept value '{other}'"
        ))),
    }
}

/// A certificate with those between it and an authority, its key, and where they were found.
pub(super) struct Own {
    pub(super) path: PathBuf,
    pub(super) chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What is in a directory.
pub(super) struct Files {
    pub(super) authority_path: PathBuf,
    pub(super) authorities: Vec<CertificateDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    pub(super) own: Option<Own>,
}

/// The bytes of a file; `None`: there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |e: &std::io::Error| {
        Error::from_io(
            format!("Unable to access credentials {}", path.display()),
            e,
        )
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
        Ok(found) if found.len() > MAX_FILE || !found.is_file() => {
            return Err(Error::new(format!(
                "Unable to access credentials {}: not a small file",
                path.display()
            )));
        }
        Ok(_) => {}
    }
    fs::read(path).map(Some).map_err(|e| failed(&e))
}

fn required(path: &Path) -> Result<Vec<u8>> {
    read(path)?.ok_or_else(|| {
        Error::with_errno(
            format!("Unable to access credentials {}", path.display()),
            2,
        )
    })
}

/// All certificates of a PEM file.
fn certificates(path: &Path, pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(Error::new(format!(
            "Unable to import {what} {}: no certificate in it",
            path.display()
        ))),
        Err(error) => Err(Error::new(format!(
            "Unable to import {what} {}: {error}",
            path.display()
        ))),
    }
}

impl Files {
    fn read(dir: &Path, endpoint: Endpoint) -> Result<Self> {
        let authority_path = dir.join("ca-cert.pem");
        let pem = required(&authority_path)?;
        let authorities = certificates(&authority_path, &pem, "CA certificate list")?;
        let crl = dir.join("ca-crl.pem");
        let revoked = match read(&crl)? {
            None => Vec::new(),
            Some(pem) => CertificateRevocationListDer::pem_slice_iter(&pem)
                .collect::<std::result::Result<_, _>>()
                .map_err(|e| Error::new(format!("Cannot load CRL '{}': {e}", crl.display())))?,
        };
        Ok(Self {
            authority_path,
            authorities,
            revoked,
            own: Self::read_own(dir, endpoint)?,
        })
    }

    /// A server needs a certificate of its own; a client may do without.
    fn read_own(dir: &Path, endpoint: Endpoint) -> Result<Option<Own>> {
        let name = endpoint.name();
        let path = dir.join(format!("{name}-cert.pem"));
        let key_path = dir.join(format!("{name}-key.pem"));
        let pem = match (endpoint, read(&path)?) {
            (_, Some(pem)) => pem,
            (Endpoint::Client, None) => return Ok(None),
            (Endpoint::Server, None) => required(&path)?,
        };
        let chain = certificates(&path, &pem, &format!("{name} certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&required(&key_path)?).map_err(|error| {
            Error::new(format!(
                "Cannot load certificate '{}' & key '{}': {error}",
                path.display(),
                key_path.display()
            ))
        })?;
        Ok(Some(Own { path, chain, key }))
    }

    fn config(self, endpoint: Endpoint, verify_peer: bool) -> Result<Config> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in self.authorities {
            roots.add(authority).map_err(|error| {
                Error::new(format!(
                    "Cannot load CA certificate '{}': {error}",
                    self.authority_path.display()
                ))
            })?;
        }
        let authorities = Authorities {
            roots: Arc::new(roots),
            revoked: self.revoked,
        };
        match endpoint {
            Endpoint::Client => client(provider, authorities, self.own, verify_peer),
            Endpoint::Server => server(provider, authorities, self.own, verify_peer),
        }
    }
}

fn unusable(error: &rustls::Error) -> Error {
    Error::new(format!("Cannot use credentials: {error}"))
}

fn client(
    provider: Arc<CryptoProvider>,
    authorities: Authorities,
    own: Option<Own>,
    verify_peer: bool,
) -> Result<Config> {
    let verifier = verify::of_servers(&provider, authorities, verify_peer)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder
            .with_client_auth_cert(own.chain, own.key)
            .map_err(|e| unusable(&e))?,
    };
    Ok(Config::Client(Arc::new(config)))
}

fn server(
    provider: Arc<CryptoProvider>,
    authorities: Authorities,
    own: Option<Own>,
    verify_peer: bool,
) -> Result<Config> {
    let own = own.ok_or_else(|| Error::new("A server needs a certificate"))?;
    let verifier = verify::of_clients(&provider, authorities, verify_peer)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.chain, own.key)
        .map_err(|e| unusable(&e))?;
    Ok(Config::Server(Arc::new(config)))
}
