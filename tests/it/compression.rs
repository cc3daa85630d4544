//! Snappy and Deflate behind IDENTIFY.
//!
//! With `NSQD` set, the same tests ask another nsqd. pynsq then fails at times where it unpacks: it takes a piece that unpacks
//! to nothing for an error, and nsqd sends such pieces.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use serde_json::{Value, json};

use crate::support::drivers::{Library, bodies, expected};
use crate::support::leveret::Leveret;
use crate::support::nsq::{Client, Wire as _};
use crate::support::secure::{Over, Packing};
use crate::support::unique;
use crate::support::wait::PATIENCE;

const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";

/// Identifies so on a bare socket and gives what comes behind the JSON.
fn behind_identify(server: &Leveret, asked: &Value, length: usize) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(server.tcp()).unwrap();
    stream.set_patience(PATIENCE);
    let json = asked.to_string();
    let size = (json.len() as u32).to_be_bytes();
    stream.write_all(&[b"  V2IDENTIFY\n", &size[..], json.as_bytes()].concat()).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut reply = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut reply).unwrap();
    assert!(reply.starts_with(b"\0\0\0\0{"), "{}", String::from_utf8_lossy(&reply));
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).unwrap();
    (stream, rest)
}

#[test]
fn edge_018_both_compressions_at_once_are_refused() {
    let server = Leveret::nsqd().start();
    let both = json!({ "feature_negotiation": true, "snappy": true, "deflate": true }).to_string();
    let mut client = Client::connect(server.tcp());
    client.command_with("IDENTIFY", both.as_bytes());
    let text = "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression";
    assert_eq!(client.error(), text);
    client.closed();
    // One that the server does not have is not asked for.
    let server = Leveret::nsqd().arg("--snappy=false").start();
    let mut client = Client::connect(server.tcp());
    client.command_with("IDENTIFY", both.as_bytes());
    let agreed: Value = serde_json::from_slice(&client.response()).unwrap();
    assert_eq!((&agreed["snappy"], &agreed["deflate"]), (&json!(false), &json!(true)));
}

#[test]
fn edge_029_the_level_is_capped_and_always_told() {
    let server = Leveret::nsqd().arg("--max-deflate-level=4").start();
    for (level, deflate, agreed) in
        [(0, true, 4), (-3, true, 4), (9, true, 4), (2, true, 2), (2, false, 4)]
    {
        let mut client = Client::connect(server.tcp());
        let told = client.identify(
            &json!({ "feature_negotiation": true, "deflate": deflate, "deflate_level": level }),
        );
        assert_eq!(
            (&told["deflate_level"], &told["max_deflate_level"]),
            (&json!(agreed), &json!(4)),
            "{told}"
        );
        assert_eq!(told["deflate"], deflate);
    }
}

#[test]
fn edge_030_deflate_is_raw_and_flushed() {
    let server = Leveret::nsqd().start();
    let asked = json!({ "feature_negotiation": true, "deflate": true });
    let (mut stream, mut packed) = behind_identify(&server, &asked, 4);
    while !packed.ends_with(b"\0\0\xff\xff") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        packed.extend(byte);
    }
    let mut plain = vec![0; 100];
    let mut inflate = flate2::Decompress::new(false);
    inflate.decompress(&packed, &mut plain, flate2::FlushDecompress::None).unwrap();
    assert_eq!(&plain[..inflate.total_out() as usize], OK);
}

#[test]
fn edge_031_snappys_first_answer_is_stored_behind_the_identifier() {
    let server = Leveret::nsqd().start();
    let asked = json!({ "feature_negotiation": true, "snappy": true });
    let (_, packed) = behind_identify(&server, &asked, 28);
    assert_eq!(&packed[..10], b"\xff\x06\0\0sNaPpY");
    assert_eq!(&packed[10..14], b"\x01\x0e\0\0", "a stored chunk of 14 bytes");
    assert_eq!(&packed[18..], OK);
}

#[test]
fn messages_of_every_size_go_through_each_compression() {
    let server = Leveret::nsqd().arg("--max-msg-size=3000000").start();
    for packing in [Packing::Snappy, Packing::Deflate(1), Packing::Deflate(6)] {
        let topic = unique("packed");
        let over = Over { tls: None, packing: Some(packing) };
        let (mut client, _) = over.connect(server.tcp(), &json!({ "heartbeat_interval": 1000 }));
        client.sub(&topic, "c");
        client.rdy(100);
        let noise: Vec<u8> =
            (0..2_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let zeros = vec![0; 2_000_000];
        for body in [&b"x"[..], &noise, &zeros, &noise[..65_536], &zeros[..65_510], b"y"] {
            client.publish(&topic, body);
            let message = client.message();
            assert!(message.body == body, "{} bytes", message.body.len());
            client.fin(&message);
        }
        let many: Vec<Vec<u8>> = (0..500_u32).map(|n| n.to_be_bytes().repeat(10)).collect();
        let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
        client.publish_many(&topic, &many);
        for body in many {
            let message = client.message();
            assert_eq!(message.body, body);
            client.fin(&message);
        }
        assert_eq!(
            client.message_within(Duration::from_millis(1200)),
            None,
            "a heartbeat goes through"
        );
        client.publish(&topic, b"and on");
    }
}

#[test]
fn what_is_not_packed_ends_the_connection() {
    let server = Leveret::nsqd().start();
    for feature in ["snappy", "deflate"] {
        let asked = json!({ "feature_negotiation": true, feature: true });
        let (mut stream, _) = behind_identify(&server, &asked, 10);
        stream.write_all(b"\xffPUB t\n\0\0\0\x01x").unwrap();
        let mut rest = Vec::new();
        // A reset is an end as well.
        stream.read_to_end(&mut rest).map(drop).unwrap_or_default();
    }
    Client::connect(server.tcp()).publish("t", b"the server goes on");
}

/// Resident memory of the server, KiB.
fn memory(server: &Leveret) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_small_burst_cannot_take_much_memory() {
    let server = Leveret::nsqd().start();
    let asked = json!({ "feature_negotiation": true, "deflate": true });
    let (mut stream, _) = behind_identify(&server, &asked, 10);
    let before = memory(&server);
    // 400 MB of line feeds' opposite, in 400 KB: no line ever ends.
    let mut deflate = Compress::new(Compression::new(9), false);
    let mut packed = Vec::with_capacity(1 << 20);
    let zeros = vec![0; 1 << 20];
    for _ in 0..400 {
        packed.reserve(8192);
        deflate.compress_vec(&zeros, &mut packed, FlushCompress::None).unwrap();
    }
    packed.reserve(8192);
    deflate.compress_vec(b"", &mut packed, FlushCompress::Sync).unwrap();
    assert!(packed.len() < 500_000, "{}", packed.len());
    // It closes while it is being written to.
    stream.write_all(&packed).unwrap_or_default();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).map(drop).unwrap_or_default();
    let grown = memory(&server) - before;
    assert!(grown < 20_000, "{grown} KiB more");
}

/// Publishes and consumes with a library that is given these options.
fn works_with(library: Library, options: &Value) {
    let server = Leveret::nsqd().start();
    let topic = unique("packed");
    let options = options.to_string();
    let count = ["--count", "300", "--options", &options];
    let given = [&count[..], &["--batch", "20"]].concat();
    library.that_publishes_upgraded().publish(server.tcp(), &topic, &given).finish();
    let (messages, finished) = library.consume(server.tcp(), &topic, "c", &count).finish();
    assert_eq!((finished, bodies(&messages)), (300, expected("m", 300)));
}

#[test]
fn pynsq_compressed() {
    works_with(Library::Pynsq, &json!({ "snappy": true }));
    works_with(Library::Pynsq, &json!({ "deflate": true, "deflate_level": 3 }));
}

#[test]
fn gnsq_compressed() {
    works_with(Library::Gnsq, &json!({ "snappy": true }));
    works_with(Library::Gnsq, &json!({ "deflate": true, "deflate_level": 3 }));
}

#[test]
fn nsqjs_compressed() {
    works_with(Library::Nsqjs, &json!({ "snappy": true }));
    works_with(Library::Nsqjs, &json!({ "deflate": true, "deflateLevel": 3 }));
}
