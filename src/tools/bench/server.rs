//! The servers that are measured: a Leveret and an nsqd that are started for it, or one that runs elsewhere.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::nsq;
use super::wire::{Fail, Outcome, Wire, fail};
use crate::clock;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);
const START_PAUSE: Duration = Duration::from_millis(20);

/// Where a server comes from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// A program that takes nsqd's flags is started, and ended afterwards.
    Program {
        /// The program.
        path: PathBuf,
        /// What comes before nsqd's flags.
        before: Option<&'static str>,
        /// nsqd's flags, besides addresses and paths.
        flags: Vec<String>,
    },
    /// It runs already.
    Elsewhere {
        /// Its TCP address.
        address: String,
        /// Its HTTP address; without it the topics of the measurement stay behind.
        http: Option<String>,
        /// Its process, if it is on this machine.
        pid: Option<u32>,
    },
}

/// One side of a comparison.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) origin: Origin,
}

/// A server that runs. One that was started ends with this, and its files go.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: String,
    pub(super) http: Option<String>,
    pub(super) pid: Option<u32>,
    child: Option<Child>,
    data: Option<PathBuf>,
}

impl Contender {
    /// Starts it with its data below `dir`, unless it runs already.
    pub(super) fn start(&self, dir: &Path) -> Outcome<Server> {
        match &self.origin {
            Origin::Elsewhere { address, http, pid } => Ok(Server {
                address: address.clone(),
                http: http.clone(),
                pid: *pid,
                child: None,
                data: None,
            }),
            Origin::Program { path, before, flags } => start(path, *before, flags, dir),
        }
    }
}

fn start(path: &Path, before: Option<&str>, flags: &[String], dir: &Path) -> Outcome<Server> {
    let data = dir.join(format!("leveret-bench-{}", std::process::id()));
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    let in_data = |error| Fail::Connect(format!("cannot make {}", data.display()), error);
    std::fs::create_dir_all(&data).map_err(in_data)?;
    let [address, http] = [free_port()?, free_port()?].map(|port| format!("127.0.0.1:{port}"));
    let mut folder = OsString::from("--data-path=");
    folder.push(&data);
    let child = Command::new(path)
        .args(before)
        .arg(format!("--tcp-address={address}"))
        .arg(format!("--http-address={http}"))
        .arg(folder)
        .arg("--log-level=warn")
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| Fail::Connect(format!("cannot start {}", path.display()), error))?;
    let pid = Some(child.id());
    let mut server =
        Server { address, http: Some(http), pid, child: Some(child), data: Some(data) };
    let began = clock::now();
    while Wire::connect(&server.address).is_err() {
        let ended = server.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        if let Some(status) = ended {
            return fail(format!("{} ended at once: {status}", path.display()));
        }
        if clock::since(began) > START {
            return fail(format!("{} did not start", path.display()));
        }
        thread::park_timeout(START_PAUSE);
    }
    Ok(server)
}

impl Server {
    /// Makes `topics`, each with `channels`.
    pub(super) fn make(&self, topics: &[String], channels: &[String]) -> Outcome<()> {
        for topic in topics {
            for channel in channels {
                // Works everywhere, whether the HTTP port is known or not.
                drop(nsq::subscribe(&self.address, topic, channel, 0)?);
            }
        }
        Ok(())
    }

    /// Deletes `topics` on a server that goes on running, as far as its HTTP port is known.
    pub(super) fn unmake(&self, topics: &[String]) -> Outcome<()> {
        let (None, Some(http)) = (&self.child, &self.http) else { return Ok(()) };
        topics.iter().try_for_each(|topic| post(http, &format!("/topic/delete?topic={topic}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child
            && child.kill().is_ok()
        {
            drop(child.wait());
        }
        if let Some(data) = &self.data {
            // What is left behind lies in the folder for temporary files.
            drop(std::fs::remove_dir_all(data));
        }
    }
}

/// A POST without a body that is to be answered with 200 or 404.
pub(super) fn post(http: &str, path: &str) -> Outcome<()> {
    let to = |error| Fail::Connect(format!("cannot connect to {http}"), error);
    let mut stream = TcpStream::connect(http).map_err(to)?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {http}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split(' ').nth(1) {
        Some("200" | "404") => Ok(()),
        _ => fail(format!("POST {path}: {}", answer.lines().next().unwrap_or("no answer"))),
    }
}

/// A port that nobody listens on.
pub(super) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
