//! What an operator of nsqd reads and changes over HTTP: options, log level, latencies, figures for statsd.

use std::net::UdpSocket;
use std::time::Duration;

use crate::support::http::{self, Response};
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::wait::{PATIENCE, until_true};

fn put(server: &Leveret, path: &str, value: &str) -> Response {
    http::request(server.http(), "PUT", path, &[], value.as_bytes())
}

fn option(server: &Leveret, name: &str) -> String {
    let answer = http::get(server.http(), &format!("/config/{name}"));
    assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    answer.text()
}

#[test]
fn edge_124_options_are_shown_by_their_names_in_the_config_file() {
    let server = Leveret::nsqd()
        .arg("--node-id=5")
        .arg("--msg-timeout=1500ms")
        .arg("--sync-every=7")
        .arg("--lookupd-tcp-address=127.0.0.1:1")
        .arg("--broadcast-address=my.host")
        .arg("--e2e-processing-latency-percentile=0.5,0.99")
        .arg("--e2e-processing-latency-percentile=1.0")
        .start();
    let port = server.http().port();
    for (name, value) in [
        ("id", "5"),
        ("msg_timeout", "1500000000"),
        ("sync_every", "7"),
        ("nsqlookupd_tcp_addresses", "[\"127.0.0.1:1\"]"),
        ("broadcast_address", "my.host"),
        ("broadcast_http_port", &port.to_string()),
        ("statsd_prefix", &format!("nsq.my_host_{port}.")),
        ("e2e_processing_latency_percentiles", "[1,0.99,0.5]"),
        ("http_address", "127.0.0.1:0"),
        ("log_prefix", "[nsqd] "),
        ("log_level", "2"),
        ("auth_http_request_method", "get"),
        ("topology_region", ""),
        ("tls_required", "0"),
    ] {
        assert_eq!(option(&server, name), value, "{name}");
    }
    for unknown in ["node_id", "version", "config", "verbose", "worker_id"] {
        assert_eq!(http::get(server.http(), &format!("/config/{unknown}")).status, 400);
    }
}

#[test]
fn every_flag_has_its_option() {
    let (_, usage) = Leveret::named("nsqd").arg("--help").run();
    let server = Leveret::named("nsqd")
        .arg("--tcp-address=127.0.0.1:0")
        .arg("--http-address=127.0.0.1:0")
        .arg("--data-path={dir}")
        .start();
    let flags = usage.lines().filter_map(|line| line.strip_prefix("  -")?.split(' ').next());
    let mut count = 0;
    for flag in flags {
        let name = match flag {
            "config" | "verbose" | "version" | "worker-id" => continue,
            "node-id" => "id".to_owned(),
            "lookupd-tcp-address" => "nsqlookupd_tcp_addresses".to_owned(),
            "auth-http-address" => "auth_http_addresses".to_owned(),
            "e2e-processing-latency-percentile" => "e2e_processing_latency_percentiles".to_owned(),
            _ => flag.replace('-', "_"),
        };
        option(&server, &name);
        count += 1;
    }
    assert!(count > 50, "{count}: {usage}");
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let server = Leveret::nsqd().start();
    http::post(server.http(), "/topic/create?topic=before", b"");
    server.await_log("/topic/create?topic=before");
    assert_eq!(put(&server, "/config/log_level", "error").text(), "4");
    http::post(server.http(), "/topic/create?topic=quiet", b"");
    assert_eq!(put(&server, "/config/log_level", "info").text(), "2");
    http::post(server.http(), "/topic/create?topic=after", b"");
    server.await_log("/topic/create?topic=after");
    assert!(!server.log().contains("/topic/create?topic=quiet"), "{}", server.log());
}

#[test]
fn latencies_count_from_publish_to_fin() {
    let server = Leveret::nsqd()
        .arg("--e2e-processing-latency-percentile=1.0,0.5")
        .arg("--e2e-processing-latency-window-time=1m")
        .start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish("t", b"slow");
    let first = client.message();
    client.req(&first, Duration::from_millis(300));
    let again = client.message();
    client.fin(&again);
    let topic =
        || http::get(server.http(), "/stats?format=json&topic=t").json()["topics"][0].clone();
    until_true("the FIN is counted", || topic()["e2e_processing_latency"]["count"] == 1);
    let topic = topic();
    for shown in [&topic, &topic["channels"][0]] {
        let percentiles = &shown["e2e_processing_latency"]["percentiles"];
        assert_eq!(
            (&percentiles[0]["quantile"], &percentiles[1]["quantile"]),
            (&1.into(), &0.5.into())
        );
        let value = percentiles[0]["value"].as_u64().unwrap();
        assert!(value >= 300_000_000, "{percentiles}");
    }
    assert_eq!(topic["channels"][0]["global_msg_count"], 2, "edge 67: every delivery");
}

fn datagram(socket: &UdpSocket) -> String {
    let mut buffer = [0; 65_536];
    let length = socket.recv(&mut buffer).expect("a datagram comes");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// nsqd panics at an interval of a second or less, and sends nothing at its end.
#[test]
fn edge_147_statsd_is_pushed_to_at_any_interval_and_at_the_end() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = Leveret::bare()
        .arg("nsqd")
        .arg("--tcp-address=127.0.0.1:0")
        .arg("--http-address=127.0.0.1:0")
        .arg("--data-path={dir}")
        .arg(&format!("--statsd-address={}", socket.local_addr().unwrap()))
        .arg("--statsd-prefix=p")
        .arg("--statsd-mem-stats=false")
        .arg("--statsd-interval=200ms")
        .start();
    http::post(server.http(), "/topic/create?topic=t", b"");
    http::post(server.http(), "/channel/create?topic=t&channel=c", b"");
    Client::connect(server.tcp()).publish_many("t", &[b"12345", b"12345"]);
    let mut text = datagram(&socket);
    while !text.contains("p.topic.t.message_count:2|c\n") {
        text = datagram(&socket);
    }
    let expected = "p.topic.t.message_count:2|c\np.topic.t.message_bytes:10|c\np.topic.t.depth:0|g\n\
                    p.topic.t.backend_depth:0|g\np.topic.t.channel.c.message_count:2|c\n\
                    p.topic.t.channel.c.depth:2|g\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(
        datagram(&socket).starts_with("p.topic.t.message_count:0|c\n"),
        "the next one is a difference"
    );
    assert!(server.stop().success());
    assert!(server.log().contains("STATSD: closing"), "{}", server.log());
}

#[test]
fn a_node_file_asks_for_the_same() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    let node = format!(
        "nsqd:\n  tcp_address: 127.0.0.1:0\n  http_address: 127.0.0.1:0\n  data_path: data\n  \
         log_prefix: '[own] '\n  statsd_address: {address}\n  statsd_prefix: p\n  statsd_mem_stats: false\n  \
         e2e_processing_latency_percentiles: [0.999]\n"
    );
    let mut server = Leveret::serve(&node).start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish("t", b"body");
    let message = client.message();
    client.fin(&message);
    let metrics = || http::get(server.http(), "/metrics").text();
    let count = "leveret_channel_latency_seconds_count{topic=\"t\",channel=\"c\"} 1";
    until_true("the FIN is counted", || metrics().lines().any(|line| line == count));
    let quantile = "leveret_topic_latency_seconds{topic=\"t\",quantile=\"0.999\"} 0.";
    assert!(metrics().contains(quantile), "{}", metrics());
    drop(client);
    assert!(server.stop().success());
    // The interval is a minute: this is what the end sends.
    let text = datagram(&socket);
    assert!(text.starts_with("p.topic.t.message_count:1|c\n"), "{text}");
    assert!(text.contains(".channel.c.e2e_processing_latency_100:"), "edge 148: {text}");
    assert!(server.log().contains("\n[own] "), "{}", server.log());
}
