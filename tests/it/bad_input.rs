//! What is wrong is refused with its place and its mend, and harms nothing besides.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use crate::support::leveret::{Leveret, Plan};
use crate::support::nsq::{Client, mpub_body};
use crate::support::rabbit::Rabbit;
use crate::support::site::{Site, await_state, plan};
use crate::support::{drivers, http, unique};

const NODE: &str = "nsqd: { tcp_address: 127.0.0.1:0, http_address: 127.0.0.1:0, data_path: data }\n\
                    brokers: { default: { uri: \"amqp://127.0.0.1:1\" } }\nbridges: bridges\n";

/// `check` and `serve` refuse this with exit code 2 and each of these words, before anything has started.
fn is_refused(node: &str, routes: &str, words: &[&str]) {
    let with = |plan: Plan| plan.file("leveret.yaml", node).file("bridges/routes.yaml", routes);
    for verb in ["check", "serve"] {
        let plan = with(Leveret::bare()).arg(verb).arg("--config={dir}/leveret.yaml");
        let (code, text) = plan.run();
        assert_eq!(code, Some(2), "{verb}: {text}");
        for word in words {
            assert!(text.contains(word), "{verb} says {word:?}: {text}");
        }
        assert!(!text.contains("listening on"), "{text}");
    }
}

fn direct(name: &str, topic: &str, amqp: &str) -> String {
    format!(
        "  - {{ name: {name}, from: {{ nsq: {{ topic: {topic} }} }}, to: {{ amqp: {{ {amqp} }} }}, mode: direct }}\n"
    )
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_its_place_and_its_mend() {
    let fine = "exchange: e, routing_key: k";
    for (routes, words) in [
        (
            direct("a", "t", "exchnage: e, routing_key: k"),
            &["bridges/routes.yaml:2:", "routes[0].to.amqp.exchnage", "did you mean \"exchange\"?"]
                [..],
        ),
        (
            direct("a", "t", fine).replace("mode", "limit: { messages: 5 parsecs }, mode"),
            &["bridges/routes.yaml:2:", "routes[0].limit.messages", "parsecs"],
        ),
        (
            direct("twin", "t", fine) + &direct("twin", "u", fine),
            &["bridges/routes.yaml:3:", "routes[1].name", "twin"],
        ),
        (
            direct("a", "t", "exchange: e, routing_key: \"{{ body.region\""),
            &["bridges/routes.yaml:2:", "routes[0].to.amqp.routing_key"],
        ),
        (
            direct("out", "loop", "exchange: \"\", routing_key: q")
                + "  - { name: back, from: { amqp: { queue: q } }, to: { nsq: { topic: loop } }, mode: queued }\n",
            &["bridges/routes.yaml:", "loop"],
        ),
    ] {
        is_refused(NODE, &format!("routes:\n{routes}"), words);
    }
    for uri in ["http://127.0.0.1:5672", "amqp://user:secret@host:99999/x", "nonsense"] {
        let node = NODE.replace("amqp://127.0.0.1:1", uri);
        is_refused(&node, "routes: []\n", &["leveret.yaml:2:", "brokers.default.uri"]);
    }
    is_refused(
        &NODE.replace("127.0.0.1:0, http", "nowhere, http"),
        "routes: []\n",
        &["nsqd.tcp_address"],
    );
}

#[test]
fn check_says_what_is_configured() {
    let routes = format!("routes:\n{}", direct("fine", "t", "exchange: e, routing_key: k"));
    let plan = Leveret::bare().file("leveret.yaml", NODE).file("bridges/routes.yaml", &routes);
    let (code, text) = plan.arg("check").arg("--config={dir}/leveret.yaml").run();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("fine") && text.trim_end().ends_with("ok"), "{text}");
}

#[test]
fn what_the_machine_refuses_is_a_run_time_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = || Leveret::serve(NODE).file("bridges/routes.yaml", "routes: []\n");
    let is_one = |plan: Plan, words: &[&str]| {
        let (code, text) = plan.run();
        assert_eq!(code, Some(1), "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    };
    for option in ["tcp_address", "http_address"] {
        let flag = format!("--{}={address}", option.replace('_', "-"));
        is_one(serve().arg(&flag), &[&address, option, "in use"]);
    }
    is_one(serve().arg("--data-path=/proc/none"), &["/proc/none"]);
    let missing = Leveret::bare().arg("nsqd").arg("--tcp-address=127.0.0.1:0");
    is_one(missing.arg("--data-path={dir}/none"), &["/none", "does not exist"]);

    let first = serve().start();
    let data = first.dir().join("data");
    is_one(serve().arg(&format!("--data-path={}", data.display())), &["locked by another process"]);
    assert_eq!(http::get(first.http(), "/ping").status, 200, "the first one goes on");
}

/// Routes that the broker refuses, each in its own way, and one that it does not.
const REFUSED: &str = r#"
routes:
  - { name: login, from: { nsq: { topic: login } }, to: { amqp: { broker: login, exchange: "", routing_key: q } }, mode: direct }
  - { name: vhost, from: { amqp: { broker: vhost, queue: q } }, to: { nsq: { topic: vhost, channel: c } }, mode: direct }
  - name: otherwise
    from: { nsq: { topic: otherwise, channel: c } }
    to: { amqp: { exchange: exchange.@, routing_key: k, declare: { exchange_type: topic } } }
    mode: queued
  - { name: absent, from: { amqp: { queue: absent.@ } }, to: { nsq: { topic: absent, channel: c } }, mode: direct }
  - name: fine
    from: { nsq: { topic: fine } }
    to: { amqp: { exchange: "", routing_key: fine.@, declare: { queues: [ { name: fine.@ } ] } } }
    mode: direct
"#;

#[test]
fn a_route_that_the_broker_refuses_fails_in_its_words_and_others_go_on() {
    let rabbit = Rabbit::shared();
    let tag = unique("t");
    let exchange = format!("exchange.{tag}");
    let declare = ["declare", "--queue", &exchange, "--exchange", &exchange];
    drivers::pika(rabbit.uri(), &declare).finish();
    let at = rabbit.address();
    let node = format!(
        "nsqd: {{ tcp_address: 127.0.0.1:0, http_address: 127.0.0.1:0, data_path: data }}\nbrokers:\n  \
         default: {{ uri: \"{}\" }}\n  login: {{ uri: \"amqp://guest:wrong@{at}/%2f\" }}\n  \
         vhost: {{ uri: \"amqp://guest:guest@{at}/nowhere\" }}\nbridges: bridges\n",
        rabbit.uri()
    );
    let routes = REFUSED.replace('@', &tag);
    let server = Leveret::serve(&node).file("bridges/routes.yaml", &routes).start();
    let _consumers = ["vhost", "absent"].map(|t| Client::subscribed(server.tcp(), t, "c", 1));
    for (route, words) in [
        ("login", "ACCESS_REFUSED"),
        ("vhost", "nowhere"),
        ("otherwise", "PRECONDITION_FAILED"),
        ("absent", "NOT_FOUND"),
    ] {
        let failed = await_state(&server, route, "failed");
        let reason = failed["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{route}: {reason}");
        server.await_log(words);
    }
    assert!(!server.log().contains("wrong"), "no password in the log");
    Client::connect(server.tcp()).publish("fine", b"fine");
    await_state(&server, "fine", "running");
}

#[test]
fn without_any_broker_routes_wait_and_local_topics_work() {
    let routes = REFUSED.replace("broker: login, ", "").replace("broker: vhost, ", "");
    let routes = routes
        .replace('@', "x")
        .replace("mode: direct\n", "mode: direct\n    publish_timeout: 300ms\n");
    let server = plan("amqp://127.0.0.1:1", &routes).start();
    for route in ["login", "otherwise", "fine"] {
        let waiting = await_state(&server, route, "waiting");
        assert!(
            waiting["reason"].as_str().is_some_and(|reason| reason.contains("broker default")),
            "{waiting}"
        );
    }
    let mut client = Client::connect(server.tcp());
    client.publish("local", b"works");
    let mut consumer = Client::subscribed(server.tcp(), "local", "c", 1);
    let message = consumer.message();
    consumer.fin(&message);
    client.publish("otherwise", b"is kept here");
    client.command_with("PUB fine", b"is not");
    let error = client.error();
    assert!(
        error.starts_with("E_PUB_FAILED ") && error.contains("not confirmed within"),
        "{error}"
    );
    assert_eq!(http::get(server.http(), "/ping").status, 200);
}

/// Resident memory in KiB.
fn resident(server: &Leveret) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn garbage_half_frames_and_giant_sizes_close_a_connection_and_take_no_memory() {
    let site = Site::start("routes: []\n");
    let at = site.server.tcp();
    let before = resident(&site.server);
    let giant = 0x7fff_ffff_u32.to_be_bytes();
    let nested = [&mpub_body(&[])[..3], &[1], &giant].concat();
    let sized = |line: &[u8], size: &[u8]| [line, size].concat();
    let mut half_open = Vec::new();
    for _ in 0..25 {
        for (bytes, error) in [
            (sized(b"PUB t\n", &giant), "E_BAD_MESSAGE PUB message too big 2147483647 > 1048576"),
            (sized(b"MPUB t\n", &giant), "E_BAD_BODY MPUB body too big 2147483647 > 5242880"),
            (sized(b"IDENTIFY\n", &giant), "E_BAD_BODY IDENTIFY body too big 2147483647 > 5242880"),
            (sized(b"PUB t\n", &[0xff; 4]), "E_BAD_MESSAGE PUB invalid message body size -1"),
            ([&b"MPUB t\n\0\0\0\x08"[..], &nested].concat(), "E_BAD_MESSAGE MPUB message too big"),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\n".to_vec(), "E_INVALID invalid command"),
            (b"PUB bad*topic\n".to_vec(), "E_BAD_TOPIC "),
        ] {
            let mut client = Client::connect(at);
            client.send(&bytes);
            let said = client.error();
            assert!(said.starts_with(error), "{error}: {said}");
            client.closed();
        }
        let mut half = Client::connect(at);
        half.send(&sized(b"PUB t\n", &1_048_576_u32.to_be_bytes()));
        half.send(b"only this");
        half_open.push(half);
    }
    let after = resident(&site.server);
    assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after");
    for half in &mut half_open {
        assert_eq!(half.frame_within(Duration::ZERO), None, "it is still waited for");
    }
    let stats = http::get(site.server.http(), "/stats?format=json").json();
    // MPUB makes its topic before it looks at the body, as in nsqd.
    for topic in stats["topics"].as_array().unwrap() {
        assert_eq!(topic["message_count"], 0, "nothing was published: {topic}");
    }
    Client::connect(at).publish("t", b"works");
}

#[test]
fn what_is_too_large_is_told_with_its_flag_if_that_is_asked_for() {
    let server = Leveret::bare()
        .arg("nsqd")
        .arg("--tcp-address=127.0.0.1:0")
        .arg("--http-address=127.0.0.1:0")
        .arg("--data-path={dir}")
        .arg("--max-msg-size=100")
        .arg("--max-body-size=1000")
        .arg("--explain-errors")
        .start();
    let mut client = Client::connect(server.tcp());
    client.send(&[&b"PUB t\n"[..], &101_i32.to_be_bytes()].concat());
    assert_eq!(client.error(), "E_BAD_MESSAGE PUB message too big 101 > 100: see --max-msg-size");
    for (path, body, message, detail) in [
        (
            "/pub?topic=t",
            vec![b'x'; 101],
            "MSG_TOO_BIG",
            "101 bytes, at most 100: see --max-msg-size",
        ),
        (
            "/mpub?topic=t",
            vec![b'x'; 1001],
            "BODY_TOO_BIG",
            "1001 bytes, at most 1000: see --max-body-size",
        ),
        (
            "/mpub?topic=t",
            vec![b'x'; 300],
            "MSG_TOO_BIG",
            "300 bytes, at most 100: see --max-msg-size",
        ),
    ] {
        let answer = http::post(server.http(), path, &body);
        assert_eq!(answer.status, 413, "{path}");
        assert_eq!(answer.json(), serde_json::json!({ "message": message, "detail": detail }));
    }
}
