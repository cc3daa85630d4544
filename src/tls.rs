//! Certificates, keys and authorities from PEM files, and TLS towards a server.
//!
//! The cryptography is ring's, named here so that no global default is needed.

pub mod expiry;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

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

/// TLS as a client asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// PEM, who stands for the server's certificate; the system's authorities if `None`.
    pub ca: Option<PathBuf>,
    /// PEM, the client's own certificate, first of its chain, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate is to have; the host that is connected to if `None`.
    pub server_name: Option<String>,
    /// Whether any certificate will do.
    pub insecure: bool,
}

impl ClientTls {
    /// Reads the files. May block.
    ///
    /// # Errors
    /// Which file, or which pair of them, cannot be used.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(false))
            .map_err(|error| setup(&error))?;
        let builder = if self.insecure {
            let algorithms = provider().signature_verification_algorithms;
            let verifier = Arc::new(AnyCertificate { algorithms });
            builder.dangerous().with_custom_certificate_verifier(verifier)
        } else {
            builder.with_root_certificates(roots(self.ca.as_deref())?)
        };
        let config = match &self.identity {
            Some((cert, key)) => builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| setup(&error))?,
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    /// The name that the certificate of `host` is to have.
    ///
    /// # Errors
    /// It is neither a name nor an IP address.
    pub fn name_for(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let wrong = || TlsError::Setup(format!("\"{name}\" is not a server's name"));
        ServerName::try_from(name.to_owned()).map_err(|_| wrong())
    }
}

/// TLS towards a server whose certificate `root_ca_file` (or the system's authorities) stand for. May block.
///
/// # Errors
/// The file cannot be used.
pub fn client_config(
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

/// TLS that trusts no server, for HTTP clients that ask for some and never use it: the system's authorities are many.
///
/// # Errors
/// None in practice.
pub fn trusting_nobody() -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions(false)).map_err(|error| setup(&error))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// When the certificates of files expire: the file's name, and the last moment, Unix seconds. What cannot be read is left
/// out; whoever serves it has said so. May block.
#[must_use]
pub fn expiries(files: &[PathBuf]) -> Vec<(String, i64)> {
    let ends = files.iter().filter_map(|file| {
        let chain = certificates(file).ok()?;
        Some((file.display().to_string(), expiry::not_after(chain.first()?)?))
    });
    ends.collect()
}

/// The cryptography.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// TLS 1.2 and 1.3, or 1.3 alone.
#[must_use]
pub fn versions(only_tls13: bool) -> &'static [&'static SupportedProtocolVersion] {
    static ONLY: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    if only_tls13 { &ONLY } else { rustls::ALL_VERSIONS }
}

fn setup(error: &Error) -> TlsError {
    TlsError::Setup(error.to_string())
}

fn unusable(path: &Path, reason: &impl ToString) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

/// The certificates of a PEM file, one at least. May block.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if all.is_empty() => Err(unusable(path, &"there is no certificate in this file")),
        Ok(all) => Ok(all),
        Err(error) => Err(unusable(path, &error)),
    }
}

/// The private key of a PEM file. May block.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(path, &error))
}

/// The authorities of a PEM file, or the system's own. May block.
///
/// # Errors
/// The file cannot be used.
pub fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
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

/// Takes any certificate; the server proves that it has the key.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let error = client_config(Some(Path::new("/dev/null")), false).unwrap_err().to_string();
        assert_eq!(error, "/dev/null: there is no certificate in this file");
        let paths = || ("/none/cert.pem".into(), "/none/key.pem".into());
        let tls = ClientTls { insecure: true, identity: Some(paths()), ..ClientTls::default() };
        let error = tls.load().unwrap_err().to_string();
        assert!(error.starts_with("/none/cert.pem: "), "{error}");
    }

    #[test]
    fn the_certificates_name_is_the_hosts_unless_said() {
        let mut tls = ClientTls::default();
        assert_eq!(tls.name_for("nsq.example").unwrap().to_str(), "nsq.example");
        assert_eq!(tls.name_for("127.0.0.1").unwrap().to_str(), "127.0.0.1");
        tls.server_name = Some("other".into());
        assert_eq!(tls.name_for("127.0.0.1").unwrap().to_str(), "other");
        tls.server_name = Some("a b".into());
        assert!(tls.name_for("x").is_err());
    }
}
