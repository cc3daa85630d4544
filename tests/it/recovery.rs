//! What survives when the network fails or Leveret itself goes, with real clients at work.

use crate::support::drivers::{Library, bodies, expected, pika};
use crate::support::nsq::Client;
use crate::support::proxy::Proxy;
use crate::support::rabbit::Rabbit;
use crate::support::site::{await_state, plan};
use crate::support::traffic::{NAMES, ROUTES, Traffic, steady_port};
use crate::support::{stats, unique, wait};

/// What a test does to the connection between Leveret and the broker.
fn survives(harm: impl Fn(&Proxy)) {
    let rabbit = Rabbit::shared();
    let proxy = Proxy::to(rabbit.address());
    let tag = unique("t");
    let uri = format!("amqp://guest:guest@{}/%2f", proxy.address());
    let server = plan(&uri, &ROUTES.replace('@', &tag)).start();
    let traffic = Traffic::start(&NAMES, &tag, rabbit.uri(), server.tcp(), false);
    for _ in 0..3 {
        traffic.flows(&server);
        harm(&proxy);
    }
    traffic.flows(&server);
    traffic.finish();
}

#[test]
fn a_connection_that_is_cut_loses_nothing_that_was_acknowledged() {
    survives(Proxy::cut);
}

#[test]
fn a_connection_that_falls_silent_is_noticed_and_loses_nothing_that_was_acknowledged() {
    let rabbit = Rabbit::shared();
    let proxy = Proxy::to(rabbit.address());
    let tag = unique("t");
    let uri = format!("amqp://guest:guest@{}/%2f", proxy.address());
    let server = plan(&uri, &ROUTES.replace('@', &tag)).start();
    let traffic = Traffic::start(&NAMES, &tag, rabbit.uri(), server.tcp(), false);
    traffic.flows(&server);
    proxy.silence();
    for name in NAMES {
        await_state(&server, name, "waiting");
    }
    proxy.cut();
    traffic.flows(&server);
    traffic.finish();
}

#[test]
fn leveret_killed_again_and_again_loses_nothing_that_was_acknowledged() {
    let rabbit = Rabbit::shared();
    let tag = unique("t");
    let port = steady_port();
    let mut server = plan(rabbit.uri(), &ROUTES.replace('@', &tag))
        .arg(&format!("--tcp-address=127.0.0.1:{port}"))
        .start();
    let routes = ["publish-direct", "deliver-queued", "deliver-direct"];
    let traffic = Traffic::start(&routes, &tag, rabbit.uri(), server.tcp(), true);
    for _ in 0..2 {
        traffic.flows(&server);
        server.kill();
        server.restart();
    }
    traffic.flows(&server);
    traffic.finish();
}

#[test]
fn what_is_owed_at_a_clean_stop_under_load_comes_after_the_restart() {
    let rabbit = Rabbit::shared();
    let proxy = Proxy::to(rabbit.address());
    let (tag, port) = (unique("t"), steady_port());
    let queue = format!("publish-queued.{tag}");
    let uri = format!("amqp://guest:guest@{}/%2f", proxy.address());
    let mut server = plan(&uri, &ROUTES.replace('@', &tag))
        .arg(&format!("--tcp-address=127.0.0.1:{port}"))
        .start();
    await_state(&server, "publish-queued", "running");
    proxy.close();
    let until = server.dir().join("until").display().to_string();
    let topics = ["local", &queue];
    let publishers = topics.map(|topic| {
        let options = ["--until", &until, "--patience", "30", "--batch", "5", "--prefix", topic];
        Library::Pynsq.publish(server.tcp(), topic, &options)
    });
    for _ in 0..2 {
        // Each restart counts anew. Both are to have begun: a publisher may take its time to start.
        let published = |topic| {
            stats::topic(server.http(), topic)["message_count"].as_u64().unwrap_or_default()
        };
        wait::until_true("messages are published", || {
            topics.iter().all(|topic| published(topic) > 100)
        });
        assert!(server.stop().success(), "a clean exit");
        server.restart();
    }
    std::fs::write(&until, "").expect("a file in the scratch folder can be written");
    let counts = publishers.map(|publisher| publisher.finish().1.to_string());

    proxy.open();
    let options = ["--count", &counts[0], "--distinct", "1", "--max-in-flight", "500"];
    let local = Library::Pynsq.consume(server.tcp(), "local", "c", &options);
    let consume = ["consume", "--queue", &queue, "--count", &counts[1], "--distinct", "1"];
    let queued = pika(rabbit.uri(), &consume);
    for ((driver, topic), count) in [local, queued].into_iter().zip(topics).zip(&counts) {
        let (messages, _) = driver.finish();
        let mut came = bodies(&messages);
        let all = came.len();
        came.dedup();
        assert_eq!(came, expected(topic, count.parse().expect("a count")));
        eprintln!("{topic}: {count} acknowledged, {all} came out");
    }
    server.signal("TERM");
    server.await_log("stopped");
    assert!(!server.log().contains("did not settle"), "within its time");
}

#[test]
fn a_clean_stop_does_not_wait_for_a_broker_that_is_away() {
    let route = "routes:\n  - { name: away, from: { nsq: { topic: t, channel: c } }, \
                 to: { amqp: { exchange: \"\", routing_key: q } }, mode: queued }\n";
    let mut server = plan("amqp://127.0.0.1:1", route).start();
    await_state(&server, "away", "waiting");
    // More than the route's window: what it has taken fills it.
    let mut client = Client::connect(server.tcp());
    for _ in 0..5 {
        client.publish_many("t", &[&b"x"[..]; 500]);
    }
    stats::await_counts(server.http(), "t", "c", [1500, 1000, 0]);
    assert!(server.stop().success());
    assert!(!server.log().contains("did not settle"), "at once");
    server.restart();
    stats::await_counts(server.http(), "t", "c", [1500, 1000, 0]);
}
