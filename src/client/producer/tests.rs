//! A producer against servers that a test plays, byte by byte.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::protocol::frame;

const IDENTIFIED: &[u8] = br#"{"max_rdy_count":2500,"msg_timeout":60000}"#;

/// A server's side of one connection.
struct Server {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Server {
    /// Takes the next connection, and answers its IDENTIFY.
    async fn accept(listener: &TcpListener) -> Self {
        let (socket, _) = listener.accept().await.unwrap();
        let mut server = Self { socket, unread: Vec::new() };
        server.until(b"IDENTIFY").await;
        server.answer(|out| frame::push_response(out, IDENTIFIED)).await;
        server.unread.clear();
        server
    }

    /// Reads until this has come.
    async fn until(&mut self, text: &[u8]) {
        while !self.unread.windows(text.len()).any(|window| window == text) {
            let mut chunk = [0; 1024];
            let count = self.socket.read(&mut chunk).await.unwrap();
            assert!(count > 0, "{} before it closed", String::from_utf8_lossy(&self.unread));
            self.unread.extend_from_slice(&chunk[..count]);
        }
    }

    async fn answer(&mut self, push: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        push(&mut out);
        self.socket.write_all(&out).await.unwrap();
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn start(nsqd: Vec<String>, response_timeout: Duration) -> (Producer<Publish>, Work) {
    Producer::start(&ProducerOptions {
        addresses: Addresses { nsqd, lookupd: Vec::new() },
        lookupd_interval: Duration::from_secs(60),
        response_timeout,
        connect: ConnectOptions::default(),
    })
    .unwrap()
}

fn publish(
    producer: &Producer<Publish>,
    body: &'static str,
) -> oneshot::Receiver<Result<(), Refusal>> {
    let (job, answer) = Publish::new("t", vec![body.into()]);
    producer.push(job);
    answer
}

#[tokio::test]
async fn answers_are_matched_in_order_and_a_refusal_is_of_one_publish() {
    let (listener, address) = listen().await;
    let (producer, mut work) = start(vec![address], Duration::from_secs(30));
    let answers = ["one", "two", "three"].map(|body| publish(&producer, body));
    let mut server = Server::accept(&listener).await;
    server.until(b"three").await;
    server
        .answer(|out| {
            frame::push_response(out, frame::OK);
            frame::push_response(out, frame::HEARTBEAT);
            frame::push_error(out, b"E_BAD_MESSAGE PUB message too big 3 > 2");
        })
        .await;
    drop(server);
    let [one, two, three] = answers;
    assert_eq!(one.await.unwrap(), Ok(()));
    assert!(two.await.unwrap().unwrap_err().is_size());
    // What was behind it goes out again.
    let mut server = Server::accept(&listener).await;
    server.until(b"three").await;
    assert!(!server.unread.windows(3).any(|window| window == b"two"));
    server.answer(|out| frame::push_response(out, frame::OK)).await;
    assert_eq!(three.await.unwrap(), Ok(()));
    producer.idle().await;
    producer.close();
    work.ended().await;
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_published_again_unless_nobody_wants_it() {
    let (dead, one) = listen().await;
    let (producer, _work) = start(vec![one], Duration::from_millis(200));
    let (answer, gone) = (publish(&producer, "kept"), publish(&producer, "gone"));
    let mut silent = Server::accept(&dead).await;
    silent.until(b"gone").await;
    drop(gone);
    // It never answers: the connection is given up, and the same jobs are taken by the next one.
    let mut server = Server::accept(&dead).await;
    server.until(b"kept").await;
    server.answer(|out| frame::push_response(out, frame::OK)).await;
    assert_eq!(answer.await.unwrap(), Ok(()));
    let later = publish(&producer, "later");
    server.until(b"later").await;
    assert!(!server.unread.windows(4).any(|window| window == b"gone"));
    server.answer(|out| frame::push_response(out, frame::OK)).await;
    assert_eq!(later.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn publishes_go_round() {
    let ((first, one), (second, two)) = (listen().await, listen().await);
    let (producer, _work) = start(vec![one, two], Duration::from_secs(30));
    let mut servers = [Server::accept(&first).await, Server::accept(&second).await];
    let mut health = producer.health();
    health.wait_for(|health| *health == Health::Up).await.unwrap();
    let mut counts = [0, 0];
    for _ in 0..20 {
        let answer = publish(&producer, "x");
        let [first, second] = &mut servers;
        let (server, count) = tokio::select! {
            () = first.until(b"PUB t") => (&mut servers[0], &mut counts[0]),
            () = second.until(b"PUB t") => (&mut servers[1], &mut counts[1]),
        };
        *count += 1;
        server.unread.clear();
        server.answer(|out| frame::push_response(out, frame::OK)).await;
        assert_eq!(answer.await.unwrap(), Ok(()));
    }
    assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
}

#[test]
fn the_command_is_that_of_the_number_of_messages() {
    let written = |bodies: &[&'static str], defer| {
        let bodies: Vec<bytes::Bytes> = bodies.iter().map(|body| (*body).into()).collect();
        let mut out = Vec::new();
        push_publish(&mut out, "t", &bodies, defer);
        String::from_utf8_lossy(&out).into_owned()
    };
    assert_eq!(written(&[], None), "");
    assert_eq!(written(&["a"], None), "PUB t\n\0\0\0\x01a");
    assert_eq!(written(&["a"], Some(5)), "DPUB t 5\n\0\0\0\x01a");
    assert!(written(&["a", "b"], None).starts_with("MPUB t\n\0\0\0\x0e\0\0\0\x02"));
}
