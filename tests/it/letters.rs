//! Dead letters and other messages that a person looks at, puts back, or throws away: of channels and of brokers' queues.

use serde_json::{Value, json};

use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::site::Site;

const ROUTES: &str = r#"
routes:
  - name: orders
    from: { nsq: { topic: orders.@ } }
    to: { amqp: { exchange: "", routing_key: "{{ body.queue }}.@", declare: { queues: [ { name: good.@ } ] } } }
    mode: queued
    retry: { max_attempts: 1 }
    dead_letter:
      amqp: { exchange: "", routing_key: dead.@, declare: { queues: [ { name: dead.@, type: quorum } ] } }
"#;

fn publish(server: &Leveret, topic: &str, body: &Value) {
    let answer =
        http::post(server.http(), &format!("/pub?topic={topic}"), body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn act(site: &Site, what: &str, queue: &str, asked: &Value) -> http::Response {
    let path = format!("/v1/brokers/default/messages/{what}?queue={}", site.name(queue));
    http::post(site.server.http(), &path, asked.to_string().as_bytes())
}

fn look(site: &Site, queue: &str) -> Vec<Value> {
    let path = format!("/v1/brokers/default/messages?queue={}", site.name(queue));
    let answer = http::get(site.server.http(), &path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().as_array().unwrap().clone()
}

#[test]
fn dead_letters_of_a_queue_are_looked_at_put_back_and_thrown_away() {
    let site = Site::start(ROUTES);
    let topic = site.name("orders.@");
    for n in 0..4 {
        publish(&site.server, &topic, &json!({"queue": "none", "n": n}));
    }
    crate::support::site::await_count(&site.server, "orders", "dead_lettered", 4);
    for _ in 0..2 {
        let seen = look(&site, "dead.@");
        assert_eq!(seen.len(), 4, "a look takes nothing");
        assert_eq!(seen[0]["headers"]["x-leveret-reason"], "unroutable");
        assert_eq!(seen[0]["back_to"]["topic"], *topic);
        assert_eq!(seen[0]["body"], json!({"n": 0, "queue": "none"}).to_string());
    }
    let id = |at: usize| look(&site, "dead.@")[at]["id"].as_str().unwrap().to_owned();
    let (first, third) = (id(0), id(2));
    let thrown = act(&site, "discard", "dead.@", &json!({"ids": [third, "unknown"]})).json();
    assert_eq!((&thrown["done"], &thrown["missing"]), (&json!(1), &json!(["unknown"])));
    let good = json!({"ids": [first], "to": {"routing_key": site.name("good.@")}});
    assert_eq!(act(&site, "requeue", "dead.@", &good).json()["done"], 1);
    let came = look(&site, "good.@");
    assert_eq!(came[0]["id"], *first);
    assert_eq!(came[0]["headers"], json!({}), "nothing is left of its end");
    let nowhere = json!({"all": true, "to": {"routing_key": "no.such.queue"}});
    let refused = act(&site, "requeue", "dead.@", &nowhere).json();
    assert_eq!(refused["done"], 0);
    assert!(refused["failed"][1]["reason"].as_str().unwrap().contains("NO_ROUTE"), "{refused}");
    assert_eq!(look(&site, "dead.@").len(), 2, "they stay");
    // Back to the topic, from there to the broker, and back to where they were, since nothing has changed.
    assert_eq!(act(&site, "requeue", "dead.@", &json!({"all": true})).json()["done"], 2);
    crate::support::site::await_count(&site.server, "orders", "dead_lettered", 6);
    assert_eq!(act(&site, "discard", "dead.@", &json!({"all": true})).json()["done"], 2);
    assert_eq!(look(&site, "dead.@"), Vec::<Value>::new());
}

#[test]
fn what_cannot_be_had_is_said() {
    let site = Site::start(ROUTES);
    let broker = |broker: &str| format!("/v1/brokers/{broker}/messages?queue=none");
    let get = |path: &str| http::get(site.server.http(), path);
    assert_eq!(get(&broker("other")).status, 404);
    let missing = get(&broker("default"));
    assert_eq!(missing.status, 502);
    assert!(missing.text().contains("NOT_FOUND"), "{}", missing.text());
    assert_eq!(get("/v1/brokers/default/messages").status, 400);
    assert_eq!(act(&site, "discard", "dead.@", &json!({"ids": []})).status, 400);
    assert_eq!(act(&site, "discard", "dead.@", &json!({"everything": true})).status, 400);
    let wrong = json!({"all": true, "to": {"topic": "a b"}});
    assert_eq!(act(&site, "requeue", "dead.@", &wrong).status, 400);
}

#[test]
fn messages_of_a_channel_go_back_or_away_one_by_one() {
    let server = Leveret::nsqd().start();
    for path in ["/topic/create?topic=dead", "/channel/create?topic=dead&channel=c"] {
        http::done(server.http(), path);
    }
    for n in 0..5 {
        publish(&server, "dead", &json!({ "n": n }));
    }
    let peek = || http::get(server.http(), "/channel/peek?topic=dead&channel=c").json();
    let ids: Vec<Value> =
        peek().as_array().unwrap().iter().map(|message| message["id"].clone()).collect();
    let act = |what: &str, asked: &Value| {
        let path = format!("/v1/messages/{what}?topic=dead&channel=c");
        http::post(server.http(), &path, asked.to_string().as_bytes()).json()
    };
    assert_eq!(act("discard", &json!({"ids": [ids[1]]}))["done"], 1);
    let failed = act("requeue", &json!({"ids": [ids[2]]}));
    assert!(failed["failed"][0]["reason"].as_str().unwrap().contains("does not say"), "{failed}");
    let mut consumer = Client::subscribed(server.tcp(), "orders", "c", 10);
    assert_eq!(act("requeue", &json!({"ids": [ids[3]], "to": "orders"}))["done"], 1);
    let message = consumer.message();
    assert_eq!(message.body, json!({"n": 3}).to_string().as_bytes());
    assert_eq!(peek().as_array().unwrap().len(), 3);
    assert_eq!(act("discard", &json!({"all": true}))["done"], 3);
    assert_eq!(act("discard", &json!({"ids": [ids[0]]}))["missing"], json!([ids[0]]));
}
