//! A private RabbitMQ node for tests, by way of `scripts/broker`.
//!
//! A node takes some five seconds to start, so most tests share one: the first that asks starts it, it outlives
//! the test's process, and `scripts/test` removes it at the end (by hand: `scripts/broker remove` with the
//! folder). A test that harms its node takes one of its own; these run one at a time.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Scratch, rigs, root, tail, unique};

/// A node that runs, or ran until [`Rabbit::kill`].
#[derive(Debug)]
pub(crate) struct Rabbit {
    dir: PathBuf,
    uri: String,
    /// What makes the node this test's own: its folder, and the lock that keeps such nodes from crowding.
    own: Option<(Scratch, Option<File>)>,
}

impl Rabbit {
    /// The node that all tests share. Use names from [`unique`], or a [`Rabbit::vhost`], and harm nothing.
    pub(crate) fn shared() -> Self {
        let dir = rigs().join("broker");
        fs::create_dir_all(rigs()).expect("a folder under the target folder can be made");
        let _turn = locked(&rigs().join("broker.lock"));
        // A group of its own: the end of the test that happened to start it is not its end.
        let uri = broker("start", &dir, &[], true);
        Self { dir, uri, own: None }
    }

    /// A node of this test's own, to be killed and restarted at will; gone when dropped.
    pub(crate) fn own() -> Self {
        Self::own_with("")
    }

    /// As [`Rabbit::own`], with lines of `rabbitmq.conf` added to the node's configuration.
    pub(crate) fn own_with(configuration: &str) -> Self {
        let scratch = Scratch::new("broker");
        let turn = locked(&rigs().join("own-broker.lock"));
        scratch.write("extra.conf", configuration);
        let dir = scratch.path().to_owned();
        let uri = broker("start", &dir, &[], false);
        Self { dir, uri, own: Some((scratch, Some(turn))) }
    }

    /// A node of this test's own that listens in TLS too: `papers` are an authority, a certificate and its key, in PEM.
    /// It knows the plugins of these names.
    pub(crate) fn own_secure(papers: [&str; 3], plugins: &str, configuration: &str) -> Self {
        let scratch = Scratch::new("broker");
        let turn = locked(&rigs().join("own-broker.lock"));
        for (name, text) in ["ca", "cert", "key"].iter().zip(papers) {
            scratch.write(&format!("tls/{name}.pem"), text);
        }
        scratch.write("plugins", plugins);
        scratch.write("extra.conf", configuration);
        let dir = scratch.path().to_owned();
        let uri = broker("start", &dir, &[], false);
        Self { dir, uri, own: Some((scratch, Some(turn))) }
    }

    /// A further node in the cluster of `self`, under a name of its own.
    fn member(&self) -> Self {
        let scratch = Scratch::new("broker");
        scratch.write("member", &self.dir.display().to_string());
        let dir = scratch.path().to_owned();
        let uri = broker("start", &dir, &[], false);
        Self { dir, uri, own: Some((scratch, None)) }
    }

    /// One of the node's ports: `amqp`, `tls` or `management`.
    pub(crate) fn port(&self, name: &str) -> u16 {
        let ports = broker("ports", &self.dir, &[], false);
        let line = ports.lines().find_map(|line| line.strip_prefix(&format!("{name}_port=")));
        line.and_then(|port| port.parse().ok()).expect("a port of that name")
    }

    /// `amqp://` address with user and password, of the default virtual host; the same after a restart.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// The node's name among the nodes of its cluster.
    fn name(&self) -> String {
        if self.dir.join("member").exists() {
            format!("leveret-{}@localhost", self.port("amqp"))
        } else {
            "leveret@localhost".to_owned()
        }
    }

    /// `host:port` of the AMQP listener.
    pub(crate) fn address(&self) -> &str {
        let after = self.uri.rsplit('@').next().unwrap_or_default();
        after.split('/').next().unwrap_or_default()
    }

    /// Makes a virtual host that no other test uses, and gives its URI.
    pub(crate) fn vhost(&self) -> String {
        let name = unique("test");
        self.ctl(&["add_vhost", &name]);
        self.ctl(&["set_permissions", "-p", &name, "guest", ".*", ".*", ".*"]);
        format!("amqp://guest:guest@{}/{name}", self.address())
    }

    /// Makes the node remember the queues that were declared. RabbitMQ 3.10 writes that down seconds later, and the
    /// registry of quorum queues every three minutes only; a node killed before has lost their messages: call this
    /// between declaring a queue and [`Rabbit::kill`].
    pub(crate) fn sync(&self) {
        broker("sync", &self.dir, &[], false);
    }

    /// SIGKILL to the broker itself, as a crash; its data stays.
    pub(crate) fn kill(&self) {
        assert!(self.own.is_some(), "the shared node is not to be harmed");
        broker("kill", &self.dir, &[], false);
    }

    /// Starts the node again on the same port with the same data; returns when it takes clients.
    pub(crate) fn restart(&self) {
        let uri = broker("start", &self.dir, &[], false);
        assert_eq!(uri, self.uri, "a node keeps its ports");
    }

    /// SIGSTOP: the node is there and does not answer, until [`Rabbit::thaw`].
    pub(crate) fn freeze(&self) {
        super::signal(self.pid(), "STOP");
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        super::signal(self.pid(), "CONT");
    }

    fn pid(&self) -> u32 {
        assert!(self.own.is_some(), "the shared node is not to be harmed");
        let text =
            fs::read_to_string(self.dir.join("node.pid")).expect("a node that runs has a pid");
        text.trim().parse().expect("a pid is a number")
    }

    /// Ends the node in good order; [`Rabbit::restart`] brings it back.
    pub(crate) fn stop(&self) {
        assert!(self.own.is_some(), "the shared node is not to be harmed");
        broker("stop", &self.dir, &[], false);
    }

    /// Runs `rabbitmqctl` against the node and gives its output.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        broker("ctl", &self.dir, arguments, false)
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        if self.own.is_none() {
            return;
        }
        if std::thread::panicking() {
            let console = self.dir.join("log").join("console");
            eprintln!("--- the broker's last words\n{}", tail(&console, 40));
        }
        // No panic from here: it would hide the one that is under way. The kill spares the node's own slow
        // goodbye, the stop ends its epmd.
        for verb in ["kill", "stop"] {
            if let Err(error) = run(verb, &self.dir, &[], false) {
                eprintln!("{error}");
            }
        }
    }
}

/// Nodes that are one broker, on this machine. The first one stays longest: the others find each other through it.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The last one to be dropped is the first one.
    members: Vec<Rabbit>,
    first: Rabbit,
}

impl Cluster {
    /// Starts `count` nodes, one after the other.
    pub(crate) fn start(count: usize) -> Self {
        let first = Rabbit::own();
        let members = (1..count).map(|_| first.member()).collect();
        Self { members, first }
    }

    /// All nodes, the first one first.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Rabbit> {
        std::iter::once(&self.first).chain(&self.members)
    }

    /// The node that leads a quorum queue.
    pub(crate) fn leader(&self, queue: &str) -> &Rabbit {
        let all = self.first.ctl(&["--quiet", "list_queues", "name", "leader"]);
        let line = all.lines().find(|line| line.split_whitespace().next() == Some(queue));
        let name = line.and_then(|line| line.split_whitespace().nth(1)).expect("a leader");
        let is_it = |node: &&Rabbit| node.name() == name;
        self.nodes().find(is_it).expect("the leader is one of the nodes")
    }
}

/// Takes the lock on a file, waiting for whoever holds it; it ends with the value.
fn locked(path: &Path) -> File {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .expect("a lock file under the target folder can be opened");
    file.lock().expect("a lock file can be locked");
    file
}

fn broker(verb: &str, dir: &Path, arguments: &[&str], apart: bool) -> String {
    run(verb, dir, arguments, apart).unwrap_or_else(|error| panic!("{error}"))
}

fn run(verb: &str, dir: &Path, arguments: &[&str], apart: bool) -> Result<String, String> {
    let mut command = Command::new(root().join("scripts/broker"));
    command.arg(verb).arg(dir).args(arguments).stdin(Stdio::null());
    if apart {
        command.process_group(0);
    }
    let output =
        command.output().map_err(|error| format!("scripts/broker does not run: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let status = output.status;
        return Err(format!("scripts/broker {verb} {arguments:?}: {status}\n{out}\n{err}"));
    }
    Ok(text(&output.stdout))
}
