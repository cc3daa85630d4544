//! One HTTP/1.1 request at a time over a plain socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::wait::PATIENCE;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

pub(crate) fn get(at: SocketAddr, path: &str) -> Response {
    request(at, "GET", path, &[], b"")
}

pub(crate) fn post(at: SocketAddr, path: &str, body: &[u8]) -> Response {
    request(at, "POST", path, &[], body)
}

/// An order without a body, such as `/topic/create?topic=t`, which is to be carried out. Names may hold a bare `#`.
pub(crate) fn done(at: SocketAddr, path: &str) {
    let answer = post(at, &path.replace('#', "%23"), b"");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
}

pub(crate) fn request(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let stream =
        TcpStream::connect(at).unwrap_or_else(|error| panic!("{at} takes a connection: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    request_over(stream, method, path, headers, body)
}

/// A request over a connection that is there already: a unix socket, TLS.
pub(crate) fn request_over(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).expect("the request's head is taken");
    // A server may answer and close before it has read a body that is too large.
    let sent = stream.write_all(body);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    parse(&answer)
        .unwrap_or_else(|| panic!("{method} {path}: no answer ({sent:?}, {read:?}): {answer:?}"))
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let rest = &answer[end + 4..];
    let value_of = |name: &str| headers.iter().find(|(known, _)| known == name);
    let body = if value_of("transfer-encoding").is_some_and(|(_, value)| value == "chunked") {
        unchunk(rest)?
    } else if let Some((_, length)) = value_of("content-length") {
        rest.get(..length.parse().ok()?)?.to_vec()
    } else {
        rest.to_vec()
    };
    Some(Response { status, headers, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 2 + size + 2..)?;
    }
}

#[test]
fn answers_are_read_whole_in_each_framing() {
    let plain = parse(b"HTTP/1.1 404 Not Found\r\nX-NSQ-Content-Type: nsq; version=1.0\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    assert_eq!((plain.status, plain.header("x-nsq-content-type")), (404, Some("nsq; version=1.0")));
    assert_eq!(plain.json(), serde_json::json!({}));
    let chunked =
        parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n").unwrap();
    assert_eq!(chunked.text(), "abcde");
    assert!(
        parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort").is_none(),
        "half an answer is none"
    );
}
