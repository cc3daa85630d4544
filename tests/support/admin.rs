//! nsqadmin, and nodes for it to show.
//!
//! `NSQADMIN` may name another nsqadmin's binary, which is then asked instead of Leveret.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::http;
use super::leveret::{Leveret, Plan};
use super::lookupd::{await_producers, nsqlookupd};

/// A nsqadmin on a free port.
pub(crate) fn nsqadmin() -> Plan {
    let plan = match std::env::var_os("NSQADMIN") {
        Some(other) => Leveret::program(PathBuf::from(other)),
        None => Leveret::named("nsqadmin"),
    };
    plan.arg("--http-address=127.0.0.1:0")
}

/// Whether [`nsqadmin`] is not Leveret.
pub(crate) fn is_other() -> bool {
    std::env::var_os("NSQADMIN").is_some()
}

/// Starts one.
pub(crate) fn start(plan: Plan) -> Leveret {
    plan.start_until("HTTP: listening on ")
}

/// A nsqlookupd and two nsqds that it knows.
pub(crate) struct Cluster {
    pub(crate) lookupd: Leveret,
    pub(crate) nodes: [Leveret; 2],
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let lookupd = nsqlookupd().start();
        let node = || {
            let to = format!("--lookupd-tcp-address={}", lookupd.tcp());
            Leveret::nsqd().arg(&to).arg("--broadcast-address=127.0.0.1").start()
        };
        let nodes = [node(), node()];
        Self { lookupd, nodes }
    }

    /// Makes a topic with a channel on both nodes, and awaits that it is known.
    pub(crate) fn make(&self, topic: &str, channel: &str) {
        for node in &self.nodes {
            http::done(node.http(), &format!("/topic/create?topic={topic}"));
            http::done(node.http(), &format!("/channel/create?topic={topic}&channel={channel}"));
        }
        let mut all: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.tcp().port())).collect();
        all.sort();
        await_producers(self.lookupd.http(), topic, &all);
    }

    pub(crate) fn publish(&self, at: usize, topic: &str, count: usize) {
        for n in 0..count {
            let answer = http::post(
                self.nodes[at].http(),
                &format!("/pub?topic={topic}"),
                n.to_string().as_bytes(),
            );
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }

    /// The name of a node as nsqadmin has it.
    pub(crate) fn name(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.nodes[at].http().port())
    }

    /// A nsqadmin that asks the nsqlookupd.
    pub(crate) fn admin(&self) -> Leveret {
        start(nsqadmin().arg(&format!("--lookupd-http-address={}", self.lookupd.http())))
    }

    /// A nsqadmin that asks the nodes.
    pub(crate) fn admin_of_nodes(&self) -> Leveret {
        let [one, other] = &self.nodes;
        let address = |node: &Leveret| format!("--nsqd-http-address={}", node.http());
        start(nsqadmin().arg(&address(one)).arg(&address(other)))
    }
}

/// GET of JSON; 200 is expected.
pub(crate) fn get(admin: &Leveret, path: &str) -> Value {
    let answer = http::get(admin.admin(), path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// A request with a JSON body; status and JSON answer.
pub(crate) fn send(admin: &Leveret, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = http::request(admin.admin(), method, path, &[], body.as_bytes());
    (answer.status, answer.json())
}

/// The same, which is to succeed without a warning.
pub(crate) fn act(admin: &Leveret, method: &str, path: &str, body: &Value) {
    let (status, answer) = send(admin, method, path, body);
    assert_eq!((status, &answer["message"]), (200, &Value::from("")), "{method} {path}: {answer}");
}

/// Something that takes connections and never says a word.
pub(crate) struct Mute(TcpListener);

impl Mute {
    pub(crate) fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }
}

type Headers = Vec<(String, String)>;

/// A notification endpoint: takes POSTs and hands on their JSON bodies.
pub(crate) struct Endpoint {
    address: SocketAddr,
    told: Receiver<(Value, Headers)>,
}

impl Endpoint {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                let body = loop {
                    let Ok(read @ 1..) = stream.read(&mut piece) else { break None };
                    request.extend_from_slice(&piece[..read]);
                    let text = String::from_utf8_lossy(&request);
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| {
                        let (name, value) = line.split_once(": ")?;
                        name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
                    });
                    if body.len() >= length.unwrap_or(0) {
                        let headers = head.lines().filter_map(|line| line.split_once(": "));
                        let headers: Headers = headers
                            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                            .collect();
                        break serde_json::from_str(body).ok().map(|body| (body, headers));
                    }
                };
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                if stream.write_all(answer).is_err() {
                    continue;
                }
                if let Some(body) = body
                    && tell.send(body).is_err()
                {
                    return;
                }
            }
        });
        Self { address, told }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/told", self.address)
    }

    /// The next notification.
    pub(crate) fn next(&self) -> Value {
        self.next_with_headers().0
    }

    /// The same with the request's headers, their names in small letters.
    pub(crate) fn next_with_headers(&self) -> (Value, Headers) {
        self.told.recv_timeout(Duration::from_secs(20)).expect("a notification")
    }
}
