//! A nsqlookupd, and an nsqd that speaks to it byte by byte.
//!
//! `NSQLOOKUPD` may name another nsqlookupd's binary, which is then asked instead of Leveret.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::http;
use super::leveret::{Leveret, Plan};
use super::wait::{PATIENCE, eventually};

/// A nsqlookupd on free ports, reached as 127.0.0.1.
pub(crate) fn nsqlookupd() -> Plan {
    let plan = match std::env::var_os("NSQLOOKUPD") {
        Some(other) => Leveret::program(PathBuf::from(other)),
        None => Leveret::named("nsqlookupd"),
    };
    plan.arg("-tcp-address=127.0.0.1:0")
        .arg("--http-address=127.0.0.1:0")
        .arg("-broadcast-address=127.0.0.1")
}

/// Whether [`nsqlookupd`] is not Leveret.
pub(crate) fn is_other() -> bool {
    std::env::var_os("NSQLOOKUPD").is_some()
}

/// The names of the nsqds that have a topic, sorted, by the topic's `/lookup`; nothing for an unknown topic.
pub(crate) fn producers(at: SocketAddr, topic: &str) -> Option<Vec<String>> {
    let answer = http::get(at, &format!("/lookup?topic={topic}"));
    (answer.status == 200).then(|| {
        let answer = answer.json();
        let producers = answer["producers"].as_array().unwrap().iter();
        let name = |producer: &Value| {
            let port = &producer["tcp_port"];
            format!("{}:{port}", producer["broadcast_address"].as_str().unwrap())
        };
        let mut names: Vec<String> = producers.map(name).collect();
        names.sort();
        names
    })
}

/// Awaits that exactly these nsqds have a topic.
pub(crate) fn await_producers(at: SocketAddr, topic: &str, expected: &[String]) {
    eventually(&format!("{expected:?} have {topic}"), || {
        (producers(at, topic).as_deref() == Some(expected)).then_some(())
    });
}

/// The channels of a topic, sorted.
pub(crate) fn channels(at: SocketAddr, topic: &str) -> Vec<String> {
    let answer = http::get(at, &format!("/channels?topic={topic}")).json();
    let names = answer["channels"].as_array().unwrap().iter();
    let mut names: Vec<String> = names.map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// An nsqd as nsqlookupd sees one.
#[derive(Debug)]
pub(crate) struct Peer(TcpStream);

impl Peer {
    /// One that has said its protocol.
    pub(crate) fn connect(at: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"  V1").unwrap();
        Self(stream)
    }

    /// One that has told its name and port.
    pub(crate) fn identified(at: SocketAddr, name: &str, http_port: u16) -> Self {
        let mut peer = Self::connect(at);
        let answer = peer.identify(&identity(name, http_port).to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["broadcast_address"], "127.0.0.1", "{answer}");
        peer
    }

    /// IDENTIFY with this body, and its answer.
    pub(crate) fn identify(&mut self, body: &str) -> String {
        self.identify_with(i32::try_from(body.len()).unwrap(), body)
    }

    /// IDENTIFY with a body that says of itself to be so long.
    pub(crate) fn identify_with(&mut self, length: i32, body: &str) -> String {
        self.send(b"IDENTIFY\n");
        self.send(&length.to_be_bytes());
        self.send(body.as_bytes());
        self.answer().unwrap()
    }

    /// A line, and its answer.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(line.as_bytes());
        self.send(b"\n");
        self.answer().unwrap()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next answer; `None` at the end of the connection.
    pub(crate) fn answer(&mut self) -> Option<String> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer).unwrap();
        Some(String::from_utf8(answer).unwrap())
    }
}

/// What an nsqd of this name tells of itself.
pub(crate) fn identity(name: &str, http_port: u16) -> Value {
    json!({
        "broadcast_address": name,
        "hostname": format!("host-of-{name}"),
        "http_port": http_port,
        "tcp_port": 4150,
        "version": "1.3.0",
    })
}
