//! Routes changed while the node runs: by a signal, a change in the folder, and over the API.

use std::fs;

use serde_json::Value;

use crate::support::drivers::{bodies, expected};
use crate::support::http::{self, Response};
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::rabbit::Rabbit;
use crate::support::site::{Site, await_count, await_state, plan, route};
use crate::support::traffic::{MORE_NAMES, MORE_ROUTES, NAMES, ROUTES, Traffic};
use crate::support::unique;
use crate::support::wait::until_true;

const TWO: &str = r#"
routes:
  - { name: one, from: { nsq: { topic: one.@ } }, to: { amqp: { exchange: "", routing_key: one.@, declare: { queues: [ { name: one.@ } ] } } }, mode: direct }
  - { name: two, from: { nsq: { topic: two.@ } }, to: { nsq: { topic: two.out.@ } }, mode: queued }
"#;

fn names(server: &Leveret) -> Vec<String> {
    let shown = http::get(server.http(), "/v1/routes").json();
    let routes = shown["routes"].as_array().unwrap();
    routes.iter().map(|route| route["name"].as_str().unwrap().to_owned()).collect()
}

fn rewrite(site: &Site, file: &str, text: &str) {
    let folder = site.server.dir().join("bridges");
    let draft = folder.join(".draft");
    fs::write(&draft, site.name(text)).unwrap();
    fs::rename(draft, folder.join(file)).unwrap();
}

fn reload(server: &Leveret) -> Response {
    http::post(server.http(), "/v1/routes/reload", b"")
}

#[test]
fn a_reload_touches_only_what_has_changed_and_a_bad_one_nothing() {
    let site = Site::start(TWO);
    let topic = site.name("two.@");
    let mut producer = Client::connect(site.server.tcp());
    producer.publish(&topic, b"before");
    await_count(&site.server, "two", "confirmed", 1);

    rewrite(
        &site,
        "routes.yaml",
        &TWO.replace("mode: direct }", "mode: direct, publish_timeout: 7s }"),
    );
    let changes = reload(&site.server).json();
    assert_eq!(changes["changed"], serde_json::json!(["one"]), "{changes}");
    assert_eq!(changes["unchanged"], 1);
    assert_eq!(route(&site.server, "two")["counters"]["confirmed"], 1, "it went on");

    rewrite(&site, "routes.yaml", "routes:\n- { name: one, mode: dirct }\n");
    let refused = reload(&site.server);
    assert_eq!(refused.status, 400);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("routes.yaml:2:") && detail.contains("did you mean"), "{detail}");
    assert_eq!(names(&site.server), ["one", "two"]);
    producer.publish(&topic, b"after");
    await_count(&site.server, "two", "confirmed", 2);

    // A topic that loses its direct route keeps its messages itself.
    rewrite(
        &site,
        "routes.yaml",
        TWO.lines()
            .filter(|line| !line.contains("name: one"))
            .collect::<Vec<_>>()
            .join("\n")
            .as_str(),
    );
    site.server.signal("HUP");
    site.server.await_log("routes reloaded");
    until_true("one is gone", || names(&site.server) == ["two"]);
    let topic = site.name("one.@");
    producer.publish(&topic, b"local");
    let mut consumer = Client::subscribed(site.server.tcp(), &topic, "c", 1);
    assert_eq!(consumer.message().text(), "local");
}

#[test]
fn a_change_in_the_folder_is_noticed() {
    let site = Site::start(TWO);
    rewrite(
        &site,
        "more.yml",
        "routes:\n- { name: more, from: { nsq: { topic: more.@ } }, to: { nsq: { topic: more.out.@ } }, mode: queued }\n",
    );
    until_true("the new route runs", || names(&site.server).contains(&"more".to_owned()));
    fs::remove_file(site.server.dir().join("bridges/more.yml")).unwrap();
    until_true("and is gone", || names(&site.server) == ["one", "two"]);
}

fn request(server: &Leveret, method: &str, path: &str, body: &str) -> Response {
    http::request(server.http(), method, path, &[], body.as_bytes())
}

#[test]
fn routes_are_made_changed_and_removed_over_the_api() {
    let site = Site::start(TWO);
    let at = &site.server;
    let definition = site.name("name: api\nfrom: { nsq: { topic: api.@ } }\nto: { nsq: { topic: api.out.@ } }\nmode: queued\n");
    let dry = request(at, "PUT", "/v1/routes/api?dry_run=true", &definition).json();
    assert_eq!(dry["started"], serde_json::json!(["api"]), "{dry}");
    assert_eq!(names(at), ["one", "two"]);
    let made = request(at, "PUT", "/v1/routes/api", &definition).json();
    assert_eq!(
        (&made["started"], &made["unchanged"]),
        (&serde_json::json!(["api"]), &Value::from(2))
    );
    let shown = http::get(at.http(), "/v1/routes/api").json();
    assert_eq!(shown["name"], "api");
    assert!(shown["definition"]["file"].as_str().unwrap().ends_with("bridges/api.yaml"), "{shown}");
    assert!(shown["definition"]["text"].as_str().unwrap().contains("mode: queued"));

    let json = site.name(r#"{"name":"api","from":{"nsq":{"topic":"api.@"}},"to":{"nsq":{"topic":"api.out.@"}},"mode":"queued","limit":{"messages":"5/s"}}"#);
    let changed = request(at, "PUT", "/v1/routes/api", &json);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(http::get(at.http(), "/v1/routes/api").json()["limit"]["messages_per_second"], 5.0);

    for (method, path, body, status, words) in [
        ("PUT", "/v1/routes/api", "name: other\n", 400, "from"),
        ("PUT", "/v1/routes/one", definition.as_str(), 409, "stands in"),
        ("DELETE", "/v1/routes/two", "", 409, "stands in"),
        ("DELETE", "/v1/routes/none", "", 404, "no route"),
        ("GET", "/v1/routes/none", "", 404, "no route"),
        ("POST", "/v1/routes/none/pause", "", 404, "no route"),
        ("PUT", "/v1/routes/api?dry_run=perhaps", &definition, 400, "INVALID_DRY_RUN"),
    ] {
        let refused = request(at, method, path, body);
        assert_eq!(refused.status, status, "{method} {path}: {}", refused.text());
        assert!(refused.text().contains(words), "{method} {path}: {}", refused.text());
    }
    let removed = request(at, "DELETE", "/v1/routes/api", "").json();
    assert_eq!(removed["stopped"], serde_json::json!(["api"]));
    assert_eq!(names(at), ["one", "two"]);
    assert!(!at.dir().join("bridges/api.yaml").exists());
}

const MOVING: &str = r#"
routes:
  - name: moving
    from: { amqp: { queue: moving.@, declare: {} } }
    to: { amqp: { exchange: "", routing_key: moved.@, declare: { queues: [ { name: moved.@ } ] } } }
    mode: queued
"#;

#[test]
fn a_route_is_paused_drained_reset_and_resumed() {
    let site = Site::start(MOVING);
    let act =
        |what: &str| http::post(site.server.http(), &format!("/v1/routes/moving/{what}"), b"");
    await_state(&site.server, "moving", "running");
    assert_eq!(act("pause").json()["state"], "paused");
    site.pika(&["publish", "--routing-key", "moving.@", "--count", "50"]).finish();
    assert_eq!(act("drain").json()["state"], "paused");
    assert_eq!(site.length("moving.@"), 50, "it takes nothing");
    assert_eq!(act("resume").json()["name"], "moving");
    await_count(&site.server, "moving", "confirmed", 50);
    let drained = act("drain?timeout=10000").json();
    assert_eq!((&drained["state"], &drained["pending"]), (&Value::from("paused"), &Value::from(0)));
    let reset = act("reset").json();
    assert_eq!(reset["counters"]["received"], 0, "{reset}");
    await_state(&site.server, "moving", "running");
    assert_eq!(bodies(&site.drain("moved.@", 50)), expected("m", 50));
}

#[test]
fn a_pause_outlives_a_change_of_the_route_and_the_node_itself() {
    let mut site = Site::start(MOVING);
    let act = |site: &Site, what: &str| {
        http::post(site.server.http(), &format!("/v1/routes/moving/{what}"), b"").json()
    };
    await_state(&site.server, "moving", "running");
    assert_eq!(act(&site, "pause")["state"], "paused");
    site.pika(&["publish", "--routing-key", "moving.@", "--count", "5"]).finish();
    rewrite(
        &site,
        "routes.yaml",
        &MOVING.replace("mode: queued", "mode: queued\n    ordered: true"),
    );
    assert_eq!(reload(&site.server).json()["changed"], serde_json::json!(["moving"]));
    assert_eq!(route(&site.server, "moving")["state"], "paused");
    site.server.kill();
    site.server.restart();
    assert_eq!(route(&site.server, "moving")["state"], "paused");
    assert_eq!(act(&site, "drain")["state"], "paused");
    assert_eq!(site.length("moving.@"), 5, "it takes nothing");
    act(&site, "resume");
    await_count(&site.server, "moving", "confirmed", 5);
    site.server.kill();
    site.server.restart();
    await_state(&site.server, "moving", "running");
}

/// Kilobytes of memory and open descriptors of the process.
fn weight(server: &Leveret) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let resident = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    (resident, fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count())
}

#[test]
fn a_thousand_reloads_under_load_lose_nothing_and_leave_nothing_behind() {
    let rabbit = Rabbit::shared();
    let tag = unique("t");
    let all = format!("{ROUTES}{MORE_ROUTES}").replace('@', &tag);
    let extra = format!(
        "  - {{ name: extra, from: {{ nsq: {{ topic: extra.{tag} }} }}, to: {{ nsq: {{ topic: extra.out.{tag} }} }}, mode: queued }}\n"
    );
    let other =
        all.replace("    mode: queued\n", "    mode: queued\n    retry: { max_attempts: 9 }\n");
    let other =
        other.replace("    mode: direct\n", "    mode: direct\n    limit: { messages: 5000/s }\n");
    let variants = [all.clone(), other + &extra];
    let server = plan(rabbit.uri(), &all).start();
    let names: Vec<&'static str> = NAMES.into_iter().chain(MORE_NAMES).collect();
    let traffic = Traffic::start(&names, &tag, rabbit.uri(), server.tcp(), true);
    traffic.flows(&server);
    let file = server.dir().join("bridges/routes.yaml");
    let mut before = (0, 0);
    for round in 0..1000 {
        fs::write(&file, &variants[(round + 1) % 2]).unwrap();
        let answer = reload(&server);
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        if round == 200 {
            before = weight(&server);
        }
    }
    let after = weight(&server);
    eprintln!("reloads: {before:?} -> {after:?} KiB and descriptors");
    assert!(after.0 < before.0 + 60_000, "memory: {before:?} -> {after:?}");
    assert!(after.1 < before.1 + 30, "descriptors: {before:?} -> {after:?}");
    traffic.flows(&server);
    traffic.finish();
}
