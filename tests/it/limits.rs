//! A route's limit as its clients see it: never more than rate × time + burst, and in the long run the rate.

use std::time::{Duration, Instant};

use crate::support::nsq::{Client, Frame};
use crate::support::site::Site;
use crate::support::{http, nsq};

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
    let waits = limit.replace(", on_exceed: reject", "");
    let routes = ROUTES.replacen("LIMIT", limit, 1).replace("LIMIT", &waits);
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
