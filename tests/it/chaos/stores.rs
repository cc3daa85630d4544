//! Topics that live at a broker which dies with messages in flight: nothing that was answered is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::store::plan;
use crate::support::nsq::Client;
use crate::support::rabbit::Rabbit;
use crate::support::stats::await_counts;

/// The broker is killed while consumers hold messages and a producer publishes, for both kinds of queue.
#[test]
fn a_broker_that_is_killed_loses_nothing_of_a_topic() {
    for kind in ["quorum", "classic"] {
        let rabbit = Rabbit::own();
        let row = format!("  publish_timeout: 1m\n  queue: {{ type: {kind} }}\n");
        let server = plan(rabbit.uri(), &row).start();
        let mut consumer = Client::subscribed(server.tcp(), "t", "c", 10);
        let mut producer = Client::connect(server.tcp());
        let bodies: Vec<String> = (0..50).map(|n| format!("{n:02}")).collect();
        for body in &bodies[..40] {
            producer.publish("t", body.as_bytes());
        }
        let held: Vec<_> = (0..10).map(|_| consumer.message()).collect();
        rabbit.sync();
        rabbit.kill();
        // The broker gives these out again.
        for message in &held {
            consumer.fin(message);
            let error = consumer.error();
            assert!(error.starts_with("E_FIN_FAILED "), "{error}");
        }
        rabbit.restart();
        for body in &bodies[40..] {
            producer.publish("t", body.as_bytes());
        }
        let (mut seen, mut again) = (BTreeSet::new(), 0);
        while seen.len() < 50 {
            let message = consumer.message_within(Duration::from_secs(60)).expect("a message");
            consumer.fin(&message);
            again += usize::from(!seen.insert(message.text()));
        }
        await_counts(server.http(), "t", "c", [0, 0, 0]);
        println!("{kind}: 50 published, 0 lost, {again} came more than once after the restart");
    }
}
