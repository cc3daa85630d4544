//! Nodes that announce themselves to nsqlookupds, and who finds them there. `NSQLOOKUPD` and `NSQD` may name real ones' binaries:
//! each of the two sides then meets the original.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;

use crate::support::drivers::Library;
use crate::support::http;
use crate::support::leveret::{Leveret, Plan, is_nsqd};
use crate::support::lookupd::{await_producers, channels, is_other, nsqlookupd, producers};
use crate::support::nsq::Client;
use crate::support::nsqds::{collect, gateway, make, publish};
use crate::support::proxy::Proxy;
use crate::support::secure::Papers;
use crate::support::stats;
use crate::support::wait::{eventually, until_true};

/// A node that announces itself as 127.0.0.1 at these nsqlookupds.
fn node(lookupds: &[&Leveret]) -> Plan {
    let plan = Leveret::nsqd().arg("--broadcast-address=127.0.0.1");
    lookupds
        .iter()
        .fold(plan, |plan, lookupd| plan.arg(&format!("--lookupd-tcp-address={}", lookupd.tcp())))
}

/// A node's name in a nsqlookupd's answer.
fn name(node: &Leveret) -> String {
    format!("127.0.0.1:{}", node.tcp().port())
}

#[test]
fn a_node_is_known_with_all_that_it_has_for_as_long_as_it_runs() {
    let lookupds = [nsqlookupd().start(), nsqlookupd().start()];
    let mut node = node(&lookupds.each_ref()).start();
    let names = [name(&node)];
    http::done(node.http(), "/topic/create?topic=early");
    make(&node, "orders", "billing");
    http::done(node.http(), "/channel/create?topic=orders&channel=tail#ephemeral");
    for lookupd in &lookupds {
        await_producers(lookupd.http(), "orders", &names);
        await_producers(lookupd.http(), "early", &names);
        until_true("the channels are known", || {
            channels(lookupd.http(), "orders") == ["billing", "tail#ephemeral"]
        });
        let nodes = http::get(lookupd.http(), "/nodes").json();
        let shown = &nodes["producers"][0];
        assert_eq!(shown["http_port"], node.http().port(), "{nodes}");
        assert_eq!(shown["version"], "1.3.0", "{nodes}");
    }
    http::done(node.http(), "/channel/delete?topic=orders&channel=tail#ephemeral");
    http::done(node.http(), "/topic/delete?topic=early");
    for lookupd in &lookupds {
        until_true("the ephemeral channel is gone", || {
            channels(lookupd.http(), "orders") == ["billing"]
        });
        await_producers(lookupd.http(), "early", &[]);
    }
    node.stop();
    for lookupd in &lookupds {
        await_producers(lookupd.http(), "orders", &[]);
    }
}

#[test]
fn edge_142_a_new_topic_begins_with_the_channels_that_are_known() {
    let lookupds = [nsqlookupd().start(), nsqlookupd().start()];
    http::done(lookupds[0].http(), "/channel/create?topic=orders&channel=billing");
    http::done(lookupds[1].http(), "/channel/create?topic=orders&channel=archive");
    http::done(lookupds[1].http(), "/channel/create?topic=orders&channel=tail#ephemeral");
    let node = node(&lookupds.each_ref()).start();
    until_true("it is known", || {
        lookupds
            .iter()
            .all(|lookupd| http::get(lookupd.http(), "/nodes").json()["producers"] != json!([]))
    });
    // Its side knows where to ask a moment after it was told who it speaks to.
    http::done(node.http(), "/topic/create?topic=probe");
    for lookupd in &lookupds {
        await_producers(lookupd.http(), "probe", &[name(&node)]);
    }
    publish(node.tcp(), "orders", "m", 100);
    for channel in ["billing", "archive"] {
        stats::await_counts(node.http(), "orders", channel, [100, 0, 0]);
    }
    let shown = http::get(node.http(), "/stats?format=json&topic=orders").json();
    let names: Vec<_> = shown["topics"][0]["channels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|channel| channel["channel_name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["archive", "billing"], "none that is ephemeral");
}

#[test]
fn edge_141_a_lost_nsqlookupd_is_told_everything_again() {
    let mut lookupd = nsqlookupd().start();
    lookupd.add_arg(&format!("--tcp-address={}", lookupd.tcp()));
    lookupd.add_arg(&format!("--http-address={}", lookupd.http()));
    let node = node(&[&lookupd]).start();
    make(&node, "orders", "billing");
    await_producers(lookupd.http(), "orders", &[name(&node)]);
    lookupd.kill();
    http::done(node.http(), "/topic/create?topic=meanwhile");
    http::done(node.http(), "/channel/delete?topic=orders&channel=billing");
    lookupd.restart();
    let began = std::time::Instant::now();
    for topic in ["orders", "meanwhile"] {
        eventually("it is told again", || {
            producers(lookupd.http(), topic).filter(|p| !p.is_empty())
        });
    }
    assert_eq!(channels(lookupd.http(), "orders"), Vec::<String>::new());
    if !is_nsqd() {
        assert!(began.elapsed() < Duration::from_secs(10), "nsqd needs up to 30 s");
    }
}

#[test]
fn edge_135_a_node_without_http_is_refused_and_runs() {
    let lookupd = nsqlookupd().start();
    let node = node(&[&lookupd]).arg("--http-address=").start_anywhere();
    node.await_log("E_BAD_BODY IDENTIFY missing fields");
    assert_eq!(http::get(lookupd.http(), "/nodes").json(), json!({"producers": []}));
}

#[test]
fn the_list_of_nsqlookupds_changes_while_it_runs() {
    let lookupds = [nsqlookupd().start(), nsqlookupd().start()];
    let node = node(&[&lookupds[0]]).start();
    make(&node, "orders", "c");
    await_producers(lookupds[0].http(), "orders", &[name(&node)]);
    let list = json!([lookupds[1].tcp().to_string()]).to_string();
    let path = "/config/nsqlookupd_tcp_addresses";
    let answer = http::request(node.http(), "PUT", path, &[], list.as_bytes());
    assert_eq!((answer.status, answer.text()), (200, list));
    await_producers(lookupds[1].http(), "orders", &[name(&node)]);
    await_producers(lookupds[0].http(), "orders", &[]);
}

#[test]
fn a_nsqlookupd_that_answers_nothing_holds_up_nobody() {
    if is_nsqd() {
        eprintln!("skipped: nsqd makes a client that creates a topic wait");
        return;
    }
    let (lookupd, other) = (nsqlookupd().start(), nsqlookupd().start());
    let proxy = Proxy::to(&lookupd.tcp().to_string());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = Leveret::nsqd()
        .arg("--broadcast-address=127.0.0.1")
        .arg(&format!("--lookupd-tcp-address={}", proxy.address()))
        .arg(&format!("--lookupd-tcp-address={}", silent.local_addr().unwrap()))
        .arg(&format!("--lookupd-tcp-address={}", other.tcp()))
        .arg("--http-client-request-timeout=1s")
        .start();
    make(&node, "orders", "c");
    for lookupd in [&lookupd, &other] {
        await_producers(lookupd.http(), "orders", &[name(&node)]);
    }
    node.await_log("the answer to IDENTIFY took too long");
    proxy.cut();
    node.await_log("LOOKUPD(");
    publish(node.tcp(), "orders", "m", 10);
    stats::await_counts(node.http(), "orders", "c", [10, 0, 0]);
    await_producers(lookupd.http(), "orders", &[name(&node)]);
}

#[test]
fn a_node_that_drains_leaves_discovery_and_goes_on_delivering() {
    if is_nsqd() {
        eprintln!("skipped: nsqd has no drain");
        return;
    }
    let lookupd = nsqlookupd().start();
    let node = node(&[&lookupd]).start();
    make(&node, "orders", "c");
    publish(node.tcp(), "orders", "m", 10);
    await_producers(lookupd.http(), "orders", &[name(&node)]);
    let answer = http::post(node.http(), "/v1/drain", b"");
    assert!(answer.status < 300, "{}", answer.text());
    await_producers(lookupd.http(), "orders", &[]);
    let mut consumer = Client::subscribed(node.tcp(), "orders", "c", 10);
    assert_eq!(collect(&mut consumer, 10).len(), 10);
}

#[test]
fn a_node_runs_a_nsqlookupd_of_its_own_and_others_register_there() {
    let own = Leveret::serve(
        "nsqd:\n  tcp_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  broadcast_address: 127.0.0.1\n\
         lookupd:\n  listen: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  broadcast_address: 127.0.0.1\n",
    )
    .start();
    // Its log has the lines of both; those of nsqlookupd come first.
    let log = own.log();
    let address = |line: &str| {
        let line = log.lines().find(|text| text.contains(line) && text.contains("(nsqlookupd)"));
        let rest = line.unwrap().split("listening on ").nth(1).unwrap();
        rest.split(' ').next().unwrap().parse::<std::net::SocketAddr>().unwrap()
    };
    let (tcp, at) = (address("TCP: listening"), address("HTTP: listening"));
    let other = Leveret::nsqd()
        .arg("--broadcast-address=127.0.0.1")
        .arg(&format!("--lookupd-tcp-address={tcp}"))
        .start();
    make(&other, "orders", "c");
    await_producers(at, "orders", &[name(&other)]);
    let nodes = http::get(at, "/nodes").json();
    assert_eq!(nodes["producers"].as_array().unwrap().len(), 2, "itself as well: {nodes}");
}

#[test]
fn nsqlookupd_in_tls_is_for_those_who_trust_each_other() {
    if is_other() || is_nsqd() {
        eprintln!("skipped: the originals have no TLS between them");
        return;
    }
    let papers = Papers::new();
    let lookupd = Leveret::named("nsqlookupd")
        .arg("--tcp-address=127.0.0.1:0")
        .arg("--http-address=")
        .arg("--broadcast-address=localhost")
        .arg(&format!("--tls-cert={}", papers.file("cert.pem").display()))
        .arg(&format!("--tls-key={}", papers.file("key.pem").display()))
        .arg(&format!("--tls-root-ca-file={}", papers.file("ca.pem").display()))
        .start_anywhere();
    lookupd.await_log("TCP: listening on ");
    let log = lookupd.log();
    let at = log.split("TCP: listening on ").nth(1).unwrap().split(' ').next().unwrap();
    let node = |tls: &str| {
        Leveret::serve(&format!(
            "nsqd:\n  tcp_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  broadcast_address: 127.0.0.1\n  \
             nsqlookupd_tcp_addresses: [\"tls://localhost:{}\"]\n{tls}",
            at.rsplit(':').next().unwrap()
        ))
        .start()
    };
    let known = node(&format!(
        "  nsqlookupd_tls: {{ ca_file: '{}', cert_file: '{}', key_file: '{}' }}\n",
        papers.file("ca.pem").display(),
        papers.file("client.pem").display(),
        papers.file("client-key.pem").display()
    ));
    lookupd.await_log(&format!("IDENTIFY Address:127.0.0.1 TCP:{}", known.tcp().port()));
    http::done(known.http(), "/topic/create?topic=orders");
    lookupd.await_log("REGISTER topic:orders");
    let stranger = node("");
    stranger.await_log("LOOKUPD(tls://localhost");
    until_true("it is not trusted", || stranger.log().contains("certificate"));
}

#[test]
fn clients_find_nodes_by_nsqlookupd() {
    let lookupd = nsqlookupd().start();
    let nodes = [node(&[&lookupd]).start(), node(&[&lookupd]).start()];
    for node in &nodes {
        make(node, "orders", "c");
        publish(node.tcp(), "orders", &node.tcp().port().to_string(), 50);
    }
    let mut names: Vec<String> = nodes.iter().map(name).collect();
    names.sort();
    await_producers(lookupd.http(), "orders", &names);
    for library in [Library::Pynsq, Library::Nsqjs] {
        let channel = format!("{library:?}");
        for node in &nodes {
            http::done(node.http(), &format!("/channel/create?topic=orders&channel={channel}"));
            publish(node.tcp(), "orders", &node.tcp().port().to_string(), 20);
        }
        let consumer = library.find(lookupd.http(), "orders", &channel, &["--count", "40"]);
        assert_eq!(consumer.finish().1, 40, "{library:?}");
    }
    let gateway = gateway(&format!(
        "routes:\n  - name: bridge\n    from: {{ nsq: {{ lookupd: [\"{}\"], topic: orders, channel: c, lookupd_interval: 1s }} }}\n    \
         to: {{ nsq: {{ topic: orders }} }}\n    mode: queued\n",
        lookupd.http()
    ));
    let mut consumer = Client::subscribed(gateway.tcp(), "orders", "c", 100);
    assert_eq!(collect(&mut consumer, 100).len(), 100);
}
