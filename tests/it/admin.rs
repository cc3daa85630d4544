//! nsqadmin's API, for nodes that nsqlookupds know and for nodes that were named. `NSQADMIN`, `NSQD` and `NSQLOOKUPD` may name
//! other ones' binaries: the same tests then tell whether they ask for the right thing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::admin::{Cluster, Endpoint, Mute, act, get, is_other, nsqadmin, send, start};
use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::wait::{eventually, until_true};

#[test]
fn figures_of_all_nodes_are_added_up() {
    let cluster = Cluster::start();
    cluster.make("orders", "billing");
    cluster.publish(0, "orders", 3);
    cluster.publish(1, "orders", 2);
    let _consumer = Client::subscribed(cluster.nodes[1].tcp(), "orders", "billing", 1);
    for admin in [cluster.admin(), cluster.admin_of_nodes()] {
        assert_eq!(get(&admin, "/api/topics"), json!({"topics": ["orders"], "message": ""}));
        let topic = get(&admin, "/api/topics/orders");
        assert_eq!((&topic["node"], &topic["message_count"]), (&json!("*"), &json!(5)));
        assert_eq!(topic["nodes"].as_array().unwrap().len(), 2);
        assert_eq!(topic["channels"][0]["channel_name"], "billing");
        let path = "/api/topics/orders/billing";
        let channel = eventually("a message in flight", || {
            let channel = get(&admin, path);
            (channel["in_flight_count"] == 1).then_some(channel)
        });
        assert_eq!((&channel["depth"], &channel["client_count"]), (&json!(4), &json!(1)));
        assert_eq!(channel["nodes"].as_array().unwrap().len(), 2);
        assert_eq!(channel["clients"][0]["ready_count"], 1);
        assert_eq!(channel["clients"][0]["node"], cluster.name(1));
        assert_eq!(channel["e2e_processing_latency"]["percentiles"], json!(null));
        let nodes = get(&admin, "/api/nodes");
        assert_eq!(nodes["nodes"].as_array().unwrap().len(), 2);
        assert_eq!(nodes["nodes"][0]["topics"], json!([{"topic": "orders", "tombstoned": false}]));
        let node = get(&admin, &format!("/api/nodes/{}", cluster.name(1)));
        assert_eq!((&node["total_messages"], &node["total_clients"]), (&json!(2), &json!(1)));
        assert_eq!(node["topics"][0]["channels"][0]["clients"][0]["in_flight_count"], 1);
        let counter = get(&admin, "/api/counter");
        let key = format!("orders:billing:{}", cluster.name(0));
        assert_eq!(counter["stats"][&key]["message_count"], 3);
    }
}

#[test]
fn what_is_done_is_done_on_every_node() {
    let cluster = Cluster::start();
    let admin = cluster.admin();
    act(&admin, "POST", "/api/topics", &json!({"topic": "empty"}));
    let inactive = || get(&admin, "/api/topics?inactive=true")["topics"].clone();
    assert_eq!(inactive(), json!({"empty": null}));
    act(&admin, "DELETE", "/api/topics/empty", &Value::Null);
    assert_eq!(inactive(), json!({}));
    cluster.make("orders", "billing");
    act(&admin, "POST", "/api/topics", &json!({"topic": "orders", "channel": "more"}));
    for node in &cluster.nodes {
        let stats = http::get(node.http(), "/stats?format=json&topic=orders").json();
        assert_eq!(stats["topics"][0]["channels"].as_array().unwrap().len(), 2);
    }
    cluster.publish(0, "orders", 3);
    let topic = || get(&admin, "/api/topics/orders");
    let channel = || get(&admin, "/api/topics/orders/billing");
    until_true("three messages in the channel", || channel()["depth"] == 3);
    act(&admin, "POST", "/api/topics/orders/billing", &json!({"action": "pause"}));
    assert_eq!(channel()["paused"], true);
    act(&admin, "POST", "/api/topics/orders/billing", &json!({"action": "unpause"}));
    assert_eq!(channel()["paused"], false);
    act(&admin, "POST", "/api/topics/orders/billing", &json!({"action": "empty"}));
    assert_eq!(channel()["depth"], 0);
    act(&admin, "POST", "/api/topics/orders", &json!({"action": "pause"}));
    assert_eq!(topic()["paused"], true);
    act(&admin, "POST", "/api/topics/orders", &json!({"action": "unpause"}));
    act(&admin, "DELETE", "/api/topics/orders/more", &Value::Null);
    assert_eq!(topic()["channels"].as_array().unwrap().len(), 1);
    let node = cluster.name(0);
    act(&admin, "DELETE", &format!("/api/nodes/{node}"), &json!({"topic": "orders"}));
    until_true("one node left", || topic()["nodes"].as_array().unwrap().len() == 1);
    act(&admin, "DELETE", "/api/topics/orders", &Value::Null);
    until_true("no topics", || get(&admin, "/api/topics")["topics"].is_null());
}

#[test]
fn what_cannot_be_is_said_in_nsqadmins_words() {
    let cluster = Cluster::start();
    cluster.make("orders", "billing");
    let admin = cluster.admin();
    let refused = |method: &str, path: &str, body: &Value, status: u16, message: &str| {
        let (found, answer) = send(&admin, method, path, body);
        assert_eq!((found, answer["message"].as_str()), (status, Some(message)), "{method} {path}");
    };
    refused("GET", "/api/nodes/none:1", &Value::Null, 404, "NODE_NOT_FOUND");
    if !is_other() {
        // Some versions answer with nothing but a message instead.
        refused("GET", "/api/topics/orders/none", &Value::Null, 500, "INTERNAL_ERROR");
    }
    refused("POST", "/api/topics", &json!({"topic": "a b"}), 400, "INVALID_TOPIC");
    let wrong = json!({"topic": "orders", "channel": "a b"});
    refused("POST", "/api/topics", &wrong, 400, "INVALID_CHANNEL");
    refused("POST", "/api/topics", &Value::Null, 400, "EOF");
    refused("POST", "/api/topics/orders", &json!({"action": "burn"}), 400, "INVALID_ACTION");
    refused("POST", "/api/topics/orders/billing", &json!({}), 400, "INVALID_ACTION");
    refused(
        "DELETE",
        &format!("/api/nodes/{}", cluster.name(0)),
        &Value::Null,
        400,
        "INVALID_BODY",
    );
    refused("GET", "/api/graphite?metric=depth", &Value::Null, 400, "INVALID_ARG_METRIC");
    refused("GET", "/nowhere", &Value::Null, 404, "NOT_FOUND");
    refused("PUT", "/api/topics", &Value::Null, 405, "METHOD_NOT_ALLOWED");
    let (status, answer) = send(&admin, "GET", "/api/topics/none", &Value::Null);
    assert_eq!(status, 502);
    assert!(answer["message"].as_str().unwrap().starts_with("UPSTREAM_ERROR: "), "{answer}");
    let ping = http::get(admin.admin(), "/ping");
    assert_eq!((ping.text().as_str(), ping.header("x-nsq-content-type")), ("OK", None));
    let page = http::get(admin.admin(), "/topics/orders/billing");
    assert_eq!(
        (page.status, page.header("content-type").unwrap().split(';').next()),
        (200, Some("text/html"))
    );
}

#[test]
fn a_topic_that_nobody_has_among_named_nodes() {
    let node = Leveret::nsqd().start();
    let admin = start(nsqadmin().arg(&format!("--nsqd-http-address={}", node.http())));
    let (status, answer) = send(&admin, "GET", "/api/topics/none", &Value::Null);
    assert_eq!(
        (status, &answer["message"]),
        (502, &json!("UPSTREAM_ERROR: failed to query any nsqd: "))
    );
    act(&admin, "POST", "/api/topics", &json!({"topic": "t"}));
    assert_eq!(get(&admin, "/api/topics")["topics"], Value::Null, "nobody was asked to make it");
    let (status, answer) =
        send(&admin, "POST", "/api/topics", &json!({"topic": "t", "channel": "c"}));
    let nobody = json!("UPSTREAM_ERROR: failed to query any nsqlookupd: ");
    assert_eq!((status, &answer["message"]), (502, &nobody));
    assert_eq!(get(&admin, "/api/topics?inactive=true")["topics"], json!({}));
}

#[test]
fn a_dead_and_a_silent_node_are_named_and_the_rest_is_shown() {
    let node = Leveret::nsqd().start();
    http::done(node.http(), "/topic/create?topic=orders");
    let mute = Mute::new();
    let dead = { Mute::new().address() };
    let plan = nsqadmin().arg("--http-client-request-timeout=700ms");
    let plan = [node.http(), mute.address(), dead]
        .iter()
        .fold(plan, |plan, at| plan.arg(&format!("--nsqd-http-address={at}")));
    let admin = start(plan);
    let begun = Instant::now();
    let topics = get(&admin, "/api/topics");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(topics["topics"], json!(["orders"]));
    let message = topics["message"].as_str().unwrap();
    assert!(message.starts_with("WARNING: "), "{message}");
    for named in [mute.address(), dead] {
        assert!(message.contains(&named.to_string()), "{named} in {message}");
    }
    let nodes = get(&admin, "/api/nodes");
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1);
    let none = start(nsqadmin().arg(&format!("--nsqd-http-address={dead}")));
    let (status, answer) = send(&none, "GET", "/api/topics", &Value::Null);
    assert_eq!(status, 502);
    let words = answer["message"].as_str().unwrap();
    assert!(words.starts_with("UPSTREAM_ERROR: failed to query any nsqd: "), "{words}");
}

#[test]
fn each_action_is_told_to_the_endpoint() {
    let cluster = Cluster::start();
    cluster.make("orders", "billing");
    let endpoint = Endpoint::start();
    let lookupd = format!("--lookupd-http-address={}", cluster.lookupd.http());
    let to = format!("--notification-http-endpoint={}", endpoint.url());
    let admin = start(nsqadmin().arg(&lookupd).arg(&to));
    act(&admin, "POST", "/api/topics/orders/billing", &json!({"action": "pause"}));
    let told = endpoint.next();
    assert_eq!((&told["action"], &told["topic"]), (&json!("pause_channel"), &json!("orders")));
    assert_eq!(told["channel"], "billing");
    assert!(told.get("node").is_none() && told.get("user").is_none(), "{told}");
    assert!(told["url"].as_str().unwrap().ends_with("/api/topics/orders/billing"), "{told}");
    assert!(told["timestamp"].as_i64().unwrap() > 1_700_000_000);
    act(&admin, "POST", "/api/topics", &json!({"topic": "new", "channel": "c"}));
    let actions = [endpoint.next(), endpoint.next()].map(|told| told["action"].clone());
    assert_eq!(actions, [json!("create_topic"), json!("create_channel")]);
    let node = cluster.name(0);
    act(&admin, "DELETE", &format!("/api/nodes/{node}"), &json!({"topic": "orders"}));
    let told = endpoint.next();
    assert_eq!(
        (&told["action"], &told["node"]),
        (&json!("tombstone_topic_producer"), &json!(node))
    );
}

#[test]
fn paths_have_a_base_and_answers_are_packed() {
    let cluster = Cluster::start();
    for at in 0..30 {
        http::done(cluster.nodes[0].http(), &format!("/topic/create?topic=topic-number-{at}"));
    }
    let lookupd = format!("--lookupd-http-address={}", cluster.lookupd.http());
    let admin = start(nsqadmin().arg(&lookupd).arg("--base-path=/nsq/"));
    until_true("all topics", || {
        get(&admin, "/nsq/api/topics")["topics"].as_array().unwrap().len() == 30
    });
    let status = |path: &str| http::get(admin.admin(), path).status;
    assert_eq!((status("/nsq"), status("/nsq/topics"), status("/api/topics")), (200, 200, 404));
    let moved = http::get(admin.admin(), "/nsq/");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/nsq")));
    let packed = |how: &str| {
        let headers = [("Accept-Encoding", how)];
        http::request(admin.admin(), "GET", "/nsq/api/topics", &headers, b"")
    };
    let gzip = packed("gzip, deflate");
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    assert_eq!(gzip.body[..2], [0x1f, 0x8b]);
    assert_eq!(packed("deflate").header("content-encoding"), Some("deflate"));
    assert_eq!(packed("identity").header("content-encoding"), None);
}

#[test]
fn options_are_shown_and_changed_from_where_that_is_allowed() {
    let cluster = Cluster::start();
    let admin = cluster.admin();
    let addresses = json!([cluster.lookupd.http().to_string()]);
    assert_eq!(get(&admin, "/config/nsqlookupd_http_addresses"), addresses);
    let put = |option: &str, body: &str| {
        http::request(admin.admin(), "PUT", &format!("/config/{option}"), &[], body.as_bytes())
    };
    assert_eq!(put("nsqlookupd_http_addresses", r#"["127.0.0.1:1"]"#).status, 200);
    assert_eq!(get(&admin, "/config/nsqlookupd_http_addresses"), json!(["127.0.0.1:1"]));
    assert_eq!(http::get(admin.admin(), "/api/topics").status, 502);
    assert_eq!(put("nsqlookupd_http_addresses", &addresses.to_string()).status, 200);
    assert_eq!(http::get(admin.admin(), "/api/topics").status, 200);
    assert_eq!(put("nsqlookupd_http_addresses", "{}").status, 400);
    assert_eq!(put("log_level", "debug").status, 200);
    assert_eq!(put("log_level", "loud").status, 400);
    assert_eq!(put("log_level", "").status, 413);
    assert_eq!(put("none", "x").status, 400);
    let lookupd = format!("--lookupd-http-address={}", cluster.lookupd.http());
    let closed = start(nsqadmin().arg(&lookupd).arg("--allow-config-from-cidr=10.0.0.0/8"));
    let refused = http::get(closed.admin(), "/config/nsqlookupd_http_addresses");
    assert_eq!((refused.status, refused.json()), (403, json!({"message": "FORBIDDEN"})));
}

#[test]
fn whom_the_header_names_may_act_and_others_look() {
    let cluster = Cluster::start();
    cluster.make("orders", "billing");
    let lookupd = format!("--lookupd-http-address={}", cluster.lookupd.http());
    let admin =
        start(nsqadmin().arg(&lookupd).arg("--admin-user=ann").arg("--acl-http-header=X-User"));
    let pause = |user: Option<&str>| {
        let headers: Vec<(&str, &str)> = user.iter().map(|user| ("X-User", *user)).collect();
        let body = br#"{"action":"pause"}"#;
        http::request(admin.admin(), "POST", "/api/topics/orders", &headers, body).status
    };
    assert_eq!((pause(None), pause(Some("bob")), pause(Some("ann"))), (403, 403, 200));
    assert_eq!(http::get(admin.admin(), "/api/topics/orders").status, 200);
}

#[test]
fn what_it_cannot_start_with_is_said() {
    let fails = |arguments: &[&str]| {
        let plan = arguments.iter().fold(nsqadmin(), |plan, argument| plan.arg(argument));
        let (code, log) = plan.run();
        assert_eq!(code, Some(1), "{log}");
        log
    };
    assert!(fails(&[]).contains("--nsqd-http-address or --lookupd-http-address required"));
    let both = ["--nsqd-http-address=127.0.0.1:1", "--lookupd-http-address=127.0.0.1:1"];
    assert!(fails(&both).contains("use --nsqd-http-address or --lookupd-http-address not both"));
    if !is_other() {
        let log = fails(&["--nsqd-http-address=no.such.host.invalid:1"]);
        assert!(log.contains("failed to resolve --nsqd-http-address address"), "{log}");
    }
    let plan = Leveret::named("nsqadmin").arg("--version");
    let (code, said) = plan.run();
    assert!(code == Some(0) && said.starts_with("nsqadmin v1.3.0"), "{said}");
}
