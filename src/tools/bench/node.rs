//! A Leveret with one route of every kind, measured against the broker's ceiling by turns: what a shared machine does to
//! one, it does to the other.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::amqp::Amqp;
use super::bridge::{Bridge, Broker, Route, Size, ceiling};
use super::report::{Figure, median, say};
use super::server::free_port;
use super::wire::{Fail, Outcome, Wire, fail};
use crate::clock;

/// How long the node may take to start.
const START: Duration = Duration::from_secs(10);

/// What to measure.
pub(super) struct Plan {
    pub(super) uri: String,
    pub(super) size: Size,
    pub(super) rounds: usize,
    pub(super) window: u64,
    pub(super) route_window: Option<u32>,
    pub(super) dir: PathBuf,
}

/// A row of the table.
struct Row {
    name: &'static str,
    /// Which ceiling it is held against: that of publishing, or of consuming.
    against: usize,
    figures: Vec<Figure>,
}

/// The routes: name of the topic and queue, title, and which way. A queued route from a queue is not among them: it has
/// emptied the queue into its topic before a consumer comes.
const ROUTES: [(&str, &str, Route); 3] = [
    ("publish-direct", "NSQ to AMQP, direct", Route::Publish),
    ("publish-queued", "NSQ to AMQP, queued", Route::Publish),
    ("deliver-direct", "AMQP to NSQ, direct", Route::Deliver),
];
const CEILINGS: [&str; 2] = ["raw frames, publish", "raw frames, consume"];
const CHANNEL: &str = "bench";

fn queue(route: &str) -> String {
    format!("leveret-bench-{route}")
}

/// Measures everything, prints each figure as it comes, and the table.
pub(super) fn measure(plan: &Plan) -> Outcome<()> {
    let node = Node::start(plan)?;
    let pid = node.child.id();
    say(format!(
        "Leveret {} as process {pid} at {}; {} messages of {} bytes, {} rounds",
        env!("CARGO_PKG_VERSION"),
        node.address,
        plan.size.messages,
        plan.size.size,
        plan.rounds,
    ));
    let titles = CEILINGS.iter().enumerate().map(|(at, name)| (*name, at));
    let routes =
        ROUTES.iter().map(|(_, name, route)| (*name, usize::from(*route == Route::Deliver)));
    let mut rows: Vec<Row> = titles
        .chain(routes)
        .map(|(name, against)| Row { name, against, figures: Vec::new() })
        .collect();
    say("\nBy hand:");
    say(format!("  leveret bench ceiling --amqp {} --window {}", plan.uri, plan.window));
    for (name, _, route) in ROUTES {
        let word = if route == Route::Publish { "publish" } else { "deliver" };
        say(format!(
            "  leveret bench bridge --nsq {} --amqp {} --route {word} --topic {name} --queue {} --pid {pid}",
            node.address,
            plan.uri,
            queue(name),
        ));
    }
    for round in 1..=plan.rounds {
        say(format!("\nRound {round}"));
        let mut figures = ceiling(&plan.uri, plan.size, plan.window)?.to_vec();
        for (name, _, route) in ROUTES {
            figures.push(bridge(plan, &node, name, route).measure()?);
        }
        for (row, figure) in rows.iter_mut().zip(figures) {
            say(format!("  {:<22}{figure}", row.name));
            row.figures.push(figure);
        }
    }
    print_table(&rows);
    node.stop(&plan.uri)
}

fn bridge(plan: &Plan, node: &Node, name: &str, route: Route) -> Bridge {
    Bridge {
        nsq: node.address.clone(),
        amqp: Broker { uri: plan.uri.clone() },
        route,
        topic: name.to_owned(),
        channel: CHANNEL.to_owned(),
        queue: queue(name),
        pid: Some(node.child.id()),
        size: plan.size,
        connections: 4,
        batch: 100,
        window: 1000,
    }
}

fn print_table(rows: &[Row]) {
    say("\nMedians");
    say("| | msg/s | of the ceiling | µs CPU a message |");
    say("|---|---|---|---|");
    let rate = |row: &Row| median(row.figures.iter().map(Figure::rate)).unwrap_or_default();
    let ceilings: Vec<f64> = rows.iter().take(CEILINGS.len()).map(rate).collect();
    for (at, row) in rows.iter().enumerate() {
        let ceiling = ceilings.get(row.against).copied().unwrap_or_default();
        let ratio = if at < CEILINGS.len() {
            "-".to_owned()
        } else {
            format!("{:.0} %", rate(row) / ceiling * 100.0)
        };
        let cpu = median(row.figures.iter().filter_map(Figure::cpu_micros))
            .map_or_else(|| "-".to_owned(), |micros| format!("{micros:.1}"));
        say(format!("| {} | {:.0} | {ratio} | {cpu} |", row.name, rate(row)));
    }
}

/// The node that is measured; it ends with this.
struct Node {
    child: Child,
    address: String,
}

impl Node {
    fn start(plan: &Plan) -> Outcome<Self> {
        let program = std::env::current_exe()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let config = write_files(plan, &address)?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .spawn()?;
        let node = Self { child, address };
        let began = clock::now();
        while Wire::connect(&node.address).is_err() {
            if clock::since(began) > START {
                return fail("the node did not start");
            }
            thread::park_timeout(Duration::from_millis(50));
        }
        // A queue appears as soon as its route is up: before that, what is measured is the waiting for it.
        let mut amqp = Amqp::open(&plan.uri)?;
        for (name, _, _) in ROUTES {
            amqp.fresh_queue(&queue(name))?;
        }
        thread::park_timeout(Duration::from_millis(500));
        Ok(node)
    }

    /// Ends the node and removes its queues.
    fn stop(self, uri: &str) -> Outcome<()> {
        drop(self);
        let mut amqp = Amqp::open(uri)?;
        ROUTES.iter().try_for_each(|(name, _, _)| amqp.delete_queue(&queue(name)))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; that has been said already then.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// Writes the node's file and its routes, and says where the former is.
fn write_files(plan: &Plan, address: &str) -> Outcome<PathBuf> {
    let data = plan.dir.join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    std::fs::create_dir_all(&data)?;
    let bridges = plan.dir.join("bridges");
    std::fs::create_dir_all(&bridges)?;
    let node = format!(
        "nsqd:\n  tcp_address: {address}\n  http_address: \"\"\n  data_path: data\n\
         brokers:\n  default: {{ uri: \"{}\" }}\nlog:\n  level: warn\nbridges: bridges\n",
        plan.uri,
    );
    write(&bridges.join("bench.yaml"), &routes(plan.route_window))?;
    let config = plan.dir.join("leveret.yaml");
    write(&config, &node)?;
    Ok(config)
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    std::fs::write(path, text)
        .map_err(|error| Fail::Connect(format!("cannot write {}", path.display()), error))
}

/// The route files' text.
fn routes(window: Option<u32>) -> String {
    let mut text = "routes:\n".to_owned();
    let publish = window
        .map(|messages| format!("    window: {{ messages: {messages} }}\n"))
        .unwrap_or_default();
    for (name, _, route) in ROUTES {
        let mode = if name.ends_with("queued") { "queued" } else { "direct" };
        let queue = queue(name);
        let is_direct = mode == "direct";
        let (from, to) = match route {
            Route::Publish => (
                if is_direct {
                    format!("nsq: {{ topic: {name} }}")
                } else {
                    format!("nsq: {{ topic: {name}, channel: {CHANNEL} }}")
                },
                format!(
                    "amqp: {{ exchange: \"\", routing_key: {queue}, declare: {{ queues: [{{ name: {queue} }}] }} }}"
                ),
            ),
            Route::Deliver => (
                format!("amqp: {{ queue: {queue}, prefetch: 2000, declare: {{ type: classic }} }}"),
                if is_direct {
                    format!("nsq: {{ topic: {name}, channel: {CHANNEL} }}")
                } else {
                    format!("nsq: {{ topic: {name} }}")
                },
            ),
        };
        let publish = if route == Route::Publish { publish.as_str() } else { "" };
        text.push_str(&format!(
            "  - name: {name}\n    from: {{ {from} }}\n    to: {{ {to} }}\n    mode: {mode}\n{publish}"
        ));
    }
    text
}
