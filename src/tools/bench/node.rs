//! A Leveret with one route of every kind, measured against the broker's ceiling by turns: what a shared machine does to
//! one, it does to the other.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::amqp::{Amqp, Load};
use super::body::JSON_MIN;
use super::bridge::{Bridge, Broker, Measured, Route, Size, await_depth, ceiling, with_cpu};
use super::kinds::{CHANNEL, Ceiling, Ends, KINDS, Kind};
use super::nsq;
use super::report::{Figure, median, say};
use super::server::{free_port, post};
use super::wire::{Fail, Outcome, Wire, fail};
use crate::clock;

/// How long the node may take to start.
const START: Duration = Duration::from_secs(10);
/// Connections of producers and consumers.
const CONNECTIONS: u64 = 4;
/// What of a producer may be unanswered, and a consumer's RDY.
const IN_FLIGHT: u32 = 1000;
/// Messages in an MPUB.
const BATCH: u64 = 100;

/// What to measure.
pub(super) struct Plan {
    pub(super) uri: String,
    pub(super) size: Size,
    pub(super) rounds: usize,
    pub(super) window: u64,
    pub(super) route_window: Option<u32>,
    /// Beginnings of routes' names; all if there are none.
    pub(super) only: Vec<String>,
    pub(super) dir: PathBuf,
}

impl Plan {
    fn kinds(&self) -> Vec<Kind> {
        let is_wanted =
            |kind: &Kind| self.only.iter().any(|beginning| kind.name.starts_with(beginning));
        KINDS.into_iter().filter(|kind| self.only.is_empty() || is_wanted(kind)).collect()
    }
}

/// A row of the table.
struct Row {
    title: String,
    /// Which ceiling it is held against.
    against: Option<Ceiling>,
    figures: Vec<Figure>,
}

/// Measures everything, prints each figure as it comes, and the table.
pub(super) fn measure(plan: &Plan) -> Outcome<()> {
    let kinds = plan.kinds();
    if kinds.is_empty() {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        return fail(format!("no route is called so; there are {}", names.join(", ")));
    }
    if plan.size.size < JSON_MIN && kinds.iter().any(|kind| kind.is_shaped) {
        return fail(format!("a body that a filter looks into has at least {JSON_MIN} bytes"));
    }
    let node = Node::start(plan, &kinds)?;
    say(format!(
        "Leveret {} as process {} at {}; {} messages of {} bytes, {} rounds",
        env!("CARGO_PKG_VERSION"),
        node.child.id(),
        node.address,
        plan.size.messages,
        plan.size.size,
        plan.rounds,
    ));
    let ceilings = Ceiling::ALL.map(|ceiling| (ceiling.title().to_owned(), None));
    let routes = kinds.iter().map(|kind| (kind.title(), kind.against()));
    let mut rows: Vec<Row> = ceilings
        .into_iter()
        .chain(routes)
        .map(|(title, against)| Row { title, against, figures: Vec::new() })
        .collect();
    for round in 1..=plan.rounds {
        say(format!("\nRound {round}"));
        let mut figures = ceiling(&plan.uri, plan.size, plan.window, Measured::CLASSIC)?.to_vec();
        for kind in &kinds {
            figures.push(node.measure(plan, *kind)?);
        }
        for (row, figure) in rows.iter_mut().zip(figures) {
            say(format!("  {:<45}{figure}", row.title));
            row.figures.push(figure);
        }
    }
    print_table(&rows);
    node.stop(&plan.uri, &kinds)
}

fn print_table(rows: &[Row]) {
    say("\nMedians");
    say("| | msg/s | of the ceiling | µs CPU a message |");
    say("|---|---|---|---|");
    let rate = |row: &Row| median(row.figures.iter().map(Figure::rate)).unwrap_or_default();
    let ceilings: Vec<f64> = rows.iter().take(Ceiling::ALL.len()).map(rate).collect();
    for row in rows {
        let ceiling =
            Ceiling::ALL.iter().zip(&ceilings).find(|(one, _)| row.against == Some(**one));
        let ratio = ceiling.map_or_else(
            || "-".to_owned(),
            |(_, most)| format!("{:.0} %", rate(row) / most * 100.0),
        );
        let cpu = median(row.figures.iter().filter_map(Figure::cpu_micros))
            .map_or_else(|| "-".to_owned(), |micros| format!("{micros:.1}"));
        say(format!("| {} | {:.0} | {ratio} | {cpu} |", row.title, rate(row)));
    }
}

/// The node that is measured, and another one that it takes from and gives to; both end with this.
struct Node {
    child: Child,
    address: String,
    http: String,
    other: Child,
    remote: String,
}

impl Node {
    fn start(plan: &Plan, kinds: &[Kind]) -> Outcome<Self> {
        let program = std::env::current_exe()?;
        let [address, http, remote] =
            [free_port()?, free_port()?, free_port()?].map(|port| format!("127.0.0.1:{port}"));
        let config = write_files(plan, kinds, [&address, &http, &remote])?;
        let other = Command::new(&program)
            .arg("nsqd")
            .args([format!("--tcp-address={remote}"), "--http-address=".to_owned()])
            .arg("--data-path")
            .arg(plan.dir.join("other"))
            .arg("--log-level=warn")
            .stdin(Stdio::null())
            .spawn()?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .spawn()?;
        let node = Self { child, address, http, other, remote };
        let began = clock::now();
        while [&node.address, &node.remote].iter().any(|at| Wire::connect(at).is_err()) {
            if clock::since(began) > START {
                return fail("the node did not start");
            }
            thread::park_timeout(Duration::from_millis(50));
        }
        // A queue appears as soon as its route is up: before that, what is measured is the waiting for it.
        let mut amqp = Amqp::open(&plan.uri)?;
        for kind in kinds {
            queues(*kind).iter().try_for_each(|queue| amqp.fresh_queue(queue))?;
        }
        thread::park_timeout(Duration::from_millis(500));
        Ok(node)
    }

    fn measure(&self, plan: &Plan, kind: Kind) -> Outcome<Figure> {
        if kind.is_eager() { self.forward(plan, kind) } else { self.bridge(plan, kind).measure() }
    }

    /// What is measured as any other bridge would be, too.
    fn bridge(&self, plan: &Plan, kind: Kind) -> Bridge {
        let (route, topic, queue) = match kind.ends {
            Ends::NsqToAmqp => (Route::Publish, kind.name.to_owned(), kind.target()),
            _ => (Route::Deliver, kind.target(), kind.source_queue()),
        };
        Bridge {
            nsq: self.address.clone(),
            amqp: Broker { uri: plan.uri.clone() },
            route,
            topic,
            channel: CHANNEL.to_owned(),
            queue,
            pid: Some(self.child.id()),
            size: plan.size,
            connections: CONNECTIONS,
            batch: BATCH,
            window: IN_FLIGHT,
        }
    }

    /// Fills the source while the route is paused, and takes the time from when it goes on to when all has arrived.
    fn forward(&self, plan: &Plan, kind: Kind) -> Outcome<Figure> {
        let mut amqp = Amqp::open(&plan.uri)?;
        queues(kind).iter().try_for_each(|queue| amqp.fresh_queue(queue))?;
        self.tell(kind, "pause")?;
        let Size { messages, size } = plan.size;
        match kind.ends {
            Ends::NsqToNsq => self.produce(&self.address, kind, plan)?,
            Ends::RemoteToAmqp => self.produce(&self.remote, kind, plan)?,
            _ => amqp.publish(&kind.source_queue(), Load { messages, size, window: 2000 })?,
        }
        let target = kind.target();
        let figure = with_cpu(Some(self.child.id()), || {
            let began = clock::now();
            self.tell(kind, "resume")?;
            let place = match kind.ends {
                Ends::AmqpToRemote => &self.remote,
                Ends::AmqpToNsq | Ends::NsqToNsq => &self.address,
                _ => {
                    await_depth(&mut amqp, &target, messages)?;
                    return Ok(nsq::Span { messages, time: clock::since(began) });
                }
            };
            nsq::consume(&nsq::Consume {
                address: place,
                topic: &target,
                channel: CHANNEL,
                messages,
                connections: CONNECTIONS,
                ready: IN_FLIGHT,
            })
        })?;
        queues(kind).iter().try_for_each(|queue| amqp.fresh_queue(queue))?;
        Ok(figure)
    }

    fn produce(&self, address: &str, kind: Kind, plan: &Plan) -> Outcome<()> {
        let topics = [kind.name.to_owned()];
        // The channel is there before what it is to hold.
        drop(nsq::subscribe(address, kind.name, CHANNEL, 0)?);
        let load = nsq::Produce {
            address,
            topics: &topics,
            messages: plan.size.messages,
            size: plan.size.size,
            connections: CONNECTIONS,
            batch: BATCH,
            window: IN_FLIGHT.into(),
        };
        nsq::produce(&load).map(drop)
    }

    fn tell(&self, kind: Kind, verb: &str) -> Outcome<()> {
        post(&self.http, &format!("/v1/routes/{}/{verb}", kind.name))
    }

    /// Ends the node and removes its queues.
    fn stop(self, uri: &str, kinds: &[Kind]) -> Outcome<()> {
        drop(self);
        let mut amqp = Amqp::open(uri)?;
        let mut all = kinds.iter().flat_map(|kind| queues(*kind));
        all.try_for_each(|queue| amqp.delete_queue(&queue))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in [&mut self.child, &mut self.other] {
            // It may have ended by itself; that has been said already then.
            if child.kill().is_ok() {
                drop(child.wait());
            }
        }
    }
}

/// The queues that a route takes from and gives to.
fn queues(kind: Kind) -> Vec<String> {
    match kind.ends {
        Ends::NsqToNsq => Vec::new(),
        Ends::NsqToAmqp | Ends::RemoteToAmqp => vec![kind.target()],
        Ends::AmqpToNsq | Ends::AmqpToRemote => vec![kind.source_queue()],
        Ends::AmqpToAmqp => vec![kind.source_queue(), kind.target()],
    }
}

/// Writes the node's file and its routes, and says where the former is. The addresses: TCP, HTTP, the other node's.
fn write_files(plan: &Plan, kinds: &[Kind], addresses: [&str; 3]) -> Outcome<PathBuf> {
    let [address, http, remote] = addresses;
    for folder in ["data", "other", "bridges"].map(|name| plan.dir.join(name)) {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
    }
    let node = format!(
        "nsqd:\n  tcp_address: {address}\n  http_address: {http}\n  data_path: data\n\
         brokers:\n  default: {{ uri: \"{}\" }}\nlog:\n  level: warn\nbridges: bridges\n",
        plan.uri,
    );
    let routes: String = kinds.iter().map(|kind| kind.yaml(remote, plan.route_window)).collect();
    write(&plan.dir.join("bridges/bench.yaml"), &format!("routes:\n{routes}"))?;
    let config = plan.dir.join("leveret.yaml");
    write(&config, &node)?;
    Ok(config)
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    std::fs::write(path, text)
        .map_err(|error| Fail::Connect(format!("cannot write {}", path.display()), error))
}
