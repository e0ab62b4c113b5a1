//! Whether a peer's certificate is believed.

use std::sync::Arc;

use qapi::{Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::x509::Facts;

/// Who is believed, and what they took back.
pub(super) struct Authorities {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) revoked: Vec<CertificateRevocationListDer<'static>>,
}

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::new(format!("Cannot use CA certificates: {error}"))
}

/// For a client: servers' certificates.
pub(super) fn of_servers(
    provider: &Arc<CryptoProvider>,
    authorities: Authorities,
    verify: bool,
) -> Result<Arc<dyn ServerCertVerifier>> {
    if !verify {
        return Ok(Arc::new(Unverified(Arc::clone(provider))));
    }
    let inner =
        WebPkiServerVerifier::builder_with_provider(authorities.roots, Arc::clone(provider))
            .with_crls(authorities.revoked)
            // What no list speaks of is not revoked.
            .allow_unknown_revocation_status()
            .build()
            .map_err(unusable)?;
    Ok(Arc::new(ByName(inner)))
}

/// For a server: clients' certificates. Without verification they are not asked for.
pub(super) fn of_clients(
    provider: &Arc<CryptoProvider>,
    authorities: Authorities,
    verify: bool,
) -> Result<Arc<dyn ClientCertVerifier>> {
    if !verify {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    WebPkiClientVerifier::builder_with_provider(authorities.roots, Arc::clone(provider))
        .with_crls(authorities.revoked)
        .allow_unknown_revocation_status()
        .build()
        .map_err(unusable)
}

/// Verifies chain and name; a certificate without alternative names by its common name, as GnuTLS does.
#[derive(Debug)]
struct ByName(Arc<WebPkiServerVerifier>);

/// Whether it names no other host but by its common name, and that is the wanted one.
fn is_common_name(certificate: &CertificateDer<'_>, wanted: &ServerName<'_>) -> bool {
    let Some(facts) = Facts::read(certificate) else {
        return false;
    };
    let common = facts.common_name.filter(|_| !facts.alternative_names);
    common.is_some_and(|name| name.eq_ignore_ascii_case(&wanted.to_str()))
}

impl ServerCertVerifier for ByName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last: all else is fine.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if is_common_name(end_entity, server_name) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// `verify-peer=off`: any certificate will do, as long as the server has its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
