//! Client libraries that nobody here wrote, publishing and consuming with requeue, touch and timeout.

use serde_json::Value;

use crate::support::drivers::{Library, bodies, expected};
use crate::support::leveret::Leveret;
use crate::support::unique;

/// Publishes by PUB, MPUB and DPUB, consumes with requeues and silence, and checks that each message was
/// finished once, and that only those came again that were not answered by FIN.
fn works_with(library: Library) {
    works_at(library, &Leveret::nsqd().arg("--msg-timeout=1s").start());
}

/// The same at a server whose messages time out after a second.
pub(crate) fn works_at(library: Library, server: &Leveret) {
    let topic = unique("client");
    for (prefix, options) in [
        ("pub", &["--count", "20"][..]),
        ("mpub", &["--count", "60", "--batch", "25"]),
        ("dpub", &["--count", "5", "--defer", "200"]),
    ] {
        let options: Vec<&str> = [options, &["--prefix", prefix]].concat();
        library.publish(server.tcp(), &topic, &options).finish();
    }

    let options = [
        "--count",
        "85",
        "--requeue",
        "7",
        "--requeue-delay",
        "100",
        "--silent",
        "3",
        "--touch",
        "5",
    ];
    let (messages, finished) = library.consume(server.tcp(), &topic, "c", &options).finish();
    assert_eq!((finished, messages.len()), (85, 95));
    let by = |answer: &str| -> Vec<Value> {
        let these = messages.iter().filter(|line| line["answer"] == answer);
        these.cloned().collect()
    };
    let mut all = expected("pub", 20);
    all.extend(expected("mpub", 60));
    all.extend(expected("dpub", 5));
    all.sort();
    assert_eq!(bodies(&by("fin")), all);
    for line in [by("req"), by("none")].concat() {
        assert_eq!(line["attempts"], 1, "{line}");
        let again = by("fin").into_iter().find(|other| other["id"] == line["id"]);
        assert_eq!(again.expect("it was finished later")["attempts"], 2);
    }
}

#[test]
fn pynsq() {
    works_with(Library::Pynsq);
}

#[test]
fn gnsq() {
    works_with(Library::Gnsq);
}

#[test]
fn nsqjs() {
    works_with(Library::Nsqjs);
}
