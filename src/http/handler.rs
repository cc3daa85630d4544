//! One request from its head to its answer.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;

use super::body::Incoming;
use super::entrance::Remote;
use super::gotime::duration;
use super::query::{Query, decode};
use super::reply::{self, Refusal, Reply};
use super::router::{Endpoint, Resolved, resolve};
use super::{
    Context, debug, drain, health, info, options, peek, publish, route_control, routes, stats,
    topics,
};
use crate::clock;

/// What is served at an entrance.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) context: Arc<Context>,
    /// Every request is refused: it is to be made at this HTTPS port.
    pub(super) refused_for: Option<i32>,
}

/// Answers `request`, whatever it is.
pub(super) async fn handle(
    State(Front { context, refused_for }): State<Front>,
    ConnectInfo(Remote(remote)): ConnectInfo<Remote>,
    request: Request,
) -> Response {
    let start = clock::now();
    let (head, body) = request.into_parts();
    let mut body = Incoming::new(&head.headers, body);
    let (response, is_logged) = match refused_for {
        Some(https_port) => (reply::tls_required(https_port), false),
        None => answer(&context, &head.method, &head.uri, &mut body).await,
    };
    body.drain().await;
    if is_logged {
        let elapsed = duration(clock::since(start));
        let status = response.status().as_u16();
        let (method, uri) = (&head.method, &head.uri);
        if is_polled(uri.path()) {
            tracing::debug!("{status} {method} {uri} ({remote}) {elapsed}");
        } else {
            tracing::info!("{status} {method} {uri} ({remote}) {elapsed}");
        }
    }
    response
}

/// The answer, and whether it is worth a line in the log.
async fn answer(
    context: &Context,
    method: &Method,
    uri: &Uri,
    body: &mut Incoming,
) -> (Response, bool) {
    let Some(path) = decode(uri.path(), false) else {
        let refusal = Refusal::new(StatusCode::BAD_REQUEST, "400 Bad Request");
        return (reply::plain(Err(refusal)), false);
    };
    let endpoint = match resolve(method.as_str(), &path) {
        Resolved::Endpoint(endpoint) => endpoint,
        Resolved::Elsewhere(path) => {
            let is_get = method == Method::GET;
            return (reply::redirect(is_get, &path, uri.query()), false);
        }
        Resolved::Options(allowed) => return (reply::options(&allowed), false),
        Resolved::WrongMethod(allowed) => return (reply::wrong_method(&allowed), true),
        Resolved::Unknown => {
            let refusal = Refusal::missing("NOT_FOUND");
            return (reply::envelope(Err(refusal)), true);
        }
    };
    let raw = uri.query().unwrap_or_default();
    if let Endpoint::Profile(profile) = endpoint {
        return (debug::profile(context, profile, raw), false);
    }
    let result = caught(run(context, endpoint, &path, raw, body)).await;
    match endpoint {
        Endpoint::Ping | Endpoint::SetBlockRate | Endpoint::FreeMemory => (plain(result), true),
        Endpoint::Publish | Endpoint::PublishMany => (reply::envelope(result), false),
        _ => (reply::envelope(result), true),
    }
}

fn plain(result: Result<Reply, Refusal>) -> Response {
    reply::plain(result.map(|reply| match reply {
        Reply::Text(text) => text,
        _ => String::new(),
    }))
}

async fn run(
    context: &Context,
    endpoint: Endpoint,
    path: &str,
    raw: &str,
    body: &mut Incoming,
) -> Result<Reply, Refusal> {
    match endpoint {
        Endpoint::Ping => info::ping(context),
        Endpoint::Info => info::info(context),
        Endpoint::Stats => stats::stats(context, &Query::parse(raw)?).await,
        Endpoint::Publish => publish::publish(context, raw, body).await,
        Endpoint::PublishMany => publish::publish_many(context, raw, body).await,
        Endpoint::TopicCreate => topics::create(context, raw).await,
        Endpoint::TopicDelete => topics::delete(context, raw).await,
        Endpoint::TopicEmpty => topics::empty(context, raw).await,
        Endpoint::TopicPause => topics::set_paused(context, raw, true).await,
        Endpoint::TopicUnpause => topics::set_paused(context, raw, false).await,
        Endpoint::ChannelCreate => topics::create_channel(context, raw).await,
        Endpoint::ChannelDelete => topics::delete_channel(context, raw).await,
        Endpoint::ChannelEmpty => topics::empty_channel(context, raw).await,
        Endpoint::ChannelPause => topics::set_channel_paused(context, raw, true).await,
        Endpoint::ChannelUnpause => topics::set_channel_paused(context, raw, false).await,
        Endpoint::TopicPeek => peek::topic(context, raw),
        Endpoint::ChannelPeek => peek::channel(context, raw),
        Endpoint::DrainState => drain::state(context),
        Endpoint::Drain => drain::begin(context, raw),
        Endpoint::Draining => Ok(drain::is_draining(context)),
        Endpoint::DrainConfig => drain::configure(context, body).await,
        Endpoint::Registry => routes::registry(context),
        Endpoint::Routes => routes::routes(context),
        Endpoint::Route => route_control::show(context, path).await,
        Endpoint::RoutePut => route_control::put(context, path, raw, body).await,
        Endpoint::RouteDelete => route_control::remove(context, path, raw).await,
        Endpoint::RoutesReload => route_control::reload(context).await,
        Endpoint::RouteAct(act) => route_control::act(context, path, raw, act).await,
        Endpoint::Metrics => {
            stats::count_elsewhere(context).await;
            Ok(routes::metrics(context))
        }
        Endpoint::ConfigGet => options::get(context, path),
        Endpoint::ConfigPut => options::put(context, path, body).await,
        Endpoint::SetBlockRate => debug::set_block_rate(raw).map(Reply::Text),
        Endpoint::FreeMemory => Ok(Reply::Text(debug::free_memory(context))),
        Endpoint::Live => health::live(),
        Endpoint::Ready => health::ready(context),
        // Answered without the envelope, before this.
        Endpoint::Profile(_) => Err(Refusal::missing("NOT_FOUND")),
    }
}

/// Polls `endpoint`; a panic in it is 500 `INTERNAL_ERROR`, as a panic in nsqd's handlers is.
async fn caught(endpoint: impl Future<Output = Result<Reply, Refusal>>) -> Result<Reply, Refusal> {
    let mut endpoint = pin!(endpoint);
    std::future::poll_fn(move |context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| endpoint.as_mut().poll(context)));
        // The panic itself was reported by the panic hook.
        polled.unwrap_or_else(|_| Poll::Ready(Err(Refusal::internal())))
    })
    .await
}

/// Paths of ours that somebody asks every few seconds; nsqd's own are logged as nsqd does it.
fn is_polled(path: &str) -> bool {
    matches!(path, "/metrics" | "/v1/routes" | "/v1/registry" | "/v1/drain")
        || path.starts_with("/health/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_request_only() {
        let broken = async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        };
        assert_eq!(caught(broken).await, Err(Refusal::internal()));
    }
}
