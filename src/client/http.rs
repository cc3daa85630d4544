//! HTTP as NSQ's clients speak it to nsqlookupds and nsqds.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;

use super::connect::Secret;
use crate::tls::{ClientTls, TlsError, trusting_nobody};

/// What NSQ's own HTTP clients say.
const NSQ: &str = "application/vnd.nsq; version=1.0";
/// An answer beyond this is none, bytes.
const ANSWER_MAX: usize = 16 << 20;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// It cannot be reached, or broke off.
    #[error("{0}")]
    Http(String),
    /// It refuses.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// More than anybody has to tell.
    #[error("its answer has more than {ANSWER_MAX} bytes")]
    TooLong,
    /// Not what was asked for.
    #[error("its answer: {0}")]
    Answer(String),
}

/// Asks over HTTP, with a deadline.
#[derive(Clone, Debug)]
pub struct HttpClient {
    http: Client,
    secret: Option<Secret>,
}

impl HttpClient {
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

    /// Asks `address`, `host:port` or a URL, for JSON; `None` for what is not there.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, HttpError> {
        let base = if address.contains("://") {
            address.trim_end_matches('/').to_owned()
        } else {
            format!("http://{address}")
        };
        let words = |error: reqwest::Error| HttpError::Http(cause(&error.without_url()));
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
            return Err(HttpError::Status(status));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(words)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                return Err(HttpError::TooLong);
            }
        }
        let answer = serde_json::from_slice(&body);
        answer.map(Some).map_err(|error| HttpError::Answer(error.to_string()))
    }
}

/// What caused an error: the outer ones say little.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
