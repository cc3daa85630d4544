//! Nodes that share their routes through an etcd, and routes of which there is one among them.
//!
//! The routes lead from a nsqd through whichever node runs them to another nsqd, so that no broker is needed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::etcd::Etcd;
use super::http;
use super::leveret::Leveret;
use super::nsqds::make;
use super::wait;

/// A node that registers at `endpoint`.
pub(crate) fn node(endpoint: &str) -> Leveret {
    node_with(endpoint, "", None)
}

/// A node that registers at `endpoint`, with lines for `nsqd` and a file of routes.
pub(crate) fn node_with(endpoint: &str, nsqd: &str, routes: Option<&str>) -> Leveret {
    let bridges = if routes.is_some() { "bridges: bridges\n" } else { "" };
    let configuration = format!(
        "nsqd:\n  tcp_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  broadcast_address: 127.0.0.1\n  \
         data_path: '{{dir}}/data'\n{nsqd}{bridges}registry:\n  etcd: {{ endpoints: [ \"{endpoint}\" ], lease: 6s }}\n"
    );
    let plan = Leveret::serve(&configuration);
    match routes {
        Some(routes) => plan.file("bridges/routes.yaml", routes).start(),
        None => plan.start(),
    }
}

/// The name of a node in the registry.
pub(crate) fn name(node: &Leveret) -> String {
    node.tcp().to_string()
}

/// The routes that run on a node.
pub(crate) fn running(node: &Leveret) -> Vec<String> {
    let shown = http::get(node.http(), "/v1/routes").json();
    let routes = shown["routes"].as_array().expect("a list of routes");
    routes.iter().map(|route| route["name"].as_str().expect("a name").to_owned()).collect()
}

/// The value of a key, if it is JSON.
pub(crate) fn json(etcd: &Etcd, key: &str) -> Option<Value> {
    serde_json::from_str(&etcd.get(key)?).ok()
}

/// A route within a node.
pub(crate) fn local(name: &str, mode: &str) -> String {
    format!(
        "name: {name}\nfrom: {{ nsq: {{ topic: {name} }} }}\nto: {{ nsq: {{ topic: {name}.out }} }}\nmode: {mode}\n"
    )
}

/// A route of which there is one, from a topic of one nsqd to one of another.
pub(crate) fn single(name: &str, from: &Leveret, to: &Leveret) -> String {
    format!(
        "name: {name}\ninstances: one\nfrom: {{ nsq: {{ nsqd: [ \"{}\" ], topic: {name}, channel: bridge }} }}\n\
         to: {{ nsq: {{ nsqd: [ \"{}\" ], topic: out }} }}\nmode: queued\n",
        from.tcp(),
        to.tcp()
    )
}

/// The names of so many routes of which there is one.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("one-{number}")).collect()
}

/// Puts so many routes of which there is one into etcd, and makes the channels that they read.
pub(crate) fn push_singles(etcd: &Etcd, count: usize, from: &Leveret, to: &Leveret) {
    for name in names(count) {
        make(from, &name, "bridge");
        etcd.put(&format!("/leveret/routes/{name}"), &single(&name, from, to));
    }
}

/// How many of the nodes run each route.
pub(crate) fn counts(nodes: &[&Leveret]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in nodes.iter().flat_map(|node| running(node)) {
        *counts.entry(name).or_insert(0) += 1;
    }
    counts
}

/// Awaits that each of `count` routes runs on exactly one of the nodes; tells how long that took.
pub(crate) fn await_each_once(nodes: &[&Leveret], count: usize) -> Duration {
    let began = Instant::now();
    let mut last = BTreeMap::new();
    let found = wait::until(wait::PATIENCE, || {
        last = counts(nodes);
        let is_once = last.len() == count && last.values().all(|count| *count == 1);
        is_once.then_some(())
    });
    found.unwrap_or_else(|| panic!("not each of {count} routes runs once: {last:?}"));
    began.elapsed()
}

/// Watches that no route runs on two nodes at a moment.
#[derive(Debug)]
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    looks: JoinHandle<usize>,
}

impl Witness {
    pub(crate) fn of(nodes: &[&Leveret]) -> Self {
        let at: Vec<_> = nodes.iter().map(|node| node.http()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let looks = std::thread::spawn(move || {
            let mut looks = 0;
            while !ended.load(Ordering::Relaxed) {
                let look = |at: &std::net::SocketAddr| -> Vec<String> {
                    // A node that was killed answers nobody.
                    if std::net::TcpStream::connect(at).is_err() {
                        return Vec::new();
                    }
                    let answer = std::panic::catch_unwind(|| http::get(*at, "/v1/routes").json());
                    let Ok(shown) = answer else { return Vec::new() };
                    let routes = shown["routes"].as_array().cloned().unwrap_or_default();
                    routes.iter().filter_map(|r| r["name"].as_str().map(str::to_owned)).collect()
                };
                for (index, first) in at.iter().enumerate() {
                    for second in &at[index + 1..] {
                        // What the first has before and after the second was asked, it had meanwhile.
                        let (before, between, after) = (look(first), look(second), look(first));
                        for name in between.iter().filter(|name| name.starts_with("one-")) {
                            let twice = before.contains(name) && after.contains(name);
                            assert!(!twice, "{name} runs on {first} and {second}");
                        }
                    }
                }
                looks += 1;
            }
            looks
        });
        Self { stop, looks }
    }

    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let looks = self.looks.join().expect("no route ran twice");
        assert!(looks > 3, "{looks} looks");
    }
}

/// A node with these lines as its `registry.etcd`.
pub(crate) fn node_of(etcd: &str) -> Leveret {
    let configuration = format!(
        "nsqd:\n  tcp_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  broadcast_address: 127.0.0.1\n\
         registry:\n  etcd:\n{etcd}"
    );
    Leveret::serve(&configuration).start()
}
