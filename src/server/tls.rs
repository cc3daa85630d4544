//! TLS for clients: from files and policies to an acceptor, and what a handshake tells of its client.
//!
//! The library has TLS 1.2 and 1.3.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CipherSuite, DigitallySignedStruct, DistinguishedName, Error, ProtocolVersion, ServerConfig,
    ServerConnection, SignatureScheme,
};
use tokio_rustls::TlsAcceptor;

use super::certificate::common_name;
use crate::tls;
pub use crate::tls::TlsError;

/// What is asked of clients' certificates: `--tls-client-auth-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    None,
    /// `require`: any certificate whose key the client has.
    Require,
    /// `require-verify`: one that the certificate authorities stand for.
    RequireVerify,
}

/// What TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM, the server's own certificate first.
    pub cert: PathBuf,
    /// PEM, the certificate's key.
    pub key: PathBuf,
    /// PEM, who stands for clients' certificates; the system's authorities if `None`.
    pub root_ca_file: Option<PathBuf>,
    /// What is asked of clients' certificates.
    pub client_auth: ClientAuth,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
}

/// TLS as a server offers it.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. May block.
    ///
    /// # Errors
    /// Which file or which pair of them cannot be used.
    pub fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        let chain = tls::certificates(&options.cert)?;
        let key = tls::private_key(&options.key)?;
        let builder = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(tls::versions(options.only_tls13))
            .map_err(|error| TlsError::Setup(error.to_string()))?;
        let builder = match options.client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Require => builder.with_client_cert_verifier(Arc::new(AnyCertificate {
                algorithms: tls::provider().signature_verification_algorithms,
            })),
            ClientAuth::RequireVerify => {
                let roots = Arc::new(tls::roots(options.root_ca_file.as_deref())?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, tls::provider())
                    .build()
                    .map_err(|error| TlsError::Setup(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| {
            TlsError::Setup(format!(
                "{} and {}: {error}",
                options.cert.display(),
                options.key.display()
            ))
        })?;
        // nsqd reads this file whatever the policy, and does not start if it cannot.
        if let Some(path) = &options.root_ca_file {
            tls::certificates(path)?;
        }
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Makes TLS of accepted sockets.
    #[must_use]
    pub const fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// Takes any certificate; the client proves that it has the key.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What a handshake tells of its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// `TLS1.2` or `TLS1.3`.
    pub(super) version: &'static str,
    /// As nsqd names it: most are `Unknown` and their number.
    pub(super) cipher_suite: String,
    /// Of the client's certificate; empty if there is none.
    pub(super) common_name: String,
}

impl Peer {
    /// What is known once the handshake is done.
    pub(super) fn of(connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS1.3",
            _ => "TLS1.2",
        };
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        Self {
            version,
            cipher_suite: suite.map(suite_name).unwrap_or_default(),
            common_name: certificate.and_then(|der| common_name(der)).unwrap_or_default(),
        }
    }
}

/// nsqd knows the names of old suites only.
fn suite_name(suite: CipherSuite) -> String {
    match suite {
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned()
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned()
        }
        other => format!("Unknown {}", u16::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_036_new_suites_are_unknown_numbers() {
        let name = suite_name(CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(name, "Unknown 4865");
        let name = suite_name(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
        assert_eq!(name, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        let name = suite_name(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384);
        assert_eq!(name, "Unknown 49200");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let options = TlsOptions {
            cert: "/none/cert.pem".into(),
            key: "/none/key.pem".into(),
            root_ca_file: None,
            client_auth: ClientAuth::None,
            only_tls13: false,
        };
        let error = Tls::load(&options).unwrap_err().to_string();
        assert!(error.starts_with("/none/cert.pem: "), "{error}");
    }
}
