//! The shared RabbitMQ node and the AMQP driver do what the bridge's tests rely on.

use crate::support::drivers::{bodies, expected, pika};
use crate::support::rabbit::Rabbit;
use crate::support::unique;

#[test]
fn the_shared_node_keeps_and_gives_messages() {
    let rabbit = Rabbit::shared();
    let queue = unique("orders");
    pika(rabbit.uri(), &["declare", "--queue", &queue]).finish();

    let publish = ["publish", "--routing-key", &queue, "--count", "50", "--prefix", "o"];
    assert_eq!(pika(rabbit.uri(), &publish).finish().1, 50, "confirmed");

    let consume = ["consume", "--queue", &queue, "--count", "50", "--requeue", "3"];
    let (messages, acknowledged) = pika(rabbit.uri(), &consume).finish();
    assert_eq!(acknowledged, 50);
    assert_eq!(messages.len(), 53, "three came twice");
    let done: Vec<_> = messages.into_iter().filter(|line| line["answer"] == "ack").collect();
    assert_eq!(bodies(&done), expected("o", 50));

    let (_, left) = pika(rabbit.uri(), &["delete", "--queue", &queue]).finish();
    assert_eq!(left, 0);
}

#[test]
fn an_unroutable_message_is_reported_and_not_counted() {
    let rabbit = Rabbit::shared();
    let nowhere = unique("nowhere");
    let publish = ["publish", "--routing-key", &nowhere, "--count", "2"];
    let outcome = pika(rabbit.uri(), &publish).outcome();
    assert!(outcome.success);
    assert_eq!(outcome.lines[0]["event"], "returned");
    assert_eq!(outcome.lines[2]["count"], 0);
}

#[test]
fn virtual_hosts_keep_tests_apart() {
    let rabbit = Rabbit::shared();
    let (one, other) = (rabbit.vhost(), rabbit.uri());
    let queue = unique("apart");
    pika(&one, &["declare", "--queue", &queue]).finish();
    assert!(!pika(other, &["length", "--queue", &queue]).outcome().success);
    assert_eq!(pika(&one, &["length", "--queue", &queue]).finish().1, 0);
}
