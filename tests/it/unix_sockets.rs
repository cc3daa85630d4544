//! Unix sockets in place of ports.
//!
//! With `NSQD` set, the first test asks another nsqd.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::http::{self, Response};
use crate::support::leveret::{Leveret, Plan};
use crate::support::nsq::Client;

fn plan() -> Plan {
    Leveret::nsqd().arg("--tcp-address=nsq.sock").arg("--http-address={dir}/http.sock")
}

fn get(at: &Path, path: &str) -> Response {
    http::request_over(UnixStream::connect(at).unwrap(), "GET", path, &[], b"")
}

#[test]
fn edge_126_both_interfaces_are_served_at_paths() {
    let mut server = plan().start_anywhere();
    let (nsq, http) = (server.dir().join("nsq.sock"), server.dir().join("http.sock"));
    let mut client = Client::connect_unix(&nsq);
    client.sub("t", "c");
    client.rdy(1);
    client.publish("t", b"through a path");
    assert_eq!(client.message().text(), "through a path");
    let info = get(&http, "/info").json();
    assert_eq!((&info["tcp_port"], &info["http_port"]), (&json!(-1), &json!(-1)), "{info}");
    let stats = get(&http, "/stats?format=json").json();
    let seen = &stats["topics"][0]["channels"][0]["clients"][0];
    assert_eq!((&seen["remote_address"], &seen["client_id"]), (&json!("@"), &json!("")), "{seen}");
    drop(client);
    assert!(server.stop().success());
    assert!(!nsq.exists() && !http.exists(), "the files go with it");
}

#[test]
fn a_socket_that_a_crash_left_behind_is_replaced() {
    let server = Leveret::bare().arg("serve").arg("--data-path={dir}/data");
    let server = server.arg("--tcp-address={dir}/nsq.sock").arg("--http-address={dir}/http.sock");
    let mut server = server.start_anywhere();
    let nsq = server.dir().join("nsq.sock");
    server.kill();
    assert!(nsq.exists());
    server.restart_anywhere();
    Client::connect_unix(&nsq).publish("t", b"it is served again");
    // Connections that say nothing hold up nobody.
    let _silent = UnixStream::connect(&nsq).unwrap();
    assert!(server.stop().success());
}

#[test]
fn a_socket_that_is_served_is_not_taken() {
    let plan = plan();
    let taken = UnixListener::bind(plan.dir().join("nsq.sock")).unwrap();
    let (code, text) = plan.run();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("in use"), "{text}");
    drop(taken);
}

#[test]
fn a_node_file_may_name_paths_relative_to_itself() {
    let node = "nsqd: { tcp_address: ./nsq.sock, http_address: ./http.sock, data_path: data }\n";
    let server = Leveret::serve(node).start_anywhere();
    Client::connect_unix(&server.dir().join("nsq.sock")).publish("t", b"x");
    let stats: Value = get(&server.dir().join("http.sock"), "/stats?format=json").json();
    assert_eq!(stats["topics"][0]["topic_name"], "t");
}
