//! TLS and AUTH towards NSQ clients, typed, and nsqd's rules about them.

use std::path::PathBuf;
use std::time::Duration;

use super::node::NsqdConfig;

/// nsqd's `tls_*` options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM with the server's certificate; TLS is off without it.
    pub cert: Option<PathBuf>,
    /// PEM with the certificate's key.
    pub key: Option<PathBuf>,
    /// `require`, `require-verify`, or empty for no client certificates; anything else asks for none either.
    pub client_auth_policy: String,
    /// PEM with who stands for certificates, of clients and of auth servers; the system's authorities if `None`.
    pub root_ca_file: Option<PathBuf>,
    /// Who has to use TLS.
    pub required: TlsRequired,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// Who has to use TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsRequired {
    /// Nobody.
    #[default]
    No,
    /// `tcp-https`: NSQ clients; plain HTTP goes on.
    TcpHttps,
    /// Everybody: plain HTTP is refused.
    Yes,
}

/// Versions of TLS as nsqd has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `tls1.0`: in truth 1.2, the oldest one that there is here.
    #[default]
    V10,
    /// `tls1.1`: in truth 1.2.
    V11,
    /// `tls1.2`.
    V12,
    /// `tls1.3`.
    V13,
}

impl TlsVersion {
    /// Every version under nsqd's name.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("tls1.0", Self::V10),
        ("tls1.1", Self::V11),
        ("tls1.2", Self::V12),
        ("tls1.3", Self::V13),
    ];
}

/// nsqd's `auth_*` options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthConfig {
    /// `host:port` or a full URL each; AUTH is off without any.
    pub http_addresses: Vec<String>,
    /// How they are asked.
    pub http_request_method: HttpMethod,
    /// How long an answer is used beyond its time while no server can be reached. Not nsqd's; 0 for not at all.
    pub stale_if_error: Duration,
}

/// How an auth server is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpMethod {
    /// By a query.
    #[default]
    Get,
    /// By a JSON body.
    Post,
}

/// Options that cannot be served together, in nsqd's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecureError {
    /// A level that DEFLATE does not have.
    #[error("--max-deflate-level must be [1,9]")]
    DeflateLevel,
    /// There is nothing to make TLS of.
    #[error("cannot require TLS client connections without TLS key and cert")]
    NoCertificate,
    /// One of the two is of no use.
    #[error(
        "failed to build TLS config - --tls-cert and --tls-key are given together or not at all"
    )]
    HalfCertificate,
}

impl NsqdConfig {
    /// Who has to use TLS: a policy about client certificates means everybody, as in nsqd.
    #[must_use]
    pub const fn tls_required(&self) -> TlsRequired {
        match self.tls.required {
            TlsRequired::No if !self.tls.client_auth_policy.is_empty() => TlsRequired::Yes,
            required => required,
        }
    }

    /// Whether nsqd would start with its TLS and compression as they are.
    ///
    /// # Errors
    /// What nsqd says when it does not.
    pub fn check_secure(&self) -> Result<(), SecureError> {
        if !(1..=9).contains(&self.max_deflate_level) {
            return Err(SecureError::DeflateLevel);
        }
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), Some(_)) => Ok(()),
            (None, None) if self.tls_required() == TlsRequired::No => Ok(()),
            (None, None) => Err(SecureError::NoCertificate),
            _ => Err(SecureError::HalfCertificate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_035_any_policy_requires_tls() {
        let mut nsqd = NsqdConfig::default();
        assert_eq!((nsqd.tls_required(), nsqd.check_secure()), (TlsRequired::No, Ok(())));
        nsqd.tls.client_auth_policy = "whatever".into();
        assert_eq!(nsqd.tls_required(), TlsRequired::Yes);
        assert_eq!(nsqd.check_secure(), Err(SecureError::NoCertificate));
        nsqd.tls.required = TlsRequired::TcpHttps;
        assert_eq!(nsqd.tls_required(), TlsRequired::TcpHttps);
        nsqd.tls.cert = Some("cert.pem".into());
        assert_eq!(nsqd.check_secure(), Err(SecureError::HalfCertificate));
        nsqd.tls.key = Some("key.pem".into());
        assert_eq!(nsqd.check_secure(), Ok(()));
        nsqd.max_deflate_level = 10;
        assert_eq!(nsqd.check_secure(), Err(SecureError::DeflateLevel));
    }
}
