//! What nsqlookupds tell over HTTP.

use std::time::Duration;

use serde::Deserialize;

use super::connect::Secret;
use super::http::{HttpClient, HttpError};
use crate::tls::{ClientTls, TlsError};

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
    http: HttpClient,
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
        Ok(Self { http: HttpClient::new(connect, request, tls)? })
    }

    /// The same, which shows a secret with each question, as go-nsq does.
    #[must_use]
    pub fn authorized(self, secret: Option<Secret>) -> Self {
        Self { http: self.http.authorized(secret) }
    }

    /// The nsqds that have a topic; none if it is not known. An address is `host:port` or a URL.
    ///
    /// # Errors
    /// Why it did not tell.
    pub async fn producers(&self, address: &str, topic: &str) -> Result<Vec<Producer>, HttpError> {
        let answer = self.ask(address, "/lookup", &[("topic", topic)]).await?;
        Ok(answer.producers)
    }

    /// All nsqds.
    ///
    /// # Errors
    /// Why it did not tell.
    pub async fn nodes(&self, address: &str) -> Result<Vec<Producer>, HttpError> {
        let answer = self.ask(address, "/nodes", &[]).await?;
        Ok(answer.producers)
    }

    /// All topics.
    ///
    /// # Errors
    /// Why it did not tell.
    pub async fn topics(&self, address: &str) -> Result<Vec<String>, HttpError> {
        let answer = self.ask(address, "/topics", &[]).await?;
        Ok(answer.topics)
    }

    /// The channels of a topic.
    ///
    /// # Errors
    /// Why it did not tell.
    pub async fn channels(&self, address: &str, topic: &str) -> Result<Vec<String>, HttpError> {
        let answer = self.ask(address, "/channels", &[("topic", topic)]).await?;
        Ok(answer.channels)
    }

    async fn ask(
        &self,
        address: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, HttpError> {
        let answer: Option<Answer> = self.http.ask(address, path, query).await?;
        Ok(answer.unwrap_or_default().unwrapped())
    }
}

impl Answer {
    fn unwrapped(self) -> Self {
        match self.data {
            Some(data) => *data,
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_addresses(body: &[u8]) -> Vec<String> {
        read(body).unwrap().producers.iter().map(Producer::tcp_address).collect()
    }

    fn read(body: &[u8]) -> serde_json::Result<Answer> {
        serde_json::from_slice(body).map(Answer::unwrapped)
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
