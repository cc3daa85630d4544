//! Ends that are other nsqds.

use std::time::Duration;

use super::{Folder, route_findings};
use crate::bridge::route::{DeadLetter, Flow, Move, Source, Target};

fn moving(from: &str, to: &str, more: &str) -> Move {
    let text = format!(
        "routes:\n- name: r\n  from: {{nsq: {{{from}}}}}\n  to: {{nsq: {{{to}}}}}\n  {more}\n"
    );
    let node = "nsqd: {data_path: data}\nbridges: routes\n";
    let loaded =
        Folder::new().with("leveret.yaml", node).with("routes/r.yaml", &text).load().unwrap();
    match loaded.routes[0].flow.clone() {
        Flow::Move(moving) => *moving,
        other => panic!("{text}: {other:?}"),
    }
}

fn findings(from: &str, to: &str, more: &str) -> String {
    route_findings(&format!(
        "routes:\n- name: r\n  from: {{nsq: {{{from}}}}}\n  to: {{nsq: {{{to}}}}}\n  {more}\n"
    ))
}

#[test]
fn other_nsqds_are_read_from_in_both_modes_and_written_to() {
    for mode in ["direct", "queued"] {
        let from = "topic: t, nsqd: ['a:4150', '[::1]:4150'], lookupd: [https://l], max_in_flight: 5, max_backoff: 0, \
                    msg_timeout: 30s, auth_secret: s3cret";
        let moving = moving(from, "topic: u", &format!("mode: {mode}"));
        let Source::Remote(source) = &moving.from else { panic!("{moving:?}") };
        assert_eq!((source.channel.as_str(), source.max_in_flight), ("r", 5));
        assert_eq!(source.max_backoff, Duration::ZERO);
        assert_eq!(source.nsq.connect.msg_timeout, Some(Duration::from_secs(30)));
        assert_eq!(
            source.to_string(),
            "nsq t/r at nsqd a:4150, [::1]:4150 and nsqlookupd https://l"
        );
        assert!(!format!("{source:?}").contains("s3cret"));
    }
    let dead = "mode: queued\n  dead_letter: {nsq: {topic: d, nsqd: ['a:1']}}";
    let moving = moving(
        "topic: t",
        "topic: 'u.{{ body.x }}', lookupd: ['l:4161'], compression: deflate",
        dead,
    );
    let Target::Remote(target) = &moving.to else { panic!("{moving:?}") };
    assert_eq!(target.to_string(), "nsq u.{{ body.x }} at nsqlookupd l:4161");
    let DeadLetter::To(dead) = &moving.dead_letter else { panic!("{moving:?}") };
    assert_eq!(dead.to_string(), "nsq d at nsqd a:1");
}

#[test]
fn what_does_not_fit_is_said() {
    let local = "topic: u";
    for (from, to, words) in [
        (
            "topic: t, max_in_flight: 5",
            local,
            "from.nsq.max_in_flight: it is for other nsqds, which the keys nsqd",
        ),
        ("topic: t, nsqd: []", local, "from.nsq.nsqd: expected at least one host:port"),
        ("topic: t, nsqd: [a]", local, "from.nsq.nsqd[0]: expected host:port, such as"),
        ("topic: t, nsqd: ['http://a:1']", local, "from.nsq.nsqd[0]: expected host:port, such as"),
        ("topic: t, nsqd: ['a:1', 'a:1']", local, "from.nsq.nsqd[1]: \"a:1\" is given twice"),
        (
            "topic: t, nsqd: ['a:1'], max_in_flight: 0",
            local,
            "expected a whole number from 1 to 100000",
        ),
        ("topic: t, nsqd: ['a:1'], channel: 'c#ephemeral'", local, "goes with its last consumer"),
        (
            "topic: 't.{{ id }}', nsqd: ['a:1']",
            local,
            "only the topic that a route writes to may be a template",
        ),
        (
            "topic: t, nsqd: ['a:1'], tls: {cert_file: x}",
            local,
            "cert_file and key_file belong together",
        ),
        ("topic: t, nsqd: ['a:1'], auth_secret: a, auth_secret_file: b", local, "keep one"),
        (
            "topic: t",
            "topic: u, nsqd: ['a:1'], max_in_flight: 5",
            "only an end that is read from has it",
        ),
        (
            "topic: t, nsqd: ['a:1', 'b:1']",
            "topic: t, nsqd: ['b:1']",
            "the route leads from the topic \"t\" to itself",
        ),
    ] {
        let found = findings(from, to, "mode: queued");
        assert!(found.contains(words), "{from} -> {to}: {found}");
    }
    let dead = "mode: queued\n  dead_letter: {nsq: {topic: t, nsqd: ['a:1']}}";
    let found = findings("topic: t, nsqd: ['a:1']", "topic: u", dead);
    assert!(found.contains("dead letters would come back to this route for ever"), "{found}");
}

#[test]
fn circles_over_other_nsqds_are_seen() {
    let text = "routes:\n- name: there\n  from: {nsq: {topic: t}}\n  to: {nsq: {topic: u, nsqd: ['a:1']}}\n  mode: direct\n\
                - name: back\n  from: {nsq: {topic: u, nsqd: ['a:1', 'b:1']}}\n  to: {nsq: {topic: t}}\n  mode: queued\n";
    let found = route_findings(text);
    assert!(
        found.contains("would go round for ever") || found.contains("keeps no messages"),
        "{found}"
    );
    let text = text.replace("mode: direct", "mode: queued");
    let found = route_findings(&text);
    assert!(
        found.contains("messages would go round for ever: \"there\", \"back\", and again"),
        "{found}"
    );
}
