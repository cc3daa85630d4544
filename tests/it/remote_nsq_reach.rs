//! How nsqds other than this node are reached: TLS, AUTH, compressions, nsqlookupd. `NSQD` may name a real one's binary.

use serde_json::{Value, json};

use crate::support::authd::Authd;
use crate::support::leveret::{Leveret, is_nsqd};
use crate::support::nsq::Client;
use crate::support::nsqds::{client_of, collect, gateway, make, publish};
use crate::support::secure::Papers;
use crate::support::site::await_state;
use crate::support::wait::until_true;

/// The `auth_http` flag's value, for both nsqds.
fn authd() -> Authd {
    let allowed = json!({
        "identity": "bridge", "ttl": 3600,
        "authorizations": [{"permissions": ["subscribe", "publish"], "topic": ".*", "channels": [".*"]}]
    });
    Authd::start(&allowed.to_string())
}

#[test]
fn tls_auth_and_compressions_go_together() {
    let papers = Papers::new();
    let authd = authd();
    let secure = || {
        papers
            .given_to(Leveret::nsqd())
            .arg("--tls-required=true")
            .arg("--tls-client-auth-policy=require-verify")
            .arg(&format!("--auth-http-address={}", authd.address()))
            .start()
    };
    let file = |name: &str| papers.file(name).display().to_string();
    let tls = format!(
        "tls: {{ ca_file: {}, cert_file: {}, key_file: {} }}",
        file("ca.pem"),
        file("client.pem"),
        file("client-key.pem")
    );
    let nodes = [secure(), secure()];
    let routes: Vec<String> = ["none", "snappy", "deflate"]
        .iter()
        .map(|kind| {
            format!(
                r#"
  - name: in-{kind}
    from: {{ nsq: {{ topic: {kind} }} }}
    to: {{ nsq: {{ nsqd: ["{}"], topic: {kind}, {tls}, compression: {kind}, auth_secret: s }} }}
    mode: direct
  - name: over-{kind}
    from: {{ nsq: {{ nsqd: ["{}"], topic: {kind}, {tls}, compression: {kind}, auth_secret: s }} }}
    to: {{ nsq: {{ nsqd: ["{}"], topic: {kind}, {tls}, compression: {kind}, auth_secret: s }} }}
    mode: queued
  - name: out-{kind}
    from: {{ nsq: {{ nsqd: ["{}"], topic: {kind}, {tls}, compression: {kind}, auth_secret: s }} }}
    to: {{ nsq: {{ topic: {kind}.out }} }}
    mode: queued
"#,
                nodes[0].tcp(),
                nodes[0].tcp(),
                nodes[1].tcp(),
                nodes[1].tcp()
            )
        })
        .collect();
    let gateway = gateway(&format!("routes:{}", routes.concat()));
    for kind in ["none", "snappy", "deflate"] {
        publish(gateway.tcp(), kind, kind, 1000);
        let mut consumer = Client::subscribed(gateway.tcp(), &format!("{kind}.out"), "c", 100);
        let came = collect(&mut consumer, 1000);
        assert!(came.values().all(|times| *times == 1), "{kind}");
    }
    let asked = authd.asked();
    assert!(asked.iter().any(|asked| asked.target.contains("secret=s")), "{asked:?}");
}

#[test]
fn what_cannot_be_agreed_on_is_said() {
    let papers = Papers::new();
    let authd = authd();
    let plain = Leveret::nsqd().start();
    let tls = papers.given_to(Leveret::nsqd()).start();
    let auth = Leveret::nsqd().arg(&format!("--auth-http-address={}", authd.address())).start();
    let end = |name: &str, node: &Leveret, more: &str| {
        format!(
            "  - {{ name: {name}, from: {{ nsq: {{ nsqd: [\"{}\"], topic: t, {more} }} }}, to: {{ nsq: {{ topic: {name} }} }}, \
             mode: queued }}\n",
            node.tcp()
        )
    };
    let routes = [
        end("no-tls", &plain, "tls: { insecure: true }"),
        end("stranger", &tls, "tls: { }"),
        end("insecure", &tls, "tls: { insecure: true }"),
        end("no-secret", &auth, "max_in_flight: 1"),
    ];
    let gateway = gateway(&format!("routes:\n{}", routes.concat()));
    for (name, words) in [
        ("no-tls", "it does not offer TLS"),
        ("stranger", "TLS: invalid peer certificate"),
        ("no-secret", "it asks for AUTH"),
    ] {
        let shown = await_state(&gateway, name, "failed");
        assert!(shown["reason"].as_str().unwrap().contains(words), "{shown}");
    }
    await_state(&gateway, "insecure", "running");
}

/// What a nsqlookupd says of a topic on these nodes.
fn producers(nodes: &[&Leveret]) -> String {
    let producers: Vec<Value> = nodes
        .iter()
        .map(|node| json!({"broadcast_address": "localhost", "tcp_port": node.tcp().port(), "http_port": 1}))
        .collect();
    json!({"channels": [], "producers": producers}).to_string()
}

#[test]
fn nsqds_are_found_by_nsqlookupd_and_others_when_it_says_so() {
    let (first, second) = (Leveret::nsqd().start(), Leveret::nsqd().start());
    for node in [&first, &second] {
        make(node, "orders", "bridge");
        make(node, "copy", "c");
    }
    let lookupd = Authd::start(&producers(&[&first]));
    let gateway = gateway(&format!(
        r#"
routes:
  - name: bridge
    from: {{ nsq: {{ lookupd: ["{at}"], topic: orders, lookupd_interval: 1s }} }}
    to: {{ nsq: {{ topic: orders }} }}
    mode: queued
  - name: back
    from: {{ nsq: {{ topic: orders, channel: back }} }}
    to: {{ nsq: {{ lookupd: ["http://{at}"], topic: copy, lookupd_interval: 1s }} }}
    mode: queued
"#,
        at = lookupd.address()
    ));
    // The channel is there before anything comes: the other route's would get it alone.
    let mut consumer = Client::subscribed(gateway.tcp(), "orders", "c", 100);
    publish(first.tcp(), "orders", "a", 200);
    assert_eq!(collect(&mut consumer, 200).len(), 200);
    let mut copies = Client::subscribed(first.tcp(), "copy", "c", 100);
    assert_eq!(collect(&mut copies, 200).len(), 200);
    // One more; and what is known stays while nothing is told.
    lookupd.answers(200, &producers(&[&first, &second]));
    client_of(&second, "orders", "bridge");
    lookupd.answers(500, "no");
    publish(second.tcp(), "orders", "b", 200);
    assert_eq!(collect(&mut consumer, 200).len(), 200);
    let asked = lookupd.asked();
    let has = |target: &str| asked.iter().any(|asked| asked.target == target);
    assert!(has("/lookup?topic=orders") && has("/nodes"), "{asked:?}");
}

#[test]
fn a_real_nsqlookupd_tells_of_nsqds() {
    let Some(program) = std::env::var_os("NSQLOOKUPD") else {
        println!("skipped: NSQLOOKUPD names no nsqlookupd");
        return;
    };
    if !is_nsqd() {
        println!("skipped: NSQD names no nsqd that announces itself");
        return;
    }
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (tcp, at) = (free(), free());
    let mut lookupd = std::process::Command::new(program)
        .args([format!("-tcp-address={tcp}"), format!("-http-address={at}")])
        .arg("-broadcast-address=127.0.0.1")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until_true("it listens", || std::net::TcpStream::connect(tcp).is_ok());
    let node = Leveret::nsqd()
        .arg(&format!("--lookupd-tcp-address={tcp}"))
        .arg("--broadcast-address=127.0.0.1")
        .start();
    make(&node, "orders", "bridge");
    publish(node.tcp(), "orders", "m", 100);
    let gateway = gateway(&format!(
        "routes:\n  - name: bridge\n    from: {{ nsq: {{ lookupd: [\"{at}\"], topic: orders, lookupd_interval: 1s }} }}\n    \
         to: {{ nsq: {{ topic: orders }} }}\n    mode: queued\n"
    ));
    let mut consumer = Client::subscribed(gateway.tcp(), "orders", "c", 100);
    assert_eq!(collect(&mut consumer, 100).len(), 100);
    lookupd.kill().unwrap();
    lookupd.wait().unwrap();
}
