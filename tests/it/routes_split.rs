//! One route to two places: a tee to both, a share to one of them.

use crate::support::drivers::{bodies, expected};
use crate::support::nsq::Client;
use crate::support::site::{Site, await_count};
use crate::support::wait::until_true;

const ROUTES: &str = r#"
routes:
  - name: tee
    from: { nsq: { topic: tee.@ } }
    to:
      tee:
        primary: { nsq: { topic: tee.kept.@ } }
        secondary: { amqp: { exchange: "", routing_key: tee.@, declare: { queues: [ { name: tee.@ } ] } } }
    mode: direct
  - name: later.@
    from: { nsq: { topic: later.@ } }
    to:
      tee:
        primary: { amqp: { exchange: "", routing_key: first.@, declare: { queues: [ { name: first.@ } ] } } }
        secondary: { amqp: { exchange: late.@, routing_key: k, declare: { exchange_type: direct } } }
        wait: primary
    mode: direct
    retry: { max_attempts: 1000, backoff: { initial: 20ms, max: 50ms } }
  - name: again
    from: { amqp: { queue: again.@, declare: {} } }
    to:
      tee:
        primary: { amqp: { exchange: "", routing_key: sure.@, declare: { queues: [ { name: sure.@ } ] } } }
        secondary: { amqp: { exchange: again.@, routing_key: k, declare: { exchange_type: direct } } }
    mode: queued
    retry: { max_attempts: 1000, backoff: { initial: 20ms, max: 50ms } }
  - name: share
    from: { nsq: { topic: share.@ } }
    to:
      share:
        percent: 25%
        by: "{{ body.k }}"
        to: { amqp: { exchange: "", routing_key: share.@, declare: { queues: [ { name: share.@ } ] } } }
        rest: { nsq: { topic: share.rest.@ } }
    mode: direct
"#;

fn publish(site: &Site, topic: &str, bodies: impl Iterator<Item = String>) {
    let mut producer = Client::connect(site.server.tcp());
    let topic = site.name(topic);
    bodies.for_each(|body| producer.publish(&topic, body.as_bytes()));
}

fn consume(site: &Site, topic: &str, count: usize) -> Vec<String> {
    let mut client = Client::subscribed(site.server.tcp(), &site.name(topic), "c", 100);
    let mut came: Vec<String> = (0..count)
        .map(|_| {
            let message = client.message();
            client.fin(&message);
            message.text()
        })
        .collect();
    came.sort();
    came
}

#[test]
fn a_tee_brings_every_message_to_both_places() {
    let site = Site::start(ROUTES);
    publish(&site, "tee.@", (0..60).map(|n| format!("m-{n}")));
    assert_eq!(bodies(&site.drain("tee.@", 60)), expected("m", 60));
    assert_eq!(consume(&site, "tee.kept.@", 60), expected("m", 60));
    let counters = site.settled("tee");
    assert_eq!((&counters["received"], &counters["confirmed"]), (&60.into(), &60.into()));
}

#[test]
fn a_queued_secondary_place_keeps_nobody_waiting() {
    let site = Site::start(ROUTES);
    publish(&site, "later.@", (0..40).map(|n| format!("m-{n}")));
    assert_eq!(bodies(&site.drain("first.@", 40)), expected("m", 40));
    let secondary = site.name("later.@.secondary");
    assert_eq!(site.route(&secondary)["counters"]["confirmed"], 0);
    let bind = ["declare", "--queue", "bound.@", "--exchange", "late.@", "--routing-key", "k"];
    site.pika(&bind).finish();
    assert_eq!(bodies(&site.drain("bound.@", 40)), expected("m", 40));
    await_count(&site.server, &secondary, "confirmed", 40);
}

#[test]
fn what_one_place_refused_is_tried_there_alone() {
    let site = Site::start(ROUTES);
    site.pika(&["declare", "--queue", "again.@"]).finish();
    site.pika(&["publish", "--routing-key", "again.@", "--count", "20"]).finish();
    until_true("several attempts", || {
        site.route("again")["counters"]["retried"].as_u64().unwrap() > 60
    });
    let bind = ["declare", "--queue", "bound.@", "--exchange", "again.@", "--routing-key", "k"];
    site.pika(&bind).finish();
    assert_eq!(bodies(&site.drain("bound.@", 20)), expected("m", 20));
    site.settled("again");
    assert_eq!(bodies(&site.drain("sure.@", 20)), expected("m", 20), "each once");
}

#[test]
fn a_share_sends_each_value_one_way() {
    let site = Site::start(ROUTES);
    let body = |n: usize| format!("{{\"k\":{},\"n\":{n}}}", n % 100);
    publish(&site, "share.@", (0..400).map(body));
    let part = site.settled("share")["confirmed"].as_u64().unwrap();
    assert_eq!(part, 400);
    let part = usize::try_from(site.length("share.@")).unwrap();
    assert!((40..200).contains(&part) && part % 4 == 0, "{part} of 400, four of each value");
    let mut all = bodies(&site.drain("share.@", part));
    all.extend(consume(&site, "share.rest.@", 400 - part));
    all.sort();
    let mut sent: Vec<String> = (0..400).map(body).collect();
    sent.sort();
    assert_eq!(all, sent);
}
