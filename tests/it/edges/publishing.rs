//! Publishing: cases 37 to 51, but for a disk that fails (49).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::support::leveret::{Leveret, is_nsqd};
use crate::support::nsq::{Client, declared, mpub_body};
use crate::support::stats;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn edge_037_038_a_size_out_of_range_is_refused_before_the_body() {
    let server = Leveret::nsqd().arg("--max-msg-size=1000").start();
    for (line, word) in [("PUB t", "PUB"), ("DPUB t 0", "DPUB")] {
        for (size, text) in [
            (0, "invalid message body size 0"),
            (-1, "invalid message body size -1"),
            (i32::MIN, "invalid message body size -2147483648"),
            (1001, "message too big 1001 > 1000"),
            (i32::MAX, "message too big 2147483647 > 1000"),
        ] {
            let mut client = Client::connect(server.tcp());
            client.send(&declared(line, size));
            client.fatal(&format!("E_BAD_MESSAGE {word} {text}"));
        }
    }
    assert_eq!(stats::topics(server.http()), [""; 0], "no topic is made");
    Client::connect(server.tcp()).publish("t", &[b'x'; 1000]);
}

#[test]
fn edge_039_a_bad_mpub_makes_its_topic_and_nothing_else() {
    let server = Leveret::nsqd().arg("--max-msg-size=1000").start();
    let sized = |body: &[u8], size: i32| [&size.to_be_bytes(), body].concat();
    let count = |count: i32| sized(&count.to_be_bytes(), 100);
    let second = |size: i32| [&mpub_body(&[b"ok", b"x"])[..10], &size.to_be_bytes()].concat();
    for (at, (rest, text)) in [
        (sized(b"", 0), "E_BAD_BODY MPUB invalid body size 0"),
        (sized(b"", -1), "E_BAD_BODY MPUB invalid body size -1"),
        (sized(b"", 5_242_881), "E_BAD_BODY MPUB body too big 5242881 > 5242880"),
        (count(0), "E_BAD_BODY MPUB invalid message count 0"),
        (count(-1), "E_BAD_BODY MPUB invalid message count -1"),
        (sized(&second(0), 100), "E_BAD_MESSAGE MPUB invalid message(1) body size 0"),
        (sized(&second(-7), 100), "E_BAD_MESSAGE MPUB invalid message(1) body size -7"),
        (sized(&second(1001), 100), "E_BAD_MESSAGE MPUB message too big 1001 > 1000"),
    ]
    .into_iter()
    .enumerate()
    {
        let topic = format!("t{at}");
        let mut client = Client::connect(server.tcp());
        client.send(&[format!("MPUB {topic}\n").as_bytes(), &rest].concat());
        client.fatal(text);
        assert_eq!(stats::topic(server.http(), &topic)["message_count"], 0, "{text}");
    }
}

#[test]
fn edge_040_the_count_and_sizes_of_an_mpub_rule_not_its_body_size() {
    let server = Leveret::nsqd().start();
    for size in [1, 5, 4_000_000_i32] {
        let mut client = Client::connect(server.tcp());
        let mpub = [&declared("MPUB t", size)[..], &mpub_body(&[b"one", b"two"])].concat();
        client.send(&[&mpub[..], b"PUB t\n\0\0\0\x05three"].concat());
        client.ok();
        client.ok();
    }
    let topic = stats::topic(server.http(), "t");
    assert_eq!((&topic["message_count"], &topic["message_bytes"]), (&9.into(), &33.into()));
}

#[test]
fn edge_041_mpub_says_its_code_twice() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.command("MPUB a*b");
    client.fatal("E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \"a*b\" is not valid");
}

#[test]
fn edge_042_an_mpub_has_no_more_messages_than_its_body_could_hold() {
    let server = Leveret::nsqd().arg("--max-body-size=104").start();
    let mut client = Client::connect(server.tcp());
    client.publish_many("t", &[&b"x"[..]; 20]);
    client.send(&[&declared("MPUB t", 104)[..], &mpub_body(&[&b"x"[..]; 21])[..4]].concat());
    client.fatal("E_BAD_BODY MPUB invalid message count 21");
    assert_eq!(stats::topic(server.http(), "t")["message_count"], 20);
}

#[test]
fn edge_043_a_delay_beyond_the_longest_is_refused() {
    let server = Leveret::nsqd().start();
    for (delay, text) in [
        ("3600001", "DPUB timeout 3600001 out of range 0-3600000"),
        ("-1", "DPUB could not parse timeout -1"),
        ("+1", "DPUB could not parse timeout +1"),
        ("1.5", "DPUB could not parse timeout 1.5"),
        ("soon", "DPUB could not parse timeout soon"),
    ] {
        let mut client = Client::connect(server.tcp());
        client.command(&format!("DPUB t {delay}"));
        client.fatal(&format!("E_INVALID {text}"));
    }
    assert_eq!(stats::topics(server.http()), [""; 0]);
    Client::connect(server.tcp()).publish_deferred("t", HOUR, b"the longest");
}

#[test]
fn edge_044_a_delay_wraps_and_may_be_empty() {
    let server = Leveret::nsqd().start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 10);
    for delay in ["18446744073709551616", "", "0", "00"] {
        client.command_with(&format!("DPUB t {delay}"), b"x");
        client.ok();
        // A delay that counted would be hours.
        let message = client.message();
        client.fin(&message);
    }
}

#[test]
fn edge_045_the_delay_starts_with_the_first_channel() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    let (delay, before) = (Duration::from_millis(1500), Duration::from_millis(500));
    client.publish_deferred("t", delay, b"later");
    // Time that passes before there is a channel does not count.
    std::thread::sleep(before);
    let began = Instant::now();
    client.consume("t", "c", 1);
    stats::await_counts(server.http(), "t", "c", [0, 0, 1]);
    assert_eq!(client.message().text(), "later");
    let passed = began.elapsed();
    assert!(passed > delay - Duration::from_millis(200), "{passed:?}");
}

/// Leveret keeps a delay wherever the message is.
#[test]
fn edge_046_a_delay_is_kept_without_a_channel_and_without_a_memory_queue() {
    let server = Leveret::nsqd().arg("--mem-queue-size=0").start();
    let mut client = Client::connect(server.tcp());
    client.publish_deferred("t", HOUR, b"later");
    client.consume("t", "c", 1);
    if is_nsqd() {
        assert_eq!(
            client.message().text(),
            "later",
            "it went through a file, which forgot the delay"
        );
    } else {
        stats::await_counts(server.http(), "t", "c", [0, 0, 1]);
    }
}

#[test]
fn edge_047_a_delay_is_kept_with_a_channel_and_without_a_memory_queue() {
    let server = Leveret::nsqd().arg("--mem-queue-size=0").start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish_deferred("t", HOUR, b"later");
    stats::await_counts(server.http(), "t", "c", [0, 0, 1]);
}

/// Leveret keeps a delay wherever the message is.
#[test]
fn edge_048_a_delay_is_kept_behind_a_full_memory_queue() {
    let server = Leveret::nsqd().arg("--mem-queue-size=1").start();
    let mut client = Client::connect(server.tcp());
    client.publish("t", b"first");
    client.publish_deferred("t", HOUR, b"later");
    client.consume("t", "c", 2);
    if is_nsqd() {
        let mut both = [client.message().text(), client.message().text()];
        both.sort();
        assert_eq!(both, ["first", "later"], "it went through a file, which forgot the delay");
    } else {
        assert_eq!(client.message().text(), "first");
        stats::await_counts(server.http(), "t", "c", [0, 1, 1]);
    }
}

#[test]
fn edge_050_publishing_works_in_every_state() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.sub("t", "c");
    client.publish("t", b"subscribed");
    client.command("CLS");
    assert_eq!(client.response(), b"CLOSE_WAIT");
    client.publish("t", b"closing");
    client.publish_many("t", &[b"more"]);
    client.publish_deferred("t", Duration::ZERO, b"and more");
    assert_eq!(stats::topic(server.http(), "t")["message_count"], 4);
}

/// Two topics may give the same id: clients are to know a message by its topic and id.
#[test]
fn edge_051_ids_are_16_digits_and_increase_within_a_topic() {
    let server = Leveret::nsqd().start();
    let publishing = ["t", "u"].map(|topic| {
        let at = server.tcp();
        std::thread::spawn(move || {
            let mut client = Client::connect(at);
            for _ in 0..10 {
                client.publish_many(topic, &[&b"x"[..]; 100]);
            }
        })
    });
    for thread in publishing {
        thread.join().unwrap();
    }
    for topic in ["t", "u"] {
        let mut client = Client::subscribed(server.tcp(), topic, "c", 1000);
        let ids: Vec<String> = (0..1000).map(|_| client.message().id).collect();
        let plain = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        assert!(ids.iter().all(|id| id.len() == 16 && id.chars().all(plain)));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 1000);
        assert!(ids.is_sorted());
    }
}
