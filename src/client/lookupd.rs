//! What nsqlookupds tell over HTTP.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::connect::Secret;
use crate::tls::{ClientTls, TlsError, trusting_nobody};

/// What NSQ's own HTTP clients say.
const NSQ: &str = "application/vnd.nsq; version=1.0";
/// An answer beyond this is none, bytes.
const ANSWER_MAX: usize = 16 << 20;

/// Why a nsqlookupd did not tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupdError {
    /// It cannot be reached, or broke off.
    #[error("{0}")]
    Http(String),
    /// It refuses.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// More than anybody has to tell.
    #[error("its answer has more than {ANSWER_MAX} bytes")]
    TooLong,
    /// Not what a nsqlookupd answers.
    #[error("its answer: {0}")]
    Answer(String),
}

/// An nsqd as a nsqlookupd knows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Producer {
    /// Where it is to be reached.
    pub broadcast_address: String,
    /// The port of the NSQ protocol.
    pub tcp_port: u16,
    /// The port of its HTTP API.
    #[serde(default)]
    pub http_port: u16,
}

impl Producer {
    /// `host:port` of the NSQ protocol.
    #[must_use]
    pub fn tcp_address(&self) -> String {
        self.at(self.tcp_port)
    }

    /// `host:port` of its HTTP API.
    #[must_use]
    pub fn http_address(&self) -> String {
        self.at(self.http_port)
    }

    fn at(&self, port: u16) -> String {
        match &self.broadcast_address {
            host if host.contains(':') => format!("[{host}]:{port}"),
            host => format!("{host}:{port}"),
        }
    }
}

/// Asks nsqlookupds.
#[derive(Clone, Debug)]
pub struct LookupdClient {
    http: Client,
    secret: Option<Secret>,
}

/// What an answer may have. Those of old nsqlookupds wrap it in `data`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    producers: Vec<Producer>,
    channels: Vec<String>,
    topics: Vec<String>,
    data: Option<Box<Self>>,
}

impl LookupdClient {
    /// One whose connections take `connect` at most to be open, and whose questions take `request` at most. `tls` is for
    /// addresses that are `https://`; without it none can be asked. May block: it reads authorities' files.
    ///
    /// # Errors
    /// The files of TLS cannot be used.
    pub fn new(
        connect: Duration,
        request: Duration,
        tls: Option<&ClientTls>,
    ) -> Result<Self, TlsError> {
        let config = match tls {
            Some(tls) => tls.load()?.as_ref().clone(),
            None => trusting_nobody()?,
        };
        let http = Client::builder().no_proxy().http1_only();
        let http = http.connect_timeout(connect).timeout(request).use_preconfigured_tls(config);
        let http = http.build().map_err(|error| TlsError::Setup(error.to_string()))?;
        Ok(Self { http, secret: None })
    }

    /// The same, which shows a secret with each question, as go-nsq does.
    #[must_use]
    pub fn authorized(self, secret: Option<Secret>) -> Self {
        Self { secret, ..self }
    }

    /// The nsqds that have a topic; none if it is not known. An address is `host:port` or a URL.
    ///
    /// # Errors
    /// Why it did not tell.
    pub async fn producers(
        &self,
        address: &str,
        topic: &str,
    ) -> Result<Vec<Producer>, LookupdError> {
        let answer = self.ask(address, "/lookup", &[("topic", topic)]).await?;
        Ok(answer.map(|answer| answer.producers).unwrap_or_default())
    }

    /// All nsqds.
    ///
    /// # Errors
    /// Why it did not tell.
    pub async fn nodes(&self, address: &str) -> Result<Vec<Producer>, LookupdError> {
        let answer = self.ask(address, "/nodes", &[]).await?;
        Ok(answer.map(|answer| answer.producers).unwrap_or_default())
    }

    /// All topics.
    ///
    /// # Errors
    /// Why it did not tell.
    pub async fn topics(&self, address: &str) -> Result<Vec<String>, LookupdError> {
        let answer = self.ask(address, "/topics", &[]).await?;
        Ok(answer.map(|answer| answer.topics).unwrap_or_default())
    }

    /// The channels of a topic.
    ///
    /// # Errors
    /// Why it did not tell.
    pub async fn channels(&self, address: &str, topic: &str) -> Result<Vec<String>, LookupdError> {
        let answer = self.ask(address, "/channels", &[("topic", topic)]).await?;
        Ok(answer.map(|answer| answer.channels).unwrap_or_default())
    }

    /// `None` for what is not there.
    async fn ask(
        &self,
        address: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Answer>, LookupdError> {
        let base = if address.contains("://") {
            address.trim_end_matches('/').to_owned()
        } else {
            format!("http://{address}")
        };
        let words = |error: reqwest::Error| LookupdError::Http(cause(&error.without_url()));
        let mut request = self.http.get(base + path).query(query).header(ACCEPT, NSQ);
        if let Some(secret) = &self.secret {
            request = request.header(AUTHORIZATION, format!("Bearer {}", secret.reveal()));
        }
        let mut answer = request.send().await.map_err(words)?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(LookupdError::Status(status));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(words)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                return Err(LookupdError::TooLong);
            }
        }
        read(&body).map(Some)
    }
}

fn read(body: &[u8]) -> Result<Answer, LookupdError> {
    let answer: Answer = parse(body)?;
    Ok(match answer.data {
        Some(data) => *data,
        None => answer,
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, LookupdError> {
    serde_json::from_slice(body).map_err(|error| LookupdError::Answer(error.to_string()))
}

/// What caused an error: the outer ones say little.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_addresses(body: &[u8]) -> Vec<String> {
        read(body).unwrap().producers.iter().map(Producer::tcp_address).collect()
    }

    #[test]
    fn answers_old_and_new_are_read() {
        let new = br#"{"channels":["c"],"producers":[{"remote_address":"x:1","hostname":"h","broadcast_address":"a.example","tcp_port":4150,"http_port":4151,"version":"1.3.0"},{"broadcast_address":"::1","tcp_port":1}]}"#;
        assert_eq!(tcp_addresses(new), ["a.example:4150", "[::1]:1"]);
        let answer = read(new).unwrap();
        assert_eq!(answer.channels, ["c"]);
        assert_eq!(answer.producers[0].http_address(), "a.example:4151");
        let old = br#"{"status_code":200,"status_txt":"OK","data":{"producers":[{"broadcast_address":"b","tcp_port":2}]}}"#;
        assert_eq!(tcp_addresses(old), ["b:2"]);
        assert!(read(b"{}").unwrap().producers.is_empty());
        assert!(read(br#"{"producers":[{}]}"#).is_err());
    }
}
