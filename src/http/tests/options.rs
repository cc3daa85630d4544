//! `/config`, value for value as nsqd shows and takes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Rig;
use crate::http::OptionValue::{self, Bool, Int, Numbers, Text, Texts};
use crate::http::Options;

/// One option of each kind; what is asked of the log is noted in `levels`, and `error` cannot be had.
pub(super) fn some(levels: &Arc<Mutex<Vec<String>>>) -> (Options, watch::Receiver<Vec<String>>) {
    let values = BTreeMap::from([
        ("data_path", Text("/data <x>".into())),
        ("topology_zone", Text(String::new())),
        ("snappy", Bool(true)),
        ("max_rdy_count", Int(2500)),
        ("msg_timeout", OptionValue::Duration(Duration::from_secs(60))),
        ("auth_http_addresses", Texts(vec!["a:1".into(), "b:2".into()])),
        ("e2e_processing_latency_percentiles", Numbers(vec![1.0, 0.999])),
    ]);
    let levels = Arc::clone(levels);
    let set = Arc::new(move |level: &str| {
        if level == "error" {
            return Err("the log is gone".to_owned());
        }
        levels.lock().push(level.to_owned());
        Ok(())
    });
    let options = Options::new(values, "Warn", set, vec!["l:4160".to_owned()]);
    let lookupds = options.lookupds();
    (options, lookupds)
}

#[tokio::test]
async fn edge_124_texts_are_bare_and_all_else_is_json() {
    let rig = Rig::start().await;
    rig.get("/config/data_path").await.is("/data <x>");
    rig.get("/config/topology_zone").await.is("");
    for (option, json) in [
        ("snappy", "true"),
        ("max_rdy_count", "2500"),
        ("msg_timeout", "60000000000"),
        ("auth_http_addresses", "[\"a:1\",\"b:2\"]"),
        ("e2e_processing_latency_percentiles", "[1,0.999]"),
        ("nsqlookupd_tcp_addresses", "[\"l:4160\"]"),
        ("log_level", "3"),
    ] {
        let answer = rig.get(&format!("/config/{option}")).await;
        assert_eq!((answer.status, answer.text()), (200, json), "{option}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(answer.header("x-nsq-content-type"), Some("nsq; version=1.0"));
    }
    for unknown in ["nope", "lookupd_tcp_address", "SNAPPY", "%20"] {
        rig.get(&format!("/config/{unknown}")).await.refuses(400, "INVALID_OPTION");
    }
}

#[tokio::test]
async fn the_log_level_is_changed_by_a_bare_word() {
    let rig = Rig::start().await;
    for (word, number) in [("debug", "1"), ("INFO", "2"), ("fatal", "5")] {
        let answer = rig.send("PUT", "/config/log_level", word.as_bytes()).await;
        assert_eq!((answer.status, answer.text()), (200, number));
    }
    assert_eq!(*rig.levels.lock(), ["debug", "info", "fatal"]);
    for bad in ["warning", "\"info\"", "info\n", "3", "\u{fffd}"] {
        let answer = rig.send("PUT", "/config/log_level", bad.as_bytes()).await;
        answer.refuses(400, "INVALID_VALUE");
    }
    rig.send("PUT", "/config/log_level", b"error").await.refuses(500, "INTERNAL_ERROR");
    assert_eq!(rig.get("/config/log_level").await.text(), "5", "as before");
}

#[tokio::test]
async fn the_lookupds_are_changed_by_a_list() {
    let mut rig = Rig::start().await;
    let put = async |value: &str| {
        rig.send("PUT", "/config/nsqlookupd_tcp_addresses", value.as_bytes()).await
    };
    let changed = put("[\"a:1\", \"b:2\"]").await;
    assert_eq!((changed.status, changed.text()), (200, "[\"a:1\",\"b:2\"]"));
    for bad in ["x", "[1]", "[\"a:1\"] x", "\"a:1\"", "{}"] {
        put(bad).await.refuses(400, "INVALID_VALUE");
    }
    assert_eq!(*rig.lookupd.borrow(), ["a:1", "b:2"]);
    assert_eq!(put("null").await.text(), "null");
    assert_eq!(rig.get("/config/nsqlookupd_tcp_addresses").await.text(), "null");
    assert_eq!(put("[]").await.text(), "[]");
    assert!(rig.lookupd.borrow_and_update().is_empty());
}

#[tokio::test]
async fn edge_124_nothing_and_too_much_are_too_large_whatever_the_option() {
    let rig = Rig::start().await;
    for option in ["log_level", "nope"] {
        let target = format!("/config/{option}");
        rig.send("PUT", &target, b"").await.refuses(413, "INVALID_VALUE");
        rig.send("PUT", &target, &[b'x'; 101]).await.refuses(413, "INVALID_VALUE");
    }
    for option in ["nope", "data_path", "snappy"] {
        let answer = rig.send("PUT", &format!("/config/{option}"), b"true").await;
        answer.refuses(400, "INVALID_OPTION");
    }
    let wrong = rig.post("/config/log_level", b"info").await;
    wrong.refuses(405, "METHOD_NOT_ALLOWED");
    assert_eq!(wrong.header("allow"), Some("GET, OPTIONS, PUT"));
    let case = rig.get("/Config/log_level/").await;
    assert_eq!((case.status, case.header("location")), (301, Some("/config/log_level")));
}
