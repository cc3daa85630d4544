//! How connections to a broker come about, and what becomes of them. Each test here starts a node of its own, or two.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::support::drivers::pika;
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::proxy::Proxy;
use crate::support::rabbit::{Cluster, Rabbit};
use crate::support::secure::Papers;
use crate::support::site::{await_state, plan};
use crate::support::traffic::{Traffic, steady_port};
use crate::support::{Scratch, http, unique, wait};
use crate::topology::bindings_are_told_by_the_management_api;

/// What the node says of its connections to a broker.
fn links(server: &Leveret, broker: &str) -> Vec<Value> {
    let shown = http::get(server.http(), "/v1/routes").json();
    let all = shown["brokers"].as_array().expect("a list of brokers").clone();
    all.into_iter().filter(|link| link["name"] == broker).collect()
}

/// Awaits that every connection to the broker is as asked for.
fn await_links(server: &Leveret, broker: &str, is_right: impl Fn(&Value) -> bool) {
    let mut last = Vec::new();
    let found = wait::until(wait::PATIENCE, || {
        last = links(server, broker);
        (!last.is_empty() && last.iter().all(&is_right)).then_some(())
    });
    found.unwrap_or_else(|| panic!("connections to {broker}: {last:?}\n{}", server.log()));
}

/// A node with these brokers, and a direct route from a topic of each one's name to a queue of that name.
fn node(brokers: &[(&str, String)]) -> Leveret {
    let configuration = brokers.iter().fold(
        "nsqd: { tcp_address: 127.0.0.1:0, http_address: 127.0.0.1:0 }\nbridges: bridges\nbrokers:\n".to_owned(),
        |text, (name, keys)| format!("{text}  {name}: {{ heartbeat: 1s, {keys} }}\n"),
    );
    let routes = brokers.iter().fold("routes:\n".to_owned(), |text, (name, _)| {
        format!(
            "{text}- {{name: {name}, mode: direct, publish_timeout: 1m, from: {{nsq: {{topic: {name}}}}}, to: {{amqp: \
             {{broker: {name}, exchange: '', routing_key: {name}, declare: {{queues: [{{name: {name}}}]}}}}}}}}\n"
        )
    });
    Leveret::serve(&configuration).file("bridges/routes.yaml", &routes).start()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a file that can be read")
}

#[test]
fn certificates_users_and_virtual_hosts_are_checked_and_told_apart() {
    let papers = Papers::new();
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|file| text(&papers.file(file)));
    let rabbit = Rabbit::own_secure(
        [&ca, &cert, &key],
        "rabbitmq_auth_mechanism_ssl",
        "auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\nssl_cert_login_from = common_name\n",
    );
    rabbit.ctl(&["add_user", "client", "unknown"]);
    rabbit.ctl(&["set_permissions", "client", ".*", ".*", ".*"]);
    rabbit.ctl(&["add_user", "turner", "first"]);
    rabbit.ctl(&["set_permissions", "turner", ".*", ".*", ".*"]);
    let scratch = Scratch::new("secrets");
    let password = scratch.write("password", "first\n");
    let file = |name: &str| papers.file(name).display().to_string();
    let (tls, plain) = (format!("127.0.0.1:{}", rabbit.port("tls")), rabbit.address());
    let secure = format!("uri: 'amqps://guest:guest@{tls}/%2f'");
    let relay = Proxy::to(&tls);
    let elsewhere = format!("uri: 'amqps://guest:guest@{}/%2f'", relay.address());
    let (ca, stranger) = (file("ca.pem"), file("stranger.pem"));
    let identity =
        format!("cert_file: {}, key_file: {}", file("client.pem"), file("client-key.pem"));
    let server = node(&[
        ("trusted", format!("{secure}, tls: {{ca_file: {ca}}}")),
        ("wrong-ca", format!("{secure}, tls: {{ca_file: {stranger}}}")),
        ("system-ca", secure.clone()),
        ("wrong-name", format!("{secure}, tls: {{ca_file: {ca}, server_name: rabbit.example}}")),
        ("named", format!("{elsewhere}, tls: {{ca_file: {ca}, server_name: localhost}}")),
        (
            "external",
            format!("uri: 'amqps://{tls}/%2f', auth: external, tls: {{ca_file: {ca}, {identity}}}"),
        ),
        ("wrong-password", format!("uri: 'amqp://guest:no@{plain}/%2f'")),
        ("no-vhost", format!("uri: 'amqp://guest:guest@{plain}/nowhere'")),
        (
            "turning",
            format!("uri: 'amqp://turner@{plain}/%2f', password_file: {}", password.display()),
        ),
    ]);
    for name in ["trusted", "named", "external", "turning"] {
        await_state(&server, name, "running");
        Client::connect(server.tcp()).publish(name, b"m");
    }
    for (name, words) in [
        ("wrong-ca", "invalid peer certificate"),
        ("system-ca", "invalid peer certificate"),
        ("wrong-name", "not valid for name"),
        ("wrong-password", "ACCESS_REFUSED"),
        ("no-vhost", "nowhere"),
    ] {
        let route = await_state(&server, name, "failed");
        let reason = route["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(words), "{name}: {reason}");
    }
    let users = rabbit.ctl(&["--quiet", "list_connections", "user", "client_properties"]);
    let external = users.lines().find(|line| line.starts_with("client\t")).expect("EXTERNAL");
    assert!(external.contains("leveret (publish)"), "{external}");

    // A password that is changed under a running node.
    rabbit.ctl(&["change_password", "turner", "second"]);
    fs::write(&password, "second\n").expect("a file that can be written");
    rabbit.ctl(&["close_all_connections", "rotated"]);
    await_links(&server, "turning", |link| link["state"] == "up");
    wait::until_true("a new connection", || {
        server.log().matches("connected broker=\"turning\"").count() >= 2
    });
    Client::connect(server.tcp()).publish("turning", b"m");
    assert!(!server.log().contains("second"), "the password is in no log");
}

#[test]
fn a_broker_that_blocks_stops_answering_or_goes_is_waited_for_or_left() {
    let (rabbit, shared) = (Rabbit::own(), Rabbit::shared());
    let other = Proxy::to(shared.address());
    other.close();
    // Connections are accepted by the system, and nobody ever says a word.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silence = silent.local_addr().expect("an address");
    let name = unique("here");
    let tag = unique("mute");
    let server = node(&[
        (
            &name,
            format!(
                "uri: 'amqp://{}', hosts: ['{}'], connect_timeout: 500ms",
                rabbit.address(),
                other.address()
            ),
        ),
        (
            &tag,
            format!(
                "uri: 'amqp://{silence}', hosts: ['{}'], connect_timeout: 500ms",
                shared.address()
            ),
        ),
    ]);
    await_links(&server, &tag, |link| link["state"] == "up" && link["address"] == shared.address());
    Client::connect(server.tcp()).publish(&tag, b"m");

    // A memory alarm: the producer waits for its OK and gets it.
    await_state(&server, &name, "running");
    let mut client = Client::connect(server.tcp());
    client.publish(&name, b"before");
    rabbit.ctl(&["set_vm_memory_high_watermark", "0.0000001"]);
    client.command_with(&format!("PUB {name}"), b"blocked");
    await_links(&server, &name, |link| link["state"] == "blocked");
    let route = await_state(&server, &name, "waiting");
    assert!(route["reason"].as_str().unwrap_or_default().contains("blocks publishers"), "{route}");
    rabbit.ctl(&["set_vm_memory_high_watermark", "0.6"]);
    client.ok();
    await_links(&server, &name, |link| link["state"] == "up");

    // Connections that the broker closes.
    rabbit.ctl(&["close_all_connections", "for a test"]);
    server.await_log("CONNECTION_FORCED");
    client.publish(&name, b"after");
    let away = |link: &Value| link["address"] == rabbit.address() && link["state"] == "up";
    await_links(&server, &name, away);

    // A node that stops: two heartbeats later the other host has the connection.
    other.open();
    rabbit.freeze();
    let address = other.address().to_string();
    await_links(&server, &name, |link| link["state"] == "up" && link["address"] == address);
    rabbit.thaw();
    client.publish(&name, b"there");
    let consume = ["consume", "--queue", &name, "--count", "1"];
    let (messages, _) = pika(shared.uri(), &consume).finish();
    assert_eq!(messages[0]["body"], "there");
    assert_eq!(pika(rabbit.uri(), &["length", "--queue", &name]).finish().1, 3);
}

/// Routes over a quorum queue of three nodes, in both directions.
const QUORUM: &str = r#"
routes:
  - name: publish-queued
    from: { nsq: { topic: publish-queued.@ } }
    to:
      amqp:
        exchange: ""
        routing_key: publish-queued.@
        declare: { queues: [ { name: publish-queued.@, type: quorum } ] }
    mode: queued
  - name: publish-direct
    from: { nsq: { topic: publish-direct.@ } }
    to:
      amqp:
        exchange: ""
        routing_key: publish-direct.@
        declare: { queues: [ { name: publish-direct.@, type: quorum } ] }
    mode: direct
"#;

#[test]
fn a_plan_asks_the_management_api_for_bindings() {
    bindings_are_told_by_the_management_api();
}

#[test]
fn a_quorum_queue_survives_the_kill_of_its_leader() {
    let cluster = Cluster::start(3);
    let tag = unique("t");
    let nodes: Vec<&Rabbit> = cluster.nodes().collect();
    let hosts: Vec<&str> = nodes.iter().map(|node| node.address()).collect();
    let names = ["publish-queued", "publish-direct"];
    for name in names {
        let queue = format!("{name}.{tag}");
        pika(nodes[0].uri(), &["declare", "--queue", &queue, "--type", "quorum"]).finish();
    }
    // A member that is not up yet would leave two that cannot agree without the third.
    wait::until_true("all members are online", || {
        let all = nodes[0].ctl(&["--quiet", "list_queues", "name", "online"]);
        let mut own = all.lines().filter(|line| line.contains(&tag));
        own.all(|line| line.matches("@localhost").count() == 3)
    });
    let port = steady_port();
    let configuration = format!(
        "nsqd: {{ tcp_address: '127.0.0.1:{port}', http_address: 127.0.0.1:0, data_path: '{{dir}}/data' }}\nbridges: \
         bridges\nbrokers: {{ default: {{ uri: 'amqp://{}', hosts: ['{}', '{}'], heartbeat: 1s, connect_timeout: 1s }} }}\n",
        hosts[0], hosts[1], hosts[2]
    );
    let routes = QUORUM.replace('@', &tag);
    let server = Leveret::serve(&configuration).file("bridges/routes.yaml", &routes).start();
    let leader = cluster.leader(&format!("{}.{tag}", names[0]));
    let survivor = nodes.iter().find(|node| node.uri() != leader.uri()).expect("another node");
    let traffic = Traffic::start_quorum(&names, &tag, survivor.uri(), server.tcp());
    traffic.flows(&server);
    leader.kill();
    traffic.flows(&server);
    leader.restart();
    traffic.flows(&server);
    // A node that hangs is left, too.
    let leader = cluster.leader(&format!("{}.{tag}", names[1]));
    if leader.uri() != survivor.uri() {
        leader.freeze();
        traffic.flows(&server);
        leader.thaw();
    }
    traffic.finish();
}

#[test]
fn a_channel_that_the_broker_closes_takes_no_other_flow_with_it() {
    let rabbit = Rabbit::shared();
    let tag = unique("t");
    let routes = "routes:
- {name: good, mode: direct, from: {nsq: {topic: good.@}}, to: {amqp: {exchange: '', routing_key: good.@, declare: {queues: [{name: good.@}]}}}}
- {name: bad, mode: direct, from: {nsq: {topic: bad.@}}, to: {amqp: {exchange: none.@, routing_key: k}}}
- {name: torn, mode: direct, from: {nsq: {topic: torn.@}}, to: {amqp: {exchange: '', routing_key: good.@, declare: {queues: [{name: good.@, type: classic, max_length: 7}]}}}}
";
    let server = plan(rabbit.uri(), &routes.replace('@', &tag));
    // The same queue declared in two ways is refused before it starts.
    let (code, output) = server.run();
    assert_eq!(code, Some(2), "{output}");
    let routes = routes.replace(", type: classic, max_length: 7", "").replace("torn.@", "other.@");
    let server = plan(rabbit.uri(), &routes.replace('@', &tag)).start();
    await_state(&server, "good", "running");
    let begun = server.log().matches("connected").count();
    let mut client = Client::connect(server.tcp());
    client.command_with(&format!("PUB bad.{tag}"), b"x");
    let route = await_state(&server, "bad", "failed");
    assert!(route["reason"].as_str().unwrap_or_default().contains("NOT_FOUND"), "{route}");
    for _ in 0..20 {
        Client::connect(server.tcp()).publish(&format!("good.{tag}"), b"m");
    }
    assert_eq!(server.log().matches("connected").count(), begun, "the connection stays");
    pika(
        rabbit.uri(),
        &[
            "declare",
            "--queue",
            &format!("q.{tag}"),
            "--exchange",
            &format!("none.{tag}"),
            "--routing-key",
            "k",
        ],
    )
    .finish();
    client.ok();
}
