//! TLS towards a broker, from files that are read at each connect.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// What TLS towards a broker is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM, who stands for the broker's certificate; the system's authorities if `None`.
    pub ca_file: Option<PathBuf>,
    /// PEM with our own certificate first, and with its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the broker's certificate is for, and that is asked for; the host's if `None`.
    pub server_name: Option<String>,
}

impl TlsOptions {
    /// Reads the files. May block.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn load(&self) -> Result<Arc<ClientConfig>, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(self.ca_file.as_deref())?);
        let Some((cert, key)) = &self.identity else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let chain = certificates(cert)?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
        let config = builder
            .with_client_auth_cert(chain, secret)
            .map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))?;
        Ok(Arc::new(config))
    }
}

fn unusable(path: &Path, reason: &impl ToString) -> String {
    format!("{}: {}", path.display(), reason.to_string())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if all.is_empty() => Err(unusable(path, &"there is no certificate in this file")),
        Ok(all) => Ok(all),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, &error))?;
            }
        }
        // Systems carry some that the library does not understand; without any, the broker's is refused.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}
