//! TLS for clients: from files and policies to an acceptor, and what a handshake tells of its client.
//!
//! The library has TLS 1.2 and 1.3. Its cryptography is ring's, named here so that no global default is needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ProtocolVersion,
    RootCertStore, ServerConfig, ServerConnection, SignatureScheme, SupportedProtocolVersion,
};
use tokio_rustls::TlsAcceptor;

use super::certificate::common_name;

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

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it is to be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The parts do not fit together.
    #[error("{0}")]
    Setup(String),
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
        let chain = certificates(&options.cert)?;
        let key = PrivateKeyDer::from_pem_file(&options.key)
            .map_err(|error| unusable(&options.key, &error))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(options.only_tls13))
            .map_err(|error| setup(&error))?;
        let builder = match options.client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Require => builder.with_client_cert_verifier(Arc::new(AnyCertificate {
                algorithms: provider().signature_verification_algorithms,
            })),
            ClientAuth::RequireVerify => {
                let roots = Arc::new(roots(options.root_ca_file.as_deref())?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
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
            certificates(path)?;
        }
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Makes TLS of accepted sockets.
    #[must_use]
    pub const fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// TLS towards a server whose certificate `root_ca_file` (or the system's authorities) stand for. May block.
///
/// # Errors
/// The file cannot be used.
pub(super) fn client_config(
    root_ca_file: Option<&Path>,
    only_tls13: bool,
) -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(only_tls13))
        .map_err(|error| setup(&error))?
        .with_root_certificates(roots(root_ca_file)?)
        .with_no_client_auth();
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn versions(only_tls13: bool) -> &'static [&'static SupportedProtocolVersion] {
    static ONLY: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    if only_tls13 { &ONLY } else { rustls::ALL_VERSIONS }
}

fn setup(error: &Error) -> TlsError {
    TlsError::Setup(error.to_string())
}

fn unusable(path: &Path, reason: &impl ToString) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if all.is_empty() => Err(unusable(path, &"there is no certificate in this file")),
        Ok(all) => Ok(all),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of the system's certificate authorities cannot be read");
        }
        // Systems carry some that the library does not understand.
        roots.add_parsable_certificates(found.certs);
        return Ok(roots);
    };
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, &error))?;
    }
    Ok(roots)
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
        let error = client_config(Some(Path::new("/dev/null")), false).unwrap_err().to_string();
        assert_eq!(error, "/dev/null: there is no certificate in this file");
    }
}
