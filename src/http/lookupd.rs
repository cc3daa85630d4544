//! nsqlookupd's HTTP side: who has a topic, and what operators change.
//!
//! Names are checked where the original checks them, and nowhere else: `*` means every topic where it does not.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::handler::Handler as _;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use super::debug::{self, Profile};
use super::entrance::{Entrance, Remote};
use super::exchange::{Exchange, Logged, caught, plain};
use super::query::Query;
use super::reply::{self, Refusal, Reply};
use super::router::{GET, POST, Table};
use super::{NSQ_VERSION, serve_at};
use crate::lookup::registrations::{Entry, Node, Stamp};
use crate::lookup::{Daemon, PeerInfo};
use crate::names::is_valid_name;

/// Everything that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Ping,
    Info,
    Debug,
    Lookup,
    Topics,
    Channels,
    Nodes,
    TopicCreate,
    TopicDelete,
    TopicTombstone,
    ChannelCreate,
    ChannelDelete,
    Profile(Profile),
}

const TABLE: &Table<Endpoint> = &[
    (GET, "/ping", Endpoint::Ping),
    (GET, "/info", Endpoint::Info),
    (GET, "/debug", Endpoint::Debug),
    (GET, "/lookup", Endpoint::Lookup),
    (GET, "/topics", Endpoint::Topics),
    (GET, "/channels", Endpoint::Channels),
    (GET, "/nodes", Endpoint::Nodes),
    (POST, "/topic/create", Endpoint::TopicCreate),
    (POST, "/topic/delete", Endpoint::TopicDelete),
    (POST, "/channel/create", Endpoint::ChannelCreate),
    (POST, "/channel/delete", Endpoint::ChannelDelete),
    (POST, "/topic/tombstone", Endpoint::TopicTombstone),
    // Here without the slash that nsqd has behind it.
    (GET, "/debug/pprof", Endpoint::Profile(Profile::Index)),
    (GET, "/debug/pprof/cmdline", Endpoint::Profile(Profile::Cmdline)),
    (GET, "/debug/pprof/symbol", Endpoint::Profile(Profile::Symbol)),
    (POST, "/debug/pprof/symbol", Endpoint::Profile(Profile::Symbol)),
    (GET, "/debug/pprof/profile", Endpoint::Profile(Profile::Cpu)),
    (GET, "/debug/pprof/heap", Endpoint::Profile(Profile::Heap)),
    (GET, "/debug/pprof/goroutine", Endpoint::Profile(Profile::Goroutine)),
    (GET, "/debug/pprof/block", Endpoint::Profile(Profile::Block)),
    (GET, "/debug/pprof/threadcreate", Endpoint::Profile(Profile::ThreadCreate)),
];

/// Serves `daemon` at `entrance` until `shutdown` resolves, then finishes the requests that are under way (for at most
/// five seconds).
///
/// # Errors
/// The listener's.
pub async fn serve(
    entrance: impl Into<Entrance>,
    daemon: Arc<Daemon>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_at(entrance.into(), handle.with_state(daemon), shutdown).await
}

async fn handle(
    State(daemon): State<Arc<Daemon>>,
    ConnectInfo(Remote(remote)): ConnectInfo<Remote>,
    request: Request,
) -> Response {
    let mut exchange = Exchange::begin(remote, request);
    let (response, logged) = answer(&daemon, &mut exchange).await;
    exchange.end(response, logged).await
}

async fn answer(daemon: &Daemon, exchange: &mut Exchange) -> (Response, Logged) {
    let endpoint = match exchange.endpoint(TABLE) {
        Ok((endpoint, _)) => endpoint,
        Err((response, logged)) => return (*response, logged),
    };
    let raw = exchange.uri.query().unwrap_or_default();
    if let Endpoint::Profile(profile) = endpoint {
        return (debug::profile(None, profile, raw), Logged::No);
    }
    let result = caught(async { run(daemon, endpoint, raw) }).await;
    let response = match endpoint {
        Endpoint::Ping => plain(result),
        _ => reply::envelope(result),
    };
    (response, Logged::Yes)
}

fn run(daemon: &Daemon, endpoint: Endpoint, raw: &str) -> Result<Reply, Refusal> {
    let lifetimes = daemon.options().lifetimes;
    let mut registrations = daemon.registrations();
    match endpoint {
        Endpoint::Ping => Ok(Reply::ok()),
        Endpoint::Info => Reply::json(&json!({ "version": NSQ_VERSION })),
        Endpoint::Debug => {
            let all = registrations.dump();
            drop(registrations);
            Reply::json(&dump(all))
        }
        Endpoint::Topics => Reply::json(&json!({ "topics": registrations.topics() })),
        Endpoint::Channels => {
            let channels = registrations.channels(&parameter(raw, TOPIC)?);
            Reply::json(&json!({ "channels": channels }))
        }
        Endpoint::Lookup => {
            let found = registrations.lookup(&parameter(raw, TOPIC)?, lifetimes, Stamp::now());
            let found = found.ok_or_else(|| Refusal::missing("TOPIC_NOT_FOUND"))?;
            drop(registrations);
            let producers = found.producers.iter().map(|info| &**info).collect();
            Reply::json(&LookupView { channels: found.channels, producers })
        }
        Endpoint::Nodes => {
            let nodes = registrations.nodes(lifetimes, Stamp::now());
            drop(registrations);
            let producers = nodes.iter().map(NodeView::of).collect();
            Reply::json(&NodesView { producers })
        }
        Endpoint::TopicCreate => {
            let topic = valid(parameter(raw, TOPIC)?, "INVALID_ARG_TOPIC")?;
            tracing::info!("DB: adding topic({topic})");
            registrations.create_topic(&topic);
            Ok(Reply::Empty)
        }
        Endpoint::TopicDelete => {
            let topic = parameter(raw, TOPIC)?;
            tracing::info!("DB: removing topic({topic}) and its channels");
            registrations.delete_topic(&topic);
            Ok(Reply::Empty)
        }
        Endpoint::TopicTombstone => {
            let (topic, node) = (parameter(raw, TOPIC)?, parameter(raw, NODE)?);
            tracing::info!("DB: setting tombstone for producer@{node} of topic({topic})");
            registrations.tombstone(&topic, &node, Stamp::now());
            Ok(Reply::Empty)
        }
        Endpoint::ChannelCreate => {
            let (topic, channel) = topic_and_channel(raw)?;
            tracing::info!("DB: adding channel({channel}) in topic({topic})");
            registrations.create_channel(&topic, &channel);
            Ok(Reply::Empty)
        }
        Endpoint::ChannelDelete => {
            let (topic, channel) = topic_and_channel(raw)?;
            if !registrations.delete_channel(&topic, &channel) {
                return Err(Refusal::missing("CHANNEL_NOT_FOUND"));
            }
            tracing::info!("DB: removed channel({channel}) from topic({topic})");
            Ok(Reply::Empty)
        }
        // Answered without the envelope, before this.
        Endpoint::Profile(_) => Err(Refusal::missing("NOT_FOUND")),
    }
}

/// A parameter, and what is said when it is missing.
type Parameter = (&'static str, &'static str);

const TOPIC: Parameter = ("topic", "MISSING_ARG_TOPIC");
const CHANNEL: Parameter = ("channel", "MISSING_ARG_CHANNEL");
const NODE: Parameter = ("node", "MISSING_ARG_NODE");

fn parameter(raw: &str, (name, missing): Parameter) -> Result<String, Refusal> {
    let query = Query::parse(raw)?;
    query.get(name).map(str::to_owned).ok_or_else(|| Refusal::bad(missing))
}

fn valid(name: String, otherwise: &'static str) -> Result<String, Refusal> {
    if is_valid_name(name.as_bytes()) { Ok(name) } else { Err(Refusal::bad(otherwise)) }
}

fn topic_and_channel(raw: &str) -> Result<(String, String), Refusal> {
    let topic = valid(parameter(raw, TOPIC)?, "INVALID_ARG_TOPIC")?;
    let channel = valid(parameter(raw, CHANNEL)?, "INVALID_ARG_CHANNEL")?;
    Ok((topic, channel))
}

/// What `/lookup` answers. Views have their keys in nsqlookupd's order.
#[derive(Serialize)]
struct LookupView<'a> {
    channels: Vec<String>,
    producers: Vec<&'a PeerInfo>,
}

/// What `/nodes` answers.
#[derive(Serialize)]
struct NodesView<'a> {
    producers: Vec<NodeView<'a>>,
}

/// An nsqd as `/nodes` shows it: who it is, and two lists that go together.
#[derive(Serialize)]
struct NodeView<'a> {
    #[serde(flatten)]
    info: &'a PeerInfo,
    tombstones: Vec<bool>,
    topics: Vec<&'a str>,
}

impl<'a> NodeView<'a> {
    fn of(node: &'a Node) -> Self {
        Self {
            info: &node.info,
            tombstones: node.topics.iter().map(|(_, is_taken)| *is_taken).collect(),
            topics: node.topics.iter().map(|(topic, _)| topic.as_str()).collect(),
        }
    }
}

/// Everything that is registered, by registration.
fn dump(all: BTreeMap<String, Vec<Entry>>) -> Value {
    let entries = all.into_iter().map(|(key, entries)| {
        let entries = entries.into_iter().map(|entry| {
            json!({
                "broadcast_address": entry.info.broadcast_address,
                "hostname": entry.info.hostname,
                "http_port": entry.info.http_port,
                "id": entry.info.remote_address,
                "last_update": entry.last_update,
                "tcp_port": entry.info.tcp_port,
                "tombstoned": entry.tombstoned,
                "tombstoned_at": entry.tombstoned_at,
                "topology_region": entry.info.topology_region,
                "topology_zone": entry.info.topology_zone,
                "version": entry.info.version,
            })
        });
        (key, entries.collect::<Value>())
    });
    Value::Object(entries.collect())
}
