//! Logs to files and sockets, rolled under load, reopened, and never in the way.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::wait::until_true;

const NODE: &str = "nsqd: { tcp_address: 127.0.0.1:0, http_address: 127.0.0.1:0 }\n";

/// A node that says on standard error where it listens, besides what `outputs` are given.
fn node(outputs: &str) -> String {
    format!(
        "{NODE}log:\n  level: info\n  outputs:\n    - {{ stderr: true, level: info, format: text }}\n{outputs}"
    )
}

#[test]
fn a_file_is_rolled_under_load_and_opened_anew() {
    let file =
        "    - { file: { path: app.log, max_size: 4KB, keep: 3, gzip: true }, format: json }\n";
    let mut server = Leveret::serve(&node(file)).start();
    let path = server.dir().join("app.log");
    let files = || {
        let entries = std::fs::read_dir(server.dir()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("app.log.") && name.ends_with(".gz")).count()
    };
    let mut n = 0;
    until_true("files are rolled, packed and deleted", || {
        n += 1;
        http::done(server.http(), &format!("/topic/create?topic=t{n}"));
        n > 150 && files() == 3
    });
    let text = std::fs::read_to_string(&path).unwrap();
    let line: serde_json::Value =
        serde_json::from_str(text.lines().last().unwrap_or("{}")).unwrap();
    assert!(line["message"].as_str().unwrap().contains("POST /topic/create"), "{line}");
    let moved = server.dir().join("moved.log");
    std::fs::rename(&path, &moved).unwrap();
    server.signal("HUP");
    until_true("a new file", || path.exists());
    http::done(server.http(), "/topic/create?topic=after");
    until_true("lines in it", || std::fs::read_to_string(&path).unwrap().contains("topic=after"));
    assert!(server.stop().success());
    assert!(
        std::fs::read_to_string(&path).unwrap().contains("stopped"),
        "all is written at the end"
    );
}

#[test]
fn each_output_has_its_level_and_levels_change_while_it_runs() {
    let path = std::env::temp_dir().join(format!("leveret-it-syslog-{}", std::process::id()));
    drop(std::fs::remove_file(&path));
    let syslog = UnixDatagram::bind(&path).unwrap();
    syslog.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let outputs = format!(
        "    - {{ syslog: {{ address: \"{}\", facility: 16 }} }}\n    - {{ file: {{ path: errors.log }}, level: error }}\n",
        path.display()
    );
    let server = Leveret::serve(&node(&outputs)).start();
    let mut heard = [0; 9000];
    let mut next = || {
        let count = syslog.recv(&mut heard).expect("a line");
        String::from_utf8_lossy(&heard[..count]).into_owned()
    };
    let first = next();
    assert!(first.starts_with("<134>1 ") && first.contains(" leveret "), "{first}");
    let put = http::request(server.http(), "PUT", "/config/log_level", &[], b"debug");
    assert_eq!(put.status, 200, "{}", put.text());
    drop(Client::connect(server.tcp()));
    until_true("a line of level debug", || next().starts_with("<135>1 "));
    let errors = std::fs::read_to_string(server.dir().join("errors.log")).unwrap();
    assert_eq!(errors, "", "nothing is so bad");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_file_that_nobody_reads_holds_nothing_up() {
    let plan = Leveret::serve(&node("    - { file: { path: pipe, max_size: 0 }, level: trace }\n"));
    let pipe = plan.dir().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // It can only be opened for writing while somebody has it open for reading, and never reads.
    let _reader = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let server = plan.start();
    let mut producer = Client::connect(server.tcp());
    let begun = Instant::now();
    for n in 0..3000 {
        producer.publish("t", n.to_string().as_bytes());
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let dropped = || {
        let metrics = http::get(server.http(), "/metrics").text();
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("leveret_log_lines_dropped_total "));
        line.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
    };
    until_true("what is dropped is counted", || {
        for n in 0..200 {
            http::get(server.http(), &format!("/nowhere/{n}"));
        }
        dropped() > 0
    });
}
