//! A route's limit as its clients see it: never more than rate × time + burst, and in the long run the rate.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::nsq::{Client, Frame};
use crate::support::site::Site;
use crate::support::{http, nsq, wait};

/// A route from topic `t.@` to queue `t.@`, and one from queue `in.@` to topic `in.@`, with a limit.
const ROUTES: &str = r#"
routes:
  - name: out
    from: { nsq: { topic: t.@ } }
    to: { amqp: { exchange: "", routing_key: t.@, declare: { queues: [ { name: t.@ } ] } } }
    mode: direct
    limit: { LIMIT }
  - name: in
    from: { amqp: { queue: in.@, declare: {} } }
    to: { nsq: { topic: in.@, channel: c } }
    mode: direct
    limit: { LIMIT }
"#;

fn site(limit: &str) -> Site {
    // What comes from a queue as a channel has one limit, and nobody to tell.
    let waits = match limit.split_once(", on_exceed") {
        Some(_) => "messages: 100/s",
        None => limit,
    };
    let routes = ROUTES.replacen("LIMIT", limit, 1).replace("LIMIT", waits);
    let site = Site::start(&routes);
    site.await_state("out", "running");
    site
}

/// Asserts that of `rate` a second and `burst` at once, `times` (one for `each`) is a faithful picture.
fn keeps_to(times: &[Duration], rate: f64, burst: f64, each: f64) {
    for (number, time) in times.iter().enumerate() {
        let passed = (number + 1) as f64 * each;
        let allowed = rate * time.as_secs_f64() + burst;
        assert!(passed <= allowed + 1e-6, "{passed} passed in {time:?}, {allowed} were allowed");
    }
    let took = times.last().expect("some passed").as_secs_f64();
    let due = (times.len() as f64 * each - burst) / rate;
    assert!((took - due).abs() <= due * 0.1, "{took} s, and {due} s were due");
}

/// Publishes bodies of `size` all at once, and says when each was answered.
fn publish_timed(site: &Site, count: usize, size: usize) -> Vec<Duration> {
    let mut client = Client::connect(site.server.tcp());
    let body = vec![b'x'; size];
    let topic = site.name("t.@");
    let began = Instant::now();
    for _ in 0..count {
        client.command_with(&format!("PUB {topic}"), &body);
    }
    let answer = |_| match client.frame().expect("an answer in time") {
        Frame::Response(data) if data == b"OK" => began.elapsed(),
        other => panic!("{other:?}"),
    };
    (0..count).map(answer).collect()
}

#[test]
fn messages_a_second_hold_for_producers() {
    let site = site("messages: 200/s, burst: 50");
    keeps_to(&publish_timed(&site, 850, 10), 200.0, 50.0, 1.0);
    let counters = site.settled("out");
    assert_eq!(counters["confirmed"], 850);
    let limit = &site.route("out")["limit"];
    assert!(limit["throttled_seconds"].as_f64().unwrap() > 2.0, "{limit}");
}

#[test]
fn messages_a_second_hold_for_consumers() {
    let site = site("messages: 200/s, burst: 50");
    site.pika(&["declare", "--queue", "in.@"]).finish();
    site.pika(&["publish", "--routing-key", "in.@", "--count", "850"]).finish();
    let began = Instant::now();
    let mut client = Client::subscribed(site.server.tcp(), &site.name("in.@"), "c", 2500);
    let mut take = |_| {
        let message: nsq::Message = client.message();
        client.fin(&message);
        began.elapsed()
    };
    let times: Vec<Duration> = (0..850).map(&mut take).collect();
    keeps_to(&times, 200.0, 50.0, 1.0);
}

#[test]
fn bytes_a_second_hold() {
    let site = site("bytes: 100KiB/s, burst_bytes: 50KiB");
    keeps_to(&publish_timed(&site, 225, 2048), 102_400.0, 51_200.0, 2048.0);
}

#[test]
fn a_message_larger_than_the_burst_is_late_and_not_stuck() {
    let site = site("bytes: 16KiB/s, burst_bytes: 4KiB");
    let times = publish_timed(&site, 3, 12 * 1024);
    // Each needs 12 KiB: the first has 4 of them, the others have none.
    for (time, due) in times.iter().zip([0.5, 1.25, 2.0]) {
        let took = time.as_secs_f64();
        assert!((due - 0.05..due + 0.4).contains(&took), "{took} s, and {due} s were due");
    }
}

#[test]
fn what_is_above_a_rejecting_limit_is_an_error_and_counted() {
    let site = site("messages: 2/s, burst: 5, on_exceed: reject");
    let path = format!("/pub?topic={}", site.name("t.@"));
    let began = Instant::now();
    let answers: Vec<_> = (0..30).map(|_| http::post(site.server.http(), &path, b"x")).collect();
    let most = 5.0 + 2.0 * began.elapsed().as_secs_f64();
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(passed >= 5 && passed as f64 <= most, "{passed} passed, {most} at most");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("route out: rate limit exceeded"), "{}", answer.text());
    }
    let mut client = Client::connect(site.server.tcp());
    client.command_with(&format!("MPUB {}", site.name("t.@")), &nsq::mpub_body(&[&b"x"[..]; 4]));
    let error = client.error();
    assert_eq!(error, "E_MPUB_FAILED MPUB failed route out: rate limit exceeded");
    let counters = site.settled("out");
    assert_eq!(counters["rejected_by_limit"], 34 - passed, "{counters}");
    assert_eq!(counters["rejected"], counters["rejected_by_limit"]);
    assert_eq!(counters["confirmed"], passed);
}

/// Routes from the channels of topics to queues, each with a limit.
fn queued(name: &str, rest: &str) -> String {
    format!(
        "  - name: {name}\n    from: {{ nsq: {{ topic: {name}.@, channel: c }} }}\n    to: {{ amqp: {{ exchange: \"\", \
         routing_key: {name}.@, declare: {{ queues: [ {{ name: {name}.@ }}, {{ name: {name}-b.@ }} ] }} }} }}\n    \
         mode: queued\n    {rest}\n"
    )
}

fn queued_site(routes: &[(&str, &str)]) -> Site {
    let routes: String = routes.iter().map(|(name, rest)| queued(name, rest)).collect();
    let site = Site::start(&format!("routes:\n{routes}"));
    site.await_state("a", "running");
    site
}

fn publish(site: &Site, topic: &str, bodies: &[String]) {
    let mut client = Client::connect(site.server.tcp());
    let bodies: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    client.command_with(&format!("MPUB {}", site.name(topic)), &nsq::mpub_body(&bodies));
    assert!(matches!(client.frame(), Some(Frame::Response(data)) if data == b"OK"));
}

fn text_of(message: &Value) -> Value {
    let text = message["body"].as_str().expect("a text");
    serde_json::from_str(text).expect("JSON")
}

fn of_tenant(tenant: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{{\"t\":\"{tenant}\",\"n\":{n}}}")).collect()
}

/// Waits until `count` messages of a route are confirmed, and says how long that took.
fn confirmed_within(site: &Site, route: &str, count: u64, began: Instant) -> f64 {
    wait::until_true(&format!("{count} of {route}"), || {
        site.route(route)["counters"]["confirmed"].as_u64() >= Some(count)
    });
    began.elapsed().as_secs_f64()
}

#[test]
fn ten_seconds_of_a_limit_are_within_two_per_cent() {
    let site = queued_site(&[("a", "limit: { messages: 1000/s, burst: 100 }")]);
    let began = Instant::now();
    publish(&site, "a.@", &of_tenant("x", 10_100));
    let took = confirmed_within(&site, "a", 10_100, began);
    assert!((9.8..10.2).contains(&took), "{took} s, and 10 s were due");
}

#[test]
fn a_limited_route_does_not_slow_another() {
    let site = queued_site(&[("a", "limit: { messages: 5/s, burst: 1 }"), ("b", "")]);
    publish(&site, "a.@", &of_tenant("x", 1000));
    let began = Instant::now();
    publish(&site, "b.@", &of_tenant("x", 5000));
    let took = confirmed_within(&site, "b", 5000, began);
    let slow = site.route("a")["counters"]["confirmed"].as_u64().expect("a number");
    assert!(took < 5.0, "{took} s for 5000 messages without a limit");
    assert!(slow as f64 <= 5.0 * (began.elapsed().as_secs_f64() + 1.0) + 1.0, "{slow}");
    let limit = &site.route("a")["limit"];
    assert!(limit["messages_left"].as_i64() <= Some(0), "{limit}");
    assert!(limit["projected_wait_seconds"].as_f64() > Some(0.0), "{limit}");
}

#[test]
fn a_key_above_its_limit_does_not_stop_the_others() {
    let limit = "limit: { per: \"{{ body.t }}\", messages: 20/s, burst: 10 }";
    let site = queued_site(&[("a", limit)]);
    let began = Instant::now();
    // The slow one's come first.
    publish(&site, "a.@", &of_tenant("slow", 50));
    let others: Vec<String> = (0..30).flat_map(|n| of_tenant(&format!("t{n}"), 10)).collect();
    publish(&site, "a.@", &others);
    let took = confirmed_within(&site, "a", 310, began);
    assert!(took < 1.5, "{took} s for what is within its limit");
    assert!(site.route("a")["limit"]["parked"].as_u64() > Some(0));
    let took = confirmed_within(&site, "a", 350, began);
    assert!((1.9..2.6).contains(&took), "{took} s, and 2 s were due");
    let shown = site.route("a");
    assert_eq!((&shown["limit"]["parked"], &shown["limit"]["keys"]), (&0.into(), &31.into()));
    let bodies = site.drain("a.@", 350);
    let slow: Vec<u64> = (bodies.iter().map(text_of))
        .filter(|body| body["t"] == "slow")
        .map(|body| body["n"].as_u64().expect("a number"))
        .collect();
    assert_eq!(slow, (0..50).collect::<Vec<_>>(), "a key keeps its order");
}

#[test]
fn what_is_above_is_dropped_or_buried_and_the_books_balance() {
    let dead = "dead_letter: { amqp: { exchange: \"\", routing_key: b-b.@ } }";
    let buried =
        format!("limit: {{ messages: 1/h, burst: 7, on_exceed: dead_letter }}\n    {dead}");
    let site = queued_site(&[
        ("a", "limit: { messages: 1/h, burst: 5, on_exceed: drop }"),
        ("b", buried.as_str()),
    ]);
    for route in ["a", "b"] {
        site.await_state(route, "running");
        publish(&site, &format!("{route}.@"), &of_tenant("x", 20));
        confirmed_within(&site, route, 5, Instant::now());
    }
    let counters = site.settled("a");
    assert_eq!((&counters["confirmed"], &counters["dropped"]), (&5.into(), &15.into()));
    assert_eq!(counters["dropped_by_limit"], 15);
    confirmed_within(&site, "b", 7, Instant::now());
    let counters = site.settled("b");
    assert_eq!((&counters["confirmed"], &counters["dead_lettered"]), (&7.into(), &13.into()));
    let buried = site.drain("b-b.@", 13);
    assert!(
        buried
            .iter()
            .all(|letter| letter["properties"]["headers"]["x-leveret-reason"] == "limited")
    );
}

#[test]
fn what_is_above_the_committed_rate_is_marked_and_led_elsewhere() {
    let limit = "limit: { messages: 1/h, burst: 4, on_exceed: drop, excess: { messages: 1/h, burst: 3, routing_key: a-b.@ } }";
    let site = queued_site(&[("a", limit)]);
    publish(&site, "a.@", &of_tenant("x", 10));
    confirmed_within(&site, "a", 7, Instant::now());
    let counters = site.settled("a");
    assert_eq!((&counters["excess"], &counters["dropped"]), (&3.into(), &3.into()));
    let marked = |message: &Value| message["properties"]["headers"]["x-leveret-excess"] == 1;
    assert!(!site.drain("a.@", 4).iter().any(marked));
    assert!(site.drain("a-b.@", 3).iter().all(marked));
}

#[test]
fn a_key_above_its_limit_is_refused_to_its_producer_alone() {
    let site = site("per: \"{{ body.t }}\", messages: 1/h, burst: 3, on_exceed: reject");
    let path = format!("/pub?topic={}", site.name("t.@"));
    let status = |tenant: &str| {
        let body = format!("{{\"t\":\"{tenant}\"}}");
        http::post(site.server.http(), &path, body.as_bytes()).status
    };
    let answers: Vec<u16> = (0..5).map(|_| status("a")).collect();
    assert_eq!(answers, [200, 200, 200, 503, 503]);
    assert_eq!((status("b"), status("c")), (200, 200));
    // All of a publish or nothing: a has no room, so b's part stays unspent.
    let mut client = Client::connect(site.server.tcp());
    let mixed = [&br#"{"t":"a"}"#[..], br#"{"t":"b"}"#, br#"{"t":"b"}"#];
    client.command_with(&format!("MPUB {}", site.name("t.@")), &nsq::mpub_body(&mixed));
    assert!(client.error().contains("rate limit exceeded"));
    assert_eq!((status("b"), status("b"), status("b")), (200, 200, 503));
    assert_eq!(status("a"), 503);
    let counters = site.settled("out");
    assert_eq!((&counters["confirmed"], &counters["rejected_by_limit"]), (&7.into(), &7.into()));
}

#[test]
fn a_producer_of_what_is_dropped_gets_its_ok() {
    let site = site("messages: 1/h, burst: 2, on_exceed: drop");
    let times = publish_timed(&site, 9, 10);
    assert_eq!(times.len(), 9);
    let counters = site.settled("out");
    assert_eq!((&counters["confirmed"], &counters["dropped"]), (&2.into(), &7.into()));
}
