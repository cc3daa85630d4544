//! A connection's deadlines, on a clock that the tests own.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Address, Listener, Options, Workers, conn};
use crate::clock::{self, Instant};
use crate::engine::{self, Engine};
use crate::protocol::command::Limits;
use crate::protocol::encode::MAGIC_V2;
use crate::protocol::identify::{Offer, Settings};

const BEAT: &[u8] = b"\0\0\0\x0f\0\0\0\0_heartbeat_";
/// Longer than anything here takes.
const HOUR: Duration = Duration::from_secs(3600);

fn options() -> Options {
    Options {
        limits: Limits {
            max_msg_size: 1000,
            max_body_size: 1000,
            max_rdy_count: 2500,
            max_req_timeout: HOUR,
            max_defer_time: None,
            explain_errors: false,
        },
        offer: Offer {
            max_rdy_count: 2500,
            version: "1.3.0".into(),
            max_msg_timeout: Duration::from_secs(900),
            max_heartbeat_interval: Duration::from_secs(60),
            max_output_buffer_size: 65536,
            max_output_buffer_timeout: Duration::from_secs(30),
            min_output_buffer_timeout: Duration::from_millis(25),
            tls: false,
            deflate: false,
            max_deflate_level: 6,
            snappy: false,
            auth_required: false,
            topology_region: String::new(),
            topology_zone: String::new(),
        },
        defaults: Settings {
            heartbeat_interval: Some(Duration::from_secs(30)),
            output_buffer_size: 16384,
            output_buffer_timeout: Some(Duration::from_millis(250)),
            sample_rate: 0,
            msg_timeout: Duration::from_secs(60),
        },
        max_channel_consumers: 0,
        shutdown_timeout: Duration::from_secs(1),
        secure: super::Secure::default(),
        topology_aware: false,
    }
}

/// A client's end of a connection that is served.
struct Rig {
    stream: DuplexStream,
    began: Instant,
    _stop: watch::Sender<bool>,
}

impl Rig {
    /// `buffer` is what the connection holds unread, bytes.
    async fn start(said: &[u8], buffer: usize) -> Self {
        let (mut stream, served) = duplex(buffer);
        let stop = watch::Sender::new(false);
        let engine = Engine::new(engine::Options::default());
        let host = conn::Host { engine, options: Arc::new(options()), stop: stop.subscribe() };
        let serving = conn::run(served, "127.0.0.1:1".into(), host, Arc::default());
        drop(crate::task::spawn("conn", serving));
        let began = clock::now();
        stream.write_all(said).await.unwrap();
        Self { stream, began, _stop: stop }
    }

    /// Reads until the connection has given `bytes`, and gives when.
    async fn awaits(&mut self, bytes: &[u8]) -> Duration {
        let mut read = vec![0; bytes.len()];
        timeout(HOUR, self.stream.read_exact(&mut read)).await.unwrap().unwrap();
        assert_eq!(read, bytes);
        clock::since(self.began)
    }

    /// Awaits the end of the connection, and gives when it came and what came before it.
    async fn end(mut self) -> (Duration, Vec<u8>) {
        let mut rest = Vec::new();
        timeout(HOUR, self.stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        (clock::since(self.began), rest)
    }
}

fn secs(duration: Duration) -> f64 {
    duration.as_secs_f64().round()
}

#[tokio::test(start_paused = true)]
async fn edge_002_a_client_without_a_magic_is_let_go_after_a_minute() {
    for said in [&b""[..], b"  V"] {
        let (end, rest) = Rig::start(said, 1024).await.end().await;
        assert_eq!((secs(end), rest), (60.0, Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn edge_011_a_mute_client_gets_two_heartbeats_and_is_closed_after_a_minute() {
    let mut rig = Rig::start(MAGIC_V2, 1024).await;
    assert_eq!(secs(rig.awaits(BEAT).await), 30.0);
    let (end, rest) = rig.end().await;
    assert_eq!((secs(end), &rest[..]), (60.0, BEAT));
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_that_answers_its_heartbeats_stays() {
    let mut rig = Rig::start(MAGIC_V2, 1024).await;
    for beat in 1..100_u32 {
        assert_eq!(secs(rig.awaits(BEAT).await), 30.0 * f64::from(beat));
        rig.stream.write_all(b"NOP\n").await.unwrap();
    }
    rig.stream.write_all(b"PUB t\n\0\0\0\x01x").await.unwrap();
    rig.awaits(b"\0\0\0\x06\0\0\0\0OK").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_let_go_after_an_interval() {
    // The connection holds less than a heartbeat; the client says something all the time.
    let mut rig = Rig::start(MAGIC_V2, 8).await;
    let mut said = Ok(());
    while said.is_ok() && clock::since(rig.began) < HOUR {
        tokio::time::sleep(Duration::from_secs(1)).await;
        said = rig.stream.write_all(b"NOP\n").await;
    }
    let end = secs(clock::since(rig.began));
    assert!((60.0..70.0).contains(&end), "{end}");
}

/// Publishes `count` messages at once and awaits as many answers.
async fn publish(stream: &mut TcpStream, count: usize) {
    let answer = b"\0\0\0\x06\0\0\0\0OK";
    let (mut reading, mut writing) = stream.split();
    let mut answers = vec![0; count * answer.len()];
    let commands = b"PUB t\n\0\0\0\x04body".repeat(count);
    let (wrote, read) =
        tokio::join!(writing.write_all(&commands), reading.read_exact(&mut answers));
    wrote.unwrap();
    read.unwrap();
    assert!(answers == answer.repeat(count));
}

#[tokio::test]
async fn a_connection_that_goes_from_thread_to_thread_loses_nothing() {
    let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".into())).await.unwrap();
    let address = listener.local_address().unwrap();
    let stop = watch::Sender::new(false);
    let engine = Engine::new(engine::Options::default());
    let workers = Workers::start(2).unwrap();
    let serving =
        super::serve(listener, workers, Arc::clone(&engine), Arc::new(options()), stop.subscribe());
    let serving = crate::task::spawn("serve", serving);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(MAGIC_V2).await.unwrap();
    for _ in 0..3 {
        // Heavy, which takes it to the other thread, then light, which brings it back.
        for _ in 0..30 {
            publish(&mut stream, 3000).await;
        }
        for _ in 0..60 {
            publish(&mut stream, 1).await;
        }
    }
    assert_eq!(engine.topic("t").unwrap().depth(), 3 * (30 * 3000 + 60));
    stop.send_replace(true);
    serving.await.unwrap();
}
