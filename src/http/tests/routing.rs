//! Paths, methods, envelopes and queries.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{Answer, Rig};

#[tokio::test]
async fn edge_122_methods_and_paths_are_nsqds() {
    let rig = Rig::start().await;
    let head = rig.send("HEAD", "/ping", b"").await;
    assert_eq!((head.status, head.header("allow")), (405, Some("GET, OPTIONS")));
    let wrong = rig.get("/pub?topic=t").await;
    wrong.refuses(405, "METHOD_NOT_ALLOWED");
    assert_eq!(wrong.header("allow"), Some("OPTIONS, POST"));
    let options = rig.send("OPTIONS", "/topic/create", b"").await;
    assert_eq!((options.status, options.text()), (200, ""));
    assert_eq!(options.header("allow"), Some("OPTIONS, POST"));
    let star = rig.send("OPTIONS", "*", b"").await;
    assert_eq!(star.status, 200);

    let slash = rig.get("/stats/?format=json&topic=a%20b").await;
    assert_eq!(slash.status, 301);
    assert_eq!(slash.header("location"), Some("/stats?format=json&topic=a%20b"));
    assert!(slash.text().contains("&amp;topic"), "{}", slash.text());
    let case = rig.post("/Topic//Create?topic=t", b"").await;
    assert_eq!((case.status, case.text()), (308, ""));
    assert_eq!(case.header("location"), Some("/topic/create?topic=t"));
    assert!(rig.engine.topics().is_empty());
    rig.post("/%74opic/create?topic=t", b"").await.is("");
    assert_eq!(rig.get("/%zz").await.status, 400);
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let rig = Rig::start().await;
    for path in ["/", "/nope", "/config/", "/debug/pprof/mutex", "/delete_topic"] {
        rig.get(path).await.refuses(404, "NOT_FOUND");
    }
    rig.send("OPTIONS", "/nope", b"").await.refuses(404, "NOT_FOUND");
    rig.send("PATCH", "/ping", b"").await.refuses(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn ping_is_plain_and_says_what_is_wrong() {
    let rig = Rig::start().await;
    let well = rig.get("/ping?;").await;
    assert_eq!((well.status, well.text()), (200, "OK"));
    assert_eq!(well.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(well.header("x-nsq-content-type"), None);
    *rig.wrong.lock() = Some("no space left on device".into());
    let ill = rig.get("/ping").await;
    assert_eq!((ill.status, ill.text()), (500, "NOK - no space left on device"));
    assert_eq!(ill.header("x-nsq-content-type"), None);
    *rig.wrong.lock() = None;
    assert_eq!(rig.get("/ping").await.status, 200);
}

#[tokio::test]
async fn edge_125_info_speaks_nanoseconds() {
    let rig = Rig::start().await;
    let info = rig.get("/info").await;
    assert_eq!(info.header("content-type"), Some("application/json; charset=utf-8"));
    let keys = concat!(
        "{\"version\":\"1.3.0\",\"broadcast_address\":\"node.example\",\"hostname\":\"node\",",
        "\"http_port\":4151,\"tcp_port\":4150,\"start_time\":"
    );
    assert!(info.text().starts_with(keys), "{}", info.text());
    let info = info.json();
    assert_eq!(info["max_heartbeat_interval"], 60_000_000_000_u64);
    assert_eq!(info["max_output_buffer_timeout"], 30_000_000_000_u64);
    assert_eq!(info["max_output_buffer_size"], 65536);
    assert_eq!(info["max_deflate_level"], 6);
    assert_eq!(info["leveret_version"], crate::http::VERSION);
}

#[tokio::test]
async fn edge_118_parameters_come_from_the_query_only() {
    let rig = Rig::start().await;
    let form = concat!(
        "POST /topic/create HTTP/1.1\r\nHost: x\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\ntopic=t"
    );
    rig.raw(form.as_bytes()).await.refuses(400, "MISSING_ARG_TOPIC");
    for path in ["/topic/create", "/topic/pause", "/channel/create", "/mpub"] {
        for query in ["topic=t;x=1", "topic=%g0", "topic=t&x=%"] {
            let answer = rig.post(&format!("{path}?{query}"), b"x").await;
            answer.refuses(400, "INVALID_REQUEST");
        }
    }
    rig.get("/stats?%").await.refuses(400, "INVALID_REQUEST");
    rig.post("/topic/create?topic=a&topic=b", b"").await.is("");
    assert!(rig.engine.find_topic("a").is_some() && rig.engine.find_topic("b").is_none());
}

#[tokio::test]
async fn a_connection_serves_many_requests_read_or_unread() {
    let rig = Rig::start().await;
    let mut stream = TcpStream::connect(rig.at).await.unwrap();
    for _ in 0..3 {
        let request =
            b"POST /topic/create?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
        stream.write_all(request).await.unwrap();
        Answer::read(&mut stream, false).await.is("");
        let request = [
            b"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n".as_slice(),
            &[7; 5000],
        ]
        .concat();
        stream.write_all(&request).await.unwrap();
        Answer::read(&mut stream, false).await.refuses(413, "MSG_TOO_BIG");
    }
}
