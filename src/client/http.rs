//! HTTP as NSQ's clients speak it to nsqlookupds and nsqds.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Method, StatusCode};
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
        let call = Call { query, ..Call::get(address, path) };
        let answered = self.send(&call).await?;
        if answered.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answered.status.is_success() {
            return Err(HttpError::Status(answered.status));
        }
        let body = answered.body;
        let answer = serde_json::from_slice(&body);
        answer.map(Some).map_err(|error| HttpError::Answer(error.to_string()))
    }
}

impl HttpClient {
    /// Sends a request and takes its answer, whatever it is. An nsqd that wants TLS says so, and at which port: it is asked
    /// there then.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn send(&self, call: &Call<'_>) -> Result<Answered, HttpError> {
        let base = match call.address {
            url if url.contains("://") => url.trim_end_matches('/').to_owned(),
            address => format!("http://{address}"),
        };
        let answered = self.send_to(&base, call).await?;
        let port = (answered.status == StatusCode::FORBIDDEN).then(|| https_port(&answered.body));
        match (port.flatten(), base.strip_prefix("http://").and_then(host_of)) {
            (Some(port), Some(host)) => self.send_to(&format!("https://{host}:{port}"), call).await,
            _ => Ok(answered),
        }
    }

    async fn send_to(&self, base: &str, call: &Call<'_>) -> Result<Answered, HttpError> {
        let words = |error: reqwest::Error| HttpError::Http(cause(&error.without_url()));
        let url = format!("{base}{}", call.path);
        let mut request = self.http.request(call.method.clone(), url).query(call.query);
        request = request.header(ACCEPT, NSQ);
        if let Some(secret) = &self.secret {
            request = request.header(AUTHORIZATION, format!("Bearer {}", secret.reveal()));
        }
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = call.body {
            request = request.body(body.to_vec());
        }
        let mut answer = request.send().await.map_err(words)?;
        let status = answer.status();
        let content_type = answer.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|text| text.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(words)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                return Err(HttpError::TooLong);
            }
        }
        Ok(Answered { status, content_type, body })
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Its method.
    pub method: Method,
    /// `host:port`, or a URL without a path.
    pub address: &'a str,
    /// The path, escaped.
    pub path: &'a str,
    /// Names and values of the query, not escaped.
    pub query: &'a [(&'a str, &'a str)],
    /// Headers beside those that say what NSQ's clients say.
    pub headers: &'a [(&'a str, &'a str)],
    /// What is sent.
    pub body: Option<&'a [u8]>,
}

impl<'a> Call<'a> {
    /// A GET.
    #[must_use]
    pub const fn get(address: &'a str, path: &'a str) -> Self {
        Self { method: Method::GET, address, path, query: &[], headers: &[], body: None }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its status.
    pub status: StatusCode,
    /// `Content-Type`, if it has one.
    pub content_type: Option<String>,
    /// All of it, 16 MiB at most.
    pub body: Vec<u8>,
}

/// The port that an answer to plain HTTP names where TLS is required.
fn https_port(body: &[u8]) -> Option<u16> {
    #[derive(serde::Deserialize)]
    struct Refused {
        https_port: u16,
    }
    serde_json::from_slice::<Refused>(body).ok().map(|refused| refused.https_port)
}

/// The host of `host:port`.
fn host_of(address: &str) -> Option<&str> {
    address.rsplit_once(':').map(|(host, _)| host)
}

/// What caused an error: the outer ones say little.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_wants_tls_says_where() {
        let refusal = br#"{"message": "TLS_REQUIRED", "https_port": 4152}"#;
        assert_eq!(https_port(refusal), Some(4152));
        for other in [&b""[..], b"{}", br#"{"https_port":-1}"#] {
            assert_eq!(https_port(other), None);
        }
        assert_eq!(host_of("[::1]:4151"), Some("[::1]"));
    }
}
