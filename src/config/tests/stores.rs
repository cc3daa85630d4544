//! Topics that live at a broker: what comes out of their rows, and what is wrong with others.

use super::{Folder, node_findings};
use crate::bridge::route::QueueKind;
use crate::bridge::store::options::{Home, keeps};

const BROKERS: &str = "brokers: { main: { uri: \"amqp://localhost\" } }\n";

#[test]
fn what_is_said_of_a_store_comes_out_typed() {
    let text = format!(
        "{BROKERS}topics:\n- {{ match: '*', max_age: 1d }}\n- match: pay.*\n  store: rabbitmq\n  broker: main\n  \
         queue: {{ type: quorum, delivery_limit: 50 }}\n  prefetch: 10\n  publish_timeout: 5s\n  max_hold: 1m\n\
         - {{ match: pay.here, store: local }}\n"
    );
    let loaded = Folder::new().with("leveret.yaml", &text).load().unwrap();
    let stores = loaded.node.stores;
    assert_eq!(stores.len(), 2, "a row that says nothing of it is none");
    let row = &stores[0];
    assert_eq!((row.home, row.broker.as_deref()), (Some(Home::Rabbitmq), Some("main")));
    assert_eq!((row.queue, row.delivery_limit), (Some(QueueKind::Quorum), Some(50)));
    assert_eq!((row.prefetch, row.publish_timeout.unwrap().as_secs()), (Some(10), 5));
    assert_eq!(row.max_hold.unwrap().as_secs(), 60);
    assert!(keeps(&stores, "pay.eu") && !keeps(&stores, "pay.here") && !keeps(&stores, "x"));
}

#[test]
fn what_is_wrong_with_a_store_is_told_where_it_stands() {
    for (row, expected) in [
        (
            "store: rabbitmq",
            "2:32: topics[0].store: which broker? there is none named default: give its broker",
        ),
        (
            "store: rabbitmq, broker: mian",
            "2:50: topics[0].broker: unknown broker \"mian\"; did you mean \"main\"?",
        ),
        (
            "store: rabbit, broker: main",
            "2:32: topics[0].store: expected local or rabbitmq, found \"rabbit\"; did you mean \"rabbitmq\"?",
        ),
        (
            "queue: { type: stream }",
            "2:40: topics[0].queue.type: expected classic or quorum, found \"stream\"",
        ),
        (
            "queue: { type: classic, delivery_limit: 3 }",
            "2:65: topics[0].queue.delivery_limit: a classic queue counts no deliveries",
        ),
    ] {
        let text = format!("{BROKERS}topics: [{{ match: \"a*\", {row} }}]");
        assert_eq!(node_findings(&text), format!("leveret.yaml:{expected}"), "{row}");
    }
}

#[test]
fn a_direct_route_does_not_take_a_stores_place() {
    let node = format!(
        "{BROKERS}bridges: routes\ntopics: [{{ match: t, store: rabbitmq, broker: main }}]\n"
    );
    for (route, is_refused) in [
        (
            "mode: direct, from: {nsq: {topic: t}}, to: {amqp: {broker: main, exchange: x, routing_key: k}}",
            true,
        ),
        (
            "mode: direct, from: {amqp: {broker: main, queue: q}}, to: {nsq: {topic: t, channel: c}}",
            true,
        ),
        (
            "mode: queued, from: {nsq: {topic: t}}, to: {amqp: {broker: main, exchange: x, routing_key: k}}",
            false,
        ),
    ] {
        let text = format!("routes:\n- {{name: a, {route}}}\n");
        let folder = Folder::new().with("leveret.yaml", &node).with("routes/r.yaml", &text);
        let findings = folder.findings();
        assert_eq!(findings.contains("has store: rabbitmq"), is_refused, "{route}: {findings}");
    }
}
