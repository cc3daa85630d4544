//! A private etcd of one member, and a look into it past the node: by the JSON that etcd speaks over HTTP.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::secure::Papers;
use super::{Scratch, http, tail, wait};

/// An etcd that runs, or ran until [`Etcd::kill`].
#[derive(Debug)]
pub(crate) struct Etcd {
    scratch: Scratch,
    client: SocketAddr,
    peer: SocketAddr,
    /// For clients in TLS, and the flags for it.
    secure: Option<(SocketAddr, Vec<String>)>,
    child: Option<Child>,
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback is free");
    listener.local_addr().expect("a listener has an address")
}

impl Etcd {
    /// Starts one with nothing in it; returns when it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// As [`Etcd::start`], and takes clients in TLS too, if they show a certificate of the authority of `papers`.
    pub(crate) fn start_secure(papers: &Papers) -> Self {
        let flag = |name: &str, file: &str| format!("--{name}={}", papers.file(file).display());
        let flags = vec![
            flag("cert-file", "cert.pem"),
            flag("key-file", "key.pem"),
            flag("trusted-ca-file", "ca.pem"),
            "--client-cert-auth".to_owned(),
        ];
        Self::start_with(Some((free(), flags)))
    }

    fn start_with(secure: Option<(SocketAddr, Vec<String>)>) -> Self {
        let scratch = Scratch::new("etcd");
        let mut etcd = Self { scratch, client: free(), peer: free(), secure, child: None };
        etcd.restart();
        etcd
    }

    /// The URL for clients in TLS.
    pub(crate) fn secure_url(&self) -> String {
        let (address, _) = self.secure.as_ref().expect("it was started with TLS");
        format!("https://{address}")
    }

    /// Has it know the user `root` alone, with this password. It answers nobody else from then on, tests included.
    pub(crate) fn lock(&self, password: &str) {
        self.ask("/v3/auth/user/add", &json!({ "name": "root", "password": password }));
        self.ask("/v3/auth/role/add", &json!({ "name": "root" }));
        self.ask("/v3/auth/user/grant", &json!({ "user": "root", "role": "root" }));
        self.ask("/v3/auth/enable", &json!({}));
    }

    /// Starts it again on the same ports with the same data; returns when it answers.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.scratch.path().join("log"))
            .expect("the log file can be opened");
        let (client, peer) = (format!("http://{}", self.client), format!("http://{}", self.peer));
        let secure = self.secure.as_ref().map(|(at, _)| format!(",https://{at}"));
        let listen = format!("{client}{}", secure.unwrap_or_default());
        let flags = self.secure.iter().flat_map(|(_, flags)| flags);
        let program = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let child = Command::new(&program)
            .arg(format!("--data-dir={}", self.scratch.path().join("data").display()))
            .args(flags)
            .arg(format!("--listen-client-urls={listen}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=default={peer}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be doubled"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{program} starts (scripts/test --tools installs it): {error}")
            });
        self.child = Some(child);
        wait::until_true("etcd answers", || {
            std::net::TcpStream::connect(self.client).is_ok()
                && http::get(self.client, "/health").text().contains("\"true\"")
        });
    }

    /// SIGKILL, as a crash; its data stays.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error says that it has ended already, which is what is wanted.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Forgets all that it holds, as one that was set up anew. It does not run.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.scratch.path().join("data")).expect("the data can be removed");
    }

    /// `host:port` for clients.
    pub(crate) fn address(&self) -> String {
        self.client.to_string()
    }

    /// The URL for clients.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.client)
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let answer = http::post(self.client, path, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// The keys that begin with `prefix`, with their values.
    pub(crate) fn list(&self, prefix: &str) -> Vec<(String, String)> {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().expect("a prefix is not empty") += 1;
        let body = json!({ "key": encode(prefix.as_bytes()), "range_end": encode(&end) });
        let answer = self.ask("/v3/kv/range", &body);
        let text = |pair: &Value, field: &str| decode(pair[field].as_str().unwrap_or_default());
        let pairs = answer["kvs"].as_array().cloned().unwrap_or_default();
        pairs.iter().map(|pair| (text(pair, "key"), text(pair, "value"))).collect()
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        self.list(key).into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn put(&self, key: &str, value: &str) -> i64 {
        let body = json!({ "key": encode(key.as_bytes()), "value": encode(value.as_bytes()) });
        let answer = self.ask("/v3/kv/put", &body);
        let revision = answer["header"]["revision"].as_str().expect("a revision");
        revision.parse().expect("a revision is a number")
    }

    pub(crate) fn delete(&self, key: &str) {
        self.ask("/v3/kv/deleterange", &json!({ "key": encode(key.as_bytes()) }));
    }

    /// Throws away what was before `revision`.
    pub(crate) fn compact(&self, revision: i64) {
        self.ask(
            "/v3/kv/compaction",
            &json!({ "revision": revision.to_string(), "physical": true }),
        );
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- etcd's last words\n{}", tail(&self.scratch.path().join("log"), 20));
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64, as JSON carries etcd's bytes.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let sign = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at > three.len() { '=' } else { sign.into() });
        }
    }
    text
}

fn decode(text: &str) -> String {
    let value = |sign: u8| ALPHABET.iter().position(|other| *other == sign);
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for six in text.bytes().map_while(value) {
        bits = bits << 6 | six as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    String::from_utf8(bytes).expect("all that is kept here is text")
}

#[test]
fn bytes_go_through_json_and_back() {
    for (text, encoded) in
        [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("abcd", "YWJjZA==")]
    {
        assert_eq!(encode(text.as_bytes()), encoded);
        assert_eq!(decode(encoded), text);
    }
}
