//! Tells an HTTP server of alerts: in order, signed, again and again until it has heard, while others wait in a bounded
//! queue.

use std::path::PathBuf;
use std::time::Duration;

use ring::hmac;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::client::{Call, HttpClient};
use crate::clock::{self, jittered};
use crate::task::stopped;

/// Notices that may wait.
pub(super) const WAITING_MAX: usize = 1000;
/// The first and the longest wait before it is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Tries before a notice is given up: some five hours.
const TRIES_MAX: u32 = 300;

/// Where alerts are POSTed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// `http://` or `https://`.
    pub url: String,
    /// A file with the key of the signature; nothing is signed without. It is read at each notice.
    pub secret_file: Option<PathBuf>,
}

/// Tells each notice, until `stop`.
pub(super) async fn tell(
    webhook: Webhook,
    http: HttpClient,
    mut notices: mpsc::Receiver<(String, Vec<u8>)>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let (id, body) = tokio::select! {
            () = stopped(&mut stop) => return,
            notice = notices.recv() => match notice {
                Some(notice) => notice,
                None => return,
            },
        };
        let mut wait = BACKOFF.0;
        for attempt in 1..=TRIES_MAX {
            let Err(reason) = send(&webhook, &http, &id, &body).await else { break };
            tracing::warn!(url = webhook.url, reason, attempt, "an alert could not be told");
            if attempt == TRIES_MAX {
                tracing::error!(url = webhook.url, id, "an alert is given up");
            }
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = sleep(jittered(wait)) => wait = (wait * 2).min(BACKOFF.1),
            }
        }
    }
}

async fn send(webhook: &Webhook, http: &HttpClient, id: &str, body: &[u8]) -> Result<(), String> {
    let timestamp = clock::unix_seconds().to_string();
    let signature = match &webhook.secret_file {
        None => None,
        Some(path) => {
            let path = path.clone();
            let reading = tokio::task::spawn_blocking(move || crate::storage::read_file(&path));
            let read = reading.await.map_err(|error| error.to_string())?;
            let read = read.map_err(|error| error.to_string())?;
            let secret = read.ok_or_else(|| "the secret's file is not there".to_owned())?;
            Some(sign(secret.trim_ascii_end(), &timestamp, body))
        }
    };
    let begin = webhook.url.find("://").map_or(0, |at| at + 3);
    let slash = webhook.url.get(begin..).and_then(|rest| rest.find('/'));
    let (address, path) = slash
        .and_then(|at| webhook.url.split_at_checked(begin + at))
        .unwrap_or((webhook.url.as_str(), "/"));
    let mut headers = vec![
        ("content-type", "application/json"),
        ("idempotency-key", id),
        ("x-leveret-timestamp", timestamp.as_str()),
    ];
    headers.extend(signature.as_deref().map(|signature| ("x-leveret-signature", signature)));
    let method = reqwest::Method::POST;
    let call = Call { method, headers: &headers, body: Some(body), ..Call::get(address, path) };
    let answered = http.send(&call).await.map_err(|error| error.to_string())?;
    if answered.status.is_success() {
        Ok(())
    } else {
        Err(format!("it answers {}", answered.status))
    }
}

/// HMAC-SHA256 of the timestamp, a dot and the body, in hexadecimal digits behind `sha256=`.
fn sign(secret: &[u8], timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(timestamp.as_bytes());
    context.update(b".");
    context.update(body);
    let digits: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_timestamp_and_the_body() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        let wanted = "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        assert_eq!(sign(b"key", "1700000000", b"{}"), wanted);
    }
}
