//! What routes declare on a broker, and what `leveret plan` and `leveret apply` make of it.

use std::process::Command;

use serde_json::Value;

use crate::support::drivers::pika;
use crate::support::nsq::Client;
use crate::support::rabbit::Rabbit;
use crate::support::secure::Papers;
use crate::support::site::{Site, await_state, plan};
use crate::support::{Scratch, unique, wait};

/// Runs `leveret plan` or `leveret apply` and gives the exit code and what is printed.
fn ask(verb: &str, broker: &str, routes: &str) -> (i32, Value) {
    let scratch = Scratch::new("plan");
    let node = scratch.write(
        "leveret.yaml",
        &format!("bridges: bridges\nbrokers: {{ default: {{ {broker} }} }}\n"),
    );
    scratch.write("bridges/routes.yaml", routes);
    let output = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args([verb, "--json", "--config"])
        .arg(node)
        .output()
        .expect("leveret runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let plan = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{errors}"));
    (output.status.code().expect("an exit code"), plan)
}

/// `kind name state` of each thing.
fn states(plan: &Value) -> Vec<String> {
    let items = plan["brokers"][0]["items"].as_array().expect("items");
    let word = |item: &Value, key: &str| item[key].as_str().expect("a text").to_owned();
    items
        .iter()
        .map(|item| {
            format!("{} {} {}", word(item, "kind"), word(item, "name"), word(item, "state"))
        })
        .collect()
}

const ROUTES: &str = "routes:
- name: out
  mode: queued
  from: {nsq: {topic: t}}
  to:
    amqp:
      exchange: shop
      routing_key: a.b
      declare:
        exchange_type: topic
        queues: [{name: orders, type: quorum, delivery_limit: 5}]
- name: in
  mode: queued
  from: {amqp: {queue: invoices, declare: {max_length: 10, bindings: [{exchange: billing, routing_key: k}]}}}
  to: {nsq: {topic: u}}
- name: other
  mode: queued
  from: {amqp: {queue: orders}}
  to: {nsq: {topic: v}}
";

#[test]
fn a_plan_changes_nothing_and_is_applied_as_far_as_nothing_is_in_the_way() {
    let rabbit = Rabbit::shared();
    let vhost = rabbit.vhost();
    let name = vhost.rsplit('/').next().expect("a name").to_owned();
    let broker = format!("uri: '{vhost}'");
    let there = || rabbit.ctl(&["--quiet", "list_queues", "-p", &name, "name", "arguments"]);
    pika(&vhost, &["declare", "--queue", "invoices", "--arguments", "{\"x-max-length\": 11}"])
        .finish();
    let before = there();

    let (code, plan) = ask("plan", &broker, ROUTES);
    let seen = states(&plan);
    assert_eq!(
        seen,
        [
            "exchange shop create",
            "queue orders create",
            "queue invoices conflict",
            "binding orders to shop by \"a.b\" create",
            "binding invoices to billing by \"k\" conflict",
        ]
    );
    let items = &plan["brokers"][0]["items"];
    let reason = items[2]["reason"].as_str().expect("a reason");
    assert!(reason.contains("x-max-length") && reason.contains("11"), "{reason}");
    assert_eq!(items[4]["reason"], "there is no exchange billing");
    assert_eq!(items[1]["asked"], "quorum, x-delivery-limit=5");
    assert_eq!(items[2]["routes"][0], "in");
    assert_eq!((code, there()), (1, before), "nothing is changed");
    assert!(!vhost.is_empty() && !plan.to_string().contains("guest:guest"), "no password is shown");

    // What is in the way is left; the rest is made.
    let (code, plan) = ask("apply", &broker, ROUTES);
    assert_eq!(code, 1, "{plan}");
    assert_eq!(
        states(&plan)[..3],
        ["exchange shop created", "queue orders created", "queue invoices conflict"]
    );
    assert!(there().contains("orders"));

    pika(&vhost, &["delete", "--queue", "invoices"]).finish();
    let routes = ROUTES.replace("exchange: billing,", "exchange: billing, exchange_type: direct,");
    let (code, plan) = ask("plan", &broker, &routes);
    assert_eq!(code, 2, "{plan}");
    let (code, plan) = ask("apply", &broker, &routes);
    assert_eq!(code, 0, "{plan}");
    let (code, plan) = ask("plan", &broker, &routes);
    let seen = states(&plan);
    assert!(seen[..4].iter().all(|line| line.ends_with(" exists")), "{seen:?}");
    assert!(seen[4..].iter().all(|line| line.ends_with(" unknown")), "AMQP tells of no bindings");
    assert_eq!(code, 2, "{seen:?}");
}

#[test]
fn what_must_be_there_and_who_may_not_ask_is_said() {
    let rabbit = Rabbit::shared();
    let vhost = rabbit.vhost();
    let passive =
        ROUTES.replace("exchange_type: topic", "exchange_type: topic\n        passive: true");
    let (code, plan) = ask("plan", &format!("uri: '{vhost}'"), &passive);
    assert_eq!((code, states(&plan)[0].as_str()), (1, "exchange shop conflict"));
    let (code, plan) = ask("apply", &format!("uri: '{vhost}'"), &passive);
    assert_eq!((code, states(&plan)[0].as_str()), (1, "exchange shop conflict"), "it is not made");

    let (user, name) = (unique("nobody"), vhost.rsplit('/').next().expect("a name").to_owned());
    rabbit.ctl(&["add_user", &user, "pw"]);
    rabbit.ctl(&["set_permissions", "-p", &name, &user, "^$", "^$", "^$"]);
    let restricted = vhost.replace("guest:guest", &format!("{user}:pw"));
    let (code, plan) = ask("plan", &format!("uri: '{restricted}'"), ROUTES);
    let invoices = &plan["brokers"][0]["items"][2];
    assert_eq!((code, &invoices["state"]), (1, &Value::from("failed")), "{plan}");
    let reason = invoices["reason"].as_str().expect("a reason");
    assert!(reason.contains("ACCESS_REFUSED"), "{reason}");

    let (code, plan) = ask("plan", "uri: 'amqp://127.0.0.1:1', connect_timeout: 1s", ROUTES);
    assert_eq!(code, 1);
    let error = plan["brokers"][0]["error"].as_str().expect("an error");
    assert!(error.contains("127.0.0.1:1"), "{error}");
}

const KINDS: &str = "routes:
- name: out
  mode: direct
  from: {nsq: {topic: out.@}}
  to:
    amqp:
      exchange: first.@
      routing_key: '{{ body.key }}'
      declare:
        exchange_type: direct
        alternate_exchange: rest.@
        exchanges:
        - {name: second.@, type: headers, internal: true}
        - {name: rest.@, type: fanout}
        exchange_bindings: [{from: first.@, to: second.@, routing_key: on}]
        queues:
        - {name: all.@, bindings: [{exchange: second.@, arguments: {x-match: all-with-x}}]}
        - {name: rest.@, bindings: [{exchange: rest.@}]}
        - {name: late.@, routing_keys: [late], message_ttl: 1ms, dead_letter_exchange: '', dead_letter_routing_key: rest.@}
- name: log
  mode: queued
  from: {amqp: {queue: log.@, offset: first, prefetch: 50, declare: {type: stream, max_age: 1d}}}
  to: {nsq: {topic: log.@}}
";

#[test]
fn messages_follow_what_was_declared() {
    let kinds = KINDS.replace(", arguments: {x-match: all-with-x}", "");
    let site = Site::start(&kinds);
    site.await_state("out", "running");
    let mut client = Client::connect(site.server.tcp());
    for key in ["on", "off", "late"] {
        client.publish(&site.name("out.@"), format!("{{\"key\":\"{key}\"}}").as_bytes());
    }
    assert_eq!(site.drain("all.@", 1)[0]["body"], "{\"key\":\"on\"}", "exchange to exchange");
    let rest = site.drain("rest.@", 2);
    let mut rest: Vec<&str> = rest.iter().filter_map(|line| line["body"].as_str()).collect();
    rest.sort_unstable();
    assert_eq!(
        rest,
        ["{\"key\":\"late\"}", "{\"key\":\"off\"}"],
        "alternate exchange, dead letter"
    );

    // A stream is read from its beginning, and after a lost connection from where it was.
    site.pika(&["publish", "--routing-key", "log.@", "--count", "10"]).finish();
    let mut consumer = Client::subscribed(site.server.tcp(), &site.name("log.@"), "c", 100);
    for _ in 0..10 {
        let message = consumer.message();
        consumer.fin(&message);
    }
    site.settled("log");
    let lines = |site: &Site| site.server.log().matches("connected").count();
    let begun = lines(&site);
    let listed =
        site.rabbit.ctl(&["--quiet", "list_connections", "pid", "client_properties", "peer_port"]);
    let own: Vec<&str> = listed.lines().filter(|line| line.contains("leveret (consume)")).collect();
    assert!(!own.is_empty(), "{listed}");
    for line in own {
        let pid = line.split_whitespace().next().expect("a pid");
        site.rabbit.ctl(&["close_connection", pid, "for a test"]);
    }
    wait::until_true("a new connection", || lines(&site) > begun);
    site.pika(&["publish", "--routing-key", "log.@", "--count", "3", "--prefix", "n"]).finish();
    let bodies: Vec<_> = (0..3).map(|_| consumer.message().body).collect();
    assert_eq!(bodies, [&b"n-0"[..], b"n-1", b"n-2"], "nothing comes twice");
}

#[test]
fn a_queue_that_is_deleted_under_its_consumer_is_declared_again_or_waited_for() {
    let routes = "routes:
- {name: again, mode: direct, from: {amqp: {queue: again.@, declare: {}}}, to: {nsq: {topic: again.@, channel: c}}}
- {name: missed, mode: direct, from: {amqp: {queue: missed.@}}, to: {nsq: {topic: missed.@, channel: c}}}
";
    let rabbit = Rabbit::shared();
    let tag = unique("t");
    let missed = format!("missed.{tag}");
    pika(rabbit.uri(), &["declare", "--queue", &missed]).finish();
    let server = plan(rabbit.uri(), &routes.replace('@', &tag)).start();
    let mut clients = ["again", "missed"].map(|name| {
        let client = Client::subscribed(server.tcp(), &format!("{name}.{tag}"), "c", 10);
        await_state(&server, name, "running");
        pika(rabbit.uri(), &["delete", "--queue", &format!("{name}.{tag}")]).finish();
        client
    });
    let route = await_state(&server, "missed", "failed");
    assert!(route["reason"].as_str().unwrap_or_default().contains("NOT_FOUND"), "{route}");
    await_state(&server, "again", "running");
    pika(rabbit.uri(), &["declare", "--queue", &missed]).finish();
    for (name, client) in ["again", "missed"].iter().zip(&mut clients) {
        await_state(&server, name, "running");
        pika(rabbit.uri(), &["publish", "--routing-key", &format!("{name}.{tag}")]).finish();
        assert_eq!(client.message().body, b"m-0", "{name}");
    }
}

/// Starts a node of its own: in `brokers::` with the other tests that do.
pub(crate) fn bindings_are_told_by_the_management_api() {
    let papers = Papers::new();
    let text = |name: &str| std::fs::read_to_string(papers.file(name)).expect("a file");
    let own = [text("ca.pem"), text("cert.pem"), text("key.pem")];
    let rabbit = Rabbit::own_secure(
        [&own[0], &own[1], &own[2]],
        "rabbitmq_management rabbitmq_consistent_hash_exchange",
        "",
    );
    let broker = format!(
        "uri: '{}', management: 'http://127.0.0.1:{}'",
        rabbit.uri(),
        rabbit.port("management")
    );
    let routes = ROUTES
        .replace(
            "exchange: billing,",
            "exchange: billing, exchange_type: x-consistent-hash, arguments: {n: 1},",
        )
        .replace("routing_key: k", "routing_key: '1'");
    let (code, plan) = ask("plan", &broker, &routes);
    assert_eq!(code, 2, "{plan}");
    let (code, plan) = ask("apply", &broker, &routes);
    assert_eq!(code, 0, "{plan}");
    let (code, plan) = ask("plan", &broker, &routes);
    let seen = states(&plan);
    assert!(code == 0 && seen.iter().all(|line| line.ends_with(" exists")), "{plan}");
    let (code, plan) = ask("plan", &broker, &routes.replace("n: 1", "n: 2"));
    assert_eq!(code, 2, "{plan}");
    let without = broker.replace(&rabbit.port("management").to_string(), "1");
    let (code, plan) = ask("plan", &without, &routes);
    assert_eq!(code, 1, "{plan}");
}
