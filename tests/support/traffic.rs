//! Real clients at both ends of every kind of route, that go on while a test harms something between them.
//!
//! Publishers publish again what failed, as a producer without its OK does, and consumers connect again: what was
//! answered with OK or confirmed has to come out, and may come out more than once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::drivers::{Driver, Library, pika};
use super::http;
use super::leveret::Leveret;
use super::site::{flow, route};
use super::{Scratch, unique, wait};

/// A route of each kind under its own name; `@` stands for the test's own part of every name.
pub(crate) const ROUTES: &str = r#"
routes:
  - name: publish-direct
    from: { nsq: { topic: publish-direct.@ } }
    to: { amqp: { exchange: "", routing_key: publish-direct.@, declare: { queues: [ { name: publish-direct.@ } ] } } }
    mode: direct
  - name: publish-queued
    from: { nsq: { topic: publish-queued.@ } }
    to: { amqp: { exchange: "", routing_key: publish-queued.@, declare: { queues: [ { name: publish-queued.@ } ] } } }
    mode: queued
  - name: deliver-direct
    from: { amqp: { queue: deliver-direct.@, declare: {} } }
    to: { nsq: { topic: deliver-direct.@, channel: c } }
    mode: direct
  - name: deliver-queued
    from: { amqp: { queue: deliver-queued.@, declare: {} } }
    to: { nsq: { topic: deliver-queued.@ } }
    mode: queued
"#;

/// The routes' names.
pub(crate) const NAMES: [&str; 4] =
    ["publish-direct", "publish-queued", "deliver-direct", "deliver-queued"];

/// Further kinds of routes, to be added to [`ROUTES`].
pub(crate) const MORE_ROUTES: &str = r#"
  - name: publish-ordered
    from: { nsq: { topic: publish-ordered.@ } }
    to: { amqp: { exchange: "", routing_key: publish-ordered.@, declare: { queues: [ { name: publish-ordered.@, type: quorum } ] } } }
    mode: queued
    ordered: true
  - name: publish-tee
    from: { nsq: { topic: publish-tee.@ } }
    to:
      tee:
        primary: { amqp: { exchange: "", routing_key: publish-tee.@, declare: { queues: [ { name: publish-tee.@ } ] } } }
        secondary: { nsq: { topic: publish-tee.copy.@ } }
    mode: direct
  - name: move-queue
    from: { amqp: { queue: move-queue.@, declare: {} } }
    to: { amqp: { exchange: "", routing_key: move-queue.out.@, declare: { queues: [ { name: move-queue.out.@ } ] } } }
    mode: queued
  - name: move-topic
    from: { nsq: { topic: move-topic.@ } }
    to: { nsq: { topic: move-topic.out.@ } }
    mode: queued
"#;

/// The names of [`MORE_ROUTES`].
pub(crate) const MORE_NAMES: [&str; 4] =
    ["publish-ordered", "publish-tee", "move-queue", "move-topic"];

/// Routes to and from another node, at `FAR`.
pub(crate) const FAR_ROUTES: &str = r#"
  - name: far-out
    from: { nsq: { topic: far-out.@ } }
    to: { nsq: { nsqd: ["FAR"], topic: far-out.@ } }
    mode: direct
  - name: far-in
    from: { nsq: { nsqd: ["FAR"], topic: far-in.@, channel: c } }
    to: { amqp: { exchange: "", routing_key: far-in.@, declare: { queues: [ { name: far-in.@ } ] } } }
    mode: queued
"#;

/// The names of [`FAR_ROUTES`].
pub(crate) const FAR_NAMES: [&str; 2] = ["far-out", "far-in"];

/// A topic that is to live at the broker, in place of a route.
pub(crate) const STORED: &str = "stored";

/// One end of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Nsq,
    /// NSQ at the other node.
    Far,
    Amqp,
}

/// Where clients find what they are clients of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    /// RabbitMQ.
    pub(crate) broker: &'a str,
    /// The node that is tested.
    pub(crate) node: SocketAddr,
    /// The node that its routes lead to and from.
    pub(crate) far: SocketAddr,
}

/// What publishers and consumers of a route are, and the place that the latter read.
fn ends(name: &str, tag: &str) -> (End, End, String) {
    match name.split('-').next() {
        Some("publish") => (End::Nsq, End::Amqp, format!("{name}.{tag}")),
        Some("deliver") => (End::Amqp, End::Nsq, format!("{name}.{tag}")),
        _ if name == "far-out" => (End::Nsq, End::Far, format!("{name}.{tag}")),
        _ if name == "far-in" => (End::Far, End::Amqp, format!("{name}.{tag}")),
        _ if name == STORED => (End::Nsq, End::Nsq, format!("{name}.{tag}")),
        _ if name == "move-queue" => (End::Amqp, End::Amqp, format!("{name}.out.{tag}")),
        _ => (End::Nsq, End::Nsq, format!("{name}.out.{tag}")),
    }
}
/// How long clients try again, in seconds.
const PATIENCE: &str = "40";
/// How many confirmed messages a route has to move for a test to say that it works.
const SOME: u64 = 30;
/// For a flow to be back after whatever happened: a quorum queue of RabbitMQ 3.10 may refuse publishes for half a minute
/// after its leader was killed on a busy machine.
const RECOVERY: Duration = Duration::from_secs(90);
/// For the last messages to come out.
const DRAIN: Duration = Duration::from_secs(45);
/// For what is there already.
const NOW: Duration = Duration::from_millis(1);
/// How long consumers go on, in seconds: longer than any test.
const LONG: &str = "7200";
/// An end of a consumer that a test never reaches.
const ENDLESS: &str = "1000000";

/// Publishers and consumers of each route.
#[derive(Debug)]
pub(crate) struct Traffic {
    scratch: Scratch,
    tag: String,
    publishers: HashMap<&'static str, Driver>,
    consumers: HashMap<&'static str, Driver>,
}

impl Traffic {
    /// Starts clients of these routes: NSQ ones at `at`, pika at `broker`. `tag` is what `@` was replaced by. With
    /// `steadfast` all NSQ consumers are of a library that connects again after the server went: nsqjs does not.
    pub(crate) fn start(
        routes: &[&'static str],
        tag: &str,
        broker: &str,
        at: SocketAddr,
        steadfast: bool,
    ) -> Self {
        let places = Places { broker, node: at, far: at };
        Self::start_on(routes, tag, places, (steadfast, "classic"))
    }

    /// As [`Traffic::start`], with clients of another node too, all of them steadfast.
    pub(crate) fn start_at(routes: &[&'static str], tag: &str, places: Places<'_>) -> Self {
        Self::start_on(routes, tag, places, (true, "classic"))
    }

    /// As [`Traffic::start`], with quorum queues.
    pub(crate) fn start_quorum(
        routes: &[&'static str],
        tag: &str,
        broker: &str,
        at: SocketAddr,
    ) -> Self {
        let places = Places { broker, node: at, far: at };
        Self::start_on(routes, tag, places, (false, "quorum"))
    }

    fn start_on(
        routes: &[&'static str],
        tag: &str,
        Places { broker, node, far }: Places<'_>,
        (steadfast, kind): (bool, &str),
    ) -> Self {
        let at = |end: End| if end == End::Far { far } else { node };
        let scratch = Scratch::new("traffic");
        let until = scratch.path().join("until").display().to_string();
        let endless = ["--patience", PATIENCE, "--until", &until, "--pace", "0.01"];
        let (mut publishers, mut consumers) = (HashMap::new(), HashMap::new());
        for &name in routes {
            let (from, to, goal) = ends(name, tag);
            let place = format!("{name}.{tag}");
            let queues =
                [(from, &place), (to, &goal)].into_iter().filter(|(end, _)| *end == End::Amqp);
            for (_, queue) in queues {
                let kind = if name == "publish-ordered" { "quorum" } else { kind };
                pika(broker, &["declare", "--queue", queue, "--type", kind]).finish();
            }
            let consumer = match to {
                End::Amqp => {
                    let what = ["consume", "--queue", &goal, "--count", ENDLESS];
                    pika(
                        broker,
                        &[&what[..], &["--patience", PATIENCE, "--seconds", LONG]].concat(),
                    )
                }
                End::Nsq | End::Far => {
                    let options = ["--count", ENDLESS, "--seconds", LONG, "--max-in-flight", "50"];
                    let library = if steadfast || name == "deliver-direct" {
                        Library::Pynsq
                    } else {
                        Library::Nsqjs
                    };
                    library.consume(at(to), &goal, "c", &options)
                }
            };
            consumers.insert(name, consumer);
            let publisher = match from {
                End::Nsq | End::Far => {
                    let options = [&endless[..], &["--prefix", name]].concat();
                    Library::Pynsq.publish(at(from), &place, &options)
                }
                End::Amqp => {
                    let what = ["publish", "--routing-key", &place, "--prefix", name];
                    pika(broker, &[&what[..], &endless].concat())
                }
            };
            publishers.insert(name, publisher);
        }
        Self { scratch, tag: tag.to_owned(), publishers, consumers }
    }

    /// Awaits that every route moves messages.
    pub(crate) fn flows(&self, server: &Leveret) {
        let confirmed = |name: &str| {
            let counters = match name {
                STORED => flow(server, &format!("store:{STORED}.{}:c", self.tag)),
                _ => Some(route(server, name)),
            };
            counters.map_or(0, |route| route["counters"]["confirmed"].as_u64().unwrap())
        };
        let before: Vec<_> = self.publishers.keys().map(|name| (*name, confirmed(name))).collect();
        for (name, count) in before {
            let moved = wait::until(RECOVERY, || (confirmed(name) >= count + SOME).then_some(()));
            moved.unwrap_or_else(|| {
                let consumer = std::iter::from_fn(|| self.consumers[name].line_within(NOW)).last();
                let publisher =
                    std::iter::from_fn(|| self.publishers[name].line_within(NOW)).last();
                let stats = http::get(server.http(), "/stats").text();
                let routes = http::get(server.http(), "/v1/routes").text();
                panic!("{name} stands still: {routes}\n{consumer:?}\n{publisher:?}\n{stats}")
            });
        }
    }

    /// Ends the publishers, awaits all that they were told is safe, and prints what came more than once.
    pub(crate) fn finish(mut self) {
        self.scratch.write("until", "");
        for (name, publisher) in self.publishers.drain() {
            let outcome = publisher.outcome();
            let last = outcome.lines.last().cloned().unwrap_or_default();
            assert!(outcome.success, "the publisher of {name}: {last}");
            let count = last["count"].as_u64().expect("a count") as usize;
            let refusals = outcome.lines.len().saturating_sub(count + 1);
            let consumer = self.consumers.remove(name).expect("each route has a consumer");
            let (came, refused) = (come_out(name, count, &consumer), refusals);
            eprintln!(
                "{name}: {count} acknowledged, {came} came out, {} twice; {refused} other lines",
                came - count
            );
        }
    }
}

/// Awaits that every body of `name` came out at the consumer, and says how many did in all.
fn come_out(name: &str, count: usize, consumer: &Driver) -> usize {
    let mut seen = vec![0_usize; count];
    let mut missing = count;
    let until = Instant::now() + DRAIN;
    while missing > 0 {
        let left = until.saturating_duration_since(Instant::now());
        let Some(line) = consumer.line_within(left) else {
            let lost: Vec<usize> = (0..count).filter(|&number| seen[number] == 0).collect();
            panic!("{name}: {missing} of {count} acknowledged messages did not come out: {lost:?}");
        };
        let Some(number) = line["body"].as_str().and_then(|body| body.rsplit('-').next()) else {
            continue;
        };
        let number: usize = number.parse().expect("bodies end in their number");
        if let Some(times) = seen.get_mut(number) {
            missing -= usize::from(*times == 0);
            *times += 1;
        }
    }
    seen.iter().sum()
}

/// A port of the loopback for a server that is to come back where it was: below the range of outgoing connections, so that
/// nobody sits on it meanwhile.
pub(crate) fn steady_port() -> u16 {
    let seed = unique("").bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
    let port = (0..1000).map(|step| 10_000 + ((seed + step) % 10_000) as u16);
    port.into_iter()
        .find(|&port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a port is free")
}
