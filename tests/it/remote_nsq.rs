//! Routes from and to nsqds other than this node. `NSQD` may name a real one's binary: the same tests then run against it.

use std::time::Duration;

use crate::support::http;
use crate::support::leveret::{Leveret, is_nsqd};
use crate::support::nsq::Client;
use crate::support::nsqds::{client_of, collect, gateway, list, make, nodes, publish};
use crate::support::site::{Site, await_count, await_state, route, settled};
use crate::support::stats;
use crate::support::wait::until_true;

#[test]
fn three_nsqds_are_read_with_one_bound_spread_over_them() {
    let nodes = nodes(3);
    for node in &nodes {
        make(node, "orders", "bridge");
        publish(node.tcp(), "orders", &node.tcp().port().to_string(), 300);
    }
    let gateway = gateway(&format!(
        "routes:\n  - name: bridge\n    from: {{ nsq: {{ nsqd: {}, topic: orders, max_in_flight: 10 }} }}\n    \
         to: {{ nsq: {{ topic: orders }} }}\n    mode: queued\n",
        list(&nodes)
    ));
    let mut consumer = Client::subscribed(gateway.tcp(), "orders", "c", 100);
    let came = collect(&mut consumer, 900);
    assert!(came.values().all(|times| *times == 1), "{came:?}");
    assert_eq!(settled(&gateway, "bridge")["confirmed"], 900);
    let mut rdys: Vec<u64> = nodes
        .iter()
        .map(|node| {
            stats::await_counts(node.http(), "orders", "bridge", [0, 0, 0]);
            client_of(node, "orders", "bridge")["ready_count"].as_u64().unwrap()
        })
        .collect();
    rdys.sort_unstable();
    assert_eq!(rdys, [3, 3, 4]);
    assert_eq!(route(&gateway, "bridge")["window"], 10);
}

#[test]
fn fewer_messages_than_nsqds_go_round_in_turns() {
    let nodes = nodes(3);
    for node in &nodes {
        make(node, "orders", "bridge");
    }
    let gateway = gateway(&format!(
        "routes:\n  - name: bridge\n    from: {{ nsq: {{ nsqd: {}, topic: orders, max_in_flight: 1 }} }}\n    \
         to: {{ nsq: {{ topic: orders }} }}\n    mode: direct\n",
        list(&nodes)
    ));
    let mut consumer = Client::subscribed(gateway.tcp(), "orders", "c", 100);
    for node in &nodes {
        client_of(node, "orders", "bridge");
        publish(node.tcp(), "orders", &node.tcp().port().to_string(), 20);
    }
    assert_eq!(collect(&mut consumer, 60).len(), 60);
    assert_eq!(settled(&gateway, "bridge")["confirmed"], 60);
}

#[test]
fn producers_are_answered_by_the_remote_nsqd() {
    let remote = Leveret::nsqd().arg("--max-msg-size=100").start();
    make(&remote, "orders", "c");
    make(&remote, "orders.eu", "c");
    let gateway = gateway(&format!(
        r#"
routes:
  - {{ name: out, from: {{ nsq: {{ topic: orders }} }}, to: {{ nsq: {{ nsqd: ["{at}"], topic: orders }} }}, mode: direct }}
  - name: sorted
    from: {{ nsq: {{ topic: sorted }} }}
    to: {{ nsq: {{ nsqd: ["{at}"], topic: "orders.{{{{ body.region }}}}" }} }}
    mode: queued
    dead_letter: drop
"#,
        at = remote.tcp()
    ));
    publish(gateway.tcp(), "orders", "m", 500);
    let mut producer = Client::connect(gateway.tcp());
    producer.publish("orders", b"alone");
    let large = vec![b'x'; 101];
    producer.command_with("PUB orders", &large);
    let error = producer.error();
    assert!(error.starts_with("E_PUB_FAILED ") && error.contains("E_BAD_MESSAGE"), "{error}");
    let mut consumer = Client::subscribed(remote.tcp(), "orders", "c", 100);
    assert_eq!(collect(&mut consumer, 501).values().sum::<usize>(), 501);
    // The nsqd waits with what is published with a delay.
    let mut producer = Client::connect(gateway.tcp());
    producer.publish_deferred("orders", Duration::from_millis(1500), b"late");
    assert_eq!(stats::channel(remote.http(), "orders", "c")["deferred_count"], 1);
    assert!(consumer.message_within(Duration::from_millis(700)).is_none());
    assert_eq!(consumer.message().text(), "late");
    let counters = settled(&gateway, "out");
    assert_eq!((&counters["confirmed"], &counters["rejected"]), (&502.into(), &1.into()));
    // One of a batch is at fault: the others arrive.
    let body = |number: usize| format!(r#"{{"region":"eu","number":{number}}}"#);
    let fat = format!(r#"{{"region":"eu","fat":"{}"}}"#, "x".repeat(100));
    let mut bodies: Vec<String> = (0..50).map(body).collect();
    bodies.insert(20, fat);
    let bodies: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    Client::connect(gateway.tcp()).publish_many("sorted", &bodies);
    let mut consumer = Client::subscribed(remote.tcp(), "orders.eu", "c", 100);
    assert_eq!(collect(&mut consumer, 50).len(), 50);
    let counters = settled(&gateway, "sorted");
    assert_eq!((&counters["confirmed"], &counters["dropped"]), (&50.into(), &1.into()));
}

#[test]
fn a_producer_gets_an_error_in_time_while_no_nsqd_is_there_and_goes_on_with_it() {
    let mut remote = Leveret::nsqd().start();
    remote.add_arg(&format!("--tcp-address={}", remote.tcp()));
    let gateway = gateway(&format!(
        "routes:\n  - name: out\n    from: {{ nsq: {{ topic: orders }} }}\n    to: {{ nsq: {{ nsqd: {}, topic: orders }} }}\n    \
         mode: direct\n    publish_timeout: 500ms\n",
        list(std::slice::from_ref(&remote))
    ));
    await_state(&gateway, "out", "running");
    remote.kill();
    let mut producer = Client::connect(gateway.tcp());
    producer.command_with("PUB orders", b"lost");
    let error = producer.error();
    assert!(error.starts_with("E_PUB_FAILED ") && error.contains("not confirmed"), "{error}");
    let shown = await_state(&gateway, "out", "waiting");
    assert!(shown["reason"].as_str().unwrap().contains("refused"), "{shown}");
    remote.restart();
    await_state(&gateway, "out", "running");
    make(&remote, "orders", "c");
    Client::connect(gateway.tcp()).publish("orders", b"kept");
    let mut consumer = Client::subscribed(remote.tcp(), "orders", "c", 10);
    assert_eq!(consumer.message().text(), "kept", "what its producer gave up does not arrive");
}

#[test]
fn nothing_is_lost_while_nsqds_on_both_sides_are_killed() {
    let mut sources = nodes(2);
    let mut target = Leveret::nsqd().arg("--mem-queue-size=0").start();
    for node in sources.iter_mut().chain([&mut target]) {
        node.add_arg(&format!("--tcp-address={}", node.tcp()));
        node.add_arg(&format!("--http-address={}", node.http()));
        node.add_arg("--mem-queue-size=0");
    }
    for node in &mut sources {
        node.restart();
        make(node, "orders", "bridge");
        publish(node.tcp(), "orders", &node.tcp().port().to_string(), 3000);
    }
    make(&target, "copy", "c");
    let gateway = gateway(&format!(
        r#"
routes:
  - name: bridge
    from: {{ nsq: {{ nsqd: {}, topic: orders, max_in_flight: 200, msg_timeout: 2s, heartbeat: 1s, max_backoff: 0 }} }}
    to: {{ nsq: {{ nsqd: ["{}"], topic: copy, heartbeat: 1s }} }}
    mode: queued
    limit: {{ messages: 1500/s, burst: 50 }}
"#,
        list(&sources),
        target.tcp()
    ));
    let confirmed = || route(&gateway, "bridge")["counters"]["confirmed"].as_u64().unwrap();
    until_true("it moves", || confirmed() > 500);
    target.signal("TERM");
    target.end();
    target.restart();
    let before = confirmed();
    until_true("it moves again", || confirmed() > before + 500);
    sources[0].signal("STOP");
    let before = confirmed();
    until_true("the other one goes on", || confirmed() > before + 500);
    sources[0].signal("CONT");
    // nsqd itself loses what is in flight when it is killed; ended cleanly it writes that down.
    sources[1].signal(if is_nsqd() { "TERM" } else { "KILL" });
    sources[1].end();
    sources[1].restart();
    let mut consumer = Client::subscribed(target.tcp(), "copy", "c", 500);
    let came = collect(&mut consumer, 6000);
    let doubles = came.values().filter(|times| **times > 1).count();
    println!("lost 0, more than once {doubles} of 6000");
    settled(&gateway, "bridge");
    for node in &sources {
        stats::await_depth(node.http(), "orders", 0);
    }
}

#[test]
fn what_waits_for_its_target_is_touched_and_a_clean_stop_gives_it_back() {
    let source = Leveret::nsqd().start();
    let mut target = Leveret::nsqd().start();
    target.add_arg(&format!("--tcp-address={}", target.tcp()));
    make(&source, "orders", "bridge");
    make(&target, "copy", "c");
    let mut gateway = gateway(&format!(
        r#"
routes:
  - name: bridge
    from: {{ nsq: {{ nsqd: ["{}"], topic: orders, max_in_flight: 20, msg_timeout: 1s }} }}
    to: {{ nsq: {{ nsqd: ["{}"], topic: copy }} }}
    mode: queued
"#,
        source.tcp(),
        target.tcp()
    ));
    await_state(&gateway, "bridge", "running");
    client_of(&source, "orders", "bridge");
    target.kill();
    publish(source.tcp(), "orders", "m", 20);
    stats::await_counts(source.http(), "orders", "bridge", [0, 20, 0]);
    let began = std::time::Instant::now();
    // Three times as long as an untouched message would stay.
    until_true("a while", || began.elapsed() > Duration::from_millis(3500));
    let channel = stats::channel(source.http(), "orders", "bridge");
    assert_eq!((&channel["timeout_count"], &channel["in_flight_count"]), (&0.into(), &20.into()));
    assert!(gateway.stop().success());
    stats::await_counts(source.http(), "orders", "bridge", [20, 0, 0]);
    gateway.restart();
    target.restart();
    let mut consumer = Client::subscribed(target.tcp(), "copy", "c", 100);
    assert_eq!(collect(&mut consumer, 20).len(), 20);
    settled(&gateway, "bridge");
}

#[test]
fn a_refused_message_slows_the_consumer_down_and_queues_lead_to_other_nsqds() {
    let source = Leveret::nsqd().start();
    make(&source, "orders", "bridge");
    let at = Site::start(&format!(
        r#"
routes:
  - name: out
    from: {{ nsq: {{ nsqd: ["{at}"], topic: orders, channel: bridge, max_backoff: 2s }} }}
    to: {{ amqp: {{ exchange: "orders.@", routing_key: k, declare: {{ exchange_type: direct }} }} }}
    mode: queued
    retry: {{ max_attempts: 1000, backoff: {{ initial: 10ms, max: 50ms }} }}
  - name: in
    from: {{ amqp: {{ queue: in.@, declare: {{}} }} }}
    to: {{ nsq: {{ nsqd: ["{at}"], topic: came }} }}
    mode: direct
"#,
        at = source.tcp()
    ));
    make(&source, "came", "c");
    // Nothing takes them yet: they are returned, and the consumer slows down.
    publish(source.tcp(), "orders", "m", 50);
    until_true("a backoff", || {
        client_of(&source, "orders", "bridge")["ready_count"] == 0
            && at.route("out")["counters"]["retried"].as_u64().unwrap() > 0
    });
    let retried = at.route("out")["counters"]["retried"].as_u64().unwrap();
    assert!(retried <= 60, "one message at a time tries the way: {retried}");
    at.pika(&["declare", "--queue", "out.@", "--exchange", "orders.@", "--routing-key", "k"])
        .finish();
    let came = at.drain_when_there_and_full("out.@", 50);
    assert_eq!(came.len(), 50);
    let counters = at.settled("out");
    assert_eq!(counters["confirmed"], 50);
    until_true("full speed", || client_of(&source, "orders", "bridge")["ready_count"] == 1000);
    // The other way.
    at.pika(&["declare", "--queue", "in.@"]).finish();
    at.pika(&["publish", "--routing-key", "in.@", "--count", "300", "--prefix", "i"]).finish();
    let mut consumer = Client::subscribed(source.tcp(), "came", "c", 100);
    assert_eq!(collect(&mut consumer, 300).values().sum::<usize>(), 300);
    await_count(&at.server, "in", "confirmed", 300);
}

#[test]
fn a_paused_route_leaves_messages_to_others_and_a_resumed_one_goes_on() {
    let source = Leveret::nsqd().start();
    make(&source, "orders", "bridge");
    let gateway = gateway(&format!(
        "routes:\n  - name: bridge\n    from: {{ nsq: {{ nsqd: {}, topic: orders }} }}\n    to: {{ nsq: {{ topic: orders }} }}\n    \
         mode: queued\n",
        list(std::slice::from_ref(&source))
    ));
    let mut consumer = Client::subscribed(gateway.tcp(), "orders", "c", 100);
    publish(source.tcp(), "orders", "a", 50);
    assert_eq!(collect(&mut consumer, 50).len(), 50);
    http::done(gateway.http(), "/v1/routes/bridge/pause");
    until_true("no RDY", || client_of(&source, "orders", "bridge")["ready_count"] == 0);
    publish(source.tcp(), "orders", "b", 50);
    let mut other = Client::subscribed(source.tcp(), "orders", "bridge", 10);
    assert_eq!(collect(&mut other, 50).len(), 50);
    drop(other);
    publish(source.tcp(), "orders", "c", 50);
    http::done(gateway.http(), "/v1/routes/bridge/resume");
    assert_eq!(collect(&mut consumer, 50).len(), 50);
    assert_eq!(settled(&gateway, "bridge")["confirmed"], 100);
}
