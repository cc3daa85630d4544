//! TLS: behind IDENTIFY, required or not, with clients' certificates or without; and HTTPS.
//!
//! With `NSQD` set, the same tests ask another nsqd. pynsq then fails at times where it unpacks: it takes a piece that unpacks
//! to nothing for an error, and nsqd sends such pieces.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::drivers::{Library, bodies, expected};
use crate::support::leveret::{Leveret, Plan};
use crate::support::nsq::{Client, Wire as _};
use crate::support::secure::{Over, Packing, Papers, Shows, tls_to};
use crate::support::wait::PATIENCE;
use crate::support::{http, unique};

fn nsqd(papers: &Papers) -> Plan {
    papers.given_to(Leveret::nsqd())
}

fn over(papers: &Papers, shows: Shows) -> Over<'_> {
    Over { tls: Some((papers, shows)), packing: None }
}

/// The only client of a channel, as `/stats` has it.
fn only_client(server: &Leveret, topic: &str) -> Value {
    let path = format!("/stats?format=json&topic={topic}");
    http::get(server.http(), &path).json()["topics"][0]["channels"][0]["clients"][0].clone()
}

#[test]
fn edge_032_036_messages_go_through_tls_and_each_compression_over_it() {
    let papers = Papers::new();
    let server = nsqd(&papers).arg("--max-msg-size=3000000").start();
    for packing in [None, Some(Packing::Snappy), Some(Packing::Deflate(3))] {
        let topic = unique("tls");
        let over = Over { tls: Some((&papers, Shows::Nothing)), packing };
        let (mut client, agreed) = over.connect(server.tcp(), &json!({}));
        assert_eq!(agreed["tls_v1"], true, "{agreed}");
        assert_eq!(agreed["snappy"], packing == Some(Packing::Snappy), "{agreed}");
        assert_eq!(agreed["deflate"], packing == Some(Packing::Deflate(3)), "{agreed}");
        client.sub(&topic, "c");
        client.rdy(3);
        let large: Vec<u8> =
            (0..2_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for body in [&b"small"[..], &large, b"again"] {
            client.publish(&topic, body);
            let message = client.message();
            assert!(message.body == body, "{} bytes", message.body.len());
            client.fin(&message);
        }
        let seen = only_client(&server, &topic);
        assert_eq!(
            (&seen["tls"], &seen["tls_version"]),
            (&json!(true), &json!("TLS1.3")),
            "{seen}"
        );
        let suite = seen["tls_cipher_suite"].as_str().unwrap();
        assert!(suite.starts_with("Unknown 48"), "{suite}");
        assert_eq!(seen["tls_negotiated_protocol_is_mutual"], true);
        assert_eq!(seen["snappy"], packing == Some(Packing::Snappy));
        assert_eq!(seen["deflate"], packing == Some(Packing::Deflate(3)));
    }
}

#[test]
fn edge_033_clear_text_after_tls_is_told_so() {
    let papers = Papers::new();
    let server = nsqd(&papers).start();
    let mut client = Client::connect(server.tcp());
    client.identify(&json!({ "feature_negotiation": true, "tls_v1": true }));
    client.command("SUB topic channel");
    let text = client.error();
    let words = "tls: first record does not look like a TLS handshake";
    assert_eq!(text, format!("E_IDENTIFY_FAILED IDENTIFY failed {words}"));
    client.closed();
}

#[test]
fn commands_behind_identify_are_not_taken_for_ones_inside_tls() {
    let papers = Papers::new();
    let server = nsqd(&papers).start();
    let topic = unique("early");
    let mut stream = TcpStream::connect(server.tcp()).unwrap();
    let identify = json!({ "feature_negotiation": true, "tls_v1": true }).to_string();
    let size = (identify.len() as u32).to_be_bytes();
    let early = format!("PUB {topic}\n\0\0\0\x01x");
    let said = [b"  V2IDENTIFY\n", &size[..], identify.as_bytes(), early.as_bytes()].concat();
    stream.write_all(&said).unwrap();
    // Whatever becomes of the handshake, nothing was published.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.set_patience(PATIENCE);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap_or_default();
    assert!(rest.windows(17).any(|part| part == b"E_IDENTIFY_FAILED"), "{rest:?}");
    let stats = http::get(server.http(), &format!("/stats?format=json&topic={topic}")).json();
    assert_eq!(stats["topics"], Value::Null);
}

#[test]
fn edge_034_where_tls_is_required_nothing_is_done_without() {
    let papers = Papers::new();
    let server = nsqd(&papers).arg("--tls-required=tcp-https").start();
    for (line, word) in
        [("PUB t", "PUB"), ("NOP", "NOP"), ("SUB t c", "SUB"), ("nonsense 1", "nonsense")]
    {
        let mut client = Client::connect(server.tcp());
        client.identify(&json!({ "feature_negotiation": true }));
        client.command(line);
        let text = format!("E_INVALID cannot {word} in current state (TLS required)");
        assert_eq!(client.error(), text);
        client.closed();
    }
    let (mut client, _) = over(&papers, Shows::Nothing).connect(server.tcp(), &json!({}));
    client.publish("t", b"through TLS");
    assert_eq!(http::get(server.http(), "/ping").text(), "OK", "plain HTTP goes on");
}

#[test]
fn edge_035_a_policy_makes_tls_required_of_http_too() {
    let papers = Papers::new();
    let server = nsqd(&papers).arg("--tls-client-auth-policy=whatever").start();
    let https = server.https();
    let text = format!("{{\"message\": \"TLS_REQUIRED\", \"https_port\": {}}}", https.port());
    for path in ["/ping", "/stats", "/no/such/path"] {
        let answer = http::get(server.http(), path);
        assert_eq!((answer.status, answer.text()), (403, text.clone()), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(answer.header("x-nsq-content-type"), Some("nsq; version=1.0"));
    }
    let mut client = Client::connect(server.tcp());
    client.command("NOP");
    assert_eq!(client.error(), "E_INVALID cannot NOP in current state (TLS required)");
    // An unknown policy asks for no certificate.
    let (mut client, _) = over(&papers, Shows::Nothing).connect(server.tcp(), &json!({}));
    client.publish("t", b"x");
    let stream = tls_to(https, &papers, Shows::Nothing);
    assert_eq!(http::request_over(stream, "GET", "/ping", &[], b"").text(), "OK");
}

#[test]
fn clients_certificates_are_asked_for_as_the_policy_says() {
    let papers = Papers::new();
    for (policy, passing) in [
        ("require", &[Shows::Certificate, Shows::Stranger][..]),
        ("require-verify", &[Shows::Certificate]),
    ] {
        let server = nsqd(&papers).arg(&format!("--tls-client-auth-policy={policy}")).start();
        for shows in [Shows::Nothing, Shows::Certificate, Shows::Stranger] {
            let mut client = Client::connect(server.tcp());
            client.identify(&json!({ "feature_negotiation": true, "tls_v1": true }));
            let mut passes = false;
            client.upgrade(|wire, _| {
                let mut tls = papers.wrap(wire, shows);
                tls.set_patience(PATIENCE);
                let mut ok = [0; 10];
                passes = tls.flush().is_ok() && tls.read_exact(&mut ok).is_ok();
                assert!(!passes || ok == *b"\0\0\0\x06\0\0\0\0OK");
                tls
            });
            assert_eq!(passes, passing.contains(&shows), "{policy}: {shows:?}");

            let mut stream = tls_to(server.https(), &papers, shows);
            let asked =
                stream.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let mut answer = Vec::new();
            let is_ok = asked.is_ok() && stream.read_to_end(&mut answer).is_ok();
            assert_eq!(
                is_ok && answer.ends_with(b"OK"),
                passing.contains(&shows),
                "HTTPS: {policy}: {shows:?}"
            );
        }
    }
}

#[test]
fn a_client_that_is_too_old_is_refused() {
    let papers = Papers::new();
    for (min, passes) in [("tls1.0", true), ("tls1.2", true), ("tls1.3", false)] {
        let server = nsqd(&papers).arg(&format!("--tls-min-version={min}")).start();
        let mut client = Client::connect(server.tcp());
        client.identify(&json!({ "feature_negotiation": true, "tls_v1": true }));
        let mut passed = false;
        client.upgrade(|wire, _| {
            let mut tls = papers.wrap_in(wire, Shows::Nothing, &[&rustls::version::TLS12]);
            passed = tls.flush().is_ok();
            tls
        });
        assert_eq!(passed, passes, "{min}");
    }
}

#[test]
fn a_second_identify_inside_tls_leaves_it_as_it_is() {
    let papers = Papers::new();
    let server =
        Leveret::named("nsqd").arg("--tcp-address=127.0.0.1:0").arg("--http-address=127.0.0.1:0");
    let server = papers.given_to(server.arg("--data-path={dir}")).start();
    let over = Over { tls: Some((&papers, Shows::Nothing)), packing: Some(Packing::Snappy) };
    let (mut client, _) = over.connect(server.tcp(), &json!({}));
    let again = json!({ "feature_negotiation": true, "tls_v1": true, "snappy": true, "output_buffer_size": 4096 });
    let agreed = client.identify(&again);
    assert_eq!((&agreed["tls_v1"], &agreed["snappy"]), (&json!(false), &json!(false)), "{agreed}");
    assert_eq!(agreed["output_buffer_size"], 4096);
    client.publish("t", b"goes on");
}

#[test]
fn what_tls_cannot_be_made_of_is_refused_at_the_start() {
    let papers = Papers::new();
    let bare = || Leveret::nsqd();
    for (plan, words) in [
        (
            bare().arg("--tls-required"),
            "cannot require TLS client connections without TLS key and cert",
        ),
        (
            bare().arg("--tls-client-auth-policy=require"),
            "cannot require TLS client connections without TLS key and cert",
        ),
        (
            bare().arg("--tls-cert=/none/cert.pem").arg("--tls-key=/none/key.pem"),
            "failed to build TLS config - ",
        ),
        (nsqd(&papers).arg("--tls-root-ca-file=/none/ca.pem"), "failed to build TLS config - "),
        (bare().arg("--max-deflate-level=0"), "--max-deflate-level must be [1,9]"),
        (
            bare().arg("--auth-http-request-method=put"),
            "--auth-http-request-method must be post or get",
        ),
    ] {
        let (code, text) = plan.run();
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("failed to instantiate nsqd - {words}")), "{words}: {text}");
    }
}

#[test]
fn topology_is_told_to_clients_and_in_info() {
    let server = Leveret::nsqd().arg("--topology-region=eu").arg("--topology-zone=eu-<1>").start();
    let mut client = Client::connect(server.tcp());
    let identify =
        json!({ "feature_negotiation": true, "topology_region": "eu", "topology_zone": "eu-2" });
    let agreed = client.identify(&identify);
    assert_eq!(
        (&agreed["topology_region"], &agreed["topology_zone"]),
        (&json!("eu"), &json!("eu-<1>"))
    );
    let topic = unique("topology");
    client.sub(&topic, "c");
    let seen = only_client(&server, &topic);
    assert_eq!((&seen["topology_region"], &seen["topology_zone"]), (&json!("eu"), &json!("eu-2")));
    let info = http::get(server.http(), "/info");
    assert!(
        info.text().contains(r#""topology_zone":"eu-\u003c1\u003e","topology_region":"eu""#),
        "{}",
        info.text()
    );
}

/// Publishes and consumes with a library that is given these options.
fn works_with(library: Library, server: &Leveret, options: &Value) {
    let topic = unique("library");
    let options = options.to_string();
    let given = ["--count", "50", "--options", &options];
    library.that_publishes_upgraded().publish(server.tcp(), &topic, &given).finish();
    let (messages, finished) = library.consume(server.tcp(), &topic, "c", &given).finish();
    assert_eq!((finished, bodies(&messages)), (50, expected("m", 50)));
}

fn with_each_compression(library: Library, server: &Leveret, options: &Value) {
    works_with(library, server, options);
    for compression in ["snappy", "deflate"] {
        let mut options = options.clone();
        options[compression] = json!(true);
        works_with(library, server, &options);
    }
}

#[test]
fn pynsq_in_tls() {
    let papers = Papers::new();
    let server = nsqd(&papers).arg("--tls-client-auth-policy=require-verify").start();
    let file = |name: &str| papers.file(name).display().to_string();
    let tls = json!({
        "ca_certs": file("ca.pem"), "certfile": file("client.pem"), "keyfile": file("client-key.pem"),
    });
    with_each_compression(Library::Pynsq, &server, &json!({ "tls_v1": true, "tls_options": tls }));
}

#[test]
fn gnsq_in_tls() {
    let papers = Papers::new();
    let server = nsqd(&papers).arg("--tls-required").start();
    let tls = json!({ "ca_certs": papers.file("ca.pem").display().to_string(), "cert_reqs": 2 });
    with_each_compression(Library::Gnsq, &server, &json!({ "tls_v1": true, "tls_options": tls }));
}

#[test]
fn nsqjs_in_tls() {
    let papers = Papers::new();
    let server = nsqd(&papers).arg("--tls-required").start();
    // It checks the certificate against the name localhost.
    let ca = std::fs::read_to_string(papers.file("ca.pem")).unwrap();
    with_each_compression(Library::Nsqjs, &server, &json!({ "tls": true, "ca": ca }));
}
