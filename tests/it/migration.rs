//! The steps of docs/migration.md with its own files, forwards and back. `NSQD` may name a real nsqd for the NSQ side.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::drivers::pika;
use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::nsqds::make;
use crate::support::rabbit::Rabbit;
use crate::support::stats;
use crate::support::wait::until_true;

/// The file that the guide shows under this name.
fn file(name: &str) -> String {
    let guide = include_str!("../../docs/migration.md");
    let marker = format!("<!-- file: {name} -->\n");
    let (_, rest) = guide.split_once(&marker).unwrap_or_else(|| panic!("{marker} is in the guide"));
    let lines = rest.lines().map_while(|line| line.strip_prefix("    "));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// An nsqd, a broker, and Leveret between them.
struct Site {
    nsqd: Leveret,
    rabbit: Rabbit,
    /// The broker's address with a virtual host of its own, where the guide's names are free.
    uri: String,
    gateway: Leveret,
    published: u64,
}

type Orders = BTreeSet<u64>;

impl Site {
    fn start(first: &[&str]) -> Self {
        let (nsqd, rabbit) = (Leveret::nsqd().start(), Rabbit::shared());
        let uri = rabbit.vhost();
        let gateway = Leveret::serve(&node(&uri, "watch_bridges: false\nbridges: bridges\n"))
            .file("bridges/.keep", "")
            .start();
        let site = Self { nsqd, rabbit, uri, gateway, published: 0 };
        make(&site.nsqd, "orders", "billing");
        site.step(first);
        site
    }

    /// Takes over these files of the guide, in place of those before.
    fn step(&self, names: &[&str]) {
        self.take_over(&names.iter().map(|name| (*name, file(name))).collect::<Vec<_>>());
    }

    fn take_over(&self, files: &[(&str, String)]) {
        let folder = self.gateway.dir().join("bridges");
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            fs::remove_file(entry.path()).unwrap();
        }
        for (name, text) in files {
            let text = text.replace("nsq-1:4150", &self.nsqd.tcp().to_string());
            fs::write(folder.join(format!("{name}.yaml")), text).unwrap();
        }
        let answer = http::post(self.gateway.http(), "/v1/routes/reload", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        until_true("the routes are up", || {
            let shown = http::get(self.gateway.http(), "/v1/routes").json();
            let up = |route: &Value| matches!(route["state"].as_str(), Some("running" | "idle"));
            shown["routes"].as_array().unwrap().iter().all(up)
        });
    }

    /// Publishes so many orders to the gateway, and says which.
    fn publish(&mut self, count: u64) -> Orders {
        let orders: Orders = (self.published..self.published + count).collect();
        let mut client = Client::connect(self.gateway.tcp());
        for order in &orders {
            client.publish("orders", body(*order).as_bytes());
        }
        self.published += count;
        orders
    }

    /// What RabbitMQ has in a queue, ready.
    fn length(&self, queue: &str) -> u64 {
        let vhost = self.uri.rsplit_once('/').unwrap().1;
        let listed = self.rabbit.ctl(&["-q", "list_queues", "-p", vhost, "name", "messages_ready"]);
        let line = listed.lines().find(|line| line.split_whitespace().next() == Some(queue));
        line.map_or(0, |line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
    }

    fn purge(&self, queue: &str) {
        let vhost = self.uri.rsplit_once('/').unwrap().1;
        self.rabbit.ctl(&["-q", "purge_queue", "-p", vhost, queue]);
    }

    /// Compares a channel of the topic at nsqd with a queue, by the orders.
    fn compare(&self, channel: &str, queue: &str) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .current_dir(self.gateway.dir().join("data"))
            .args(["compare", "--left", &format!("nsqd:{}/orders/{channel}", self.nsqd.tcp())])
            .args(["--right", &format!("queue:{queue}"), "--key", "{{ body.order }}"])
            .args(["--grace", "1s", "--amqp", &self.uri])
            .output()
            .expect("leveret runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
    }
}

fn node(uri: &str, more: &str) -> String {
    format!(
        "nsqd: {{ tcp_address: 127.0.0.1:0, http_address: 127.0.0.1:0, data_path: '{{dir}}/data' }}\nbrokers: {{ default: {{ \
         uri: '{uri}' }} }}\n{more}"
    )
}

fn body(order: u64) -> String {
    format!(r#"{{"order": {order}, "customer": "c{}"}}"#, order % 50)
}

fn order(body: &str) -> u64 {
    serde_json::from_str::<Value>(body).unwrap()["order"].as_u64().unwrap()
}

/// The next so many messages of a channel: each comes once.
fn take(client: &mut Client, count: usize) -> Orders {
    let mut orders = Orders::new();
    for _ in 0..count {
        let message = client.message();
        client.fin(&message);
        assert!(orders.insert(order(&message.text())), "twice: {}", message.text());
    }
    orders
}

fn nothing_more(client: &mut Client) {
    assert_eq!(client.message_within(Duration::from_millis(200)), None);
}

#[test]
fn from_nsq_to_rabbitmq_step_by_step_and_back() {
    // 1. A gateway before nsqd.
    let mut site = Site::start(&["gateway"]);
    let mut old = Client::subscribed(site.nsqd.tcp(), "orders", "billing", 1000);
    let orders = site.publish(50);
    assert_eq!(take(&mut old, 50), orders);
    // Back: producers at nsqd.
    Client::connect(site.nsqd.tcp()).publish("orders", body(1_000_000).as_bytes());
    assert_eq!(take(&mut old, 1), Orders::from([1_000_000]));

    // 2. A mirror at RabbitMQ.
    make(&site.nsqd, "orders", "audit");
    site.step(&["mirror"]);
    let orders = site.publish(100);
    assert_eq!(take(&mut old, 100), orders);
    let (code, text) = site.compare("audit", "orders.billing");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("same   100"), "{text}");
    // Back: nsqd alone.
    site.step(&["gateway"]);
    let orders = site.publish(20);
    assert_eq!(take(&mut old, 20), orders);
    assert_eq!(site.length("orders.billing"), 100);
    let (code, text) = site.compare("audit", "orders.billing");
    assert_eq!(code, Some(1), "without a mirror they differ: {text}");

    // 3. Consumers move.
    drop(old);
    site.purge("orders.billing");
    site.step(&["mirror", "consumers"]);
    let mut new = Client::subscribed(site.gateway.tcp(), "orders.billing", "billing", 100);
    let orders = site.publish(100);
    assert_eq!(take(&mut new, 100), orders);
    nothing_more(&mut new);
    // Back: nsqd's channel has had everything.
    let mut old = Client::subscribed(site.nsqd.tcp(), "orders", "billing", 1000);
    assert_eq!(take(&mut old, 100), orders);

    // 4. Producers get RabbitMQ's guarantee.
    site.step(&["direct", "consumers"]);
    let orders = site.publish(100);
    assert_eq!(take(&mut new, 100), orders);
    nothing_more(&mut old);
    // Back: the mirror.
    site.step(&["mirror", "consumers"]);
    let orders = site.publish(10);
    assert_eq!(take(&mut new, 10), orders);
    assert_eq!(take(&mut old, 10), orders);
    site.step(&["direct", "consumers"]);

    // 5. The topic itself at RabbitMQ.
    let mut store = Leveret::serve(&node(&site.uri, &file("store"))).start();
    let mut there = Client::subscribed(store.tcp(), "orders", "billing", 10);
    let mut producer = Client::connect(store.tcp());
    let orders: Orders = (2_000_000..2_000_050).collect();
    for order in &orders {
        producer.publish("orders", body(*order).as_bytes());
    }
    let mut came = take(&mut there, 40);
    drop(there);
    assert!(store.stop().success());
    // Back: what the channel's queue still has comes along.
    site.step(&["direct", "consumers", "store-back"]);
    while came != orders {
        let message = new.message();
        new.fin(&message);
        // Those that were in flight when the gateway ended may come again.
        came.insert(order(&message.text()));
    }
}

#[test]
fn little_by_little_each_message_goes_to_one_place() {
    let mut site = Site::start(&["share"]);
    let orders = site.publish(500);
    stats::await_counts(
        site.nsqd.http(),
        "orders",
        "billing",
        [500 - site.length("orders.billing"), 0, 0],
    );
    let shared = site.length("orders.billing") as usize;
    assert!((10..150).contains(&shared), "some 10 % of 500: {shared}");
    let mut old = Client::subscribed(site.nsqd.tcp(), "orders", "billing", 1000);
    let rest = take(&mut old, 500 - shared);
    let lines =
        pika(&site.uri, &["consume", "--queue", "orders.billing", "--count", &shared.to_string()]);
    let there: Orders =
        lines.finish().0.iter().map(|line| order(line["body"].as_str().unwrap())).collect();
    assert!(rest.is_disjoint(&there), "nothing goes to both");
    assert_eq!(&rest | &there, orders);
    let customers = |orders: &Orders| orders.iter().map(|order| order % 50).collect::<Orders>();
    assert!(customers(&rest).is_disjoint(&customers(&there)), "a customer stays where it is");
    // Back: none of it goes to RabbitMQ.
    site.take_over(&[("share", file("share").replace("percent: 10%", "percent: 0%"))]);
    let orders = site.publish(100);
    assert_eq!(take(&mut old, 100), orders);
    assert_eq!(site.length("orders.billing"), 0);
}

#[test]
fn from_rabbitmq_to_nsq_and_back() {
    let site = Site::start(&["to-nsq"]);
    let publish = |prefix: &str| {
        let what = ["publish", "--exchange", "shop", "--routing-key", "orders", "--count", "50"];
        pika(&site.uri, &[&what[..], &["--prefix", prefix]].concat()).finish();
    };
    publish("there");
    let mut consumer = Client::subscribed(site.nsqd.tcp(), "orders", "billing", 100);
    let mut came = BTreeSet::new();
    for _ in 0..50 {
        let message = consumer.message();
        consumer.fin(&message);
        came.insert(message.text());
    }
    assert_eq!(came, (0..50).map(|n| format!("there-{n}")).collect());
    // Back: nobody reads the queue any more, and it can be deleted.
    site.step(&[]);
    publish("back");
    assert_eq!(consumer.message_within(Duration::from_millis(300)), None);
    assert_eq!(site.length("orders.nsq"), 50);
    pika(&site.uri, &["delete", "--queue", "orders.nsq"]).finish();
}
