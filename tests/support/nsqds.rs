//! Several nsqds, and a node with routes between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::http;
use super::leveret::Leveret;
use super::nsq::Client;
use super::wait::eventually;

/// A node with these routes and no broker.
pub(crate) fn gateway(routes: &str) -> Leveret {
    let configuration = "nsqd:\n  tcp_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  data_path: '{dir}/data'\n\
         bridges: bridges\n";
    Leveret::serve(configuration).file("bridges/routes.yaml", routes).start()
}

pub(crate) fn nodes(count: usize) -> Vec<Leveret> {
    (0..count).map(|_| Leveret::nsqd().start()).collect()
}

/// A list of addresses, as YAML.
pub(crate) fn list(nodes: &[Leveret]) -> String {
    let addresses: Vec<String> = nodes.iter().map(|node| format!("\"{}\"", node.tcp())).collect();
    format!("[{}]", addresses.join(", "))
}

/// Makes a channel, so that nothing published from now on is missed.
pub(crate) fn make(node: &Leveret, topic: &str, channel: &str) {
    for path in [
        format!("/topic/create?topic={topic}"),
        format!("/channel/create?topic={topic}&channel={channel}"),
    ] {
        assert_eq!(http::post(node.http(), &path, b"").status, 200, "{path}");
    }
}

pub(crate) fn publish(at: SocketAddr, topic: &str, prefix: &str, count: usize) {
    let bodies: Vec<String> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
    let mut client = Client::connect(at);
    for bodies in bodies.chunks(100) {
        let bodies: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
        client.publish_many(topic, &bodies);
    }
}

/// Takes messages until `count` different ones have come; gives how often each came.
pub(crate) fn collect(client: &mut Client, count: usize) -> BTreeMap<String, usize> {
    let mut came = BTreeMap::new();
    while came.len() < count {
        let message = client.message();
        client.fin(&message);
        *came.entry(message.text().to_owned()).or_insert(0) += 1;
    }
    came
}

/// The one client of a channel, once there is one.
pub(crate) fn client_of(node: &Leveret, topic: &str, channel: &str) -> Value {
    eventually("a client of the channel", || {
        let shown = http::get(node.http(), "/stats?format=json").json();
        let topics = shown["topics"].as_array()?.clone();
        let topic = topics.into_iter().find(|shown| shown["topic_name"] == topic)?;
        let channels = topic["channels"].as_array()?.clone();
        let channel = channels.into_iter().find(|shown| shown["channel_name"] == channel)?;
        channel["clients"].as_array()?.first().cloned()
    })
}
