//! Client libraries that nobody here wrote, as programs of `tests/clients/` that print JSON lines.
//!
//! `scripts/test --tools` installs the libraries under the target folder.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use super::{rigs, root};

/// Longest time between two lines of a driver; a little over the drivers' own limit, which says more.
const SILENCE_MAX: Duration = Duration::from_secs(70);

/// An NSQ client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Pynsq,
    Gnsq,
    Nsqjs,
}

impl Library {
    pub(crate) const ALL: [Self; 3] = [Self::Pynsq, Self::Gnsq, Self::Nsqjs];

    /// Publishes; options: `--count --prefix --batch --defer --format --options` (a JSON object that the library takes),
    /// and for pynsq `--patience --until --pace`.
    pub(crate) fn publish(self, tcp: SocketAddr, topic: &str, options: &[&str]) -> Driver {
        let tcp = tcp.to_string();
        self.run(&["publish", "--tcp", &tcp, "--topic", topic], options)
    }

    /// Consumes; options: `--count --distinct --max-in-flight --requeue --requeue-delay --silent --touch
    /// --msg-timeout --seconds --options`. gnsq does not know `--msg-timeout`: give the server one.
    pub(crate) fn consume(
        self,
        tcp: SocketAddr,
        topic: &str,
        channel: &str,
        options: &[&str],
    ) -> Driver {
        let tcp = tcp.to_string();
        let what = ["consume", "--tcp", &tcp, "--topic", topic, "--channel", channel];
        self.run(&what, options)
    }

    /// As [`Library::consume`], from the nsqds that the nsqlookupd at `http` tells of; not for gnsq.
    pub(crate) fn find(
        self,
        http: SocketAddr,
        topic: &str,
        channel: &str,
        options: &[&str],
    ) -> Driver {
        let http = http.to_string();
        let what = ["consume", "--lookupd", &http, "--topic", topic, "--channel", channel];
        self.run(&what, options)
    }

    /// This library, or another one where its producer does not get over an upgrade or AUTH: gnsq 1.0's takes the first
    /// answer that it does not know of for that to a message.
    pub(crate) fn that_publishes_upgraded(self) -> Self {
        if self == Self::Gnsq { Self::Pynsq } else { self }
    }

    fn run(self, what: &[&str], options: &[&str]) -> Driver {
        let mut command = match self {
            Self::Pynsq => python("pynsq_client.py"),
            Self::Gnsq => python("gnsq_client.py"),
            Self::Nsqjs => node("nsqjs_client.js"),
        };
        command.args(what).args(options);
        Driver::start(command)
    }
}

/// The AMQP side. `what` is the verb and its options: `declare publish consume length purge delete`.
pub(crate) fn pika(uri: &str, what: &[&str]) -> Driver {
    let mut command = python("pika_client.py");
    command.args(["--uri", uri]).args(what);
    Driver::start(command)
}

fn python(program: &str) -> Command {
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg("-B").arg(clients().join(program));
    command
}

fn node(program: &str) -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", installed("node/node_modules")).arg(clients().join(program));
    command
}

fn clients() -> PathBuf {
    root().join("tests/clients")
}

fn installed(name: &str) -> PathBuf {
    let path = rigs().join(name);
    assert!(path.exists(), "{} is missing: run scripts/test --tools once", path.display());
    path
}

/// A driver that runs. What it writes to standard error goes to the test's own.
#[derive(Debug)]
pub(crate) struct Driver {
    child: Child,
    lines: Receiver<String>,
}

/// How a driver ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) lines: Vec<Value>,
}

impl Driver {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} starts: {error}"));
        let output = child.stdout.take().expect("its output is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line; `None` at the end.
    pub(crate) fn line(&self) -> Option<Value> {
        match self.lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => Some(
                serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("not JSON ({error}): {line}")),
            ),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("a driver said nothing for {SILENCE_MAX:?}"),
        }
    }

    /// The next line, if one comes in time.
    pub(crate) fn line_within(&self, limit: Duration) -> Option<Value> {
        let line = self.lines.recv_timeout(limit).ok()?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// Awaits the next line of this event.
    pub(crate) fn await_event(&self, event: &str) -> Value {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("the driver ended without {event:?}"));
            if line["event"] == event {
                return line;
            }
        }
    }

    /// Awaits the end, whatever it is.
    pub(crate) fn outcome(mut self) -> Outcome {
        let lines: Vec<Value> = std::iter::from_fn(|| self.line()).collect();
        let status = self.child.wait().expect("a child can be waited for");
        Outcome { success: status.success(), lines }
    }

    /// Awaits a good end; gives the lines of the event `message`, and the count of the last line.
    pub(crate) fn finish(self) -> (Vec<Value>, u64) {
        let Outcome { success, lines } = self.outcome();
        let last = lines.last().cloned().unwrap_or_default();
        assert!(success && last["event"] == "done", "a driver failed: {last}");
        let messages = lines.into_iter().filter(|line| line["event"] == "message").collect();
        (messages, last["count"].as_u64().unwrap_or_default())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The sorted bodies of lines.
pub(crate) fn bodies(lines: &[Value]) -> Vec<String> {
    let mut all: Vec<String> =
        lines.iter().filter_map(|line| line["body"].as_str().map(str::to_owned)).collect();
    all.sort();
    all
}

/// The sorted bodies that a driver publishes for `--prefix` and `--count`.
pub(crate) fn expected(prefix: &str, count: usize) -> Vec<String> {
    let mut all: Vec<String> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
    all.sort();
    all
}
