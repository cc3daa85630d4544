//! Every error of the node's file.

use std::time::Duration;

use super::{Folder, node_findings};
use crate::config::keys::nsqd::NSQD;

const WRONG: &[(&str, &str)] = &[
    (
        "nsqd: {tcp_adress: x}",
        "1:8: nsqd.tcp_adress: unknown key \"tcp_adress\"; did you mean \"tcp_address\"? expected one of <nsqd>",
    ),
    (
        "nsqd: {e2e_processing_latency_percentiles: [0.5, 1.5]}",
        "1:50: nsqd.e2e_processing_latency_percentiles[1]: expected a number above 0 and at most 1, such as 0.99, found \"1.5\"",
    ),
    (
        "nsqd: {statsd_udp_packet_size: 0}",
        "1:32: nsqd.statsd_udp_packet_size: expected a whole number from 1 to 65507, found \"0\"",
    ),
    (
        "nsqd: {statsd_address: here}",
        "1:24: nsqd.statsd_address: expected host:port such as 127.0.0.1:4150, found \"here\"",
    ),
    (
        "nsqd: {tcp_address: localhost}",
        "1:21: nsqd.tcp_address: expected host:port such as 127.0.0.1:4150, found \"localhost\"",
    ),
    (
        "nsqd: {tcp_address: \"::1:4150\"}",
        "1:21: nsqd.tcp_address: expected host:port such as 127.0.0.1:4150, found \"::1:4150\"",
    ),
    ("nsqd: {tcp_address: [1]}", "1:21: nsqd.tcp_address: expected text, found a list"),
    (
        "nsqd: {http_address: 'h:99999'}",
        "1:22: nsqd.http_address: expected host:port such as 127.0.0.1:4150, found \"h:99999\"",
    ),
    (
        "nsqd: {node_id: 1024}",
        "1:17: nsqd.node_id: expected a whole number from 0 to 1023, found \"1024\"",
    ),
    (
        "nsqd: {node_id: -1}",
        "1:17: nsqd.node_id: expected a whole number from 0 to 1023, found \"-1\"",
    ),
    (
        "nsqd:\n  msg_timeout: 60\n",
        "2:16: nsqd.msg_timeout: expected a duration such as 500ms, 10s or 1h30m, found \"60\" without a unit",
    ),
    ("nsqd:\n  msg_timeout: 0s\n", "2:16: nsqd.msg_timeout: expected 1ms to 1d, found \"0s\""),
    (
        "nsqd:\n  msg_timeout:\n",
        "2:3: nsqd.msg_timeout: expected a duration such as 10s, found nothing",
    ),
    (
        "nsqd: {max_msg_size: 1M}",
        "1:22: nsqd.max_msg_size: expected a size such as 1048576, 64KB or 20MiB, found \"1M\": the unit \"M\" is none of B, KB, MB, GB, TB, KiB, MiB, GiB or TiB",
    ),
    ("nsqd: {max_msg_size: 2GiB}", "1:22: nsqd.max_msg_size: expected 1B to 1GiB, found \"2GiB\""),
    (
        "nsqd: {max_rdy_count: 2.5}",
        "1:23: nsqd.max_rdy_count: expected a whole number from 1 to 1000000000, found \"2.5\"",
    ),
    (
        "nsqd: {min_output_buffer_timeout: 1m}",
        "1:35: nsqd.min_output_buffer_timeout: min_output_buffer_timeout is above max_output_buffer_timeout",
    ),
    (
        "nsqd: {max_msg_size: 9MiB}",
        "1:22: nsqd.max_msg_size: above max_body_size: such a message can be sent by PUB, but not by MPUB",
    ),
    (
        "nsqd: {msg_timeout: 1h}",
        "1:21: nsqd.msg_timeout: above max_msg_timeout: TOUCH would shorten the time of a message",
    ),
    ("nsqd: 5", "1:7: nsqd: expected a mapping with keys, found \"5\""),
    ("nsqd:", "1:1: nsqd: expected a mapping with keys, found nothing"),
    (
        "log: {level: inof}",
        "1:14: log.level: expected trace, debug, info, warn or error, found \"inof\"; did you mean \"info\"?",
    ),
    ("log: {format: xml}", "1:15: log.format: expected text or json, found \"xml\""),
    (
        "log:\n  level: ${NOPE}\n",
        "2:10: log.level: environment variable NOPE is not set; set it, or give a default as ${NOPE:-default}",
    ),
    ("shutdown_timeout: 2h", "1:19: shutdown_timeout: expected 0 to 1h, found \"2h\""),
    (
        "brokers: {default: {}}",
        "1:20: brokers.default: the key \"uri\" is missing, such as uri: amqp://guest:guest@127.0.0.1:5672/%2f",
    ),
    (
        "brokers: {default: {uri: 'http://u:secret@h'}}",
        "1:26: brokers.default.uri: a broker's address starts with amqp:// or amqps://",
    ),
    (
        "brokers: {default: {uri: 'amqp://u:secret@h:x'}}",
        "1:26: brokers.default.uri: the port must be a number from 1 to 65535",
    ),
    (
        "brokers: {default: {uri: 'amqp://h', heartbeat: 500ms}}",
        "1:49: brokers.default.heartbeat: expected 1s to 18h, found \"500ms\"",
    ),
    (
        "brokers: {default: {uri: 'amqp://h', heartbeat: 1500ms}}",
        "1:49: brokers.default.heartbeat: expected whole seconds, found \"1500ms\"",
    ),
    (
        "brokers: {'a b': {uri: 'amqp://h'}}",
        "1:18: brokers.a b: \"a b\" is not a name: 1 to 64 of the characters . a-z A-Z 0-9 _ -",
    ),
    (
        "brokers: {default: {url: x, uri: 'amqp://h'}}",
        "1:21: brokers.default.url: unknown key \"url\"; did you mean \"uri\"? expected one of auth, connect_timeout, connection_name, heartbeat, hosts, management, max_message_size, password_file, tls, uri, uri_file",
    ),
    ("- a", "1:1: expected a mapping with keys, found a list"),
    ("a: [", "1:4: not valid YAML: unclosed bracket '['"),
    (
        "nsqd:\n\ttcp_address: x\n",
        "2:2: not valid YAML: tabs disallowed within this context (block indentation)",
    ),
    (
        "nsqd: {tls_cert: cert.pem}",
        "1:18: nsqd.tls_cert: tls_cert and tls_key are given together or not at all",
    ),
    (
        "nsqd: {tls_required: tcp-https}",
        "1:22: nsqd.tls_required: TLS is required and cannot be had: tls_cert and tls_key are missing",
    ),
    (
        "nsqd: {tls_client_auth_policy: require}",
        "1:32: nsqd.tls_client_auth_policy: TLS is required and cannot be had: tls_cert and tls_key are missing",
    ),
    (
        "nsqd: {tls_min_version: ssl3.0}",
        "1:25: nsqd.tls_min_version: expected tls1.0, tls1.1, tls1.2 or tls1.3, found \"ssl3.0\"",
    ),
    (
        "nsqd: {max_deflate_level: 10}",
        "1:27: nsqd.max_deflate_level: expected a whole number from 1 to 9, found \"10\"",
    ),
    (
        "nsqd: {https_address: /run/https}",
        "1:23: nsqd.https_address: expected host:port such as 127.0.0.1:4150, found \"/run/https\"",
    ),
    (
        "nsqd: {auth_http_addresses: host:1}",
        "1:29: nsqd.auth_http_addresses: expected a list of host:port or URLs, found \"host:1\"",
    ),
    ("log: {}\nlog: {}\n", "2:1: log: the key \"log\" is given twice, first in line 1"),
];

#[test]
fn wrong_values_are_told_with_their_place() {
    for (text, expected) in WRONG {
        let expected = expected.replace("<nsqd>", &NSQD.names().collect::<Vec<_>>().join(", "));
        let expected = format!("leveret.yaml:{expected}");
        assert_eq!(node_findings(text), expected, "{text}");
    }
}

#[test]
fn what_a_node_tells_of_itself_is_read() {
    let text = "nsqd:\n  statsd_address: h:8125\n  statsd_prefix: p\n  statsd_interval: 500ms\n  \
                statsd_mem_stats: false\n  statsd_udp_packet_size: 1400\n  statsd_exclude_ephemeral: true\n  \
                log_prefix: '[x] '\n  e2e_processing_latency_percentiles: [0.5, 1]\n  \
                e2e_processing_latency_window_time: 1m\n";
    let nsqd = Folder::new().with("leveret.yaml", text).load().unwrap().node.nsqd;
    assert_eq!(
        (nsqd.statsd.address.as_deref(), nsqd.statsd.prefix.as_str()),
        (Some("h:8125"), "p")
    );
    assert_eq!((nsqd.statsd.packet_size, nsqd.statsd.mem_stats), (1400, false));
    assert_eq!(
        (nsqd.statsd.interval, nsqd.statsd.exclude_ephemeral),
        (Duration::from_millis(500), true)
    );
    assert_eq!(nsqd.log_prefix.as_deref(), Some("[x] "));
    let latency = nsqd.e2e_processing_latency;
    assert_eq!((latency.quantiles(), latency.window()), (&[0.5, 1.0][..], Duration::from_secs(60)));
}

#[test]
fn addresses_are_normal() {
    for text in [
        "nsqd: {tcp_address: ':4150', http_address: ''}",
        "nsqd: {tcp_address: '[::1]:0'}",
        "nsqd: {tcp_address: 'host.example:4150'}",
        "nsqd: {tcp_address: /run/nsqd.sock, http_address: ./http.sock}",
    ] {
        assert_eq!(node_findings(text), "", "{text}");
    }
}
