//! What survives when a broker is killed. Each test here starts a node of its own.

mod mixed;
mod stores;

use std::net::TcpStream;

use crate::support::drivers::{bodies, expected, pika};
use crate::support::rabbit::Rabbit;
use crate::support::site::plan;
use crate::support::traffic::{NAMES, ROUTES, Traffic};
use crate::support::unique;

#[test]
fn a_killed_node_comes_back_with_its_durable_messages() {
    let rabbit = Rabbit::own();
    for kind in ["classic", "quorum"] {
        let queue = format!("durable-{kind}");
        pika(rabbit.uri(), &["declare", "--queue", &queue, "--type", kind]).finish();
        let publish = ["publish", "--routing-key", &queue, "--count", "100"];
        rabbit.sync();
        assert_eq!(pika(rabbit.uri(), &publish).finish().1, 100, "confirmed");
    }

    rabbit.kill();
    assert!(TcpStream::connect(rabbit.address()).is_err(), "a killed node takes no connection");
    rabbit.restart();

    for kind in ["classic", "quorum"] {
        let queue = format!("durable-{kind}");
        let consume = ["consume", "--queue", &queue, "--count", "100"];
        let (messages, _) = pika(rabbit.uri(), &consume).finish();
        assert_eq!(bodies(&messages), expected("m", 100), "{kind}");
    }
}

#[test]
fn a_broker_that_is_killed_again_and_again_loses_nothing_that_was_acknowledged() {
    let rabbit = Rabbit::own();
    let tag = unique("t");
    let server = plan(rabbit.uri(), &ROUTES.replace('@', &tag)).start();
    let traffic = Traffic::start(&NAMES, &tag, rabbit.uri(), server.tcp(), false);
    traffic.flows(&server);
    rabbit.sync();
    for _ in 0..3 {
        traffic.flows(&server);
        rabbit.kill();
        rabbit.restart();
    }
    traffic.flows(&server);
    traffic.finish();
}
