//! Files that are read at each connect, so that certificates and passwords can be changed under a running node.

use std::path::Path;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

use super::options::{EtcdAuth, EtcdOptions, EtcdTls};

/// How to connect to `endpoint`, with what stands in files now. May block.
///
/// # Errors
/// Which file cannot be used.
pub(super) fn connect_options(
    options: &EtcdOptions,
    endpoint: &str,
) -> Result<ConnectOptions, String> {
    let limit = options.call_limit();
    // A member that cannot reach the others tells, instead of answering from what it has.
    let mut connect = ConnectOptions::new()
        .with_connect_timeout(limit)
        .with_keep_alive(limit, limit)
        .with_keep_alive_while_idle(true)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some(auth) = &options.auth {
        connect = connect.with_user(auth.username.clone(), password(auth)?);
    }
    if endpoint.starts_with("https://") {
        connect = connect.with_tls(tls(&options.tls)?);
    }
    Ok(connect)
}

fn tls(tls: &EtcdTls) -> Result<TlsOptions, String> {
    let mut made = TlsOptions::new();
    made = match &tls.ca_file {
        Some(path) => made.ca_certificate(Certificate::from_pem(read(path)?)),
        None => made.with_native_roots(),
    };
    if let Some((cert, key)) = &tls.identity {
        made = made.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    if let Some(name) = &tls.server_name {
        made = made.domain_name(name.clone());
    }
    Ok(made)
}

fn password(auth: &EtcdAuth) -> Result<String, String> {
    let Some(path) = &auth.password_file else { return Ok(auth.password.clone()) };
    let text = String::from_utf8(read(path)?);
    let text = text.map_err(|_| format!("{} is not UTF-8 text", path.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{} is empty", path.display())),
        password => Ok(password.to_owned()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
