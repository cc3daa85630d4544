//! A node's TLS and AUTH, from its configuration.

use std::sync::Arc;

use super::NodeError;
use crate::config::{HttpMethod, NsqdConfig, TlsRequired, TlsVersion};
use crate::server::{
    AuthMethod, AuthOptions, AuthServers, ClientAuth, Secure, Tls, TlsError, TlsOptions,
};

/// What is had of both.
pub(super) struct Security {
    pub(super) tls: Option<Tls>,
    pub(super) required: TlsRequired,
    auth: Option<Arc<AuthServers>>,
}

impl Security {
    /// Reads certificates and keys. May block.
    pub(super) fn load(nsqd: &NsqdConfig) -> Result<Self, NodeError> {
        let failed = |error: TlsError| NodeError::Tls(error.to_string());
        let only_tls13 = nsqd.tls.min_version == TlsVersion::V13;
        let tls = match tls_options(nsqd, only_tls13) {
            Some(options) => Some(Tls::load(&options).map_err(failed)?),
            None => None,
        };
        if tls.is_some() && nsqd.tls.min_version < TlsVersion::V12 {
            tracing::info!("TLS 1.2 is the oldest version that is served here");
        }
        let auth = match auth_options(nsqd, only_tls13) {
            Some(options) => {
                let servers = AuthServers::new(options);
                Some(Arc::new(servers.map_err(|error| NodeError::Auth(error.to_string()))?))
            }
            None => None,
        };
        Ok(Self { tls, required: nsqd.tls_required(), auth })
    }

    /// What the NSQ front-end is to know of it.
    pub(super) fn for_clients(&self) -> Secure {
        Secure {
            tls: self.tls.clone(),
            tls_required: self.required != TlsRequired::No,
            auth: self.auth.clone(),
        }
    }

    /// Whether AUTH is needed.
    pub(super) const fn has_auth(&self) -> bool {
        self.auth.is_some()
    }
}

fn tls_options(nsqd: &NsqdConfig, only_tls13: bool) -> Option<TlsOptions> {
    Some(TlsOptions {
        cert: nsqd.tls.cert.clone()?,
        key: nsqd.tls.key.clone()?,
        root_ca_file: nsqd.tls.root_ca_file.clone(),
        client_auth: match nsqd.tls.client_auth_policy.as_str() {
            "require" => ClientAuth::Require,
            "require-verify" => ClientAuth::RequireVerify,
            _ => ClientAuth::None,
        },
        only_tls13,
    })
}

fn auth_options(nsqd: &NsqdConfig, only_tls13: bool) -> Option<AuthOptions> {
    let auth = &nsqd.auth;
    (!auth.http_addresses.is_empty()).then(|| AuthOptions {
        addresses: auth.http_addresses.clone(),
        method: match auth.http_request_method {
            HttpMethod::Get => AuthMethod::Get,
            HttpMethod::Post => AuthMethod::Post,
        },
        connect_timeout: nsqd.http_client_connect_timeout,
        request_timeout: nsqd.http_client_request_timeout,
        stale_if_error: auth.stale_if_error,
        root_ca_file: nsqd.tls.root_ca_file.clone(),
        only_tls13,
    })
}
