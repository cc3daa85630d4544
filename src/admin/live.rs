//! Server-sent events: what pages show is sent anew every two seconds, for as long as they are open. Pages that show the
//! same share one round of questions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep_until;

use super::router::Given;
use super::{Admin, nodes};
use crate::clock::{self, Instant};
use crate::http::query::Query;
use crate::http::reply::Refusal;

/// How often.
const EVERY: Duration = Duration::from_secs(2);
/// An answer this young is not asked for again.
const YOUNG: Duration = Duration::from_millis(1500);
/// Pages at once.
const STREAMS_MAX: usize = 500;

/// What a page wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Topics,
    Nodes,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Live {
    room: Arc<Semaphore>,
    last: Mutex<BTreeMap<Of, (Instant, Bytes)>>,
    /// Held by whoever asks.
    asking: Semaphore,
    ended: watch::Sender<bool>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(STREAMS_MAX)),
            last: Mutex::default(),
            asking: Semaphore::new(1),
            ended: watch::Sender::new(false),
        }
    }
}

impl Live {
    /// Ends all streams: whoever stops serving waits for them.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
    }
}

/// One page's stream.
struct Stream {
    admin: Arc<Admin>,
    of: Of,
    ended: watch::Receiver<bool>,
    next: Instant,
    _room: OwnedSemaphorePermit,
}

/// GET `/api/live?of=topics` or `of=nodes`.
pub(super) fn stream(admin: &Arc<Admin>, raw: &str) -> Result<Given, Refusal> {
    let of = match Query::parse(raw)?.get("of") {
        Some("topics") => Of::Topics,
        Some("nodes") => Of::Nodes,
        _ => return Err(Refusal::bad("INVALID_ARG_OF")),
    };
    let full = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_STREAMS");
    let room = Arc::clone(&admin.live.room).try_acquire_owned().map_err(full)?;
    let first = Stream {
        admin: Arc::clone(admin),
        of,
        ended: admin.live.ended.subscribe(),
        next: clock::now(),
        _room: room,
    };
    let events = stream::unfold(first, |mut stream| async move {
        tokio::select! {
            () = crate::task::stopped(&mut stream.ended) => return None,
            () = sleep_until(stream.next) => {}
        }
        stream.next = clock::now() + EVERY;
        let event = Box::pin(event(&stream.admin, stream.of)).await;
        Some((Ok::<_, std::convert::Infallible>(event), stream))
    });
    Ok(Given::Stream(Body::from_stream(events)))
}

/// The figures of this moment, or of one just before.
async fn event(admin: &Admin, of: Of) -> Bytes {
    let live = &admin.live;
    // Never closed.
    let _asking = live.asking.acquire().await;
    let young = live.last.lock().get(&of).filter(|(at, _)| clock::since(*at) < YOUNG).cloned();
    if let Some((_, event)) = young {
        return event;
    }
    let told = match of {
        Of::Topics => topics(admin).await,
        Of::Nodes => nodes::look(admin).await.map_err(|e| e.to_string()).and_then(|o| json(&o)),
    };
    let event = match told {
        Ok(json) => format!("event: figures\ndata: {json}\n\n"),
        Err(words) => {
            let words = serde_json::json!({ "message": words });
            format!("event: trouble\ndata: {words}\n\n")
        }
    };
    let event = Bytes::from(event);
    live.last.lock().insert(of, (clock::now(), event.clone()));
    event
}

fn json(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

#[derive(Default, Serialize)]
struct Sum {
    depth: i64,
    in_flight: i64,
    deferred: i64,
    messages: i64,
    channels: usize,
    clients: i64,
    paused: bool,
}

#[derive(Serialize)]
struct Topics {
    topics: BTreeMap<String, Sum>,
    message: String,
}

/// Each topic's sum over nodes and channels. One that no node has is there with nothing.
async fn topics(admin: &Admin) -> Result<String, String> {
    let words = |silence: super::cluster::Silence| silence.to_string();
    let known = admin.cluster.topics().await.map_err(words)?;
    let nodes = admin.cluster.nodes().await.map_err(words)?;
    let mut warnings = [known.warnings, nodes.warnings].concat();
    let mut topics: BTreeMap<String, Sum> =
        known.value.into_iter().map(|name| (name, Sum::default())).collect();
    if !nodes.value.is_empty() {
        let told = admin.cluster.stats(&nodes.value, (None, None), false).await.map_err(words)?;
        warnings.extend(told.warnings);
        let mut sums = BTreeMap::new();
        for topic in told.value {
            let sum = sums
                .entry(topic.topic_name.clone())
                .or_insert_with(|| super::shapes::TopicStats::none(&topic.topic_name));
            sum.add(&topic);
        }
        for (name, sum) in sums {
            topics.insert(name, sum.brief());
        }
    }
    warnings.dedup();
    json(&Topics { topics, message: super::api::warning(&warnings) })
}

impl super::shapes::TopicStats {
    fn brief(&self) -> Sum {
        let (depth, messages, paused) = self.own();
        let mut sum = Sum { depth, messages, paused, ..Sum::default() };
        sum.channels = self.channels.as_ref().map_or(0, Vec::len);
        for channel in self.channels.iter().flatten() {
            let (depth, in_flight, deferred) = channel.waiting();
            sum.depth += depth;
            sum.in_flight += in_flight;
            sum.deferred += deferred;
            sum.clients += channel.client_count;
        }
        sum
    }
}
