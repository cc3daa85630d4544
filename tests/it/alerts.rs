//! Alerts: told to a real HTTP server, signed, once over a restart, and ended.

use serde_json::{Value, json};

use crate::support::admin::Endpoint;
use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::wait::{eventually, until_true};

fn configuration(endpoint: &Endpoint) -> String {
    format!(
        "nsqd: {{ tcp_address: 127.0.0.1:0, http_address: 127.0.0.1:0, data_path: \"{{dir}}/data\", broadcast_address: 127.0.0.1 }}\n\
         alerts:\n  interval: 1s\n  rules:\n    - {{ name: pile, when: 'depth(topic=\"or*\", channel=\"*\") > 2', severity: critical, \
         labels: {{ team: shop }}, message: \"{{{{ topic }}}}/{{{{ channel }}}} has {{{{ value }}}}\" }}\n  \
         webhooks: [ {{ url: \"{}\", secret_file: key }} ]\n",
        endpoint.url()
    )
}

#[test]
fn what_holds_is_told_once_over_a_restart_and_ends() {
    let endpoint = Endpoint::start();
    let mut server = Leveret::serve(&configuration(&endpoint)).file("key", "secret\n").start();
    let shown = |server: &Leveret| http::get(server.http(), "/v1/alerts").json();
    assert_eq!(shown(&server)["alerts"], json!([]));
    assert_eq!(shown(&server)["rules"].as_object().unwrap().len(), 7, "the defaults and ours");
    http::done(server.http(), "/topic/create?topic=orders");
    http::done(server.http(), "/channel/create?topic=orders&channel=billing");
    for n in 0..3 {
        http::post(server.http(), "/pub?topic=orders", n.to_string().as_bytes());
    }
    let (told, headers) = endpoint.next_with_headers();
    assert_eq!((&told["alert"], &told["state"]), (&json!("pile"), &json!("firing")));
    assert_eq!(told["message"], "orders/billing has 3");
    assert_eq!(told["labels"], json!({"channel": "billing", "team": "shop", "topic": "orders"}));
    assert_eq!(told["severity"], "critical");
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(header("idempotency-key"), told["id"].as_str().unwrap());
    assert_eq!(header("x-leveret-signature").len(), "sha256=".len() + 64);
    let alert = shown(&server)["alerts"][0].clone();
    assert_eq!((&alert["name"], &alert["state"]), (&json!("pile"), &json!("firing")));
    let metrics = http::get(server.http(), "/metrics").text();
    let line = "leveret_alerts{alert=\"pile\",severity=\"critical\",state=\"firing\"} 1";
    assert!(metrics.contains(line) && metrics.contains("leveret_disk_free_bytes "), "{metrics}");
    until_true("it is kept", || server.dir().join("data/leveret.alerts.json").exists());

    server.stop();
    server.restart();
    let again =
        eventually("the alert after the restart", || shown(&server)["alerts"].get(0).cloned());
    assert_eq!(again["since"], alert["since"], "it is the same");
    http::done(server.http(), "/channel/empty?topic=orders&channel=billing");
    let ended = endpoint.next();
    assert_eq!((&ended["state"], &ended["alert"]), (&json!("resolved"), &json!("pile")));
    assert_eq!(shown(&server)["alerts"], json!([]));
}

#[test]
fn a_wrong_rule_is_refused_with_its_place() {
    let endpoint = Endpoint::start();
    let wrong = configuration(&endpoint).replace("depth(topic", "depht(topic");
    let (code, said) = Leveret::serve(&wrong).file("key", "secret").run();
    assert_eq!(code, Some(2));
    assert!(said.contains("alerts.rules[0].when") && said.contains("column 1"), "{said}");
}

#[test]
fn without_the_section_there_is_nothing() {
    let server = Leveret::nsqd().start();
    assert_eq!(http::get(server.http(), "/v1/alerts").status, 404);
    assert_eq!(http::get(server.http(), "/v1/alerts").json()["message"], Value::from("NO_ALERTS"));
}
