//! Answers: nsqd's envelope around a value, a text or a refusal.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderName, LOCATION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::protocol::json::escaped;

/// The header that tells nsqd's answers of today from those of long ago.
const NSQ_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-nsq-content-type");
const NSQ: HeaderValue = HeaderValue::from_static("nsq; version=1.0");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What an endpoint answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Empty,
    Text(String),
    /// Text of a type of its own.
    Typed(&'static str, String),
    /// A value as JSON, with its status.
    Json(StatusCode, Vec<u8>),
}

impl Reply {
    /// `OK`.
    pub(crate) fn ok() -> Self {
        Self::Text("OK".to_owned())
    }

    /// `value` as JSON, escaped as Go escapes it.
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, Refusal> {
        Self::json_with(StatusCode::OK, value)
    }

    /// `value` as JSON with a status of its own.
    pub(crate) fn json_with(status: StatusCode, value: &impl Serialize) -> Result<Self, Refusal> {
        let json = serde_json::to_string(value).map_err(|error| {
            tracing::error!(%error, "an answer could not be written as JSON");
            Refusal::internal()
        })?;
        Ok(Self::Json(status, escaped(&json).into_bytes()))
    }
}

/// Why a request was refused: `{"message":"..."}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {text}")]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: Cow<'static, str>,
    /// What nsqd does not say: sizes, limits, flags.
    detail: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, text: text.into(), detail: None }
    }

    /// Says more under the key `detail`.
    pub(crate) fn explained(mut self, detail: Option<String>) -> Self {
        self.detail = detail;
        self
    }

    /// 400.
    pub(crate) fn bad(text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 404.
    pub(crate) fn missing(text: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// 413.
    pub(crate) fn too_large(text: &'static str) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// 500.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR")
    }
}

/// Status, type and body of what goes out for `result`.
pub(crate) fn parts(result: Result<Reply, Refusal>) -> (StatusCode, Option<HeaderValue>, Vec<u8>) {
    match result {
        Ok(Reply::Empty) => (StatusCode::OK, None, Vec::new()),
        Ok(Reply::Text(text)) => (StatusCode::OK, Some(TEXT), text.into_bytes()),
        Ok(Reply::Typed(content_type, text)) => {
            let content_type = HeaderValue::from_static(content_type);
            (StatusCode::OK, Some(content_type), text.into_bytes())
        }
        Ok(Reply::Json(status, json)) => (status, Some(JSON), json),
        Err(refusal) => {
            let json = match refusal.detail {
                Some(detail) => serde_json::json!({ "message": refusal.text, "detail": detail }),
                None => serde_json::json!({ "message": refusal.text }),
            };
            (refusal.status, Some(JSON), escaped(&json.to_string()).into_bytes())
        }
    }
}

/// What goes out for `result`, in nsqd's envelope.
pub(crate) fn envelope(result: Result<Reply, Refusal>) -> Response {
    let (status, content_type, body) = parts(result);
    let mut response = answer(status, content_type, Body::from(body));
    mark(&mut response);
    response
}

/// Says that an answer is of today's form.
pub(crate) fn mark(response: &mut Response) {
    response.headers_mut().insert(NSQ_CONTENT_TYPE, NSQ);
}

/// What goes out for `result` where nsqd uses plain text: no envelope, a refusal as its bare words.
pub(crate) fn plain(result: Result<String, Refusal>) -> Response {
    match result {
        Ok(text) => answer(StatusCode::OK, Some(TEXT), Body::from(text)),
        Err(refusal) => {
            let text = refusal.text.into_owned();
            answer(refusal.status, Some(TEXT), Body::from(text))
        }
    }
}

/// What plain HTTP answers where TLS is required, to the letter.
pub(crate) fn tls_required(https_port: i32) -> Response {
    let text = format!("{{\"message\": \"TLS_REQUIRED\", \"https_port\": {https_port}}}");
    let mut response = answer(StatusCode::FORBIDDEN, Some(JSON), Body::from(text));
    response.headers_mut().insert(NSQ_CONTENT_TYPE, NSQ);
    response
}

/// An answer without nsqd's header, of a type of its own, as Go's own pages are.
pub(crate) fn bare(status: StatusCode, content_type: &'static str, text: String) -> Response {
    let mut response =
        answer(status, Some(HeaderValue::from_static(content_type)), Body::from(text));
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// The answer to OPTIONS.
pub(crate) fn options(allowed: &str) -> Response {
    with_allow(answer(StatusCode::OK, None, Body::empty()), allowed)
}

/// 405.
pub(crate) fn wrong_method(allowed: &str) -> Response {
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED");
    with_allow(envelope(Err(refusal)), allowed)
}

fn with_allow(mut response: Response, allowed: &str) -> Response {
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// 301 or 308 to `path`, the query kept. A browser that shows it gets a link.
pub(crate) fn redirect(is_get: bool, path: &str, query: Option<&str>) -> Response {
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let Ok(location) = HeaderValue::from_str(&target) else {
        return envelope(Err(Refusal::missing("NOT_FOUND")));
    };
    let mut response = if is_get {
        let link = format!("<a href=\"{}\">Moved Permanently</a>.\n\n", escape_attribute(&target));
        answer(StatusCode::MOVED_PERMANENTLY, Some(HTML), Body::from(link))
    } else {
        answer(StatusCode::PERMANENT_REDIRECT, None, Body::empty())
    };
    response.headers_mut().insert(LOCATION, location);
    response
}

fn answer(status: StatusCode, content_type: Option<HeaderValue>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

/// A number as Go writes it into JSON: a whole one without a point. What is no number is 0.
pub(crate) fn number(value: f64) -> serde_json::Number {
    // Whole numbers are exact in a float up to 2^53, and below 2^63 the cast loses nothing.
    let is_whole = value.fract() == 0.0 && value.abs() < 9e18;
    #[allow(clippy::cast_possible_truncation, reason = "whole, and bounded just above")]
    let number =
        if is_whole { Some((value as i64).into()) } else { serde_json::Number::from_f64(value) };
    number.unwrap_or_else(|| 0.into())
}

fn escape_attribute(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let texts =
            [1.0, 0.999, 351_969_280.0, -2.0, f64::NAN].map(|value| number(value).to_string());
        assert_eq!(texts, ["1", "0.999", "351969280", "-2", "0"]);
    }

    #[test]
    fn json_is_escaped_as_go_escapes_it() {
        let reply = Reply::json(&serde_json::json!({ "a": "<b>&\u{2028}ü\"" })).unwrap();
        let json = br#"{"a":"\u003cb\u003e\u0026\u2028"#.to_vec();
        let json = [json, "ü\\\"\"}".as_bytes().to_vec()].concat();
        assert_eq!(reply, Reply::Json(StatusCode::OK, json));
    }
}
