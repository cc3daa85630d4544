//! An OpenTSDB that takes nothing but what the real one takes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// What it is to say next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It takes what is right.
    Well,
    /// 503 to everything.
    Ill,
    /// It refuses each point whose metric has this in its name.
    Against(&'static str),
}

pub(crate) struct OpenTsdb {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    taken: Receiver<Value>,
}

impl OpenTsdb {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mood = Arc::new(Mutex::new(Mood::Well));
        let (take, taken) = channel();
        let now = Arc::clone(&mood);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (take, now) = (take.clone(), Arc::clone(&now));
                std::thread::spawn(move || serve(stream, &now, &|value| drop(take.send(value))));
            }
        });
        Self { address, mood, taken }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// The next point of a metric, or what was told of one.
    pub(crate) fn next(&self, metric: &str) -> Value {
        loop {
            let taken = self.taken.recv_timeout(Duration::from_secs(20)).expect("a point");
            if taken["metric"] == metric || taken["Metric"] == metric {
                return taken;
            }
        }
    }
}

fn serve(mut stream: TcpStream, mood: &Mutex<Mood>, take: &dyn Fn(Value)) {
    while let Some((line, headers, body)) = request(&mut stream) {
        let mood = *mood.lock().unwrap();
        let header = |name: &str| {
            headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
        };
        let (status, answer) = if mood == Mood::Ill {
            ("503 Service Unavailable", String::new())
        } else if header("content-type") != "application/json" {
            ("415 Unsupported Media Type", String::new())
        } else {
            let body = match header("content-encoding") {
                "gzip" => unpacked(&body),
                _ => body,
            };
            let points: Vec<Value> = serde_json::from_slice(&body).unwrap_or_default();
            match line.as_str() {
                "POST /api/put?details HTTP/1.1" => put(points, mood, take),
                "POST /api/metadata/put HTTP/1.1" => {
                    points.into_iter().for_each(take);
                    ("204 No Content", String::new())
                }
                _ => ("404 Not Found", String::new()),
            }
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", answer.len());
        if stream.write_all((head + &answer).as_bytes()).is_err() {
            return;
        }
    }
}

fn put(points: Vec<Value>, mood: Mood, take: &dyn Fn(Value)) -> (&'static str, String) {
    let (count, mut errors) = (points.len(), Vec::new());
    for point in points {
        let metric = point["metric"].as_str().unwrap_or_default().to_owned();
        let is_unwanted = matches!(mood, Mood::Against(word) if metric.contains(word));
        match wrong(&point).or_else(|| is_unwanted.then(|| "unwanted".to_owned())) {
            Some(error) => errors.push(json!({"datapoint": point, "error": error})),
            None => take(point),
        }
    }
    let answer = json!({"success": count - errors.len(), "failed": errors.len(), "errors": errors});
    if errors.is_empty() {
        ("200 OK", answer.to_string())
    } else {
        ("400 Bad Request", answer.to_string())
    }
}

/// What OpenTSDB would have against a point.
fn wrong(point: &Value) -> Option<String> {
    let is_good = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
    };
    let tags = point["tags"].as_object()?;
    if !is_good(point["metric"].as_str()?) {
        return Some(format!("Invalid metric name: {point}"));
    }
    if !point["timestamp"].is_i64() || !point["value"].is_number() {
        return Some(format!("Invalid timestamp or value: {point}"));
    }
    if tags.is_empty() || tags.len() > 8 {
        return Some(format!("Too many tags, or none: {point}"));
    }
    let bad = tags
        .iter()
        .any(|(name, value)| !is_good(name) || !is_good(value.as_str().unwrap_or_default()));
    bad.then(|| format!("Invalid tag: {point}"))
}

fn unpacked(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).expect("gzip");
    plain
}

type Request = (String, Vec<(String, String)>, Vec<u8>);

fn request(stream: &mut TcpStream) -> Option<Request> {
    let (mut read, mut piece) = (Vec::new(), [0; 65536]);
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let mut lines = head.lines();
            let line = lines.next()?.to_owned();
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length?.1.parse().ok()?;
            if read.len() >= end + 4 + length {
                return Some((line, headers, read[end + 4..end + 4 + length].to_vec()));
            }
        }
        match stream.read(&mut piece) {
            Ok(count @ 1..) => read.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
}
