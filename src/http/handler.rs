//! What a node answers to a request.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;

use super::body::Incoming;
use super::entrance::Remote;
use super::exchange::{Exchange, Logged, caught, plain};
use super::query::Query;
use super::reply::{self, Refusal, Reply};
use super::router::{Endpoint, NODE};
use super::{
    Context, debug, drain, health, info, letters, messages, options, peek, publish, route_control,
    routes, stats, topics,
};

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
    let mut exchange = Exchange::begin(remote, request);
    let (response, logged) = match refused_for {
        Some(https_port) => (reply::tls_required(https_port), Logged::No),
        None => answer(&context, &mut exchange).await,
    };
    exchange.end(response, logged).await
}

/// The answer, and whether it is worth a line in the log.
async fn answer(context: &Context, exchange: &mut Exchange) -> (Response, Logged) {
    let (endpoint, path) = match exchange.endpoint(NODE) {
        Ok(endpoint) => endpoint,
        Err((response, logged)) => return (*response, logged),
    };
    let raw = exchange.uri.query().unwrap_or_default();
    if let Endpoint::Profile(profile) = endpoint {
        return (debug::profile(Some(&context.engine), profile, raw), Logged::No);
    }
    let logged = match endpoint {
        Endpoint::Publish | Endpoint::PublishMany => Logged::No,
        _ if is_polled(exchange.uri.path()) => Logged::Quietly,
        _ => Logged::Yes,
    };
    let result = caught(run(context, endpoint, &path, raw, &mut exchange.body)).await;
    let response = match endpoint {
        Endpoint::Ping | Endpoint::SetBlockRate | Endpoint::FreeMemory => plain(result),
        _ => reply::envelope(result),
    };
    (response, logged)
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
        // These are large, and rare.
        Endpoint::MessagesRequeue => Box::pin(messages::requeue(context, raw, body)).await,
        Endpoint::MessagesDiscard => Box::pin(messages::discard(context, raw, body)).await,
        Endpoint::QueueMessages => Box::pin(letters::look(context, path, raw)).await,
        Endpoint::QueueRequeue => Box::pin(letters::requeue(context, path, raw, body)).await,
        Endpoint::QueueDiscard => Box::pin(letters::discard(context, path, raw, body)).await,
        Endpoint::DrainState => drain::state(context),
        Endpoint::Drain => drain::begin(context, raw),
        Endpoint::Draining => Ok(drain::is_draining(context)),
        Endpoint::DrainConfig => drain::configure(context, body).await,
        Endpoint::Registry => routes::registry(context),
        Endpoint::Routes => routes::routes(context),
        Endpoint::Route => route_control::show(context, path).await,
        Endpoint::RouteHistory => route_control::history(context, path),
        Endpoint::RoutePut => route_control::put(context, path, raw, body).await,
        Endpoint::RouteDelete => route_control::remove(context, path, raw).await,
        Endpoint::RoutesReload => route_control::reload(context).await,
        Endpoint::RouteAct(act) => route_control::act(context, path, raw, act).await,
        Endpoint::Alerts => routes::alerts(context),
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

/// Paths of ours that somebody asks every few seconds; nsqd's own are logged as nsqd does it.
fn is_polled(path: &str) -> bool {
    matches!(path, "/metrics" | "/v1/routes" | "/v1/alerts" | "/v1/registry" | "/v1/drain")
        || path.starts_with("/health/")
}
