//! What Leveret's nodes have and nsqd has not: routes, brokers, messages to look at, alerts. Other nodes are passed over.

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;

use super::Admin;
use super::access::Actor;
use super::api::{find_node, warning};
use super::cluster::{Silence, Told};
use super::notify::Action;
use super::router::{Asked, Given};
use super::shapes::Producer;
use crate::client::Call;
use crate::http::reply::{Refusal, Reply};

/// What one node has.
#[derive(Serialize)]
struct Seen {
    node: String,
    hostname: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    brokers: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alerts: Option<Value>,
    /// Why it told nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// All nodes, and what Leveret's have.
#[derive(Serialize)]
pub(super) struct Overview {
    nodes: Vec<Seen>,
    message: String,
}

/// Asks every node.
pub(super) async fn look(admin: &Admin) -> Result<Overview, Silence> {
    let Told { value: nodes, warnings } = admin.cluster.nodes().await?;
    let seen = join_all(nodes.iter().map(|node| look_at(admin, node))).await;
    Ok(Overview { nodes: seen, message: warning(&warnings) })
}

/// GET `/api/leveret`.
pub(super) async fn overview(admin: &Admin) -> Result<Reply, Refusal> {
    Reply::json(&look(admin).await?)
}

async fn look_at(admin: &Admin, node: &Producer) -> Seen {
    let address = node.reached_at();
    let (routes, alerts) = futures_util::future::join(
        ask(admin, &address, "/v1/routes"),
        ask(admin, &address, "/v1/alerts"),
    )
    .await;
    let mut seen = Seen {
        node: node.http_address(),
        hostname: node.hostname.clone(),
        version: node.version.clone(),
        routes: None,
        brokers: None,
        alerts: None,
        error: None,
    };
    match routes {
        Ok(Some(mut told)) => {
            let mut part = |name| told.get_mut(name).map(Value::take);
            seen.routes = part("routes");
            seen.brokers = part("brokers");
            // A node of an older version has none.
            seen.alerts = alerts.ok().flatten();
        }
        Ok(None) => {}
        Err(words) => seen.error = Some(words),
    }
    seen
}

/// A node's answer; `None` from one that does not know the question, as nsqd does not.
async fn ask(admin: &Admin, address: &str, path: &str) -> Result<Option<Value>, String> {
    let answered = admin.cluster.send(&Call::get(address, path)).await?;
    match answered.status {
        StatusCode::OK => {
            serde_json::from_slice(&answered.body).map(Some).map_err(|error| error.to_string())
        }
        StatusCode::NOT_FOUND => Ok(None),
        status => Err(format!("http://{address}{path}: got response {status}")),
    }
}

/// `/api/leveret/:node/...`: one of the requests in the router's table, put to a node that is known.
pub(super) async fn relay(
    admin: &Admin,
    asked: &mut Asked<'_>,
    path: &str,
) -> Result<Given, Refusal> {
    let method = asked.method();
    let actor = match method.as_str() {
        "GET" => None,
        _ => Some(asked.operator(admin)?),
    };
    let name = path.split('/').nth(3).unwrap_or_default().to_owned();
    let node = find_node(admin, &name).await?.value.reached_at();
    // The path as it came, escapes and all.
    let raw = asked.raw_path(&admin.options.base_path);
    let onward: String = raw.split('/').skip(4).flat_map(|segment| ["/", segment]).collect();
    let with_query = format!("{onward}?{}", asked.query());
    let body = asked.body().await?;
    let call = Call {
        method,
        body: (!body.is_empty()).then_some(&*body),
        ..Call::get(&node, &with_query)
    };
    let unreachable = |words: String| Refusal::from(Silence(words));
    let answered = admin.cluster.send(&call).await.map_err(unreachable)?;
    if let Some(actor) = actor {
        tell(admin, asked, &actor, &onward, &name);
    }
    Ok(Given::Whole {
        status: answered.status,
        content_type: answered.content_type.unwrap_or_else(|| "application/json".to_owned()),
        body: answered.body,
        etag: None,
    })
}

/// An action such as `pause_route`, with the route's or channel's name where nsqadmin has a topic's.
fn tell(admin: &Admin, asked: &Asked<'_>, actor: &Actor, onward: &str, node: &str) {
    let query = crate::http::query::Query::parse(asked.query()).unwrap_or_default();
    let parts: Vec<&str> = onward.split('/').skip(2).collect();
    let (action, topic) = match (parts.as_slice(), asked.method().as_str()) {
        (["routes", name], "PUT") => ("put_route".to_owned(), *name),
        (["routes", name], "DELETE") => ("delete_route".to_owned(), *name),
        (["routes", name, act], _) => (format!("{act}_route"), *name),
        (["messages", act], _) => (format!("{act}_messages"), query.get("topic").unwrap_or("")),
        (["brokers", _, "messages", act], _) => {
            (format!("{act}_messages"), query.get("queue").unwrap_or(""))
        }
        _ => ("act".to_owned(), onward),
    };
    if query.get("dry_run").is_some_and(|dry| dry != "false") {
        return;
    }
    admin.notifier.tell(
        actor,
        asked,
        &Action { action: &action, topic, channel: query.get("channel").unwrap_or_default(), node },
    );
}
