//! Tests of the API as a client sees it: a server on a free port, and a client of a few lines.

mod counters;
mod debug;
mod options;
mod publishing;
mod routing;
mod stats;
mod topics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::{Context, Limits, Node, serve};
use crate::engine::{Engine, Options};
use crate::metrics::RoutesView;
use crate::metrics::broker::BrokerStatus;
use crate::metrics::route::RouteStatus;

/// Long enough for anything that is to happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server, and what it serves.
struct Rig {
    at: SocketAddr,
    engine: Arc<Engine>,
    wrong: Arc<Mutex<Option<String>>>,
    persisted: Arc<Mutex<Vec<bool>>>,
    routes: Arc<Routes>,
    /// Levels that were asked for.
    levels: Arc<Mutex<Vec<String>>>,
    lookupd: watch::Receiver<Vec<String>>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<()>>,
}

#[derive(Default)]
struct Routes {
    routes: Mutex<Vec<RouteStatus>>,
    brokers: Mutex<Vec<BrokerStatus>>,
}

impl RoutesView for Routes {
    fn routes(&self) -> Vec<RouteStatus> {
        self.routes.lock().clone()
    }

    fn brokers(&self) -> Vec<BrokerStatus> {
        self.brokers.lock().clone()
    }
}

impl Rig {
    async fn start() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let engine = Engine::new(options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let node = Node::starting("node.example".into(), "node".into(), 4150, 4151);
        let limits = Limits { max_msg_size: 100, max_body_size: 1000, ..Limits::default() };
        let wrong = Arc::<Mutex<Option<String>>>::default();
        let persisted = Arc::<Mutex<Vec<bool>>>::default();
        let routes = Arc::<Routes>::default();
        let mut context = Context::new(Arc::clone(&engine), node, limits);
        context.health = {
            let wrong = Arc::clone(&wrong);
            Arc::new(move || wrong.lock().clone().map_or(Ok(()), Err))
        };
        context.persist = {
            let (persisted, engine) = (Arc::clone(&persisted), Arc::clone(&engine));
            Arc::new(move || {
                let paused = engine.topics().iter().any(|topic| topic.is_paused());
                persisted.lock().push(paused);
                Ok(())
            })
        };
        context.routes = Arc::clone(&routes) as Arc<dyn RoutesView>;
        let levels = Arc::<Mutex<Vec<String>>>::default();
        let (options, lookupd) = options::some(&levels);
        context.options = Arc::new(options);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { stopped.await.unwrap_or_default() };
        let serving = serve(listener, Arc::new(context), shutdown);
        Self {
            at,
            engine,
            wrong,
            persisted,
            routes,
            levels,
            lookupd,
            stop: Some(stop),
            served: crate::task::spawn("http", serving),
        }
    }

    async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, b"").await
    }

    async fn post(&self, target: &str, body: &[u8]) -> Answer {
        self.send("POST", target, body).await
    }

    async fn send(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    /// A body in chunks of at most 64 bytes.
    async fn post_chunked(&self, target: &str, body: &[u8]) -> Answer {
        let mut request =
            format!("POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                .into_bytes();
        for chunk in body.chunks(64) {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        self.raw(&request).await
    }

    async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        stream.write_all(request).await.unwrap();
        let is_head = request.starts_with(b"HEAD");
        Answer::read(&mut stream, is_head).await
    }

    /// What `/stats` says of a topic, as JSON.
    async fn topic(&self, name: &str) -> serde_json::Value {
        let stats = self.get(&format!("/stats?format=json&topic={name}")).await;
        stats.json()["topics"][0].clone()
    }
}

/// An answer with a `Content-Length`, as all of ours have.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    async fn read(stream: &mut TcpStream, is_head: bool) -> Self {
        let reading = Self::read_all(stream, is_head);
        tokio::time::timeout(PATIENCE, reading).await.unwrap()
    }

    async fn read_all(stream: &mut TcpStream, is_head: bool) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let status = status.parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Self { status, headers, body: Vec::new() };
        let length = answer.header("content-length").unwrap_or("0").parse();
        if !is_head {
            answer.body = vec![0; length.unwrap()];
            stream.read_exact(&mut answer.body).await.unwrap();
        }
        answer
    }

    fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(other, _)| other == name)?;
        Some(value)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// That it is 200 with nsqd's header and this text.
    #[track_caller]
    fn is(&self, text: &str) {
        assert_eq!((self.status, self.text()), (200, text));
        assert_eq!(self.header("x-nsq-content-type"), Some("nsq; version=1.0"));
        let content_type = (!text.is_empty()).then_some("text/plain; charset=utf-8");
        assert_eq!(self.header("content-type"), content_type);
    }

    /// That it is a refusal in nsqd's envelope.
    #[track_caller]
    fn refuses(&self, status: u16, message: &str) {
        let expected = format!("{{\"message\":\"{message}\"}}");
        assert_eq!((self.status, self.text()), (status, expected.as_str()));
        assert_eq!(self.header("x-nsq-content-type"), Some("nsq; version=1.0"));
        let content_type = self.header("content-type");
        assert_eq!(content_type, Some("application/json; charset=utf-8"));
    }
}

#[tokio::test]
async fn stops_when_told_and_finishes_what_is_under_way() {
    let mut rig = Rig::start().await;
    let mut idle = TcpStream::connect(rig.at).await.unwrap();
    idle.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(Answer::read(&mut idle, false).await.text(), "OK");
    let mut busy = TcpStream::connect(rig.at).await.unwrap();
    busy.write_all(b"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        .await
        .unwrap();
    // Its handler runs once a later request on another connection is answered, or soon after: the stop waits for it.
    rig.get("/ping").await;
    rig.stop.take().unwrap().send(()).unwrap();
    let mut end = [0; 1];
    assert_eq!(idle.read(&mut end).await.unwrap(), 0, "the idle one is closed");
    busy.write_all(b"2").await.unwrap();
    assert_eq!(Answer::read(&mut busy, false).await.text(), "OK");
    let served = tokio::time::timeout(PATIENCE, rig.served).await.unwrap();
    assert!(served.unwrap().is_ok());
    assert_eq!(rig.engine.find_topic("t").unwrap().depth(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_request_cannot_keep_the_node_from_exiting() {
    let mut rig = Rig::start().await;
    let mut silent = TcpStream::connect(rig.at).await.unwrap();
    silent
        .write_all(b"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        .await
        .unwrap();
    rig.stop.take().unwrap().send(()).unwrap();
    let served = tokio::time::timeout(PATIENCE, rig.served).await.unwrap();
    assert!(served.unwrap().is_ok());
}
