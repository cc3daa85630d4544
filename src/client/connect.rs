//! A connection's beginning: socket, IDENTIFY with its negotiation, TLS, compression, AUTH.
//!
//! Every step has a deadline. The host is resolved anew each time, and the files of TLS are read anew, so that what an
//! operator changes there takes effect by itself.

use std::net::SocketAddr;
use std::time::Duration;
use std::{fmt, io};

use serde::{Deserialize, Serialize};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::{Connection, Wire};
use super::error::{ConnectError, Refusal};
use crate::protocol::encode;
use crate::protocol::frame::{FrameType, OK};
use crate::stream::{PackingKind, Stream};
use crate::tls::ClientTls;

/// A text that is not to be seen in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, to be sent.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How connections are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// TLS, if the connection is to be in it.
    pub tls: Option<ClientTls>,
    /// The compression, if there is to be one.
    pub compression: Option<PackingKind>,
    /// What AUTH says, if an nsqd asks for it.
    pub auth_secret: Option<Secret>,
    /// `client_id` of IDENTIFY.
    pub client_id: String,
    /// `hostname` of IDENTIFY.
    pub hostname: String,
    /// `user_agent` of IDENTIFY.
    pub user_agent: String,
    /// Bound on each step: the socket, IDENTIFY, TLS, AUTH, SUB.
    pub dial_timeout: Duration,
    /// How often the nsqd is to be heard of, 1 s to its `--max-heartbeat-interval`. Twice this in silence is the end.
    pub heartbeat: Duration,
    /// How long a message may be out before it comes again; the nsqd's own `--msg-timeout` if `None`.
    pub msg_timeout: Option<Duration>,
    /// How long deliveries may wait at the nsqd for more of them; its own default if `None`.
    pub output_buffer_timeout: Option<Duration>,
    /// Bytes of deliveries that may wait there; its own default if `None`.
    pub output_buffer_size: Option<u32>,
    /// Percent of the messages that are wanted, 1 to 99; 0 is all.
    pub sample_rate: u8,
    /// The address of this machine that connections are made from; any if `None`.
    pub local_addr: Option<SocketAddr>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            tls: None,
            compression: None,
            auth_secret: None,
            client_id: "leveret".into(),
            hostname: "leveret".into(),
            user_agent: concat!("leveret/", env!("CARGO_PKG_VERSION")).into(),
            dial_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(30),
            msg_timeout: None,
            output_buffer_timeout: None,
            output_buffer_size: None,
            sample_rate: 0,
            local_addr: None,
        }
    }
}

/// What IDENTIFY says.
#[derive(Serialize)]
struct Identify<'a> {
    client_id: &'a str,
    hostname: &'a str,
    user_agent: &'a str,
    feature_negotiation: bool,
    heartbeat_interval: u64,
    tls_v1: bool,
    snappy: bool,
    deflate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deflate_level: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_buffer_timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_buffer_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_rate: Option<u8>,
}

/// What the nsqd makes of it. An old one answers a bare OK, and has nothing of this.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Agreed {
    /// The largest RDY.
    pub max_rdy_count: u32,
    /// Milliseconds that a message may be out.
    pub msg_timeout: u64,
    /// Milliseconds that a message may be out however often it is touched.
    pub max_msg_timeout: u64,
    /// TLS follows.
    pub tls_v1: bool,
    /// Snappy follows.
    pub snappy: bool,
    /// Deflate follows.
    pub deflate: bool,
    /// AUTH is asked for.
    pub auth_required: bool,
}

impl Default for Agreed {
    fn default() -> Self {
        Self {
            max_rdy_count: 2500,
            msg_timeout: 60_000,
            max_msg_timeout: 900_000,
            tls_v1: false,
            snappy: false,
            deflate: false,
            auth_required: false,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Connects to `address`, `host:port`, and brings the connection to where publishes and SUB may follow.
///
/// # Errors
/// At which step it failed.
pub async fn connect(address: &str, options: &ConnectOptions) -> Result<Connection, ConnectError> {
    let host = host_of(address).ok_or_else(|| ConnectError::Address(address.to_owned()))?;
    let dialing = timeout(options.dial_timeout, dial(address, options.local_addr));
    let socket = dialing.await.map_err(|_| ConnectError::Timeout("connecting"))??;
    socket.set_nodelay(true)?;
    let mut connection = Connection::new(Stream::new(Wire::Plain(socket)), options.heartbeat);
    connection.out.extend_from_slice(encode::MAGIC_V2);
    encode::push_identify(&mut connection.out, &identify(options));
    let answer = step(&mut connection, options, "IDENTIFY").await?;
    let agreed = if answer == OK { Agreed::default() } else { read_agreed(&answer)? };
    check(&agreed, options)?;
    if let Some(tls) = &options.tls {
        connection = secure(connection, tls, host, options).await?;
        expect_ok(&step(&mut connection, options, "TLS").await?)?;
    }
    if let Some(kind) = options.compression {
        connection.pack(kind);
        expect_ok(&step(&mut connection, options, "compression").await?)?;
    }
    if agreed.auth_required {
        let secret = options.auth_secret.as_ref().ok_or(ConnectError::NoSecret)?;
        encode::push_auth(&mut connection.out, secret.reveal().as_bytes());
        step(&mut connection, options, "AUTH").await?;
    }
    connection.agreed = agreed;
    Ok(connection)
}

/// Opens a socket, from an address of this machine if that is asked for.
async fn dial(address: &str, from: Option<SocketAddr>) -> io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect(address).await };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for to in lookup_host(address).await?.filter(|to| to.is_ipv4() == from.is_ipv4()) {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(from)?;
        match socket.connect(to).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Writes what is to be written, and awaits the answer.
///
/// # Errors
/// There is none in time, or it is an error.
pub(super) async fn step(
    connection: &mut Connection,
    options: &ConnectOptions,
    what: &'static str,
) -> Result<Vec<u8>, ConnectError> {
    let answer = timeout(options.dial_timeout, connection.answer()).await;
    let (kind, data) = answer.map_err(|_| ConnectError::Timeout(what))??;
    match kind {
        FrameType::Response => Ok(data.to_vec()),
        FrameType::Error => Err(ConnectError::Refused(Refusal::new(&data))),
        FrameType::Message => Err(ConnectError::Protocol("a message before SUB".into())),
    }
}

fn identify(options: &ConnectOptions) -> Vec<u8> {
    let level = match options.compression {
        Some(PackingKind::Deflate(level)) => Some(level),
        _ => None,
    };
    let identify = Identify {
        client_id: &options.client_id,
        hostname: &options.hostname,
        user_agent: &options.user_agent,
        feature_negotiation: true,
        heartbeat_interval: millis(options.heartbeat),
        tls_v1: options.tls.is_some(),
        snappy: options.compression == Some(PackingKind::Snappy),
        deflate: level.is_some(),
        deflate_level: level,
        msg_timeout: options.msg_timeout.map(millis),
        output_buffer_timeout: options.output_buffer_timeout.map(millis),
        output_buffer_size: options.output_buffer_size,
        sample_rate: Some(options.sample_rate).filter(|rate| *rate > 0),
    };
    // Texts and numbers only: it cannot fail.
    serde_json::to_vec(&identify).unwrap_or_default()
}

fn read_agreed(answer: &[u8]) -> Result<Agreed, ConnectError> {
    serde_json::from_slice(answer)
        .map_err(|error| ConnectError::Protocol(format!("the answer to IDENTIFY: {error}")))
}

/// What was asked for is had, or there is no connection: nothing is sent in the clear that was to be in TLS.
fn check(agreed: &Agreed, options: &ConnectOptions) -> Result<(), ConnectError> {
    if options.tls.is_some() && !agreed.tls_v1 {
        return Err(ConnectError::Lacks("TLS"));
    }
    match options.compression {
        Some(PackingKind::Snappy) if !agreed.snappy => Err(ConnectError::Lacks("snappy")),
        Some(PackingKind::Deflate(_)) if !agreed.deflate => Err(ConnectError::Lacks("deflate")),
        _ => Ok(()),
    }
}

async fn secure(
    connection: Connection,
    tls: &ClientTls,
    host: &str,
    options: &ConnectOptions,
) -> Result<Connection, ConnectError> {
    let reading = tls.clone();
    let loading = tokio::task::spawn_blocking(move || reading.load());
    let config = loading.await.map_err(|error| ConnectError::Handshake(error.to_string()))??;
    let name = tls.name_for(host)?;
    let Wire::Plain(socket) = connection.into_wire()? else {
        return Err(ConnectError::Handshake("already in use".into()));
    };
    let handshake = TlsConnector::from(config).connect(name, socket);
    let stream = timeout(options.dial_timeout, handshake)
        .await
        .map_err(|_| ConnectError::Timeout("the TLS handshake"))?
        .map_err(|error| ConnectError::Handshake(error.to_string()))?;
    Ok(Connection::new(Stream::new(Wire::Tls(Box::new(stream))), options.heartbeat))
}

fn expect_ok(answer: &[u8]) -> Result<(), ConnectError> {
    if answer == OK {
        return Ok(());
    }
    Err(ConnectError::Protocol(format!("{} in place of OK", String::from_utf8_lossy(answer))))
}

/// The host of `host:port`, without the brackets of an IPv6 address; `None` if it is something else.
#[must_use]
pub fn host_of(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        assert_eq!(host_of("nsq.example:4150"), Some("nsq.example"));
        assert_eq!(host_of("[::1]:4150"), Some("::1"));
        for wrong in ["nsq", "nsq:", ":4150", "nsq:0", "nsq:66000", "::1:4150", "http://nsq"] {
            assert_eq!(host_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_asked_for_must_be_had() {
        let tls = ConnectOptions { tls: Some(ClientTls::default()), ..ConnectOptions::default() };
        let agreed = read_agreed(br#"{"max_rdy_count":100,"tls_v1":false,"unknown":1}"#).unwrap();
        assert_eq!((agreed.max_rdy_count, agreed.msg_timeout), (100, 60_000));
        assert!(matches!(check(&agreed, &tls), Err(ConnectError::Lacks("TLS"))));
        assert!(check(&agreed, &ConnectOptions::default()).is_ok());
        for kind in [PackingKind::Snappy, PackingKind::Deflate(6)] {
            let options = ConnectOptions { compression: Some(kind), ..ConnectOptions::default() };
            assert!(matches!(check(&agreed, &options), Err(ConnectError::Lacks(_))));
        }
        assert!(read_agreed(b"{").is_err());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let options = ConnectOptions {
            auth_secret: Some(Secret::new("hunter2".into())),
            ..ConnectOptions::default()
        };
        assert!(!format!("{options:?}").contains("hunter2"));
        let sent = String::from_utf8(identify(&options)).unwrap();
        assert!(!sent.contains("hunter2") && sent.contains(r#""heartbeat_interval":30000"#));
    }
}
