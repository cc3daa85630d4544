//! One request for one message.

use std::fmt;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, StatusCode, Url};

use super::Options;
use crate::client::http::cause;
use crate::tls::ClientTls;
use crate::tools::program::ToolError;

/// Where a message stands in the URL of a GET.
const PLACE: &str = "%s";

/// Who gets messages, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// As the body of a POST to this URL.
    Post(String),
    /// In this URL, where `%s` is.
    Get(String),
}

/// An address that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nowhere, or twice.
    #[error("invalid GET address {0:?}: it must have %s once, where the message goes")]
    Place(String),
    /// Not a URL.
    #[error("invalid address {0:?}: {1}")]
    Url(String, String),
    /// Not a header.
    #[error("invalid header {0:?}: it must be \"Name: value\"")]
    Header(String),
}

impl Address {
    /// A URL to which messages are posted.
    ///
    /// # Errors
    /// It is none.
    pub fn post(url: &str) -> Result<Self, AddressError> {
        check(url)?;
        Ok(Self::Post(url.to_owned()))
    }

    /// A URL with one `%s` in it.
    ///
    /// # Errors
    /// It is none, or `%s` is not there once.
    pub fn get(url: &str) -> Result<Self, AddressError> {
        if url.matches(PLACE).count() != 1 {
            return Err(AddressError::Place(url.to_owned()));
        }
        check(&url.replace(PLACE, "x"))?;
        Ok(Self::Get(url.to_owned()))
    }
}

fn check(url: &str) -> Result<(), AddressError> {
    let wrong = |why: String| AddressError::Url(url.to_owned(), why);
    let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
    let is_http = matches!(parsed.scheme(), "http" | "https");
    if is_http { Ok(()) } else { Err(wrong("neither http:// nor https://".into())) }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Post(url) | Self::Get(url)) = self;
        f.write_str(url)
    }
}

/// A header of a flag, `Name: value`.
///
/// # Errors
/// It is none.
pub fn header(text: &str) -> Result<(String, String), AddressError> {
    let wrong = || AddressError::Header(text.to_owned());
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let (name, value) = (name.trim(), value.trim());
    let is_good = HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value).is_ok();
    if is_good { Ok((name.to_owned(), value.to_owned())) } else { Err(wrong()) }
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("{0}")]
    Http(String),
    #[error("got status code {0}")]
    Status(u16),
}

/// Sends messages.
pub(super) struct Sender {
    http: Client,
    headers: HeaderMap,
    content_type: HeaderValue,
}

impl Sender {
    pub(super) fn new(options: &Options) -> Result<Self, ToolError> {
        let setup = |error: &dyn fmt::Display| ToolError::Setup(error.to_string());
        let is_secure = options.addresses.iter().any(|at| at.to_string().starts_with("https"));
        let tls = if is_secure {
            ClientTls::default().load().map_err(|error| setup(&error))?.as_ref().clone()
        } else {
            crate::tls::trusting_nobody().map_err(|error| setup(&error))?
        };
        let http = Client::builder()
            .no_proxy()
            .http1_only()
            .connect_timeout(options.connect_timeout)
            .timeout(options.request_timeout)
            .pool_max_idle_per_host(options.handlers)
            .use_preconfigured_tls(tls)
            .build()
            .map_err(|error| setup(&error))?;
        let value = |text: &str| HeaderValue::try_from(text).map_err(|error| setup(&error));
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("nsq_to_http v1.3.0"));
        for (name, text) in &options.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|error| setup(&error))?;
            headers.insert(name, value(text)?);
        }
        Ok(Self { http, headers, content_type: value(&options.content_type)? })
    }

    pub(super) async fn send(&self, address: &Address, body: &Bytes) -> Result<(), SendError> {
        let request = match address {
            Address::Post(url) => {
                let request = self.http.post(url).body(body.clone());
                let is_given = self.headers.contains_key(CONTENT_TYPE);
                let content_type = (!is_given).then(|| self.content_type.clone());
                match content_type {
                    Some(content_type) => request.header(CONTENT_TYPE, content_type),
                    None => request,
                }
            }
            Address::Get(url) => self.http.get(url.replace(PLACE, &query_escape(body))),
        };
        let words = |error: reqwest::Error| SendError::Http(cause(&error.without_url()));
        let mut answer = request.headers(self.headers.clone()).send().await.map_err(words)?;
        let status = answer.status();
        // Its connection is of use again once the body is read.
        while answer.chunk().await.map_err(words)?.is_some() {}
        let is_taken = match address {
            Address::Post(_) => status.is_success(),
            Address::Get(_) => status == StatusCode::OK,
        };
        if is_taken { Ok(()) } else { Err(SendError::Status(status.as_u16())) }
    }
}

/// A body as part of a query, as Go escapes it.
fn query_escape(body: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| char::from(DIGITS.get(usize::from(value)).copied().unwrap_or(b'0'));
    let mut escaped = String::with_capacity(body.len());
    for &byte in body {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte.into());
            }
            b' ' => escaped.push('+'),
            _ => escaped.extend(['%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_escaped_as_go_escapes_them() {
        assert_eq!(query_escape(b"a b&c=%/~\xff\n"), "a+b%26c%3D%25%2F~%FF%0A");
    }

    #[test]
    fn addresses_and_headers_are_checked() {
        assert!(Address::get("http://h/?m=%s").is_ok() && Address::post("https://h/x").is_ok());
        for bad in ["http://h/", "http://h/?a=%s&b=%s"] {
            assert!(matches!(Address::get(bad), Err(AddressError::Place(_))), "{bad}");
        }
        for bad in ["h/x", "ftp://h/x", "http://"] {
            assert!(matches!(Address::post(bad), Err(AddressError::Url(..))), "{bad}");
        }
        assert_eq!(header(" X-Key :  a:b "), Ok(("X-Key".into(), "a:b".into())));
        for bad in ["X-Key", ": x", "X Key: v", "X: a\nb"] {
            assert!(header(bad).is_err(), "{bad:?}");
        }
    }
}
