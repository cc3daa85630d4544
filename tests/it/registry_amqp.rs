//! A route from RabbitMQ of which there is one among nodes that share their routes through a real etcd.

use std::time::Duration;

use crate::support::drivers::{expected, pika};
use crate::support::etcd::Etcd;
use crate::support::fleet::{Witness, await_each_once, node_with, running};
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::nsqds::{collect, make};
use crate::support::rabbit::Rabbit;

#[test]
fn a_queue_is_read_by_one_node_and_by_the_next_one_when_that_is_killed() {
    const COUNT: usize = 3000;
    let etcd = Etcd::start();
    let rabbit = Rabbit::shared();
    let uri = rabbit.vhost();
    pika(&uri, &["declare", "--queue", "invoices", "--type", "quorum"]).finish();
    let to = Leveret::nsqd().start();
    make(&to, "out", "c");
    etcd.put(
        "/leveret/routes/one-invoices",
        &format!(
            "name: one-invoices\ninstances: one\nfrom: {{ amqp: {{ queue: invoices }} }}\n\
             to: {{ nsq: {{ nsqd: [ \"{}\" ], topic: out }} }}\nmode: queued\n",
            to.tcp()
        ),
    );
    let brokers = format!("brokers: {{ default: {{ uri: '{uri}' }} }}\n");
    let mut nodes: Vec<Leveret> = (0..2).map(|_| node_with(&etcd.url(), &brokers, None)).collect();
    let witness = Witness::of(&nodes.iter().collect::<Vec<_>>());
    await_each_once(&nodes.iter().collect::<Vec<_>>(), 1);
    let count = COUNT.to_string();
    let publishing = pika(&uri, &["publish", "--routing-key", "invoices", "--count", &count]);
    let mut consumer = Client::subscribed(to.tcp(), "out", "c", 500);
    let mut came = collect(&mut consumer, 200);
    let owner = nodes.iter().position(|node| !running(node).is_empty()).unwrap();
    let mut owner = nodes.remove(owner);
    owner.kill();
    let took = await_each_once(&[&nodes[0]], 1);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(publishing.finish().1, COUNT as u64);
    while came.len() < COUNT {
        let message = consumer.message();
        consumer.fin(&message);
        *came.entry(message.text()).or_insert(0) += 1;
    }
    witness.end();
    assert_eq!(came.keys().cloned().collect::<Vec<_>>(), expected("m", COUNT));
    let twice = came.values().filter(|times| **times > 1).count();
    println!("moved in {took:?}; {COUNT} came, {twice} twice");
}
