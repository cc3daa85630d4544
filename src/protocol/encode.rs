//! Commands as a client writes them.

use crate::names::MessageId;

/// What a V2 client sends first.
pub const MAGIC_V2: &[u8; 4] = b"  V2";

fn push_line(out: &mut Vec<u8>, words: &[&[u8]]) {
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
    out.push(b'\n');
}

fn push_body(out: &mut Vec<u8>, body: &[u8]) {
    // A body is bounded by what the server takes, an int32 in the protocol.
    let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(body);
}

/// `IDENTIFY` with its JSON.
pub fn push_identify(out: &mut Vec<u8>, json: &[u8]) {
    push_line(out, &[b"IDENTIFY"]);
    push_body(out, json);
}

/// `AUTH` with its secret.
pub fn push_auth(out: &mut Vec<u8>, secret: &[u8]) {
    push_line(out, &[b"AUTH"]);
    push_body(out, secret);
}

/// `SUB`.
pub fn push_sub(out: &mut Vec<u8>, topic: &str, channel: &str) {
    push_line(out, &[b"SUB", topic.as_bytes(), channel.as_bytes()]);
}

/// `RDY`.
pub fn push_rdy(out: &mut Vec<u8>, count: u32) {
    push_line(out, &[b"RDY", count.to_string().as_bytes()]);
}

/// `FIN`.
pub fn push_fin(out: &mut Vec<u8>, id: &[u8; MessageId::LEN]) {
    push_line(out, &[b"FIN", id]);
}

/// `REQ`, after `delay_ms`.
pub fn push_req(out: &mut Vec<u8>, id: &[u8; MessageId::LEN], delay_ms: u64) {
    push_line(out, &[b"REQ", id, delay_ms.to_string().as_bytes()]);
}

/// `TOUCH`.
pub fn push_touch(out: &mut Vec<u8>, id: &[u8; MessageId::LEN]) {
    push_line(out, &[b"TOUCH", id]);
}

/// `CLS`.
pub fn push_cls(out: &mut Vec<u8>) {
    push_line(out, &[b"CLS"]);
}

/// `NOP`.
pub fn push_nop(out: &mut Vec<u8>) {
    push_line(out, &[b"NOP"]);
}

/// `PUB`.
pub fn push_pub(out: &mut Vec<u8>, topic: &str, body: &[u8]) {
    push_line(out, &[b"PUB", topic.as_bytes()]);
    push_body(out, body);
}

/// `DPUB`, with a delay of `defer_ms`.
pub fn push_dpub(out: &mut Vec<u8>, topic: &str, defer_ms: u64, body: &[u8]) {
    push_line(out, &[b"DPUB", topic.as_bytes(), defer_ms.to_string().as_bytes()]);
    push_body(out, body);
}

/// `MPUB`.
pub fn push_mpub(out: &mut Vec<u8>, topic: &str, bodies: &[&[u8]]) {
    push_line(out, &[b"MPUB", topic.as_bytes()]);
    let size: usize = 4 + bodies.iter().map(|body| 4 + body.len()).sum::<usize>();
    for number in [size, bodies.len()] {
        out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
    }
    for body in bodies {
        push_body(out, body);
    }
}
