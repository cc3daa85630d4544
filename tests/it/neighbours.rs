//! Routes beside each other: one that stands still takes nothing from the others, and a thousand idle ones cost little.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::rabbit::Rabbit;
use crate::support::site::{await_count, await_state, plan, route};
use crate::support::wait::until_true;

/// Messages of one measurement.
const MESSAGES: u64 = 10_000;
const BATCH: u64 = 100;

fn confirmed(server: &Leveret, name: &str) -> u64 {
    route(server, name)["counters"]["confirmed"].as_u64().expect("a number")
}

fn publish(client: &mut Client, topic: &str, count: u64) {
    let batch =
        vec![&b"a message of no particular length, but not a short one either"[..]; BATCH as usize];
    for _ in 0..count / BATCH {
        client.publish_many(topic, &batch);
    }
}

/// Messages a second through the route `free`, from the first PUB to the last confirm: the best of three tries, since
/// whatever else runs on the machine only ever takes away.
fn rate(server: &Leveret, client: &mut Client) -> f64 {
    let tries = (0..3).map(|_| {
        let goal = confirmed(server, "free") + MESSAGES;
        let began = Instant::now();
        publish(client, "free", MESSAGES);
        await_count(server, "free", "confirmed", goal);
        MESSAGES as f64 / began.elapsed().as_secs_f64()
    });
    tries.fold(0.0, f64::max)
}

#[test]
fn a_route_whose_broker_hangs_does_not_slow_another() {
    let (free, stuck) = (Rabbit::shared(), Rabbit::own());
    let configuration = format!(
        "nsqd: {{ tcp_address: 127.0.0.1:0, http_address: 127.0.0.1:0, data_path: data }}\nbridges: bridges\nbrokers:\n  \
         free: {{ uri: '{}' }}\n  stuck: {{ uri: '{}', heartbeat: 60s }}\n",
        free.uri(),
        stuck.uri(),
    );
    let routes: String = ["free", "stuck"]
        .map(|name| {
            format!(
                "- {{name: {name}, mode: queued, from: {{nsq: {{topic: {name}}}}}, to: {{amqp: {{broker: {name}, exchange: '', \
                 routing_key: {name}, declare: {{queues: [{{name: {name}, type: classic}}]}}}}}}}}\n"
            )
        })
        .concat();
    let server = Leveret::serve(&configuration)
        .file("bridges/routes.yaml", &format!("routes:\n{routes}"))
        .file("data/.keep", "")
        .start();
    for name in ["free", "stuck"] {
        await_state(&server, name, "running");
    }
    let mut client = Client::connect(server.tcp());
    let alone = rate(&server, &mut client);
    stuck.freeze();
    // More than any window holds: what follows stands in the topic's channel, and the route has its hands full.
    publish(&mut client, "stuck", 20_000);
    until_true("the window is full", || route(&server, "stuck")["pending"].as_u64() >= Some(1000));
    let beside = rate(&server, &mut client);
    assert_eq!(confirmed(&server, "stuck"), 0, "nothing gets through to a broker that hangs");
    eprintln!("alone {alone:.0} msg/s, beside a route that stands still {beside:.0} msg/s");
    assert!(
        beside > alone * 0.6,
        "alone {alone:.0} msg/s, beside a route that stands still {beside:.0}"
    );
    stuck.thaw();
    await_count(&server, "stuck", "confirmed", 20_000);
}

/// Processor time and resident memory of a process: seconds and bytes.
fn weight(server: &Leveret) -> (f64, f64) {
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", server.pid())).unwrap();
    let stat = read("stat");
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks =
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
    let status = read("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: f64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    (ticks.sum::<f64>() / 100.0, kib * 1024.0)
}

#[test]
fn a_thousand_idle_routes_cost_next_to_nothing() {
    const ROUTES: usize = 1000;
    const WATCHED: Duration = Duration::from_secs(3);
    let rabbit = Rabbit::own();
    let none = plan(rabbit.uri(), "routes: []\n").start();
    let routes: String = (0..ROUTES)
        .map(|n| {
            let to = format!(
                "{{amqp: {{exchange: '', routing_key: q{n}, declare: {{queues: [{{name: q{n}, type: classic}}]}}}}}}"
            );
            let from = format!("{{amqp: {{queue: q{n}, declare: {{type: classic}}}}}}");
            let (from, to, mode) = match n % 4 {
                0 => (format!("{{nsq: {{topic: t{n}}}}}"), to, "direct"),
                1 => (format!("{{nsq: {{topic: t{n}}}}}"), to, "queued"),
                2 => (from, format!("{{nsq: {{topic: t{n}}}}}"), "queued"),
                _ => (from, format!("{{nsq: {{topic: t{n}, channel: c}}}}"), "direct"),
            };
            format!("- {{name: r{n}, mode: {mode}, from: {from}, to: {to}}}\n")
        })
        .collect();
    let server = plan(rabbit.uri(), &format!("routes:\n{routes}")).start();
    until_true("all routes are up", || {
        let shown = http::get(server.http(), "/v1/routes").json();
        let all = shown["routes"].as_array().unwrap();
        all.len() == ROUTES
            && all.iter().all(|route| matches!(route["state"].as_str(), Some("running" | "idle")))
    });
    // What starting left behind is over at some time: the quietest of some spans counts. Nothing happens in them that could
    // be awaited: that is what is measured.
    let spans = (0..5).map(|_| {
        let (before, _) = weight(&server);
        thread::sleep(WATCHED);
        (weight(&server).0 - before) / WATCHED.as_secs_f64()
    });
    let share = spans.fold(f64::INFINITY, f64::min);
    let resident = weight(&server).1;
    let each = (resident - weight(&none).1) / ROUTES as f64 / 1024.0;
    eprintln!("{ROUTES} idle routes: {:.2} % of a core, {each:.1} KiB each", share * 100.0);
    assert!(share < 0.01, "{:.2} % of a core", share * 100.0);
    // What a task holds across its awaits is larger where nothing is optimised.
    let most = if cfg!(debug_assertions) { 75.0 } else { 50.0 };
    assert!(each < most, "{each:.1} KiB each");
}
