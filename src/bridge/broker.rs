//! How to reach a broker: its address and hosts, and what a connection to it agrees on.

mod hosts;
mod secret;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use hosts::Host;
pub(super) use hosts::Turns;
pub use secret::read_secret;
pub use tls::TlsOptions;

/// The port of `amqp://` addresses that name none.
pub const AMQP_PORT: u16 = 5672;

/// The port of `amqps://` addresses that name none.
pub const AMQPS_PORT: u16 = 5671;

/// What a route needs to know about a broker, by its name in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerOptions {
    /// The name that routes use.
    pub name: String,
    /// Where it is and who logs in, as it was when the configuration was read.
    pub uri: BrokerUri,
    /// Where the address is read at each connect, in place of `uri`.
    pub uri_file: Option<PathBuf>,
    /// Where the password is read at each connect, in place of the address's.
    pub password_file: Option<PathBuf>,
    /// Further nodes of the broker beside the address's own host.
    pub hosts: Vec<Host>,
    /// How the certificates of `amqps` are checked.
    pub tls: TlsOptions,
    /// How we log in.
    pub auth: Auth,
    /// `http://` or `https://` address of the management API, for what AMQP cannot tell.
    pub management: Option<String>,
    /// Interval agreed for heartbeats, whole seconds, 1 s to 18 h.
    pub heartbeat: Duration,
    /// Deadline for a connection to be open, TCP, TLS and AMQP handshake together.
    pub connect_timeout: Duration,
    /// The name that RabbitMQ's own pages show; the roles of the two connections are added to it.
    pub connection_name: String,
    /// Largest message the broker takes, in bytes: a larger one would close the channel, so it is refused before.
    pub max_message_size: u64,
}

impl BrokerOptions {
    /// The name of the broker that a route uses if it names none.
    pub const DEFAULT_NAME: &'static str = "default";

    /// Options for a broker at `uri`, everything else at its default.
    #[must_use]
    pub fn new(name: &str, uri: BrokerUri) -> Self {
        Self {
            name: name.to_owned(),
            uri,
            uri_file: None,
            password_file: None,
            hosts: Vec::new(),
            tls: TlsOptions::default(),
            auth: Auth::default(),
            management: None,
            heartbeat: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            connection_name: "leveret".to_owned(),
            max_message_size: 16 << 20,
        }
    }

    /// The address and password as they are now: what stands in files is read again. May block.
    ///
    /// # Errors
    /// Which file is of no use, and why; never with what is in it.
    pub fn current_uri(&self) -> Result<BrokerUri, String> {
        let uri = match &self.uri_file {
            Some(path) => BrokerUri::parse(&read_secret(path)?)
                .map_err(|error| format!("{}: {error}", path.display()))?,
            None => self.uri.clone(),
        };
        match &self.password_file {
            Some(path) => Ok(uri.with_password(read_secret(path)?)),
            None => Ok(uri),
        }
    }

    /// Every host of the broker at this address, each once.
    #[must_use]
    pub fn all_hosts(&self, uri: &BrokerUri) -> Vec<Host> {
        let own = Host { name: uri.host().to_owned(), port: uri.port() };
        let mut all = vec![own];
        for host in &self.hosts {
            if !all.contains(host) {
                all.push(host.clone());
            }
        }
        all
    }
}

/// How a connection logs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// User and password of the address.
    #[default]
    Plain,
    /// By the client's certificate (`EXTERNAL`): the broker knows the user by it.
    External,
}

/// Why a text is no broker address. Never contains the text: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It does not start with `amqp://` or `amqps://`.
    #[error("a broker's address starts with amqp:// or amqps://")]
    Scheme,
    /// There is no host.
    #[error("the host is missing: amqp://user:password@HOST:port/vhost")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// A `%` is not followed by two hexadecimal digits, or the bytes are not UTF-8.
    #[error("the {0} holds a % that is not followed by two hexadecimal digits of UTF-8 text")]
    Escape(&'static str),
    /// The virtual host holds a `/` that is not escaped.
    #[error("a / inside the virtual host is written %2f")]
    Vhost,
    /// Characters such as spaces that no address holds.
    #[error("spaces and control characters are not allowed; write them as %20 and the like")]
    Character,
    /// There is a `?` part.
    #[error(
        "parameters after ? are not supported; heartbeat, connect_timeout and connection_name are keys of the broker"
    )]
    Query,
}

/// The address of a broker, taken apart. Neither `Debug` nor `Display` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUri {
    tls: bool,
    host: String,
    port: u16,
    username: String,
    password: String,
    vhost: String,
}

impl BrokerUri {
    /// Reads `amqp[s]://[user[:password]@]host[:port][/vhost]`.
    ///
    /// User and password are `guest` if the address names nobody. The virtual host is `/` if the path is absent or
    /// just `/`; its text is percent-encoded, so `%2f` is the virtual host `/`.
    ///
    /// # Errors
    /// [`UriError`] says which part is wrong and never quotes the address.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(UriError::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(UriError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(UriError::Query);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, address) = match authority.rsplit_once('@') {
            Some((user_info, address)) => (Some(user_info), address),
            None => (None, authority),
        };
        let (username, password) =
            match user_info.map(|info| info.split_once(':').unwrap_or((info, ""))) {
                Some((username, password)) => {
                    (decode(username, "user name")?, decode(password, "password")?)
                }
                None => ("guest".to_owned(), "guest".to_owned()),
            };
        let (host, port) = host_and_port(address)?;
        let port = port.unwrap_or(if tls { AMQPS_PORT } else { AMQP_PORT });
        if path.contains('/') {
            return Err(UriError::Vhost);
        }
        let vhost = match decode(path, "virtual host")? {
            empty if empty.is_empty() => "/".to_owned(),
            vhost => vhost,
        };
        Ok(Self { tls, host: decode(host, "host")?, port, username, password, vhost })
    }

    /// Reads `host[:port]` as one of the broker's further hosts; the port is the usual one if it is left out.
    ///
    /// # Errors
    /// [`UriError`] says what is wrong.
    pub fn parse_host(&self, text: &str) -> Result<Host, UriError> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || "/@?#".contains(c)) {
            return Err(UriError::Character);
        }
        let (name, port) = host_and_port(text)?;
        let port = port.unwrap_or(if self.tls { AMQPS_PORT } else { AMQP_PORT });
        Ok(Host { name: name.to_owned(), port })
    }

    /// The same address with another password.
    #[must_use]
    pub fn with_password(mut self, password: String) -> Self {
        self.password = password;
        self
    }

    /// Whether the connection is encrypted (`amqps`).
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Name or address of the host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user who logs in.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The secret. Never to be logged or shown.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The virtual host, decoded.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }
}

impl fmt::Display for BrokerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let host: &dyn fmt::Display =
            if self.host.contains(':') { &format_args!("[{}]", self.host) } else { &self.host };
        let vhost = self.vhost.replace('%', "%25").replace('/', "%2f");
        write!(f, "{scheme}://{}:***@{host}:{}/{vhost}", self.username, self.port)
    }
}

impl fmt::Debug for BrokerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokerUri({self})")
    }
}

fn host_and_port(address: &str) -> Result<(&str, Option<u16>), UriError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(UriError::Host)?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(UriError::Port),
            }
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.is_empty() {
        return Err(UriError::Host);
    }
    let port = port
        .map(|port| match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
            _ => Err(UriError::Port),
        })
        .transpose()?;
    Ok((host, port))
}

/// Undoes percent-encoding.
fn decode(text: &str, part: &'static str) -> Result<String, UriError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = char::from(rest.next()?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(UriError::Escape(part)),
        }
    }
    String::from_utf8(bytes).map_err(|_| UriError::Escape(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, shown) in [
            ("amqp://h", "amqp://guest:***@h:5672/%2f"),
            ("amqp://h/", "amqp://guest:***@h:5672/%2f"),
            ("amqps://u:p@h/v", "amqps://u:***@h:5671/v"),
            ("amqp://guest:guest@127.0.0.1:5672/%2f", "amqp://guest:***@127.0.0.1:5672/%2f"),
            ("AMQP://u@[::1]:99/a%2Fb", "amqp://u:***@[::1]:99/a%2fb"),
        ] {
            assert_eq!(BrokerUri::parse(text).unwrap().to_string(), shown);
        }
        let uri = BrokerUri::parse("amqp://us%40er:p%3a%2F@h/%25").unwrap();
        assert_eq!((uri.username(), uri.password(), uri.vhost()), ("us@er", "p:/", "%"));
        assert_eq!(uri.with_password("x".to_owned()).password(), "x");
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong() {
        for (text, error) in [
            ("", UriError::Scheme),
            ("localhost:5672", UriError::Scheme),
            ("http://h", UriError::Scheme),
            ("amqp://", UriError::Host),
            ("amqp://u:p@:5672", UriError::Host),
            ("amqp://[::1", UriError::Host),
            ("amqp://h:0", UriError::Port),
            ("amqp://h:65536", UriError::Port),
            ("amqp://h:+1", UriError::Port),
            ("amqp://h:", UriError::Port),
            ("amqp://[::1]x", UriError::Port),
            ("amqp://u:%zz@h", UriError::Escape("password")),
            ("amqp://u:%ff@h", UriError::Escape("password")),
            ("amqp://u:p@h/%2", UriError::Escape("virtual host")),
            ("amqp://h/a/b", UriError::Vhost),
            ("amqp://h /", UriError::Character),
            ("amqp://h/?heartbeat=5", UriError::Query),
        ] {
            assert_eq!(BrokerUri::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn every_host_is_there_once() {
        let uri = BrokerUri::parse("amqps://a/v").unwrap();
        let mut options = BrokerOptions::new("default", uri.clone());
        options.hosts =
            ["b", "c:1", "[::1]:2", "a:5671"].map(|host| uri.parse_host(host).unwrap()).into();
        let all: Vec<_> = options.all_hosts(&uri).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["a:5671", "b:5671", "c:1", "[::1]:2"]);
        for (text, error) in [
            ("", UriError::Host),
            ("b:x", UriError::Port),
            ("amqp://b", UriError::Character),
            ("u@b", UriError::Character),
        ] {
            assert_eq!(uri.parse_host(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let uri = BrokerUri::parse("amqp://u:hunter2@h").unwrap();
        let options = BrokerOptions::new("default", uri);
        assert!(!format!("{options:?} {}", options.uri).contains("hunter2"));
    }
}
