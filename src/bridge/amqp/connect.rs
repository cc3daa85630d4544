//! Opens one connection to one host of a broker, within its time.

use std::sync::Arc;

use lapin::auth::AuthProvider;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use super::errors;
use super::socket::{self, Plug, Security};
use crate::bridge::broker::{Auth, BrokerOptions, BrokerUri, Host};

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In the words of whoever refused.
    pub(super) words: String,
    /// Whether only somebody else can mend it.
    pub(super) lasting: bool,
    /// Whether the other side just hung up. What it said before is lost at times.
    pub(super) is_vague: bool,
}

impl Failure {
    /// One that somebody has to mend.
    pub(super) const fn to_mend(words: String) -> Self {
        Self { words, lasting: true, is_vague: false }
    }
}

/// Logs in by nothing but the certificate: that is what lapin's own answers come to.
struct ByCertificate;

impl AuthProvider for ByCertificate {}

/// Reads what the broker's address is now.
///
/// # Errors
/// A file is of no use. That is for somebody to mend.
pub(super) async fn address(broker: &BrokerOptions) -> Result<BrokerUri, Failure> {
    if broker.uri_file.is_none() && broker.password_file.is_none() {
        return Ok(broker.uri.clone());
    }
    let broker = broker.clone();
    on_the_side(move || broker.current_uri()).await
}

/// Connects under `name`, which the broker shows.
///
/// # Errors
/// What went wrong; nothing of the connection is left then.
pub(super) async fn connect(
    broker: &BrokerOptions,
    uri: &BrokerUri,
    host: &Host,
    name: &str,
) -> Result<(Connection, Plug), Failure> {
    let security = if uri.tls() {
        let options = broker.tls.clone();
        let config = on_the_side(move || options.load()).await?;
        let name = broker.tls.server_name.clone().unwrap_or_else(|| host.name.clone());
        Some(Security { config: Arc::clone(&config), name })
    } else {
        None
    };
    let mut properties = ConnectionProperties::default().with_connection_name(name.into());
    if broker.auth == Auth::External {
        properties = properties.with_auth_provider(ByCertificate);
    }
    let (plug, deadline) = (Plug::default(), broker.connect_timeout);
    let connecting =
        Box::pin(socket::connect(amqp_uri(broker, uri, host), security, properties, plug.clone()));
    let failure = match timeout(deadline, connecting).await {
        Ok(Ok(connection)) => return Ok((connection, plug)),
        Ok(Err(error)) => {
            let is_vague = errors::is_hangup(&error);
            Failure {
                words: errors::describe(&error),
                lasting: errors::is_lasting(&error),
                is_vague,
            }
        }
        Err(_) => {
            let words = format!("no connection within {deadline:?}");
            Failure { words, lasting: false, is_vague: false }
        }
    };
    plug.pull();
    Err(failure)
}

/// Connects to whichever host of the broker takes the connection, for one `purpose` that the broker shows, beside the
/// supervised connections.
///
/// # Errors
/// What each of them said.
pub(super) async fn connect_once(
    broker: &BrokerOptions,
    purpose: &str,
) -> Result<(Connection, Plug), String> {
    let uri = address(broker).await.map_err(|failure| failure.words)?;
    let name = format!("{} ({purpose})", broker.connection_name);
    let mut words = Vec::new();
    for host in broker.all_hosts(&uri) {
        match connect(broker, &uri, &host, &name).await {
            Ok(open) => return Ok(open),
            Err(Failure { words: why, .. }) => words.push(format!("{host}: {why}")),
        }
    }
    Err(words.join("; "))
}

/// Reads files where it may block.
async fn on_the_side<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Failure> {
    let words = match tokio::task::spawn_blocking(read).await {
        Ok(Ok(read)) => return Ok(read),
        Ok(Err(words)) => words,
        Err(error) => error.to_string(),
    };
    Err(Failure::to_mend(words))
}

fn amqp_uri(broker: &BrokerOptions, uri: &BrokerUri, host: &Host) -> AMQPUri {
    AMQPUri {
        scheme: if uri.tls() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: uri.username().to_owned(),
                password: uri.password().to_owned(),
            },
            host: host.name.clone(),
            port: host.port,
        },
        vhost: uri.vhost().to_owned(),
        query: AMQPQueryString {
            heartbeat: Some(u16::try_from(broker.heartbeat.as_secs()).unwrap_or(u16::MAX)),
            ..AMQPQueryString::default()
        },
    }
}
