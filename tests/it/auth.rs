//! AUTH, with auth servers that the tests own.
//!
//! With `NSQD` set, the tests of nsqd's contract ask another nsqd.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::authd::Authd;
use crate::support::drivers::{Library, bodies, expected};
use crate::support::leveret::{Leveret, Plan};
use crate::support::nsq::{Client, Frame};
use crate::support::secure::{Over, Papers, Shows};
use crate::support::wait::until_true;
use crate::support::{http, unique};

/// An answer that allows this for every topic and channel.
fn allowing(ttl: u32, permissions: &[&str]) -> String {
    json!({
        "ttl": ttl, "identity": "me & <you>", "identity_url": "http://me",
        "authorizations": [{ "topic": ".*", "channels": [".*"], "permissions": permissions }],
    })
    .to_string()
}

const ALL: [&str; 2] = ["publish", "subscribe"];

fn asking(authd: &Authd) -> Plan {
    Leveret::nsqd().arg(&format!("--auth-http-address={}", authd.address()))
}

/// A connection that has said AUTH.
fn authorized(server: &Leveret) -> Client {
    let mut client = Client::connect(server.tcp());
    client.command_with("AUTH", b"secret");
    let reply = client.response();
    assert!(reply.starts_with(b"{\"identity\":"), "{}", String::from_utf8_lossy(&reply));
    client
}

fn refused(client: &mut Client, text: &str) {
    assert_eq!(client.error(), text);
    client.closed();
}

#[test]
fn edge_127_auth_without_an_auth_server_is_refused() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    let agreed = client.identify(&json!({ "feature_negotiation": true }));
    assert_eq!(agreed["auth_required"], false);
    client.command_with("AUTH", b"secret");
    refused(&mut client, "E_AUTH_DISABLED AUTH disabled");
}

#[test]
fn edge_128_commands_before_auth_are_refused_and_mpub_before_its_body() {
    let authd = Authd::start(&allowing(60, &ALL));
    let server = asking(&authd).start();
    let connect = || {
        let mut client = Client::connect(server.tcp());
        let agreed = client.identify(&json!({ "feature_negotiation": true }));
        assert_eq!(agreed["auth_required"], true);
        client
    };
    let mut client = connect();
    client.command("PUB t");
    client.send(b"\0\0\0\x02x");
    assert_eq!(client.frame_within(Duration::from_millis(200)), None, "its body is awaited");
    client.send(b"y");
    refused(&mut client, "E_AUTH_FIRST AUTH required before PUB");
    for (line, word) in [("MPUB t", "MPUB"), ("SUB t c", "SUB")] {
        let mut client = connect();
        client.command(line);
        refused(&mut client, &format!("E_AUTH_FIRST AUTH required before {word}"));
    }
    let mut client = connect();
    client.command_with("DPUB t 10", b"x");
    refused(&mut client, "E_AUTH_FIRST AUTH required before DPUB");
    let mut client = connect();
    client.command("MPUB a/b");
    refused(&mut client, "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \"a/b\" is not valid");
    assert_eq!(http::post(server.http(), "/pub?topic=t", b"x").status, 200, "HTTP needs no leave");
    assert!(authd.asked().is_empty());
}

#[test]
fn edge_129_what_is_not_allowed_is_unauthorized() {
    let entry = |topic: &str, channels: Value, permission: &str| json!({ "topic": topic, "channels": channels, "permissions": [permission] });
    let entries = [
        entry("^no-channel$", json!([]), "publish"),
        entry("^orders$", json!([".*"]), "publish"),
        entry("^orders$", json!(["^mine"]), "subscribe"),
    ];
    let authd = Authd::start(&json!({ "ttl": 60, "authorizations": entries }).to_string());
    let server = asking(&authd).start();
    for (topic, is_allowed) in [("no-channel", false), ("orders", true), ("other", false)] {
        for (line, word, body) in [
            (format!("PUB {topic}"), "PUB", Some(&b"x"[..])),
            (format!("DPUB {topic} 0"), "DPUB", Some(b"x")),
            (format!("MPUB {topic}"), "MPUB", None),
        ] {
            let mut client = authorized(&server);
            match body {
                Some(body) => client.command_with(&line, body),
                None => client.command(&line),
            }
            if !is_allowed {
                let text = format!("E_UNAUTHORIZED AUTH failed for {word} on \"{topic}\" \"\"");
                refused(&mut client, &text);
            } else if body.is_some() {
                client.ok();
            } else {
                client.send(b"\0\0\0\x09\0\0\0\x01\0\0\0\x01x");
                client.ok();
            }
        }
    }
    let mut client = authorized(&server);
    client.sub("orders", "mine-1");
    let mut client = authorized(&server);
    client.command("SUB orders yours");
    refused(&mut client, "E_UNAUTHORIZED AUTH failed for SUB on \"orders\" \"yours\"");
}

#[test]
fn auth_is_answered_and_shown() {
    let authd = Authd::start(&allowing(60, &ALL));
    let server = asking(&authd).start();
    let mut client = Client::connect(server.tcp());
    client.command_with("AUTH", b"secret");
    let reply = String::from_utf8(client.response()).unwrap();
    let text = r#"{"identity":"me \u0026 \u003cyou\u003e","identity_url":"http://me","permission_count":1}"#;
    assert_eq!(reply, text);
    let topic = unique("auth");
    client.sub(&topic, "c");
    let path = format!("/stats?format=json&topic={topic}");
    let stats = http::get(server.http(), &path).json();
    let seen = &stats["topics"][0]["channels"][0]["clients"][0];
    assert_eq!(seen["authed"], true);
    assert_eq!(
        (&seen["auth_identity"], &seen["auth_identity_url"]),
        (&json!("me & <you>"), &json!("http://me"))
    );
    client.command_with("AUTH", b"again");
    refused(&mut client, "E_INVALID cannot AUTH in current state");

    let mut client = authorized(&server);
    client.command_with("AUTH", b"again");
    refused(&mut client, "E_INVALID AUTH already set");
    authd.answers(200, r#"{"ttl":60,"authorizations":[]}"#);
    let mut client = Client::connect(server.tcp());
    client.command_with("AUTH", b"secret");
    refused(&mut client, "E_UNAUTHORIZED AUTH no authorizations found");
}

#[test]
fn edge_130_an_answer_is_asked_for_again_when_its_time_is_over() {
    let authd = Authd::start(&allowing(1, &ALL));
    let server = asking(&authd).start();
    let mut client = authorized(&server);
    client.publish("t", b"within its time");
    assert_eq!(authd.asked().len(), 1);
    until_true("the time is over", || {
        client.publish("t", b"again");
        authd.asked().len() == 2
    });
    // The same for MPUB, whose body is behind the question.
    until_true("the time is over once more", || {
        client.publish_many("t", &[b"one", b"two"]);
        authd.asked().len() == 3
    });
    authd.answers(500, "");
    let mut last = None;
    until_true("the question fails", || {
        client.command_with("PUB t", b"x");
        last = client.frame();
        last != Some(Frame::Response(b"OK".to_vec()))
    });
    assert_eq!(last, Some(Frame::Error("E_AUTH_FAILED AUTH failed".into())));
    client.closed();
}

#[test]
fn edge_131_the_question_has_nsqds_form() {
    let authd = Authd::start(&allowing(60, &ALL));
    let server = asking(&authd).start();
    let mut client = Client::connect(server.tcp());
    client.command_with("AUTH", b"a b&\xc3\xbc");
    client.response();
    let asked = authd.asked().remove(0);
    assert_eq!(asked.method, "GET");
    assert_eq!(
        asked.target,
        "/auth?common_name=&remote_ip=127.0.0.1&secret=a+b%26%C3%BC&tls=false"
    );
    assert!(asked.headers.contains(&"accept: application/vnd.nsq; version=1.0".to_owned()));

    let url = format!("http://{}/x?y=z", authd.address());
    let server = Leveret::nsqd().arg(&format!("--auth-http-address={url}")).start();
    drop(authorized(&server));
    let asked = authd.asked().remove(1);
    assert_eq!(asked.target, "/x?y=z?common_name=&remote_ip=127.0.0.1&secret=secret&tls=false");

    let papers = Papers::new();
    let server = papers
        .given_to(asking(&authd))
        .arg("--auth-http-request-method=post")
        .arg("--tls-client-auth-policy=require")
        .start();
    let over = Over { tls: Some((&papers, Shows::Certificate)), packing: None };
    let (mut client, _) = over.connect(server.tcp(), &json!({}));
    client.command_with("AUTH", b"secret");
    client.response();
    let asked = authd.asked().remove(2);
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/auth"));
    assert!(asked.headers.contains(&"content-type: application/json".to_owned()), "{asked:?}");
    let text = r#"{"common_name":["client"],"remote_ip":["127.0.0.1"],"secret":["secret"],"tls":["true"]}"#;
    assert_eq!(asked.body, text);
}

#[test]
fn edge_132_an_answer_that_makes_no_sense_fails() {
    let authd = Authd::start("");
    let server = asking(&authd).start();
    for (status, answer) in [
        (200, "nonsense".to_owned()),
        (200, allowing(0, &ALL)),
        (200, allowing(60, &["admin"])),
        (200, allowing(60, &ALL).replace("\".*\"", "\"(\"")),
        (403, "no".to_owned()),
        (500, allowing(60, &ALL)),
    ] {
        authd.answers(status, &answer);
        let mut client = Client::connect(server.tcp());
        client.command_with("AUTH", b"hush-hush");
        refused(&mut client, "E_AUTH_FAILED AUTH failed");
    }
}

#[test]
fn the_secret_is_in_no_log() {
    let authd = Authd::start("nonsense");
    let dead = Authd::start("").address();
    let server = Leveret::serve(&format!(
        "nsqd:\n  tcp_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  auth_http_addresses: ['{}', 'http://user:hush-hush@{dead}/x']\n",
        authd.address()
    ));
    let server = server.arg("--log-level=trace").start();
    let mut client = Client::connect(server.tcp());
    client.command_with("AUTH", b"hush-hush");
    refused(&mut client, "E_AUTH_FAILED AUTH failed");
    server.await_log("failed to auth against");
    assert!(!server.log().contains("hush"), "{}", server.log());
}

#[test]
fn other_servers_are_asked_when_one_does_not_answer() {
    let authd = Authd::start(&allowing(60, &ALL));
    let dead = Authd::start("").address();
    let server = asking(&authd).arg(&format!("--auth-http-address={dead}")).start();
    for _ in 0..8 {
        drop(authorized(&server));
    }
    assert_eq!(authd.asked().len(), 8);
}

#[test]
fn a_server_that_wants_https_is_asked_so() {
    let papers = Papers::new();
    let secured = Authd::start_tls(papers.server(), &allowing(60, &ALL));
    let plain = Authd::start("");
    plain.answers(403, &json!({ "https_port": secured.address().port() }).to_string());
    let ca = format!("--tls-root-ca-file={}", papers.file("ca.pem").display());
    let server = asking(&plain).arg(&ca).start();
    drop(authorized(&server));
    assert_eq!((plain.asked().len(), secured.asked().len()), (1, 1));
    let url = format!("--auth-http-address=https://{}/auth", secured.address());
    let server = Leveret::nsqd().arg(&url).arg(&ca).start();
    drop(authorized(&server));
    // One that nobody stands for is not believed.
    let server = Leveret::nsqd().arg(&url).start();
    let mut client = Client::connect(server.tcp());
    client.command_with("AUTH", b"secret");
    refused(&mut client, "E_AUTH_FAILED AUTH failed");
}

#[test]
fn a_slow_auth_server_holds_up_its_own_client_only() {
    // It takes connections and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("--auth-http-address={}", mute.local_addr().unwrap());
    let server = Leveret::nsqd().arg(&address).arg("--http-client-request-timeout=2s").start();
    let mut waiting: Vec<Client> = (0..20).map(|_| Client::connect(server.tcp())).collect();
    for client in &mut waiting {
        client.identify(&json!({ "feature_negotiation": true, "heartbeat_interval": 1000 }));
        client.command_with("AUTH", b"secret");
    }
    let mut other = Client::connect(server.tcp());
    other.identify(&json!({ "feature_negotiation": true }));
    assert_eq!(http::get(server.http(), "/ping").text(), "OK");
    for mut client in waiting {
        // Heartbeats come meanwhile, and nobody is taken for silent.
        assert_eq!(client.frame(), Some(Frame::Response(b"_heartbeat_".to_vec())));
        refused(&mut client, "E_AUTH_FAILED AUTH failed");
    }
}

#[test]
fn a_stale_answer_serves_while_no_auth_server_can_be_reached() {
    let authd = Authd::start(&allowing(1, &ALL));
    let address = authd.address();
    let server = Leveret::named("nsqd")
        .arg("--tcp-address=127.0.0.1:0")
        .arg("--http-address=127.0.0.1:0")
        .arg("--data-path={dir}")
        .arg(&format!("--auth-http-address={address}"))
        .arg("--auth-stale-if-error=1h")
        .start();
    let mut client = authorized(&server);
    drop(authd);
    until_true("its last answer is gone by", || {
        client.publish("t", b"x");
        server.log().contains("going by its last answer")
    });
    client.publish("t", b"x");
    let mut new = Client::connect(server.tcp());
    new.command_with("AUTH", b"secret");
    refused(&mut new, "E_AUTH_FAILED AUTH failed");
}

/// Publishes and consumes with a library that is given the secret.
fn works_with(library: Library, options: &Value) {
    let authd = Authd::start(&allowing(60, &ALL));
    let server = asking(&authd).start();
    let topic = unique("auth");
    let options = options.to_string();
    let given = ["--count", "20", "--options", &options];
    library.that_publishes_upgraded().publish(server.tcp(), &topic, &given).finish();
    let (messages, finished) = library.consume(server.tcp(), &topic, "c", &given).finish();
    assert_eq!((finished, bodies(&messages)), (20, expected("m", 20)));
    assert!(authd.asked().iter().all(|asked| asked.target.contains("secret=hush&")));
}

#[test]
fn pynsq_authorized() {
    works_with(Library::Pynsq, &json!({ "auth_secret": "hush" }));
}

#[test]
fn gnsq_authorized() {
    works_with(Library::Gnsq, &json!({ "auth_secret": "hush" }));
}

#[test]
fn nsqjs_authorized() {
    works_with(Library::Nsqjs, &json!({ "authSecret": "hush" }));
}
