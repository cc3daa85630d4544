//! Tests of what is read and added up.

use serde_json::json;

use super::*;

const HERE: Origin<'_> = Origin { address: "a:4151", hostname: "a", region: "eu", zone: "eu-1" };
const THERE: Origin<'_> = Origin { address: "b:4151", hostname: "b", region: "eu", zone: "eu-2" };

fn topic(text: &serde_json::Value, of: &Origin<'_>) -> TopicStats {
    let mut topic: TopicStats = serde_json::from_value(text.clone()).unwrap();
    topic.of_one(of, 1000);
    topic
}

#[test]
fn figures_of_nodes_are_added_and_stay_apart() {
    let told = |depth: i64, latency: f64| {
        json!({
            "topic_name": "t", "depth": depth, "backend_depth": 1, "message_count": 10,
            "paused": depth > 3,
            "channels": [{
                "channel_name": "c", "depth": depth, "in_flight_count": 2, "message_count": 10,
                "client_count": 1, "zone_local_msg_count": 4, "paused": false,
                "clients": [{"client_id": "x", "connect_ts": 990, "topology_region": "eu", "topology_zone": "eu-1"}],
                "e2e_processing_latency": {"count": 2, "percentiles": [{"quantile": 0.5, "value": latency}]},
            }],
        })
    };
    let mut all = TopicStats::none("t");
    all.add(&topic(&told(5, 10.0), &THERE));
    all.add(&topic(&told(3, 20.0), &HERE));
    let shown = serde_json::to_value(&all).unwrap();
    assert_eq!((&shown["depth"], &shown["memory_depth"]), (&json!(8), &json!(6)));
    assert_eq!((&shown["node"], &shown["paused"]), (&json!("*"), &json!(true)));
    let channel = &shown["channels"][0];
    assert_eq!((&channel["depth"], &channel["client_count"]), (&json!(8), &json!(2)));
    assert_eq!(channel["nodes"][0]["node"], "a:4151");
    assert_eq!(channel["nodes"][1]["depth"], 5, "each node's own");
    assert_eq!(shown["nodes"][1]["channels"][0]["depth"], 5);
    assert_eq!(shown["nodes"][0]["channels"][0]["nodes"], json!(null));
    let percentile = &channel["e2e_processing_latency"]["percentiles"][0];
    let wanted = json!({"average": 15, "count": 4, "max": 20, "min": 10, "quantile": 0.5});
    assert_eq!(*percentile, wanted);
    let own = &channel["nodes"][0]["e2e_processing_latency"]["percentiles"][0];
    assert_eq!(own["value"], 20.0);
    let clients = channel["clients"].as_array().unwrap();
    assert_eq!(
        (&clients[0]["node"], &clients[0]["connected"]),
        (&json!("a:4151"), &json!(10_000_000_000_i64))
    );
    assert_eq!(shown["delivery_msg_count"], 8);
}

#[test]
fn a_node_that_several_nsqlookupds_know_is_one() {
    let node = |host: &str, version: &str| Registered {
        remote_address: "1.2.3.4:5".into(),
        hostname: host.into(),
        broadcast_address: host.into(),
        tcp_port: 4150,
        http_port: 4151,
        version: version.into(),
        topics: vec!["z".into(), "a".into()],
        tombstones: vec![true, false],
        ..Registered::default()
    };
    let told = [
        ("l2:4161".to_owned(), node("b", "1.3.0")),
        ("l1:4161".to_owned(), node("b", "1.3.0")),
        ("l1:4161".to_owned(), node("a", "1.2.1")),
    ];
    let nodes = serde_json::to_value(merged(told)).unwrap();
    assert_eq!(nodes.as_array().unwrap().len(), 2);
    assert_eq!((&nodes[0]["hostname"], &nodes[0]["out_of_date"]), (&json!("a"), &json!(true)));
    assert_eq!(nodes[1]["remote_addresses"], json!(["l1:4161/1.2.3.4:5", "l2:4161/1.2.3.4:5"]));
    let topics = json!([{"topic": "a", "tombstoned": false}, {"topic": "z", "tombstoned": true}]);
    assert_eq!(nodes[1]["topics"], topics);
    assert!(nodes[0].get("topology_zone").is_none());
}

#[test]
fn versions_are_compared_by_their_numbers() {
    assert!(version("1.10.0") > version("1.9.9"));
    assert!(version("1.3.0-alpha") < version("1.3.0"));
    assert!(version("") < version("0.0.1"));
}
