//! Figures pushed to a strict OpenTSDB: names, tags, batches, and what happens when it refuses or is away.

use serde_json::json;

use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::opentsdb::{Mood, OpenTsdb};
use crate::support::wait::until_true;

fn configuration(server: &OpenTsdb) -> String {
    format!(
        "nsqd: {{ tcp_address: 127.0.0.1:0, http_address: 127.0.0.1:0, broadcast_address: 127.0.0.1 }}\n\
         metrics: {{ opentsdb: {{ url: \"{}\", interval: 1s, batch: 7, bosun: true, tags: {{ dc: \"eu west\" }} }} }}\n",
        server.url()
    )
}

#[test]
fn figures_are_pushed_with_tags_and_what_they_mean() {
    let server = OpenTsdb::start();
    let mut node = Leveret::serve(&configuration(&server)).start();
    let told = server.next("leveret.start.time_seconds");
    assert_eq!((&told["Name"], &told["Value"]), (&json!("rate"), &json!("gauge")));
    http::done(node.http(), "/topic/create?topic=orders%23ephemeral");
    http::done(node.http(), "/channel/create?topic=orders%23ephemeral&channel=c");
    let depth = server.next("leveret.channel.depth");
    let host = format!("127.0.0.1_{}", node.http().port());
    let tags = json!({"host": host, "dc": "eu_west", "topic": "orders_ephemeral", "channel": "c"});
    assert_eq!((&depth["tags"], &depth["value"]), (&tags, &json!(0.0)));
    server.be(Mood::Ill);
    http::post(node.http(), "/pub?topic=orders%23ephemeral", b"x");
    node.await_log("figures could not be pushed");
    server.be(Mood::Well);
    until_true("what waited arrives", || server.next("leveret.channel.depth")["value"] == 1.0);
    server.be(Mood::Against("channel"));
    let counted = |name: &str| {
        let metrics = http::get(node.http(), "/metrics").text();
        let value =
            metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        value.unwrap_or_default()
    };
    until_true("refused points are counted", || counted("leveret_opentsdb_dropped_total") > 0);
    assert!(counted("leveret_opentsdb_points_total") > 20);
    server.be(Mood::Well);
    assert!(node.stop().success());
}
