//! The registration DB by the clock of a test.

use super::*;

const LIFETIMES: Lifetimes =
    Lifetimes { inactive_producer: Duration::from_secs(300), tombstone: Duration::from_secs(45) };

struct Book {
    all: Registrations,
    start: Stamp,
}

fn id(name: &str) -> PeerId {
    name.into()
}

impl Book {
    /// Nsqds of these names, which have told who they are.
    fn of(names: &[&str]) -> Self {
        let mut book = Self { all: Registrations::default(), start: Stamp::now() };
        for name in names {
            let info = PeerInfo {
                remote_address: (*name).to_owned(),
                broadcast_address: (*name).to_owned(),
                http_port: 4151,
                ..PeerInfo::default()
            };
            assert!(book.all.identify(&id(name), info, book.start));
        }
        book
    }

    fn at(&self, seconds: u64) -> Stamp {
        Stamp {
            instant: self.start.instant + Duration::from_secs(seconds),
            unix_nanos: self.start.unix_nanos,
        }
    }

    /// Who is to be seen for a topic; "?" if the topic is not known.
    fn producers(&self, topic: &str, seconds: u64) -> String {
        let Some(found) = self.all.lookup(topic, LIFETIMES, self.at(seconds)) else {
            return "?".into();
        };
        let names = found.producers.iter().map(|info| info.broadcast_address.clone());
        names.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn a_registration_of_a_channel_is_one_of_its_topic() {
    let mut book = Book::of(&["a", "b"]);
    book.all.register(&id("a"), "t", Some("c"));
    book.all.register(&id("b"), "t", None);
    book.all.register(&id("nobody"), "u", None);
    assert_eq!((book.producers("t", 0), book.producers("u", 0)), ("a b".into(), "?".into()));
    assert_eq!((book.all.topics(), book.all.channels("t")), (vec!["t".into()], vec!["c".into()]));
    assert_eq!(book.all.counts(), [2, 1, 1]);
    assert!(!book.all.identify(&id("a"), PeerInfo::default(), book.start));
}

#[test]
fn edge_136_channels_stay_known_unless_they_are_ephemeral() {
    let mut book = Book::of(&["a"]);
    for channel in ["c", "e#ephemeral"] {
        book.all.register(&id("a"), "t", Some(channel));
        book.all.unregister(&id("a"), "t", Some(channel));
        book.all.unregister(&id("a"), "unknown", Some(channel));
    }
    assert_eq!(book.all.channels("t"), ["c"]);
    book.all.register(&id("a"), "e#ephemeral", Some("c"));
    book.all.unregister(&id("a"), "e#ephemeral", None);
    assert_eq!(book.all.topics(), ["t"], "an ephemeral topic goes with its last nsqd");
    assert_eq!(book.all.channels("e#ephemeral"), ["c"], "its channels stay");
    book.all.unregister(&id("a"), "t", None);
    assert_eq!((book.producers("t", 0), book.all.topics()), (String::new(), vec!["t".into()]));
}

#[test]
fn a_connection_that_goes_takes_its_registrations_along() {
    let mut book = Book::of(&["a", "b"]);
    for one in ["a", "b"] {
        book.all.register(&id(one), "t", Some("c"));
    }
    book.all.register(&id("a"), "e#ephemeral", Some("e#ephemeral"));
    book.all.leave(&id("a"));
    assert_eq!(book.producers("t", 0), "b");
    assert_eq!(book.all.topics(), ["e#ephemeral", "t"], "topics stay known, even such");
    assert_eq!(book.all.nodes(LIFETIMES, book.start).len(), 1);
    let dump = book.all.dump();
    assert_eq!(dump.keys().collect::<Vec<_>>(), ["channel:t:c", "client::", "topic:t:"]);
}

#[test]
fn edge_137_a_tombstone_ends_with_time_or_with_the_registration() {
    let mut book = Book::of(&["a", "b"]);
    for one in ["a", "b"] {
        book.all.register(&id(one), "t", Some("c"));
        book.all.register(&id(one), "u", None);
    }
    book.all.tombstone("t", "a:4151", book.at(10));
    book.all.tombstone("t", "a:1", book.at(10));
    assert_eq!((book.producers("t", 10), book.producers("u", 10)), ("b".into(), "a b".into()));
    book.all.register(&id("a"), "t", Some("c"));
    assert_eq!(book.producers("t", 54), "b", "to register again changes nothing");
    let nodes = book.all.nodes(LIFETIMES, book.at(54));
    assert_eq!(nodes[0].topics, [("t".to_owned(), true), ("u".to_owned(), false)]);
    let entry = &book.all.dump()["topic:t:"][0];
    assert!(entry.tombstoned && entry.tombstoned_at == book.start.unix_nanos);
    assert_eq!(book.all.dump()["channel:t:c"][0].tombstoned_at, NEVER);
    assert_eq!(book.producers("t", 55), "a b");
    book.all.tombstone("t", "a:4151", book.at(60));
    book.all.unregister(&id("a"), "t", None);
    book.all.register(&id("a"), "t", None);
    assert_eq!(book.producers("t", 60), "a b");
}

#[test]
fn edge_138_only_a_ping_keeps_an_nsqd_in_sight() {
    let mut book = Book::of(&["a", "b"]);
    book.all.register(&id("a"), "t", None);
    book.all.ping(&id("b"), book.at(200));
    book.all.register(&id("a"), "u", None);
    assert_eq!(book.producers("t", 300), "a");
    assert_eq!(book.producers("t", 301), "");
    assert_eq!(book.all.nodes(LIFETIMES, book.at(301)).len(), 1);
    book.all.ping(&id("a"), book.at(400));
    assert_eq!(book.producers("t", 400), "a");
}

#[test]
fn edge_140_every_topic_is_meant_by_a_star() {
    let mut book = Book::of(&["a", "b"]);
    book.all.register(&id("a"), "t", Some("c"));
    book.all.register(&id("b"), "u", Some("d"));
    assert_eq!((book.producers("*", 0), book.all.channels("*").len()), ("a b".into(), 2));
    book.all.delete_topic("*");
    assert_eq!((book.producers("*", 0), book.all.counts()), ("?".into(), [2, 0, 0]));
}

#[test]
fn edge_139_a_deleted_topic_comes_back_with_the_next_registration() {
    let mut book = Book::of(&["a"]);
    book.all.register(&id("a"), "t", Some("c"));
    book.all.create_channel("t", "by-hand");
    book.all.create_topic("empty");
    assert!(book.all.delete_channel("t", "by-hand") && !book.all.delete_channel("t", "by-hand"));
    assert!(!book.all.delete_channel("nowhere", "c"));
    book.all.delete_topic("t");
    assert_eq!((book.producers("t", 0), book.producers("empty", 0)), ("?".into(), String::new()));
    assert!(book.all.nodes(LIFETIMES, book.start)[0].topics.is_empty());
    book.all.register(&id("a"), "t", Some("other"));
    assert_eq!(
        (book.producers("t", 0), book.all.channels("t")),
        ("a".into(), vec!["other".into()])
    );
}
