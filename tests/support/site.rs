//! A node with routes between it and a broker, and what it says of them.

use serde_json::Value;

use super::drivers::{Driver, pika};
use super::http;
use super::leveret::{Leveret, Plan};
use super::rabbit::Rabbit;
use super::{unique, wait};

/// The ends that a message of a route can come to.
const ENDS: [&str; 6] =
    ["confirmed", "dead_lettered", "dropped", "filtered", "rejected", "given_back"];

/// The plan of a node with one broker and one file of routes; data in the scratch folder.
pub(crate) fn plan(uri: &str, routes: &str) -> Plan {
    plan_with(uri, "", routes)
}

/// As [`plan`], with lines added to the `nsqd` section, each indented by two.
pub(crate) fn plan_with(uri: &str, nsqd: &str, routes: &str) -> Plan {
    let configuration = format!(
        "nsqd:\n  tcp_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  data_path: '{{dir}}/data'\n{nsqd}\
         brokers:\n  default:\n    uri: \"{uri}\"\n    heartbeat: 2s\nbridges: bridges\n"
    );
    Leveret::serve(&configuration).file("bridges/routes.yaml", routes)
}

/// A node and the broker that all tests share, under names of this test's own.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) rabbit: Rabbit,
    pub(crate) server: Leveret,
    tag: String,
}

impl Site {
    /// Starts a node with these routes; each `@` in them stands for a name that no other test uses.
    pub(crate) fn start(routes: &str) -> Self {
        Self::start_with("", routes)
    }

    /// As [`Site::start`], with lines added to the `nsqd` section.
    pub(crate) fn start_with(nsqd: &str, routes: &str) -> Self {
        let rabbit = Rabbit::shared();
        let tag = unique("t");
        let server = plan_with(rabbit.uri(), nsqd, &routes.replace('@', &tag)).start();
        Self { rabbit, server, tag }
    }

    /// A name of the routes as it is on this site: `orders.@` for example.
    pub(crate) fn name(&self, name: &str) -> String {
        name.replace('@', &self.tag)
    }

    /// Runs pika against the broker; `@` as in [`Site::start`].
    pub(crate) fn pika(&self, what: &[&str]) -> Driver {
        let what: Vec<String> = what.iter().map(|word| self.name(word)).collect();
        let what: Vec<&str> = what.iter().map(String::as_str).collect();
        pika(self.rabbit.uri(), &what)
    }

    /// Messages that are ready in a queue.
    pub(crate) fn length(&self, queue: &str) -> u64 {
        self.pika(&["length", "--queue", queue]).finish().1
    }

    /// Consumes `count` messages of a queue by pika, and makes sure that there is no further one.
    pub(crate) fn drain(&self, queue: &str, count: usize) -> Vec<Value> {
        let count = count.to_string();
        let (messages, _) = self.pika(&["consume", "--queue", queue, "--count", &count]).finish();
        assert_eq!(self.length(queue), 0, "nothing is left in {queue}");
        messages
    }

    /// As [`Site::drain`], for a queue that another side declares in its own time.
    pub(crate) fn drain_when_there(&self, queue: &str, count: usize) -> Vec<Value> {
        wait::until_true(&format!("queue {queue}"), || {
            self.pika(&["length", "--queue", queue]).outcome().success
        });
        self.drain(queue, count)
    }

    /// As [`Site::drain_when_there`], once so many messages are in the queue.
    pub(crate) fn drain_when_there_and_full(&self, queue: &str, count: usize) -> Vec<Value> {
        wait::until_true(&format!("{count} messages in {queue}"), || {
            self.pika(&["length", "--queue", queue]).outcome().success
                && self.length(queue) == count as u64
        });
        self.drain(queue, count)
    }

    /// What the node says of a route.
    pub(crate) fn route(&self, name: &str) -> Value {
        route(&self.server, name)
    }

    /// Awaits a state of a route.
    pub(crate) fn await_state(&self, name: &str, state: &str) -> Value {
        await_state(&self.server, name, state)
    }

    /// Awaits that a route has nothing pending, and gives its counters; see [`settled`].
    pub(crate) fn settled(&self, name: &str) -> Value {
        settled(&self.server, name)
    }
}

/// What a node says of a route.
pub(crate) fn route(server: &Leveret, name: &str) -> Value {
    let shown = || http::get(server.http(), "/v1/routes").text();
    flow(server, name).unwrap_or_else(|| panic!("no route {name} in {}", shown()))
}

/// The same of a flow that comes and goes.
pub(crate) fn flow(server: &Leveret, name: &str) -> Option<Value> {
    let shown = http::get(server.http(), "/v1/routes").json();
    let routes = shown["routes"].as_array().expect("a list of routes");
    routes.iter().find(|route| route["name"] == name).cloned()
}

/// Awaits a state of a route.
pub(crate) fn await_state(server: &Leveret, name: &str, state: &str) -> Value {
    let mut last = Value::Null;
    let found = wait::until(wait::PATIENCE, || {
        last = route(server, name);
        (last["state"] == state).then(|| last.clone())
    });
    found.unwrap_or_else(|| panic!("route {name} is not {state}: {last}"))
}

/// Awaits a value of a route's counter.
pub(crate) fn await_count(server: &Leveret, name: &str, counter: &str, count: u64) {
    let mut last = Value::Null;
    let found = wait::until(wait::PATIENCE, || {
        last = route(server, name);
        (last["counters"][counter] == count).then_some(())
    });
    found.unwrap_or_else(|| panic!("{counter} of route {name} is not {count}: {last}"));
}

/// Awaits that nothing is pending, asserts that the books balance and that `/metrics` says the same, and gives the
/// counters.
pub(crate) fn settled(server: &Leveret, name: &str) -> Value {
    let mut last = Value::Null;
    let done = wait::until(wait::PATIENCE, || {
        last = route(server, name);
        (last["pending"] == 0).then_some(())
    });
    done.unwrap_or_else(|| panic!("route {name} still has messages: {last}"));
    let counters = last["counters"].clone();
    let count = |counter: &str| counters[counter].as_u64().expect("a counter is a number");
    let ends: u64 = ENDS.iter().map(|end| count(end)).sum();
    assert_eq!(count("received"), ends, "the books of {name}: {counters}");
    let metrics = http::get(server.http(), "/metrics").text();
    for counter in ENDS.iter().chain(&["received", "returned", "nacked", "retried"]) {
        let sample = format!("leveret_route_{counter}_total{{route=\"{name}\"");
        let line = metrics.lines().find(|line| line.starts_with(&sample));
        let line = line.unwrap_or_else(|| panic!("no {sample} in /metrics"));
        assert!(line.ends_with(&format!(" {}", count(counter))), "{line}: {counters}");
    }
    counters
}
