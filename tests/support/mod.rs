//! What the black-box tests stand on: servers to start, clients to drive them, conditions to await.
//!
//! | module | gives |
//! | --- | --- |
//! | [`admin`] | nsqadmin, and a cluster for it to show |
//! | [`leveret`] | the binary under test (or a real nsqd, for conformance) as a process |
//! | [`rabbit`] | a private RabbitMQ node, shared by all tests or one test's own |
//! | [`etcd`] | a private etcd, and a look into it |
//! | [`fleet`] | nodes that share routes, and a witness that none runs twice |
//! | [`nsq`] | a bare NSQ connection: bytes out, frames in |
//! | [`nsqds`] | several nsqds, and a node with routes between them |
//! | [`secure`] | certificates, and connections in TLS or packed |
//! | [`authd`] | an auth server that a test owns |
//! | [`http`] | one HTTP request at a time |
//! | [`stats`] | what `/stats` says of topics, channels and clients |
//! | [`opentsdb`] | an OpenTSDB that takes nothing but what the real one takes |
//! | [`proxy`] | a TCP relay that can be cut or fall silent |
//! | [`site`] | a node with routes to the shared broker, and what it says of them |
//! | [`traffic`] | real clients at both ends of every kind of route, for as long as a test harms something |
//! | [`drivers`] | pynsq, gnsq, nsqjs and pika as programs that print JSON lines |
//! | [`wait`] | awaiting a condition with a deadline |

pub(crate) mod admin;
pub(crate) mod authd;
pub(crate) mod dice;
pub(crate) mod drivers;
pub(crate) mod etcd;
pub(crate) mod fleet;
pub(crate) mod http;
pub(crate) mod leveret;
pub(crate) mod lookupd;
pub(crate) mod nsq;
pub(crate) mod nsqds;
pub(crate) mod opentsdb;
pub(crate) mod proxy;
pub(crate) mod rabbit;
pub(crate) mod secure;
pub(crate) mod site;
pub(crate) mod stats;
pub(crate) mod traffic;
pub(crate) mod utility;
pub(crate) mod wait;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts what this process has named, so that no two names are the same.
static NAMED: AtomicU32 = AtomicU32::new(0);

/// The package's own folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where interpreters' packages, brokers and scratch folders live; `scripts/lib.sh` says the same.
pub(crate) fn rigs() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), PathBuf::from)
        .join("rigs")
}

/// A name that no other test uses, in this run or an earlier one: brokers keep what they were told.
pub(crate) fn unique(stem: &str) -> String {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let number = NAMED.fetch_add(1, Ordering::Relaxed);
    format!("{stem}.{:x}-{:x}-{number}", nanos >> 10, std::process::id())
}

/// A folder of one test; it goes with the test unless that panics.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(stem: &str) -> Self {
        let path = rigs().join("run").join(unique(stem));
        fs::create_dir_all(&path).expect("a folder under the target folder can be made");
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        let parent = path.parent().expect("a joined path has a parent");
        fs::create_dir_all(parent).expect("a folder inside the scratch folder can be made");
        fs::write(&path, text).expect("a file inside the scratch folder can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("left behind: {}: {error}", self.path.display());
        }
    }
}

/// Sends a signal by name (`TERM`, `KILL`, `STOP`, `HUP` ...) to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    // The shell's own `kill`: a bare Debian has no program of that name.
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .expect("sh runs");
    assert!(status.success(), "signal {name} to process {pid}");
}

/// The last lines of a file, for a test's own report of its failure.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
