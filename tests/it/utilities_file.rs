//! nsq_to_file. `NSQ_BIN` and `NSQD` may name the originals.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use crate::support::leveret::Leveret;
use crate::support::lookupd::{await_producers, nsqlookupd};
use crate::support::nsqds::{make, publish};
use crate::support::stats;
use crate::support::utility::{Utility, is_original};
use crate::support::wait::until_true;

fn at(node: &Leveret) -> String {
    format!("--nsqd-tcp-address={}", node.tcp())
}

/// The files of a folder by name, unpacked where they are packed.
fn files(folder: &std::path::Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return files };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let mut text = String::new();
        let mut file = std::fs::File::open(entry.path()).unwrap();
        if name.ends_with(".gz") {
            flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap_or_default();
        } else {
            file.read_to_string(&mut text).unwrap();
        }
        files.insert(name, text);
    }
    files
}

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("m-{number}\n")).collect()
}

#[test]
fn nsq_to_file_finishes_what_is_on_disk() {
    let node = Leveret::nsqd().start();
    make(&node, "t", "nsq_to_file");
    publish(node.tcp(), "t", "m", 100);
    let writing = Utility::start(
        "nsq_to_file",
        &[
            "--topic=t",
            "--output-dir={dir}/out",
            "--filename-format=<TOPIC>.<HOST>.log",
            "--host-identifier=here",
            "--sync-interval=200ms",
            &at(&node),
        ],
        b"",
    );
    stats::await_counts(node.http(), "t", "nsq_to_file", [0, 0, 0]);
    let file = || files(&writing.dir().join("out"));
    assert_eq!(file(), BTreeMap::from([("t.here.log".to_owned(), lines(100))]));
    publish(node.tcp(), "t", "more", 1);
    stats::await_counts(node.http(), "t", "nsq_to_file", [0, 0, 0]);
    assert_eq!(file()["t.here.log"], lines(100) + "more-0\n");
    let ended = writing.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn nsq_to_file_packs_turns_over_and_never_writes_over_a_file() {
    let node = Leveret::nsqd().start();
    make(&node, "t", "nsq_to_file");
    let out = crate::support::Scratch::new("out");
    let folder = format!("--output-dir={}", out.path().display());
    let start = || {
        Utility::start(
            "nsq_to_file",
            &[
                "--topic=t",
                &folder,
                "--filename-format=<TOPIC><REV>.log",
                "--gzip",
                "--rotate-size=2000",
                "--sync-interval=100ms",
                "--skip-empty-files",
                &at(&node),
            ],
            b"",
        )
    };
    let mut all = String::new();
    for _ in 0..2 {
        let writing = start();
        publish(node.tcp(), "t", "m", 1000);
        stats::await_counts(node.http(), "t", "nsq_to_file", [0, 0, 0]);
        assert_eq!(writing.stop().code, Some(0));
        all += &lines(1000);
    }
    let files = files(out.path());
    assert!(files.len() >= 6 && files.keys().all(|name| name.ends_with(".log.gz")), "{files:?}");
    assert_eq!(files.values().map(String::as_str).collect::<String>(), all, "in their order");
    assert!(files.values().all(|text| text.len() < 2100));
}

#[test]
fn edge_157_a_file_that_was_moved_is_followed_by_another() {
    let node = Leveret::nsqd().start();
    make(&node, "t", "nsq_to_file");
    let writing = Utility::start(
        "nsq_to_file",
        &[
            "--topic=t",
            "--output-dir={dir}/out",
            "--work-dir={dir}/work",
            "--filename-format=<TOPIC><REV>",
            "--sync-interval=100ms",
            "--skip-empty-files",
            &at(&node),
        ],
        b"",
    );
    let dir = writing.dir().to_owned();
    publish(node.tcp(), "t", "one", 1);
    stats::await_counts(node.http(), "t", "nsq_to_file", [0, 0, 0]);
    assert_eq!(files(&dir.join("work")).len(), 1);
    writing.signal("HUP");
    until_true("it is moved", || files(&dir.join("out")).len() == 1);
    if is_original() {
        return;
    }
    publish(node.tcp(), "t", "two", 1);
    stats::await_counts(node.http(), "t", "nsq_to_file", [0, 0, 0]);
    let ended = writing.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    drop(ended);
}

#[test]
fn edge_158_empty_files_are_made_unless_they_are_to_be_skipped() {
    let node = Leveret::nsqd().start();
    make(&node, "t", "nsq_to_file");
    let start = |skip: &str| {
        Utility::start(
            "nsq_to_file",
            &[
                "--topic=t",
                "--output-dir={dir}/out",
                "--filename-format=<TOPIC><REV>",
                "--rotate-interval=100ms",
                "--sync-interval=150ms",
                skip,
                &at(&node),
            ],
            b"",
        )
    };
    let writing = start("--skip-empty-files=false");
    until_true("empty files", || files(&writing.dir().join("out")).len() >= 3);
    drop(writing);
    let writing = start("--skip-empty-files");
    publish(node.tcp(), "t", "one", 1);
    stats::await_counts(node.http(), "t", "nsq_to_file", [0, 0, 0]);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(files(&writing.dir().join("out")).len(), 1, "nothing came, nothing was made");
}

#[test]
fn edge_159_topics_are_found_by_their_pattern() {
    let lookupd = nsqlookupd().start();
    let node = Leveret::nsqd()
        .arg("--broadcast-address=127.0.0.1")
        .arg(&format!("--lookupd-tcp-address={}", lookupd.tcp()))
        .start();
    let found = format!("--lookupd-http-address={}", lookupd.http());
    for topic in ["orders.eu", "clicks"] {
        make(&node, topic, "nsq_to_file");
        publish(node.tcp(), topic, "m", 10);
        await_producers(lookupd.http(), topic, &[format!("127.0.0.1:{}", node.tcp().port())]);
    }
    let writing = Utility::start(
        "nsq_to_file",
        &[
            "--topic-pattern=^orders",
            "--topic-refresh=300ms",
            "--consumer-opt=lookupd_poll_interval,300ms",
            "--output-dir={dir}/out",
            "--filename-format=<TOPIC>",
            "--sync-interval=100ms",
            &found,
        ],
        b"",
    );
    stats::await_counts(node.http(), "orders.eu", "nsq_to_file", [0, 0, 0]);
    make(&node, "orders.us", "nsq_to_file");
    publish(node.tcp(), "orders.us", "m", 5);
    stats::await_counts(node.http(), "orders.us", "nsq_to_file", [0, 0, 0]);
    let files = files(&writing.dir().join("out"));
    assert_eq!(
        files,
        BTreeMap::from([("orders.eu".to_owned(), lines(10)), ("orders.us".to_owned(), lines(5))])
    );
    assert_eq!(stats::channel(node.http(), "clicks", "nsq_to_file")["depth"], 10);
}
