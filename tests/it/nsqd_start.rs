//! How nsqd starts, or says why it does not: flags, the config file, the data folder, ports.

use std::fs;
use std::net::{TcpListener, TcpStream};

use crate::support::http;
use crate::support::leveret::{Leveret, Plan};
use crate::support::nsq::Client;
use crate::support::wait::until_true;

fn nsqd() -> Plan {
    Leveret::named("nsqd")
        .arg("--tcp-address=127.0.0.1:0")
        .arg("--http-address=127.0.0.1:0")
        .arg("--data-path={dir}")
}

fn option(server: &Leveret, name: &str) -> String {
    http::get(server.http(), &format!("/config/{name}")).text()
}

/// That it ends with status 1 and a line of nsqd's log with `words`.
fn fails(plan: Plan, words: &str) {
    let (code, text) = plan.run();
    assert_eq!(code, Some(1), "{text}");
    let line = text.lines().find(|line| line.contains("FATAL: ") || line.contains("ERROR: "));
    let line = line.unwrap_or_else(|| panic!("it is fatal: {text}"));
    assert!(line.starts_with("[nsqd] 20") && line.contains(words), "{words}: {text}");
}

#[test]
fn edge_106_a_damaged_list_of_topics_is_fatal_and_a_bad_name_is_not() {
    for damaged in ["", "{", "[]"] {
        fails(nsqd().file("nsqd.dat", damaged), "nsqd.dat");
    }
    let names = r#"{"topics":[{"name":"bad name","paused":false,"channels":[]},
        {"name":"good","paused":false,"channels":[{"name":"b/d","paused":false}]}],"version":"1.3.0"}"#;
    let server = nsqd().file("nsqd.dat", names).start();
    let stats = http::get(server.http(), "/stats?format=json").json();
    assert_eq!(stats["topics"].as_array().unwrap().len(), 1);
    assert_eq!(stats["topics"][0]["channels"], serde_json::json!([]));
    assert!(server.log().contains("bad name"), "{}", server.log());
    nsqd().file("nsqd.dat", "{}").start();
}

#[test]
fn edge_107_a_fresh_folder_has_its_list_at_once() {
    let server = nsqd().start();
    let list = fs::read_to_string(server.dir().join("nsqd.dat")).unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["version"], "1.3.0");
    assert!(list["topics"].as_array().is_none_or(Vec::is_empty), "{list}");
}

#[test]
fn edge_108_a_data_path_that_cannot_be_had_is_fatal_and_says_why() {
    let first = nsqd().start();
    let taken = first.dir().display().to_string();
    fails(nsqd().arg(&format!("--data-path={taken}")), "locked by another process");
    fails(nsqd().arg("--data-path={dir}/none"), "/none does not exist");
    fails(nsqd().file("file", "x").arg("--data-path={dir}/file"), "/file is not a folder");
    assert_eq!(http::get(first.http(), "/ping").status, 200, "the first one goes on");
}

#[test]
fn edge_109_a_hang_up_ends_it_and_it_starts_again() {
    let mut server = nsqd().start();
    Client::connect(server.tcp()).publish("t", b"body");
    until_true("the list is written", || {
        fs::read_to_string(server.dir().join("nsqd.dat")).is_ok_and(|list| list.contains("\"t\""))
    });
    let at = server.tcp();
    server.signal("HUP");
    until_true("it is gone", || TcpStream::connect(at).is_err());
    server.restart();
    assert_eq!(
        http::get(server.http(), "/stats?format=json").json()["topics"][0]["topic_name"],
        "t"
    );
}

#[test]
fn a_port_that_is_taken_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for flag in ["--tcp-address", "--http-address"] {
        let words = format!("failed to instantiate nsqd - cannot listen on {address} ({flag}");
        fails(nsqd().arg(&format!("{flag}={address}")), &words);
    }
    fails(nsqd().arg("--tcp-address=127.0.0.1:99999"), "(--tcp-address");
}

#[test]
fn values_out_of_range_are_fatal_in_nsqds_words() {
    for (flag, words) in [
        ("--node-id=1024", "failed to instantiate nsqd - --node-id must be [0,1024)"),
        (
            "--e2e-processing-latency-percentile=1.5",
            "failed to instantiate nsqd - invalid E2E processing latency percentile: 1.5",
        ),
        ("--statsd-interval=0", "--statsd-interval must be above 0"),
    ] {
        fails(nsqd().arg(flag), words);
    }
}

#[test]
fn edge_143_a_switch_takes_no_word_and_parsing_stops_there() {
    let server = nsqd().arg("--deflate").arg("false").arg("--max-rdy-count=7").start();
    assert_eq!(option(&server, "deflate"), "true");
    assert_eq!(option(&server, "max_rdy_count"), "2500");
}

#[test]
fn edge_144_worker_id_is_a_switch_without_effect() {
    let (code, text) = nsqd().arg("--worker-id=3").run();
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("invalid boolean value \"3\" for flag -worker-id: parse error"),
        "{text}"
    );
    let (code, text) = nsqd().arg("--log-level=loud").run();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("invalid log level 'loud' (debug, info, warn, error, fatal)"), "{text}");
    let server = nsqd().arg("--worker-id").arg("--verbose").start();
    for flag in ["--worker-id", "--verbose"] {
        server.await_log(&format!("{flag} has no effect here"));
    }
}

#[test]
fn edges_145_and_146_a_config_file_gives_what_flags_do_not() {
    let file = "snappy = 1\nmsg_timeout = 5000\nmax_rdy_count = \"77\"\nid = 9\nnode_id = 4\n\
                nsqlookupd_tcp_addresses = \"127.0.0.1:1,127.0.0.1:2\"\n\
                e2e_processing_latency_percentiles = [0.5, 0.99]\nlog_prefix = \"[mine] \"\n\
                max_msg_size = 10\nlog_level = \"DEBUG\"\n";
    let server = nsqd()
        .file("nsqd.toml", file)
        .arg("--config={dir}/nsqd.toml")
        .arg("--max-msg-size=2048")
        .start();
    for (name, value) in [
        ("snappy", "true"),
        ("msg_timeout", "5000000000"),
        ("max_rdy_count", "77"),
        ("id", "9"),
        ("nsqlookupd_tcp_addresses", "[\"127.0.0.1:1\",\"127.0.0.1:2\"]"),
        ("e2e_processing_latency_percentiles", "[0.5,0.99]"),
        ("log_level", "1"),
        ("max_msg_size", "2048"),
    ] {
        assert_eq!(option(&server, name), value, "{name}");
    }
    http::get(server.http(), "/metrics");
    server.await_log(" DEBUG: 200 GET /metrics");
    server.await_log("\"node_id\" is not an option of nsqd, and ignored");
    assert!(server.log().lines().all(|line| line.starts_with("[mine] 20")), "{}", server.log());
}

#[test]
fn a_config_file_that_cannot_be_used_is_fatal() {
    fails(nsqd().arg("--config={dir}/none.toml"), "failed to load config file ");
    for (text, words) in [
        ("snappy =", "nsqd.toml - toml: line 1, column 9: "),
        ("log_level = \"loud\"", "FATAL: failed parsing log_level loud"),
        ("tls_required = \"maybe\"", "FATAL: failed parsing tls_required maybe"),
        (
            "msg_timeout = \"5000\"",
            "ERROR: Resolve failed to coerce value 5000 for msg_timeout - missing unit in duration",
        ),
        ("id = 1024", "FATAL: failed to instantiate nsqd - --node-id must be [0,1024)"),
    ] {
        let plan = nsqd().file("nsqd.toml", text).arg("--config={dir}/nsqd.toml");
        fails(plan, words);
    }
}
