//! `/pub` and `/mpub`.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Answer, Rig};
use crate::clock;
use crate::engine::{
    Client, Consumer, Identity, Ingress, Outbound, PublishError, PullLimit, Signal, Subscriber,
    Ticket,
};

/// A consumer of channel `c` that is ready for everything.
fn subscribe(rig: &Rig, topic: &str) -> (Consumer, Arc<Signal>) {
    let signal = Arc::<Signal>::default();
    let channel = rig.engine.topic(topic).unwrap().channel("c").unwrap();
    let subscriber = Subscriber {
        client: Arc::new(Client::new("@".into(), 0, Identity::default())),
        signal: Arc::clone(&signal),
        msg_timeout: Duration::from_secs(60),
        touch_timeout: Duration::from_secs(60),
        sample_rate: 0,
    };
    let consumer = channel.subscribe(subscriber, 0).unwrap();
    consumer.set_ready(100);
    (consumer, signal)
}

fn pull(consumer: &Consumer) -> Vec<String> {
    let mut bodies = Vec::new();
    let all = PullLimit { messages: u64::MAX, bytes: usize::MAX };
    consumer.pull(all, clock::now(), |delivery| {
        bodies.push(String::from_utf8_lossy(delivery.body).into_owned());
    });
    bodies
}

/// A binary batch.
fn binary(messages: &[&str]) -> Vec<u8> {
    let size = |size: usize| u32::try_from(size).unwrap().to_be_bytes();
    let mut batch = size(messages.len()).to_vec();
    for message in messages {
        batch.extend_from_slice(&size(message.len()));
        batch.extend_from_slice(message.as_bytes());
    }
    batch
}

#[tokio::test]
async fn a_published_message_wakes_its_consumer() {
    let rig = Rig::start().await;
    let (consumer, signal) = subscribe(&rig, "t");
    assert!(pull(&consumer).is_empty());
    rig.post("/pub?topic=t", b"hello").await.is("OK");
    tokio::time::timeout(super::PATIENCE, signal.woken()).await.unwrap();
    assert_eq!(pull(&consumer), ["hello"]);
    rig.post_chunked("/pub?topic=t", &[b'x'; 100]).await.is("OK");
    assert_eq!(pull(&consumer), ["x".repeat(100)]);
}

#[tokio::test]
async fn edge_110_the_body_is_looked_at_before_the_topic() {
    let rig = Rig::start().await;
    rig.post("/pub", b"").await.refuses(400, "MSG_EMPTY");
    rig.post("/pub?%", b"").await.refuses(400, "MSG_EMPTY");
    rig.post("/pub", &[0; 101]).await.refuses(413, "MSG_TOO_BIG");
    rig.post_chunked("/pub", &[0; 101]).await.refuses(413, "MSG_TOO_BIG");
    rig.post("/pub?%", b"x").await.refuses(400, "INVALID_REQUEST");
    rig.post("/pub", b"x").await.refuses(400, "MISSING_ARG_TOPIC");
    rig.post("/pub?topic", b"x").await.refuses(400, "INVALID_TOPIC");
    rig.post("/pub?topic=a/b", b"x").await.refuses(400, "INVALID_TOPIC");
    assert!(rig.engine.topics().is_empty());
}

#[tokio::test]
async fn edge_111_a_bad_delay_leaves_the_topic_behind() {
    let rig = Rig::start().await;
    for (at, defer) in
        ["-1", "x", "", "1.5", "3600001", "99999999999999999999"].into_iter().enumerate()
    {
        let answer = rig.post(&format!("/pub?topic=t{at}&defer={defer}"), b"x").await;
        answer.refuses(400, "INVALID_DEFER");
        assert!(rig.engine.find_topic(&format!("t{at}")).is_some());
    }
    let (consumer, _signal) = subscribe(&rig, "t");
    rig.post("/pub?topic=t&defer=3600000", b"late").await.is("OK");
    rig.post("/pub?topic=t&defer=%2B0", b"now").await.is("OK");
    assert_eq!(pull(&consumer), ["now"]);
    assert_eq!(consumer.channel().counts().deferred, 1);
}

#[tokio::test]
async fn edge_112_lines_are_messages_and_blank_ones_are_none() {
    let rig = Rig::start().await;
    let (consumer, _signal) = subscribe(&rig, "t");
    rig.post("/mpub?topic=t", b"\n\none\r\n\ntwo\nthree").await.is("OK");
    assert_eq!(pull(&consumer), ["one\r", "two", "three"]);
    for empty in [b"".as_slice(), b"\n", b"\n\n\n"] {
        rig.post("/mpub?topic=t&binary=false", empty).await.is("OK");
        rig.post_chunked("/mpub?topic=t", empty).await.is("OK");
    }
    assert!(pull(&consumer).is_empty());
    let long = [b"one\n".as_slice(), &[b'x'; 101], b"\n"].concat();
    rig.post("/mpub?topic=t", &long).await.refuses(413, "MSG_TOO_BIG");
    rig.post("/mpub?topic=t", &[b'\n'; 1001]).await.refuses(413, "BODY_TOO_BIG");
    rig.post_chunked("/mpub?topic=t", &[b'\n'; 1001]).await.refuses(413, "BODY_TOO_BIG");
    rig.post_chunked("/mpub?topic=t", &[b'\n'; 1000]).await.is("OK");
    assert!(pull(&consumer).is_empty(), "all or nothing");
}

#[tokio::test]
async fn mpub_looks_at_the_topic_before_the_body() {
    let rig = Rig::start().await;
    rig.post("/mpub", b"").await.refuses(400, "MISSING_ARG_TOPIC");
    rig.post("/mpub", &[b'x'; 1001]).await.refuses(413, "BODY_TOO_BIG");
    rig.post("/mpub?topic=+", b"x").await.refuses(400, "INVALID_TOPIC");
    rig.post("/mpub?topic=t&binary=true", b"x").await.refuses(413, "BAD_BODY");
    assert!(rig.engine.find_topic("t").is_some());
}

#[tokio::test]
async fn edge_113_anything_but_a_plain_no_is_binary() {
    let rig = Rig::start().await;
    let (consumer, _signal) = subscribe(&rig, "t");
    for value in ["true", "1", "", "TRUE", "no"] {
        let target = format!("/mpub?topic=t&binary={value}");
        rig.post(&target, &binary(&["a\nb", "c"])).await.is("OK");
        assert_eq!(pull(&consumer), ["a\nb", "c"], "{value}");
    }
    rig.post("/mpub?topic=t&binary=0", b"a\nb").await.is("OK");
    assert_eq!(pull(&consumer), ["a", "b"]);
}

#[tokio::test]
async fn edge_114_binary_batches_that_do_not_parse_publish_nothing() {
    let rig = Rig::start().await;
    let (consumer, _signal) = subscribe(&rig, "t");
    let count = |count: i32| count.to_be_bytes().to_vec();
    let with =
        |head: i32, size: i32, body: &[u8]| [count(head).as_slice(), &count(size), body].concat();
    for (batch, text) in [
        (Vec::new(), "BAD_BODY"),
        (vec![0, 0, 1], "BAD_BODY"),
        (count(0), "BAD_BODY"),
        (count(-1), "BAD_BODY"),
        (count(200), "BAD_BODY"),
        (count(i32::MAX), "BAD_BODY"),
        (count(199), "BAD_MESSAGE"),
        (with(1, 0, b""), "BAD_MESSAGE"),
        (with(1, -5, b"x"), "BAD_MESSAGE"),
        (with(1, 101, &[b'x'; 101]), "BAD_MESSAGE"),
        (with(1, 3, b"ab"), "BAD_MESSAGE"),
        (with(2, 2, b"ab"), "BAD_MESSAGE"),
    ] {
        let answer = rig.post("/mpub?topic=t&binary=true", &batch).await;
        answer.refuses(413, text);
    }
    assert!(pull(&consumer).is_empty());
    let trailing = [binary(&["a"]), b"rest".to_vec()].concat();
    rig.post("/mpub?topic=t&binary=true", &trailing).await.is("OK");
    let long = "x".repeat(100);
    let batch = binary(&[long.as_str(); 10]);
    rig.post_chunked("/mpub?topic=t&binary=true", &batch).await.refuses(413, "BODY_TOO_BIG");
    assert_eq!(pull(&consumer), ["a"]);
}

#[tokio::test]
async fn edge_115_mpub_defers_nothing() {
    let rig = Rig::start().await;
    let (consumer, _signal) = subscribe(&rig, "t");
    rig.post("/mpub?topic=t&defer=1000", b"a").await.is("OK");
    assert_eq!(pull(&consumer), ["a"]);
}

#[tokio::test]
async fn what_is_declared_is_neither_allocated_nor_asked_for() {
    let rig = Rig::start().await;
    let mut stream = TcpStream::connect(rig.at).await.unwrap();
    let head = concat!(
        "POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000000000000\r\n",
        "Expect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    Answer::read(&mut stream, false).await.refuses(413, "MSG_TOO_BIG");
}

#[tokio::test]
async fn half_a_body_publishes_nothing() {
    let rig = Rig::start().await;
    for path in ["/pub?topic=t", "/mpub?topic=t"] {
        let mut stream = TcpStream::connect(rig.at).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // The connection may be reset, which is as good an end.
        stream.read_to_end(&mut rest).await.unwrap_or_default();
    }
    let depth = rig.engine.find_topic("t").map_or(0, |topic| topic.depth());
    assert_eq!(depth, 0);
}

#[tokio::test]
async fn a_node_that_exits_says_so() {
    let rig = Rig::start().await;
    rig.engine.close();
    rig.post("/pub?topic=t", b"x").await.refuses(503, "EXITING");
    rig.post("/mpub?topic=t", b"x").await.refuses(503, "EXITING");
    rig.post("/topic/create?topic=t", b"").await.refuses(503, "EXITING");
}

/// A far side that answers as it is told.
#[derive(Default)]
struct Far {
    refuse_at_once: bool,
    taken: Mutex<Vec<(usize, Ticket)>>,
}

impl Ingress for Far {
    fn offer(&self, batch: Vec<Outbound>, ticket: Ticket) -> Result<(), PublishError> {
        if self.refuse_at_once {
            return Err(PublishError::Limited { route: "orders".into() });
        }
        if batch.iter().any(|message| !message.delay.is_zero()) {
            let reason = "it cannot defer".into();
            return Err(PublishError::Refused { route: "orders".into(), reason });
        }
        self.taken.lock().push((batch.len(), ticket));
        Ok(())
    }

    fn is_congested(&self) -> bool {
        false
    }
}

async fn next(far: &Far) -> (usize, Ticket) {
    loop {
        let taken = far.taken.lock().pop();
        if let Some(taken) = taken {
            return taken;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_routed_publish_is_answered_by_the_far_side() {
    let rig = Rig::start().await;
    let far = Arc::<Far>::default();
    let ingress: Arc<dyn Ingress> = Arc::clone(&far) as _;
    rig.engine.set_ingress("t", Some(ingress));

    let answering = async {
        let (messages, ticket) = next(&far).await;
        assert_eq!(messages, 2);
        ticket.confirm();
        ticket.confirm();
    };
    let (answer, ()) = tokio::join!(rig.post("/mpub?topic=t", b"a\nb"), answering);
    answer.is("OK");

    for (error, text) in [
        (
            PublishError::Refused { route: "orders".into(), reason: "312 NO_ROUTE".into() },
            "route orders: 312 NO_ROUTE",
        ),
        (PublishError::Exiting, "EXITING"),
    ] {
        let answering = async { next(&far).await.1.fail(error) };
        let (answer, failed) = tokio::join!(rig.post("/pub?topic=t", b"a"), answering);
        assert_eq!(failed, 1);
        answer.refuses(503, text);
    }
    let deferred = rig.post("/pub?topic=t&defer=1", b"a").await;
    assert_eq!(deferred.status, 503);
    assert!(deferred.text().contains("cannot defer"));
}

#[tokio::test]
async fn a_limit_that_rejects_is_named() {
    let rig = Rig::start().await;
    let far = Far { refuse_at_once: true, ..Far::default() };
    rig.engine.set_ingress("t", Some(Arc::new(far)));
    let answer = rig.post("/pub?topic=t", b"a").await;
    answer.refuses(503, "route orders: rate limit exceeded");
}
