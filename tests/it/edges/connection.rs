//! Connection, framing, parsing: cases 1 to 16.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::leveret::{Leveret, is_nsqd};
use crate::support::nsq::{Client, Frame, MAGIC};
use crate::support::stats;

#[test]
fn edge_001_a_wrong_magic_is_told_so_and_closed() {
    let server = Leveret::nsqd().start();
    for magic in [b"GET ", b"  V1", b" V2 ", b"\0\0\0\0"] {
        let mut client = Client::silent(server.tcp());
        client.send(magic);
        client.fatal("E_BAD_PROTOCOL");
    }
}

/// Leveret's own limit of a minute is tested with its clock, beside the server.
#[test]
fn edge_002_a_silent_connection_is_waited_for() {
    let server = Leveret::nsqd().start();
    let mut client = Client::silent(server.tcp());
    assert_eq!(client.frame_within(Duration::from_millis(700)), None);
    client.send(&MAGIC[..3]);
    assert_eq!(client.frame_within(Duration::from_millis(100)), None);
    client.send(&MAGIC[3..]);
    client.publish("t", b"works");
}

#[test]
fn edge_003_a_connection_without_a_magic_does_not_hold_up_the_exit() {
    let mut server = Leveret::nsqd().start();
    let silent = Client::silent(server.tcp());
    // Connections are accepted in order: once this one is served, the other one is known.
    Client::connect(server.tcp()).publish("t", b"kept");
    server.signal("TERM");
    if is_nsqd() {
        server.await_log("QUEUESCAN: closing");
        std::thread::sleep(Duration::from_millis(500));
        assert!(server.is_running(), "nsqd waits for it: a defect that Leveret does not share");
        drop(silent);
        assert!(server.end().success());
    } else {
        assert!(server.end().success());
        drop(silent);
    }
    server.restart();
    assert_eq!(stats::topic(server.http(), "t")["depth"], 1);
}

#[test]
fn edge_004_005_a_line_that_is_no_command_is_fatal_in_every_state() {
    let server = Leveret::nsqd().start();
    for (line, word) in [
        ("", ""),
        (" NOP", ""),
        ("nop", "nop"),
        ("Pub t", "Pub"),
        ("\tNOP", "\tNOP"),
        ("FINX", "FINX"),
    ] {
        for before in ["", "SUB t c", "CLS"] {
            let mut client = Client::connect(server.tcp());
            if !before.is_empty() {
                client.sub("t", "c");
            }
            if before == "CLS" {
                client.command("CLS");
                assert_eq!(client.response(), b"CLOSE_WAIT");
            }
            client.command(line);
            client.fatal(&format!("E_INVALID invalid command {word}"));
        }
    }
}

#[test]
fn edge_006_nop_takes_anything_behind_it_and_one_cr() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.send(b"NOP\nNOP \nNOP a b  c\nNOP\r\nNOP \r\r\n");
    client.publish("t", b"still open");
    client.send(b"NOP\r\r\n");
    client.fatal("E_INVALID invalid command NOP\r");
}

#[test]
fn edge_007_a_line_may_be_16384_bytes_long() {
    let server = Leveret::nsqd().start();
    let line = |length: usize| format!("NOP {}\n", "x".repeat(length - 5));
    let mut client = Client::connect(server.tcp());
    client.send(line(16384).as_bytes());
    client.publish("t", b"still open");
    client.send(line(16385).as_bytes());
    client.closed();
}

#[test]
fn edge_008_commands_of_one_packet_are_done_in_order() {
    let server = Leveret::nsqd().start();
    Client::connect(server.tcp()).publish("t", b"before");
    let mut client = Client::silent(server.tcp());
    let identify = json!({ "feature_negotiation": true }).to_string();
    let mut packet =
        [MAGIC, b"IDENTIFY\n", &u32::try_from(identify.len()).unwrap().to_be_bytes()].concat();
    packet.extend_from_slice(identify.as_bytes());
    packet.extend_from_slice(b"PUB u\n\0\0\0\x01aSUB t c\nRDY 1\nNOP\n");
    client.send(&packet);
    let Some(Frame::Response(features)) = client.frame() else {
        panic!("IDENTIFY is answered first")
    };
    assert!(features.starts_with(b"{\"max_rdy_count\":2500,"));
    for command in ["PUB", "SUB"] {
        assert_eq!(client.frame(), Some(Frame::Response(b"OK".to_vec())), "{command}");
    }
    assert_eq!(client.message().text(), "before", "only behind SUB and RDY");
}

#[test]
fn edge_009_nothing_is_done_behind_a_bad_command() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.send(b"PUB t\n\0\0\0\x01aBAD\nPUB t\n\0\0\0\x01b");
    client.ok();
    client.fatal("E_INVALID invalid command BAD");
    assert_eq!(stats::topic(server.http(), "t")["message_count"], 1);
}

#[test]
fn edge_010_identify_may_be_left_out() {
    let server = Leveret::nsqd().start();
    let mut client = Client::subscribed(server.tcp(), "t", "c", 1);
    client.publish("t", b"works");
    assert_eq!(client.message().text(), "works");
    let shown = stats::client(server.http(), "t", "c");
    assert_eq!(
        (&shown["client_id"], &shown["hostname"]),
        (&json!("127.0.0.1"), &json!("127.0.0.1"))
    );
    assert_eq!(shown["user_agent"], "");
}

#[test]
fn edge_012_a_mute_client_gets_a_heartbeat_and_is_closed() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.identify(&json!({ "heartbeat_interval": 1000 }));
    let began = Instant::now();
    let beat = Frame::Response(b"_heartbeat_".to_vec());
    assert_eq!(client.frame(), Some(beat.clone()));
    let first = began.elapsed();
    // The second beat and the end are due at the same moment.
    let last = client.until_closed();
    assert!(last.is_empty() || last == [beat], "{last:?}");
    let end = began.elapsed();
    assert!(first > Duration::from_millis(900) && first < Duration::from_millis(1800), "{first:?}");
    assert!(end > Duration::from_millis(1900), "{end:?}");
}

#[test]
fn edge_013_a_busy_client_gets_heartbeats_too() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.identify(&json!({ "heartbeat_interval": 1000 }));
    let began = Instant::now();
    let mut beats = 0;
    while beats < 2 {
        client.command("NOP");
        if let Some(frame) = client.frame_within(Duration::from_millis(50)) {
            assert_eq!(frame, Frame::Response(b"_heartbeat_".to_vec()));
            beats += 1;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{beats} heartbeats");
    }
    assert!(began.elapsed() > Duration::from_millis(1900));
}

#[test]
fn edge_014_without_heartbeats_one_may_publish_and_not_subscribe() {
    let server = Leveret::nsqd().start();
    let mut client = Client::connect(server.tcp());
    client.identify(&json!({ "heartbeat_interval": -1 }));
    client.publish("t", b"works");
    client.command("SUB t c");
    client.fatal("E_INVALID cannot SUB with heartbeats disabled");
}

#[test]
fn edge_015_a_name_has_64_bytes_with_its_suffix() {
    let server = Leveret::nsqd().start();
    let longest = "x".repeat(54) + "#ephemeral";
    let mut client = Client::connect(server.tcp());
    for name in [&longest, "a", ".", "-_.09azAZ", "x#ephemeral"] {
        client.publish(name, b"valid");
        Client::connect(server.tcp()).sub(name, name);
    }
    let too_long = format!("x{longest}");
    for name in
        [&too_long, &"x".repeat(65), "#ephemeral", "t#foo", "t#", "t#ephemeral#ephemeral", "", "t/"]
    {
        let refused = |line: String, text: String| {
            let mut client = Client::connect(server.tcp());
            client.command(&line);
            client.fatal(&text);
        };
        for word in ["PUB", "SUB"] {
            refused(
                format!("{word} {name} c"),
                format!("E_BAD_TOPIC {word} topic name \"{name}\" is not valid"),
            );
        }
        refused(
            format!("SUB t {name}"),
            format!("E_BAD_CHANNEL SUB channel name \"{name}\" is not valid"),
        );
    }
}

#[test]
fn edge_016_a_name_is_quoted_as_go_does() {
    let server = Leveret::nsqd().start();
    for (name, quoted) in [
        (&b"a\"b"[..], r#""a\"b""#),
        (b"a\\b", r#""a\\b""#),
        (b"a\xffb\xc3", r#""a\xffb\xc3""#),
        (b"\t\x07\x00\x7f", r#""\t\a\x00\x7f""#),
        ("ü'\u{a0}\u{200b}€".as_bytes(), r#""ü'\u00a0\u200b€""#),
    ] {
        let mut client = Client::connect(server.tcp());
        client.send(&[b"PUB ", name, b"\n"].concat());
        client.fatal(&format!("E_BAD_TOPIC PUB topic name {quoted} is not valid"));
    }
}
