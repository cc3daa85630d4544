//! The pages in a real Chromium: each page and action against live nodes and a real RabbitMQ. Screenshots stay in the target
//! folder, under `rigs/screenshots`.

use std::process::Command;

use serde_json::json;

use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::rabbit::Rabbit;
use crate::support::site::{await_count, await_state};
use crate::support::{http, rigs, root, unique};

fn publish(server: &Leveret, topic: &str, body: &str) {
    let answer = http::post(server.http(), &format!("/pub?topic={topic}"), body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn every_page_and_action_in_a_browser() {
    let rabbit = Rabbit::shared();
    let tag = unique("p");
    let configuration = format!(
        "nsqd: {{ tcp_address: 127.0.0.1:0, http_address: 127.0.0.1:0, data_path: \"{{dir}}/data\", broadcast_address: 127.0.0.1 }}\n\
         brokers: {{ default: {{ uri: \"{}\" }} }}\nbridges: bridges\nadmin: {{ listen: 127.0.0.1:0 }}\n\
         topics: [ {{ match: retried, max_attempts: 1, dead_letter: {{ topic: dead, envelope: json }} }} ]\n",
        rabbit.uri()
    );
    let route = "routes:\n  - name: orders-out\n    from: { nsq: { topic: orders, channel: bridge } }\n    \
                 to: { amqp: { exchange: \"\", routing_key: \"{{ body.queue }}.@\", declare: { queues: [ { name: good.@ } ] } } }\n    \
                 mode: queued\n    limit: { messages: 500/s }\n    retry: { max_attempts: 1 }\n    \
                 dead_letter: { amqp: { exchange: \"\", routing_key: dead.@, declare: { queues: [ { name: dead.@ } ] } } }\n";
    let server = Leveret::serve(&configuration)
        .file("bridges/orders-out.yaml", &route.replace('@', &tag))
        .start();
    await_state(&server, "orders-out", "running");
    for path in ["/channel/create?topic=dead&channel=look", "/topic/create?topic=quiet"] {
        http::done(
            server.http(),
            path.replace("/channel/create?topic=dead&", "/topic/create?topic=dead&").as_str(),
        );
        http::done(server.http(), path);
    }
    let mut consumer = Client::subscribed(server.tcp(), "retried", "once", 10);
    publish(&server, "retried", r#"{"order":1,"customer":"Ünïcode & <b>markup</b>"}"#);
    let message = consumer.message();
    consumer.req(&message, std::time::Duration::ZERO);
    for n in 0..20 {
        let queue = if n % 5 == 0 { "nowhere" } else { "good" };
        publish(&server, "orders", &json!({"queue": queue, "order": n}).to_string());
    }
    await_count(&server, "orders-out", "dead_lettered", 4);

    let shots = rigs().join("screenshots");
    let output = Command::new("node")
        .arg(root().join("tests/clients/pages.js"))
        .env("NODE_PATH", rigs().join("node/node_modules"))
        .env("ADMIN", format!("http://{}", server.admin()))
        .env("NODE", format!("127.0.0.1:{}", server.http().port()))
        .env("TAG", &tag)
        .env("SCREENSHOTS", &shots)
        .output()
        .expect("node runs");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}");
    assert!(said.contains("all pages seen"), "{said}");
}
