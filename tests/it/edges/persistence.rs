//! What is on disk after a crash, a corruption, an overflow: cases 98 to 105.
//!
//! nsqd has a file queue for each topic and channel, Leveret one log; what a client sees is asked of both, what nsqd's files
//! look like of nsqd alone.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::leveret::{Leveret, Plan, is_nsqd};
use crate::support::nsq::Client;
use crate::support::wait::until_true;
use crate::support::{http, stats};

/// Long enough for a delivery that is not to come.
const MOMENT: Duration = Duration::from_millis(500);

/// A server whose messages are in a file when they are answered.
fn durable() -> Plan {
    let plan = Leveret::nsqd().arg("--mem-queue-size=0");
    if is_nsqd() { plan } else { plan.arg("--durability=disk") }
}

fn bodies(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m-{number:04}")).collect()
}

fn publish(server: &Leveret, bodies: &[String]) {
    let batch: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    Client::connect(server.tcp()).publish_many("t", &batch);
}

/// Receives and finishes all that comes.
fn drain(server: &Leveret) -> Vec<String> {
    let mut client = Client::subscribed(server.tcp(), "t", "c", 10);
    let mut came = Vec::new();
    while let Some(message) = client.message_within(MOMENT) {
        client.fin(&message);
        came.push(message.text());
    }
    stats::await_counts(server.http(), "t", "c", [0, 0, 0]);
    drop(client);
    // It would take the next message with it.
    until_true("the consumer is gone", || {
        stats::channel(server.http(), "t", "c")["client_count"] == 0
    });
    came
}

/// Every file of messages, wherever it is in the data folder.
fn message_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a data folder can be listed") {
        let path = entry.expect("a folder's entry can be read").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        match name.as_deref() {
            _ if path.is_dir() => found.extend(message_files(&path)),
            Some("log" | "nsqd.dat" | "lock") => {}
            Some(name) if name.ends_with(".meta.dat") => {}
            _ => found.push(path),
        }
    }
    found.sort();
    found
}

fn has_file(server: &Leveret, ending: &str) -> bool {
    message_files(server.dir()).iter().any(|path| path.to_string_lossy().ends_with(ending))
}

#[test]
fn edge_098_after_a_crash_all_that_was_not_finished_comes() {
    let mut server = durable().arg("--sync-every=1").start();
    let all = bodies(10);
    publish(&server, &all);
    let mut client = Client::subscribed(server.tcp(), "t", "c", 4);
    let held: Vec<_> = (0..4).map(|_| client.message()).collect();
    client.rdy(0);
    held.iter().for_each(|message| client.fin(message));
    stats::await_counts(server.http(), "t", "c", [6, 0, 0]);
    server.kill();
    server.restart();
    publish(&server, &["after".to_owned()]);
    let came = drain(&server);
    for body in all[4..].iter().chain([&"after".to_owned()]) {
        assert!(came.contains(body), "{body} in {came:?}");
    }
    assert!(came.iter().all(|body| all.contains(body) || body == "after"), "{came:?}");
}

/// nsqd begins the file anew if it was killed before it first wrote where it is.
#[test]
fn edge_099_after_a_crash_at_once_nothing_is_lost() {
    let mut server = durable().arg("--sync-every=1000000").arg("--sync-timeout=1h").start();
    publish(&server, &bodies(10));
    let list = server.dir().join("nsqd.dat");
    until_true("the topic is written down", || {
        fs::read_to_string(&list).is_ok_and(|list| list.contains("\"t\""))
    });
    server.kill();
    server.restart();
    let expected = if is_nsqd() { Vec::new() } else { bodies(10) };
    assert_eq!(drain(&server), expected);
}

/// nsqd gives up the rest of a file; Leveret's records have checksums, and a torn one costs nothing else.
#[test]
fn edge_100_a_torn_record_leaves_the_queue_usable() {
    let mut server = durable().start();
    publish(&server, &bodies(10));
    if is_nsqd() {
        assert!(server.stop().success());
        let files = message_files(server.dir());
        assert_eq!(files.len(), 1, "{files:?}");
        let file = File::options().write(true).open(&files[0]).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - 5).unwrap();
    } else {
        server.kill();
        for path in message_files(server.dir()) {
            let mut file = File::options().write(true).open(&path).unwrap();
            file.seek(SeekFrom::End(0)).unwrap();
            file.write_all(b"\0\0\0\x40torn").unwrap();
        }
    }
    server.restart();
    let whole = if is_nsqd() { 9 } else { 10 };
    assert_eq!(drain(&server), bodies(whole));
    assert_eq!(has_file(&server, ".bad"), is_nsqd());
    publish(&server, &["after".to_owned()]);
    assert_eq!(drain(&server), ["after"]);
}

/// nsqd takes an older, larger message for corruption; Leveret delivers it.
#[test]
fn edge_101_a_lowered_size_does_not_spoil_older_messages() {
    let mut server = durable().start();
    let large = "x".repeat(5000);
    let all = ["first".to_owned(), large, "last".to_owned()];
    publish(&server, &all);
    assert!(server.stop().success());
    server.add_arg("--max-msg-size=1000");
    server.restart();
    let came = drain(&server);
    if is_nsqd() {
        assert_eq!(came, ["first"]);
    } else {
        assert_eq!(came, all);
    }
    publish(&server, &["after".to_owned()]);
    assert_eq!(drain(&server), ["after"]);
}

#[test]
fn edge_102_a_missing_file_does_not_hinder_the_start() {
    let mut server = durable().start();
    publish(&server, &bodies(10));
    assert!(server.stop().success());
    for path in message_files(server.dir()) {
        fs::remove_file(path).unwrap();
    }
    server.restart();
    assert_eq!(drain(&server), [""; 0]);
    publish(&server, &["after".to_owned()]);
    assert_eq!(drain(&server), ["after"]);
}

/// nsqd leaves every file that its consumer has caught up with behind, as a bad one.
#[test]
fn edge_103_what_is_consumed_leaves_no_files_behind() {
    let server = durable().arg("--max-bytes-per-file=2000").start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    for _ in 0..40 {
        client.publish("t", &[b'x'; 500]);
        let message = client.message();
        client.fin(&message);
        stats::await_counts(server.http(), "t", "c", [0, 0, 0]);
    }
    assert_eq!(has_file(&server, ".bad"), is_nsqd(), "{:?}", message_files(server.dir()));
}

#[test]
fn edge_104_a_message_may_be_larger_than_a_file() {
    let mut server = durable().arg("--max-bytes-per-file=1000").start();
    let all: Vec<String> = ["a", "b", "c"].iter().map(|text| text.repeat(5000)).collect();
    publish(&server, &all);
    if is_nsqd() {
        let files = message_files(server.dir());
        assert_eq!(files.len(), 3, "one each: {files:?}");
    }
    assert!(server.stop().success());
    server.restart();
    assert_eq!(drain(&server), all);
}

#[test]
fn edge_105_what_was_emptied_stays_so() {
    let mut server = durable().start();
    publish(&server, &bodies(10));
    http::done(server.http(), "/topic/empty?topic=t");
    stats::await_depth(server.http(), "t", 0);
    publish(&server, &["after".to_owned()]);
    if is_nsqd() {
        assert!(has_file(&server, "t.diskqueue.000001.dat"));
        assert!(server.stop().success());
    } else {
        server.kill();
    }
    server.restart();
    assert_eq!(drain(&server), ["after"]);
}
