//! Which endpoint a request means, and what its answer is given on the way out.

mod endpoint;
mod packing;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    REFERRER_POLICY, SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::access::{Actor, COOKIE_NAME, cookie};
use super::cluster::Subject;
use super::{Admin, api, graphite, live, nodes, pages};
use crate::bridge::envelope::decode_base64;
use crate::http::body::End;
use crate::http::entrance::Remote;
use crate::http::exchange::{Exchange, Logged, caught};
use crate::http::query::decode;
use crate::http::reply::{self, Refusal, Reply};
use crate::http::router::{Resolved, resolve};
use endpoint::{Endpoint, TABLE};
use packing::Packing;

/// The largest body that anything may send, bytes.
const BODY_MAX: u64 = 1 << 20;
/// Scripts, styles and pictures are ours alone; a graphite server's pictures come from where it is.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; font-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; img-src 'self' data:";

/// A request as endpoints see it.
pub(super) struct Asked<'a> {
    exchange: &'a mut Exchange,
    headers: &'a HeaderMap,
    actor: Option<Actor>,
}

impl Asked<'_> {
    /// The peer's `host:port`.
    pub(super) fn remote(&self) -> &str {
        &self.exchange.remote
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn query(&self) -> &str {
        self.exchange.uri.query().unwrap_or_default()
    }

    pub(super) fn method(&self) -> axum::http::Method {
        self.exchange.method.clone()
    }

    /// The path as it came, without the base path.
    pub(super) fn raw_path(&self, base: &str) -> String {
        let path = self.exchange.uri.path();
        path.strip_prefix(base).unwrap_or(path).to_owned()
    }

    pub(super) const fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    /// Who is to change something; an error if they may not.
    pub(super) fn operator(&self, admin: &Admin) -> Result<Actor, Refusal> {
        admin.access.may_operate(self.actor.as_ref(), self.headers)?;
        self.actor.clone().ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, "LOGIN_REQUIRED"))
    }

    /// An error for a request that another site's page made.
    pub(super) fn comes_from_here(&self, admin: &Admin) -> Result<(), Refusal> {
        match &self.actor {
            Some(actor) => admin.access.comes_from_here(actor, self.headers),
            None => Ok(()),
        }
    }

    /// The body, 1 MiB at most.
    pub(super) async fn body(&mut self) -> Result<Vec<u8>, Refusal> {
        match self.exchange.body.read(BODY_MAX).await {
            (body, End::Complete) => Ok(body),
            (_, End::TooLong) => Err(Refusal::too_large("BODY_TOO_BIG")),
            (_, End::Broken) => Err(Refusal::internal()),
        }
    }

    /// The user of HTTP Basic, whoever checks that.
    pub(super) fn basic_user(&self) -> Option<String> {
        let value = self.headers.get(AUTHORIZATION)?.to_str().ok()?;
        let decoded = decode_base64(value.strip_prefix("Basic ")?)?;
        let text = String::from_utf8(decoded).ok()?;
        text.split_once(':').map(|(user, _)| user.to_owned())
    }

    /// The whole URL that was asked for, as far as it is known.
    pub(super) fn url(&self) -> String {
        let is_https = self.header("x-scheme") == Some("https")
            || self.header("x-forwarded-proto") == Some("https");
        let scheme = if is_https { "https" } else { "http" };
        let host = self.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        format!("{scheme}://{host}{}", self.exchange.uri)
    }

    /// Whether the browser's connection is encrypted, by the word of a proxy.
    pub(super) fn is_secure(&self) -> bool {
        self.url().starts_with("https:")
    }

    /// The session's cookie.
    pub(super) fn session(&self) -> Option<&str> {
        cookie(self.headers)
    }
}

/// What an endpoint gives.
pub(super) enum Given {
    /// A value in nsqd's envelope.
    Reply(Reply),
    /// Bare text.
    Plain(&'static str),
    /// The same with a cookie.
    WithCookie(Reply, String),
    /// A whole answer, packed or not.
    Whole { status: StatusCode, content_type: String, body: Vec<u8>, etag: Option<String> },
    /// An answer that goes on.
    Stream(Body),
}

/// Answers `request`, whatever it is.
pub(super) async fn handle(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(Remote(remote)): ConnectInfo<Remote>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let mut exchange = Exchange::begin(remote, request);
    let (mut response, logged) = Box::pin(answer(&admin, &headers, &mut exchange)).await;
    protect(&admin, response.headers_mut());
    exchange.end(response, logged).await
}

async fn answer(
    admin: &Arc<Admin>,
    headers: &HeaderMap,
    exchange: &mut Exchange,
) -> (Response, Logged) {
    let Some(path) = decode(exchange.uri.path(), false) else {
        let refusal = Refusal::new(StatusCode::BAD_REQUEST, "400 Bad Request");
        return (reply::plain(Err(refusal)), Logged::No);
    };
    let base = &admin.options.base_path;
    if !base.is_empty() && path == format!("{base}/") {
        return (reply::redirect(true, base, exchange.uri.query()), Logged::No);
    }
    let Some(inner) = path.strip_prefix(base.as_str()) else {
        return (reply::envelope(Err(Refusal::missing("NOT_FOUND"))), Logged::Yes);
    };
    let inner = if inner.is_empty() { "/" } else { inner };
    let endpoint = match resolve(TABLE, exchange.method.as_str(), inner) {
        Resolved::Endpoint(endpoint) => endpoint,
        Resolved::Elsewhere(path) => {
            let is_get = exchange.method == axum::http::Method::GET;
            let path = format!("{base}{path}");
            return (reply::redirect(is_get, &path, exchange.uri.query()), Logged::No);
        }
        Resolved::Options(allowed) => return (reply::options(&allowed), Logged::No),
        Resolved::WrongMethod(allowed) => return (reply::wrong_method(&allowed), Logged::Yes),
        Resolved::Unknown => {
            return (reply::envelope(Err(Refusal::missing("NOT_FOUND"))), Logged::Yes);
        }
    };
    let actor = admin.access.actor(headers, &exchange.remote);
    let mut asked = Asked { exchange, headers, actor };
    let inner = inner.to_owned();
    let mut whole = None;
    // A panic ends this request alone; what is no plain reply is put aside on the way.
    let ended = caught(async {
        let given = run(admin, endpoint, &inner, &mut asked).await?;
        whole = Some(given);
        Ok(Reply::Empty)
    })
    .await;
    let packing = Packing::asked_for(asked.header("accept-encoding").unwrap_or_default());
    let seen = asked.header("if-none-match").map(str::to_owned);
    let response = match (ended, whole) {
        (Ok(_), Some(given)) => out(given, packing, seen.as_deref()),
        (Err(refusal), _) if matches!(endpoint, Endpoint::Asset) => reply::plain(Err(refusal)),
        (Err(refusal), _) => finish(Err(refusal), packing),
        (Ok(_), None) => finish(Err(Refusal::internal()), packing),
    };
    (response, endpoint.logged())
}

fn out(given: Given, packing: Packing, seen: Option<&str>) -> Response {
    match given {
        Given::Reply(reply) => finish(Ok(reply), packing),
        Given::Plain(text) => reply::plain(Ok(text.to_owned())),
        Given::WithCookie(reply, cookie) => {
            let mut response = finish(Ok(reply), packing);
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Given::Whole { status, content_type, body, etag } => {
            let is_known = etag.is_some() && etag.as_deref() == seen;
            let (status, body) =
                if is_known { (StatusCode::NOT_MODIFIED, Vec::new()) } else { (status, body) };
            let content_type = HeaderValue::from_str(&content_type).ok();
            let mut response = packed(status, content_type, body, packing);
            let headers = response.headers_mut();
            if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
                headers.insert(axum::http::header::ETAG, etag);
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            }
            response
        }
        Given::Stream(body) => {
            let mut response = Response::new(body);
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            // nginx would keep events back.
            let buffering = HeaderName::from_static("x-accel-buffering");
            headers.insert(buffering, HeaderValue::from_static("no"));
            response
        }
    }
}

/// A reply in nsqd's envelope.
fn finish(result: Result<Reply, Refusal>, packing: Packing) -> Response {
    let (status, content_type, body) = reply::parts(result);
    let mut response = packed(status, content_type, body, packing);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply::mark(&mut response);
    response
}

fn packed(
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Vec<u8>,
    packing: Packing,
) -> Response {
    let (body, name) = packing.pack(body);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.extend(content_type.map(|content_type| (CONTENT_TYPE, content_type)));
    if let Some(name) = name {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

/// What browsers are to keep to, whatever they get.
fn protect(admin: &Admin, headers: &mut HeaderMap) {
    let policy = match admin.options.graphite_url.as_deref() {
        Some(url) if !admin.options.proxy_graphite => format!("{POLICY} {}", graphite::origin(url)),
        _ => POLICY.to_owned(),
    };
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
}

/// A segment of the path; paths of the table have as many as are asked for.
fn segment(path: &str, at: usize) -> &str {
    path.split('/').nth(at).unwrap_or_default()
}

async fn run(
    admin: &Arc<Admin>,
    endpoint: Endpoint,
    path: &str,
    asked: &mut Asked<'_>,
) -> Result<Given, Refusal> {
    if !endpoint.is_open() && asked.actor.is_none() {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "LOGIN_REQUIRED"));
    }
    let topic = || Subject { topic: segment(path, 3), channel: None };
    let channel = || Subject { topic: segment(path, 3), channel: Some(segment(path, 4)) };
    let query = asked.query().to_owned();
    let reply = match endpoint {
        Endpoint::Ping => return Ok(Given::Plain("OK")),
        Endpoint::Page => return pages::index(admin, asked.actor()),
        Endpoint::Asset => return pages::asset(admin, segment(path, 2)).await,
        Endpoint::Render => return graphite::render(admin, &query).await,
        Endpoint::Live => return live::stream(admin, &query),
        Endpoint::Login => return login(admin, asked).await,
        Endpoint::Logout => return logout(admin, asked),
        Endpoint::Relay => return nodes::relay(admin, asked, path).await,
        Endpoint::Session => session(admin, asked.actor()),
        Endpoint::Topics => api::topics(admin, &query).await,
        Endpoint::TopicsPost => api::create(admin, asked).await,
        Endpoint::Topic => api::topic(admin, segment(path, 3)).await,
        Endpoint::TopicPost => api::act(admin, asked, topic()).await,
        Endpoint::TopicDelete => api::delete(admin, asked, topic()).await,
        Endpoint::Channel => api::channel(admin, segment(path, 3), segment(path, 4)).await,
        Endpoint::ChannelPost => api::act(admin, asked, channel()).await,
        Endpoint::ChannelDelete => api::delete(admin, asked, channel()).await,
        Endpoint::Nodes => api::nodes(admin).await,
        Endpoint::Node => api::node(admin, segment(path, 3)).await,
        Endpoint::NodeDelete => api::tombstone(admin, asked, segment(path, 3)).await,
        Endpoint::Counter => api::counter(admin).await,
        Endpoint::Graphite => graphite::rate(admin, &query).await,
        Endpoint::Overview => nodes::overview(admin).await,
        Endpoint::ConfigGet => api::config(admin, asked, segment(path, 2), false).await,
        Endpoint::ConfigPut => api::config(admin, asked, segment(path, 2), true).await,
    };
    reply.map(Given::Reply)
}

/// GET `/api/session`: who is there, and what pages have to send with changes.
fn session(admin: &Admin, actor: Option<&Actor>) -> Result<Reply, Refusal> {
    Reply::json(&serde_json::json!({
        "login": admin.access.has_login(),
        "user": actor.and_then(|actor| actor.name.as_deref()),
        "role": actor.map(|actor| actor.role.as_str()),
        "token": actor.and_then(|actor| actor.token.as_deref()),
    }))
}

#[derive(serde::Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

/// POST `/api/login`.
async fn login(admin: &Admin, asked: &mut Asked<'_>) -> Result<Given, Refusal> {
    let wrong = || Refusal::new(StatusCode::UNAUTHORIZED, "WRONG_USER_OR_PASSWORD");
    let body = asked.body().await?;
    let given: Credentials =
        serde_json::from_slice(&body).map_err(|_| Refusal::bad("INVALID_BODY"))?;
    if !admin.access.has_login() {
        return Err(Refusal::missing("NO_LOGIN"));
    }
    let peer = asked.remote().to_owned();
    if !admin.access.sessions.may_try(&peer) {
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_FAILED_LOGINS"));
    }
    let users = admin.access.users();
    let found = users.iter().find(|user| user.name == given.user);
    // Somebody unknown takes as long as a wrong password.
    let checked = found.or_else(|| users.first()).map(|user| user.password.clone());
    let checking = tokio::task::spawn_blocking(move || {
        checked.is_some_and(|hash| hash.is_of(&given.password))
    });
    let is_right = checking.await.unwrap_or(false);
    let Some(user) = found.filter(|_| is_right) else {
        tracing::warn!(target: "leveret::admin::audit", user = given.user, remote = peer, "login refused");
        return Err(wrong());
    };
    admin.access.sessions.succeeded(&peer);
    let opened = admin.access.sessions.open(&user.name, user.role);
    let (id, opened) = opened.map_err(|error| {
        tracing::error!(%error, "no session can be opened");
        Refusal::internal()
    })?;
    tracing::info!(target: "leveret::admin::audit", user = user.name, remote = peer, "logged in");
    let actor = Actor { name: Some(opened.user), role: opened.role, token: Some(opened.token) };
    let reply = session(admin, Some(&actor))?;
    Ok(Given::WithCookie(reply, set_cookie(admin, asked, &id, None)))
}

/// POST `/api/logout`.
fn logout(admin: &Admin, asked: &Asked<'_>) -> Result<Given, Refusal> {
    asked.comes_from_here(admin)?;
    if let Some(id) = asked.session() {
        admin.access.sessions.close(id);
    }
    let reply = session(admin, None)?;
    Ok(Given::WithCookie(reply, set_cookie(admin, asked, "", Some(0))))
}

fn set_cookie(admin: &Admin, asked: &Asked<'_>, id: &str, age: Option<u32>) -> String {
    let base = &admin.options.base_path;
    let path = if base.is_empty() { "/" } else { base };
    let secure = if admin.options.is_https || asked.is_secure() { "; Secure" } else { "" };
    let age = age.map(|age| format!("; Max-Age={age}")).unwrap_or_default();
    format!("{COOKIE_NAME}={id}; Path={path}; HttpOnly; SameSite=Strict{secure}{age}")
}
