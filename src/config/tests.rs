//! Whole configurations: every error with its place and words, the shipped files, and the tables of keys.

use std::ffi::OsString;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::bridge::route::{DeadLetter, ExchangeKind, Flow, Move, OnExceed, QueueKind, Target};

/// A node's file that is right, for tests of route files.
const NODE: &str = "nsqd: { data_path: data }\nbrokers: { default: { uri: amqp://h }, backup: { uri: amqp://b } }\nbridges: routes\n";

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leveret-config-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("routes")).unwrap();
        Self(path)
    }

    fn with(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.0.join(name), text).unwrap();
        self
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        load(&self.0.join("leveret.yaml"), &env)
    }

    /// The errors, or the warnings if there are none, with the folder's name taken out.
    fn findings(&self) -> String {
        let text = match self.load() {
            Ok(loaded) => {
                loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            }
            Err(errors) => errors.to_string(),
        };
        text.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn env(name: &str) -> Option<OsString> {
    (name == "LEVERET_TEST").then(|| "set".into())
}

fn node_findings(text: &str) -> String {
    Folder::new().with("leveret.yaml", text).findings()
}

fn route_findings(text: &str) -> String {
    let folder = Folder::new().with("leveret.yaml", NODE);
    folder.with("routes/r.yaml", text).findings()
}

/// A route file with one direct route to RabbitMQ, with more options behind it and more keys in `to.amqp`.
fn publish(amqp: &str, more: &str) -> String {
    format!(
        "routes:\n- name: r\n  mode: direct\n  from: {{nsq: {{topic: t}}}}\n  to:\n    amqp:\n{amqp}\n{more}\n"
    )
}

const AMQP: &str = "      exchange: x\n      routing_key: k";

#[test]
fn shipped_files_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = load(&folder.join("config/leveret.yaml"), &env).unwrap();
    assert_eq!(loaded.warnings, []);
    let data_path = Some(folder.join("config/../data"));
    assert_eq!(loaded.node.nsqd, NsqdConfig { data_path, ..NsqdConfig::default() });
    assert_eq!(loaded.node.log, LogConfig::default());
    assert_eq!(loaded.node.shutdown_timeout, Duration::from_secs(15));
    let names: Vec<_> = loaded.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(
        names,
        ["clicks-archive", "events-into-nsq", "orders-to-rabbitmq", "invoices-as-a-channel"]
    );
    let broker = &loaded.node.brokers[0];
    assert_eq!(broker.uri.to_string(), "amqp://guest:***@127.0.0.1:5672/%2f");
    assert_eq!((broker.uri.password(), broker.uri.vhost()), ("guest", "/"));
}

#[test]
fn check_prints_what_is_configured() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = load(&folder.join("config/leveret.yaml"), &env).unwrap();
    let expected = "\
nsqd     tcp 127.0.0.1:4150, http 127.0.0.1:4151
broker   default: amqp://guest:***@127.0.0.1:5672/%2f, heartbeat 10s
route    clicks-archive: nsq clicks/archive -> amqp default:archive/clicks, queued
         confirms within 30s, window 1000 messages or 16MiB
         8 attempts, 500ms to 1m apart
         dead letters to amqp default:/archive.dead
         declares direct exchange archive
         declares classic queue archive
         binds archive to archive by \"clicks\"
         declares classic queue archive.dead
route    events-into-nsq: amqp default:events -> nsq events, queued
         prefetch 1000
         confirms within 30s, window 1000 messages or 16MiB
         8 attempts, 500ms to 1m apart
         dead letters to amqp default:/events.dead
         declares classic queue events
         declares classic queue events.dead
route    orders-to-rabbitmq: nsq orders -> amqp default:shop/orders.{{ body.region }}, direct
         limit 5000/s messages, burst 10000; 20MiB/s, burst 20MiB; above it wait
         confirms within 30s, window 1000 messages or 16MiB
         declares topic exchange shop
         declares classic queue orders
         binds orders to shop by \"orders.#\"
route    invoices-as-a-channel: amqp default:invoices -> nsq invoices/billing, direct
         prefetch 1000
         holds for at most 10m what consumers put off
         declares classic queue invoices
ok
";
    assert_eq!(describe(&loaded), expected);
}

#[test]
fn a_full_route_file_comes_out_typed() {
    let text = r#"
routes:
- name: a
  mode: queued
  from: {nsq: {topic: t}}
  to: {amqp: {broker: backup, exchange: "{{ topic }}", routing_key: k, persistent: false}}
  limit: {messages: 30/m, bytes: 1KiB/s, burst_bytes: 2MiB}
  publish_timeout: 5s
  window: {messages: 10}
  retry: {max_attempts: 3, backoff: {max: 100ms}}
  dead_letter: drop
- name: b
  mode: direct
  from:
    amqp:
      queue: q
      prefetch: 7
      consumer_tag: tag-${LEVERET_TEST}
      declare: {type: quorum, bindings: [{exchange: e, exchange_type: fanout}]}
  to: {nsq: {topic: u, channel: c}}
"#;
    let folder = Folder::new().with("leveret.yaml", NODE).with("routes/r.yaml", text);
    let loaded = folder.load().unwrap();
    let [a, b] = loaded.routes.as_slice() else { panic!("two routes") };
    let Flow::Move(moving) = &a.flow else { panic!("{a:?}") };
    let Move { from, to: Target::Amqp(to), publish, retry, dead_letter, ordered: false } =
        &**moving
    else {
        panic!("{a:?}")
    };
    assert_eq!(from.to_string(), "nsq t/a");
    assert_eq!((to.broker.as_str(), to.persistent), ("backup", false));
    assert_eq!(publish.timeout, Duration::from_secs(5));
    assert_eq!((publish.window.messages, publish.window.bytes), (10, 16 << 20));
    assert_eq!((retry.max_attempts, retry.backoff_initial), (3, retry.backoff_max));
    assert_eq!(*dead_letter, DeadLetter::Drop);
    let limit = a.limit.clone().unwrap();
    assert_eq!(limit.on_exceed, OnExceed::Wait);
    assert_eq!(limit.rates.messages.unwrap().burst, 1);
    assert_eq!(limit.rates.bytes.unwrap().burst, 2 << 20);
    let Flow::Channel { from, to, .. } = &b.flow else { panic!("{b:?}") };
    assert_eq!((from.prefetch, from.consumer_tag.as_deref()), (7, Some("tag-set")));
    assert_eq!(from.declare.queues[0].kind, QueueKind::Quorum);
    assert_eq!(from.declare.exchanges[0].kind, ExchangeKind::Fanout);
    assert_eq!(to.to_string(), "u/c");
}

#[test]
fn files_that_are_not_there_or_empty() {
    let folder = Folder::new();
    assert_eq!(
        folder.findings(),
        "leveret.yaml: cannot be read: No such file or directory (os error 2)"
    );
    assert_eq!(node_findings(""), "leveret.yaml: the file is empty: every option has its default");
    assert_eq!(node_findings("bridges: routes\n"), "");
    assert!(node_findings("bridges: nowhere\n").starts_with(
        "leveret.yaml:1:10: bridges: the folder nowhere cannot be read: No such file"
    ));
    let folder = Folder::new().with("leveret.yaml", b"log:\n  level: \xff\n");
    assert_eq!(folder.findings(), "leveret.yaml:2:10: not UTF-8 text from here on");
    assert_eq!(
        route_findings("# all commented out\n"),
        "routes/r.yaml: there are no routes in this file"
    );
    assert_eq!(
        route_findings("routes:\n"),
        "routes/r.yaml:1:1: routes: there are no routes in this file"
    );
    assert_eq!(route_findings("routes: []\n"), "");
    let folder = Folder::new().with("leveret.yaml", NODE);
    let folder = folder.with("routes/.hidden.yaml", "x").with("routes/notes.txt", "x");
    assert_eq!(folder.findings(), "");
}

#[test]
fn secrets_come_from_files_and_stay_secret() {
    let node = "brokers:\n  default: {uri: 'amqp://u:old@h', password_file: secret}\n  two: {uri_file: uri}\n";
    let folder = Folder::new()
        .with("leveret.yaml", node)
        .with("secret", "hunter2\n")
        .with("uri", "amqps://a:hunter3@b/c\r\n");
    let loaded = folder.load().unwrap();
    assert_eq!(loaded.node.brokers[0].uri.password(), "hunter2");
    assert_eq!(loaded.node.brokers[1].uri.host(), "b");
    let shown = format!("{loaded:?}{}", describe(&loaded));
    assert!(!shown.contains("hunter") && !shown.contains("old"), "{shown}");
    for (node, expected) in [
        (
            "{uri: amqp://h, password_file: none}",
            "leveret.yaml:1:52: brokers.default.password_file: none cannot be read: No such file or directory (os error 2)",
        ),
        (
            "{uri: amqp://h, password_file: empty}",
            "leveret.yaml:1:52: brokers.default.password_file: empty is empty",
        ),
        (
            "{uri: amqp://h, uri_file: empty}",
            "leveret.yaml:1:47: brokers.default.uri_file: uri and uri_file are both given; keep one",
        ),
    ] {
        let text = format!("brokers: {{ default: {node}}}\n");
        let folder = Folder::new().with("leveret.yaml", text).with("empty", "\n");
        assert_eq!(folder.findings(), expected);
    }
}

#[test]
fn errors_of_all_files_come_at_once_and_sorted() {
    let folder = Folder::new()
        .with("leveret.yaml", "log: {level: loud}\nbridges: routes\nx: 1\n")
        .with("routes/b.yaml", "routes: 5\n")
        .with("routes/a.yaml", "routes:\n- {}\n");
    assert_eq!(
        folder.findings(),
        "\
leveret.yaml:1:14: log.level: expected trace, debug, info, warn or error, found \"loud\"
leveret.yaml:3:1: x: unknown key \"x\"; expected one of admin, alerts, bridges, brokers, log, lookupd, metrics, nsqd, registry, shutdown_timeout, topics, watch_bridges
routes/a.yaml:2:3: routes[0]: the key \"from\" is missing, such as from: { nsq: { topic: orders } }
routes/a.yaml:2:3: routes[0]: the key \"mode\" is missing, such as mode: direct
routes/a.yaml:2:3: routes[0]: the key \"name\" is missing, such as name: orders-to-rabbitmq
routes/a.yaml:2:3: routes[0]: the key \"to\" is missing, such as to: { amqp: { exchange: shop, routing_key: orders } }
routes/b.yaml:1:9: routes: expected a list of routes, found \"5\""
    );
}

mod bounds;
mod declare_rules;
mod keys;
mod node_errors;
mod remote_nsq;
mod route_errors;
mod route_rules;
mod schema;
mod stores;
mod topics;
mod transforms;

/// Reads `text` as a route file and as a node's file; only a panic or a hang can fail.
fn read_both(text: &str) {
    let mut report = Report::default();
    let spot = Spot::file("f.yaml");
    if let Some(node) = tree::parse(text, &spot, &env, &mut report) {
        let routes = route_file::read(&root(&node, &spot), &mut report);
        let file = node_file::read(&root(&node, &spot), Path::new("/nonexistent"), &mut report);
        validate::check(&routes, &file.node, &mut report);
    }
}

proptest::proptest! {
    #[test]
    fn damaged_files_are_refused_and_never_worse(
        damage in proptest::collection::vec((0_usize..4000, "[\\PC\n\t]{0,3}", 0_usize..30), 1..6),
    ) {
        for whole in [
            include_str!("../../bridges/orders.yaml"),
            include_str!("../../bridges/archive.yaml"),
            include_str!("../../config/leveret.yaml"),
        ] {
            let mut chars: Vec<char> = whole.chars().collect();
            for (at, insert, cut) in &damage {
                let at = at % chars.len();
                let end = (at + cut).min(chars.len() - 1);
                chars.splice(at..end, insert.chars());
            }
            read_both(&chars.into_iter().collect::<String>());
        }
    }
}
