//! The auth servers: what they are asked, in which order, and what of their answers counts.
//!
//! Source: nsqd 1.3.0 `internal/auth/authorizations.go` and `internal/http_api/api_request.go`. One client with its pool of
//! connections serves all: nsqd makes one for each question. No URL is ever logged, since it holds the secret.

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use super::answer::Answer;
use crate::tls::{TlsError, client_config};

/// What nsqd's own HTTP clients say.
const NSQ: &str = "application/vnd.nsq; version=1.0";
/// An answer beyond this is none, bytes.
const ANSWER_MAX: usize = 8 * 1024 * 1024;

/// How auth servers are asked: `--auth-http-request-method`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMethod {
    /// The question is in the URL.
    #[default]
    Get,
    /// The question is a JSON body.
    Post,
}

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthOptions {
    /// `host:port` or a full URL each; at least one.
    pub addresses: Vec<String>,
    /// How they are asked.
    pub method: AuthMethod,
    /// For a connection to be open; 0 for as long as it takes.
    pub connect_timeout: Duration,
    /// For the whole answer; 0 for as long as it takes.
    pub request_timeout: Duration,
    /// How long an answer is used beyond its time while no server can be reached; nsqd has none.
    pub stale_if_error: Duration,
    /// PEM, who stands for the servers' certificates; the system's authorities if `None`.
    pub root_ca_file: Option<PathBuf>,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
}

/// Why auth servers cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The authorities.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The HTTP client.
    #[error("{0}")]
    Client(String),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// No server gave one, or they are out of order.
    #[error("{0}")]
    Unreachable(String),
    /// One gave one that is not to be used.
    #[error("{0}")]
    Refused(String),
}

/// Who asks.
#[derive(Clone)]
pub(crate) struct Question {
    /// The subject of the client's certificate; empty without one.
    pub(crate) common_name: String,
    /// Empty for a unix socket.
    pub(crate) remote_ip: String,
    /// The body of AUTH.
    pub(crate) secret: Arc<[u8]>,
    /// Whether the connection has TLS.
    pub(crate) tls: bool,
}

impl Question {
    /// In the order of their names, as Go encodes them.
    fn parameters(&self) -> [(&'static str, &[u8]); 4] {
        let tls: &[u8] = if self.tls { b"true" } else { b"false" };
        [
            ("common_name", self.common_name.as_bytes()),
            ("remote_ip", self.remote_ip.as_bytes()),
            ("secret", &self.secret),
            ("tls", tls),
        ]
    }

    fn query(&self) -> String {
        let pairs =
            self.parameters().map(|(name, value)| format!("{name}={}", form_encoded(value)));
        pairs.join("&")
    }

    fn json(&self) -> String {
        let lists = self.parameters().map(|(name, value)| {
            (name.to_owned(), vec![String::from_utf8_lossy(value).into_owned()].into())
        });
        serde_json::Value::Object(lists.into_iter().collect()).to_string()
    }
}

/// As Go's `url.QueryEscape` has it.
fn form_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte));
            }
            b' ' => text.push('+'),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The auth servers of a node.
#[derive(Debug)]
pub struct AuthServers {
    options: AuthOptions,
    client: Client,
}

impl AuthServers {
    /// Prepares to ask; nobody is connected yet. May block.
    ///
    /// # Errors
    /// The authorities' file cannot be used.
    pub fn new(options: AuthOptions) -> Result<Self, SetupError> {
        let tls = client_config(options.root_ca_file.as_deref(), options.only_tls13)?;
        // nsqd goes to the servers that it is told, whatever its environment says.
        let mut client = Client::builder().use_preconfigured_tls(tls).no_proxy().http1_only();
        if !options.connect_timeout.is_zero() {
            client = client.connect_timeout(options.connect_timeout);
        }
        if !options.request_timeout.is_zero() {
            client = client.timeout(options.request_timeout);
        }
        let client = client.build().map_err(|error| SetupError::Client(error.to_string()))?;
        Ok(Self { options, client })
    }

    /// How long an answer may be used beyond its time while no server can be reached.
    pub(crate) const fn stale_if_error(&self) -> Duration {
        self.options.stale_if_error
    }

    /// Asks one after the other, from any of them on, until one answers.
    ///
    /// # Errors
    /// What each of them said. It is a refusal if at least one of them could be asked.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Answer, AskError> {
        let addresses = &self.options.addresses;
        let count = addresses.len().max(1);
        let random = RandomState::new().hash_one(0);
        let start = usize::try_from(random % count as u64).unwrap_or(0);
        let mut reasons = Vec::new();
        let mut is_refused = false;
        for address in addresses.iter().cycle().skip(start).take(addresses.len()) {
            match self.ask_one(address, question).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    is_refused |= matches!(error, AskError::Refused(_));
                    reasons.push(format!("failed to auth against {} - {error}", shown(address)));
                }
            }
        }
        let reasons = reasons.join("; ");
        Err(if is_refused { AskError::Refused(reasons) } else { AskError::Unreachable(reasons) })
    }

    async fn ask_one(&self, address: &str, question: &Question) -> Result<Answer, AskError> {
        let url = endpoint(address);
        let url = match self.options.method {
            // A URL with a query of its own gets a second question mark: so says nsqd.
            AuthMethod::Get => format!("{url}?{}", question.query()),
            AuthMethod::Post => url,
        };
        let mut url = Url::parse(&url).map_err(|error| AskError::Refused(error.to_string()))?;
        loop {
            let response = self.send(url.clone(), question).await?;
            let status = response.status();
            let body = read(response).await?;
            if status == StatusCode::OK {
                return Answer::parse(&body).map_err(|error| AskError::Refused(error.to_string()));
            }
            if status == StatusCode::FORBIDDEN
                && url.scheme() != "https"
                && let Some(secure) = https(&url, &body)
            {
                url = secure;
                continue;
            }
            let text = format!("got response {status}");
            return Err(if status.is_server_error() {
                AskError::Unreachable(text)
            } else {
                AskError::Refused(text)
            });
        }
    }

    async fn send(&self, url: Url, question: &Question) -> Result<Response, AskError> {
        let request = match self.options.method {
            AuthMethod::Get => self.client.get(url),
            AuthMethod::Post => {
                self.client.post(url).header(CONTENT_TYPE, "application/json").body(question.json())
            }
        };
        request.header(ACCEPT, NSQ).send().await.map_err(unreachable)
    }
}

fn unreachable(error: reqwest::Error) -> AskError {
    // The URL holds the secret; the cause is in the error below.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(below) = cause {
        text = format!("{text}: {below}");
        cause = below.source();
    }
    AskError::Unreachable(text)
}

async fn read(mut response: Response) -> Result<Vec<u8>, AskError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(AskError::Refused(format!("an answer of more than {ANSWER_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn endpoint(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("http://{address}/auth") }
}

/// An address without what may be secret in it.
fn shown(address: &str) -> &str {
    let address = address.split_once('?').map_or(address, |(address, _)| address);
    address.rsplit_once('@').map_or(address, |(_, host)| host)
}

/// Where a server that refuses plain HTTP says that it is to be asked.
fn https(url: &Url, body: &[u8]) -> Option<Url> {
    #[derive(Deserialize)]
    struct Forbidden {
        https_port: u16,
    }
    let Forbidden { https_port } = serde_json::from_slice(body).ok()?;
    let mut secure = url.clone();
    secure.set_scheme("https").ok()?;
    secure.set_port(Some(https_port)).ok()?;
    Some(secure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(secret: &[u8]) -> Question {
        Question {
            common_name: String::new(),
            remote_ip: "127.0.0.1".into(),
            secret: secret.into(),
            tls: false,
        }
    }

    #[test]
    fn edge_131_the_question_is_nsqds() {
        let question = question(b"a b&\xff/~");
        assert_eq!(
            question.query(),
            "common_name=&remote_ip=127.0.0.1&secret=a+b%26%FF%2F~&tls=false"
        );
        assert_eq!(
            question.json(),
            r#"{"common_name":[""],"remote_ip":["127.0.0.1"],"secret":["a b&�/~"],"tls":["false"]}"#
        );
        assert_eq!(endpoint("host:4181"), "http://host:4181/auth");
        assert_eq!(endpoint("https://host/x?y=z"), "https://host/x?y=z");
    }

    #[test]
    fn a_refusal_of_plain_http_names_the_port_to_ask() {
        let url = Url::parse("http://host:80/auth?secret=s").unwrap();
        let secure = https(&url, br#"{"message":"TLS_REQUIRED","https_port":4152}"#).unwrap();
        assert_eq!(secure.as_str(), "https://host:4152/auth?secret=s");
        assert_eq!(https(&url, b"{}"), None);
        assert_eq!(https(&url, b"forbidden"), None);
    }

    #[test]
    fn secrets_in_addresses_are_not_shown() {
        assert_eq!(shown("https://user:pass@host/auth?token=x"), "host/auth");
        assert_eq!(shown("host:4181"), "host:4181");
    }
}
