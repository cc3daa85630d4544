//! Which nsqds there are: those that are named, and those that nsqlookupds tell of.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::clock::jittered;
use crate::tls::{ClientTls, TlsError, trusting_nobody};

/// What NSQ's own HTTP clients say.
const NSQ: &str = "application/vnd.nsq; version=1.0";
/// An answer beyond this is none, bytes.
const ANSWER_MAX: usize = 16 << 20;
/// Asked for out of turn, nsqlookupds are not asked again before this long.
const AGAIN: Duration = Duration::from_secs(1);

/// Where nsqds are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// `host:port` of nsqds.
    pub nsqd: Vec<String>,
    /// `host:port`, or a URL, of nsqlookupds' HTTP.
    pub lookupd: Vec<String>,
}

/// Which of the nsqds that a nsqlookupd knows are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Those that have this topic.
    Topic(String),
    /// All.
    Nodes,
}

/// What is known of nsqds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) addresses: BTreeSet<Arc<str>>,
    /// Why nsqlookupds could not be asked, or what they do not have.
    pub(super) trouble: Option<String>,
}

/// Asks nsqlookupds from time to time.
#[derive(Debug)]
pub(super) struct Discovery {
    addresses: Addresses,
    lookup: Lookup,
    interval: Duration,
    client: Client,
    /// Somebody has lost a connection and would like to know more.
    pub(super) again: Notify,
}

/// Where an answer puts its producers: old nsqlookupds wrap them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    producers: Vec<Node>,
    data: Option<Wrapped>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wrapped {
    producers: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    broadcast_address: String,
    tcp_port: u16,
}

impl Discovery {
    /// `timeout` bounds each question, `interval` is the time between them. May block: it reads authorities' files.
    ///
    /// # Errors
    /// The files of TLS cannot be used.
    pub(super) fn new(
        addresses: Addresses,
        lookup: Lookup,
        interval: Duration,
        timeout: Duration,
        tls: Option<&ClientTls>,
    ) -> Result<Self, TlsError> {
        let client = Client::builder().no_proxy().http1_only();
        let client = client.connect_timeout(timeout).timeout(timeout);
        let is_secure = addresses.lookupd.iter().any(|address| address.starts_with("https://"));
        let config = if is_secure {
            tls.cloned().unwrap_or_default().load()?.as_ref().clone()
        } else {
            trusting_nobody()?
        };
        let client = client.use_preconfigured_tls(config);
        let client = client.build().map_err(|error| TlsError::Setup(error.to_string()))?;
        Ok(Self { addresses, lookup, interval, client, again: Notify::new() })
    }

    /// What is known without asking.
    pub(super) fn named(&self) -> Found {
        let addresses = self.addresses.nsqd.iter().map(|address| address.as_str().into());
        Found { addresses: addresses.collect(), trouble: None }
    }

    /// Keeps `found` up to date for as long as it is polled.
    pub(super) async fn run(&self, found: &watch::Sender<Found>) {
        if self.addresses.lookupd.is_empty() {
            return std::future::pending().await;
        }
        loop {
            let next = self.ask().await;
            found.send_if_modified(|known| {
                let next = merge(self.named(), known, next);
                let changes = *known != next;
                *known = next;
                changes
            });
            tokio::select! {
                () = sleep(jittered(self.interval)) => {}
                () = self.again.notified() => sleep(jittered(AGAIN)).await,
            }
        }
    }

    /// What each nsqlookupd says.
    async fn ask(&self) -> Vec<Result<Vec<String>, String>> {
        let asking = self.addresses.lookupd.iter().map(|address| async move {
            self.ask_one(address).await.map_err(|error| format!("nsqlookupd {address}: {error}"))
        });
        join_all(asking).await
    }

    async fn ask_one(&self, address: &str) -> Result<Vec<String>, String> {
        let base = if address.contains("://") {
            address.trim_end_matches('/').to_owned()
        } else {
            format!("http://{address}")
        };
        let request = match &self.lookup {
            Lookup::Topic(topic) => {
                self.client.get(format!("{base}/lookup")).query(&[("topic", topic)])
            }
            Lookup::Nodes => self.client.get(format!("{base}/nodes")),
        };
        let words = |error: reqwest::Error| said(&error.without_url());
        let mut answer = request.header(ACCEPT, NSQ).send().await.map_err(words)?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            // It knows of no such topic.
            return Ok(Vec::new());
        }
        if !status.is_success() {
            return Err(format!("it answers {status}"));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(words)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                return Err(format!("its answer has more than {ANSWER_MAX} bytes"));
            }
        }
        read(&body)
    }
}

/// An error with what caused it: the outer one says little.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

/// The nsqds of an answer.
fn read(body: &[u8]) -> Result<Vec<String>, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| format!("its answer: {error}"))?;
    let nodes = answer.data.map_or(answer.producers, |wrapped| wrapped.producers);
    Ok(nodes
        .into_iter()
        .map(|node| match node.broadcast_address {
            host if host.contains(':') => format!("[{host}]:{}", node.tcp_port),
            host => format!("{host}:{}", node.tcp_port),
        })
        .collect())
}

/// Everything that is named and everything that any nsqlookupd says. If none can be asked what was known stays.
fn merge(named: Found, known: &Found, said: Vec<Result<Vec<String>, String>>) -> Found {
    let mut next = named;
    let mut has_answer = false;
    for answer in said {
        match answer {
            Ok(addresses) => {
                has_answer = true;
                next.addresses.extend(addresses.into_iter().map(Arc::from));
            }
            Err(error) => next.trouble = Some(error),
        }
    }
    if !has_answer {
        next.addresses.extend(known.addresses.iter().cloned());
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_old_and_new_are_read() {
        let new = br#"{"channels":["c"],"producers":[{"remote_address":"x:1","hostname":"h","broadcast_address":"a.example","tcp_port":4150,"http_port":4151,"version":"1.3.0"},{"broadcast_address":"::1","tcp_port":1}]}"#;
        assert_eq!(read(new).unwrap(), ["a.example:4150", "[::1]:1"]);
        let old = br#"{"status_code":200,"status_txt":"OK","data":{"producers":[{"broadcast_address":"b","tcp_port":2}]}}"#;
        assert_eq!(read(old).unwrap(), ["b:2"]);
        assert!(read(b"{}").unwrap().is_empty());
        assert!(read(br#"{"producers":[{}]}"#).is_err());
    }

    #[test]
    fn what_was_known_stays_while_nobody_can_be_asked() {
        let found = |addresses: &[&str]| Found {
            addresses: addresses.iter().map(|address| Arc::from(*address)).collect(),
            trouble: None,
        };
        let known = found(&["a:1", "b:1"]);
        let next = merge(found(&["a:1"]), &known, vec![Err("down".into())]);
        assert_eq!(next.addresses, known.addresses);
        assert_eq!(next.trouble.as_deref(), Some("down"));
        let next = merge(found(&["a:1"]), &known, vec![Err("down".into()), Ok(vec!["c:1".into()])]);
        assert_eq!(next.addresses, found(&["a:1", "c:1"]).addresses);
    }
}
