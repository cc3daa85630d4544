//! What clients send, read incrementally from a connection's buffer, with nsqd's errors in nsqd's order.
//!
//! A command is a line and, for some, a binary body behind it. The parser borrows from the buffer, allocates nothing on the
//! way to a message, and never asks for more than has arrived: a declared size is judged as soon as its four bytes are
//! there. What depends on the connection (its state, its heartbeats) comes in as a [`Gate`].
//!
//! Source: nsqd 1.3.0 `nsqd/protocol_v2.go`.

mod limits;
mod reader;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use limits::Limits;
use reader::{Body, Params, decimal, millis};

use super::error::{ErrorCode, ProtocolError, quoted};
use crate::names::{MessageId, is_valid_name};

/// Longest command line in bytes, its LF included: nsqd's read buffer.
pub const LINE_MAX: usize = 16 * 1024;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before SUB.
    Init,
    /// After SUB.
    Subscribed,
    /// After CLS.
    Closing,
}

/// What a command is judged by besides its own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// How far the connection is.
    pub phase: Phase,
    /// Whether it has heartbeats; without them it may not subscribe.
    pub heartbeats: bool,
    /// Whether TLS is required and not there yet: nothing but IDENTIFY is let through.
    pub lacks_tls: bool,
    /// Whether an MPUB is to be judged before its body is read: it is given as [`Command::MpubHead`] then.
    pub judges_mpub: bool,
}

impl Default for Gate {
    /// A connection that has just been made, with heartbeats, where nothing is required.
    fn default() -> Self {
        Self { phase: Phase::Init, heartbeats: true, lacks_tls: false, judges_mpub: false }
    }
}

/// A message id as a client sends it: 16 bytes, not necessarily hexadecimal.
pub type RawId<'a> = &'a [u8; MessageId::LEN];

/// A command that is in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Nothing; also RDY after CLS.
    Nop,
    /// IDENTIFY with its JSON.
    Identify(&'a [u8]),
    /// AUTH with its secret.
    Auth(&'a [u8]),
    /// SUB with valid names.
    Sub {
        /// The topic.
        topic: &'a str,
        /// The channel.
        channel: &'a str,
    },
    /// RDY within its bounds.
    Rdy(u64),
    /// FIN.
    Fin(RawId<'a>),
    /// REQ with its clamped delay.
    Req(RawId<'a>, Duration),
    /// TOUCH.
    Touch(RawId<'a>),
    /// CLS.
    Cls,
    /// PUB of 1 to `max_msg_size` bytes.
    Pub {
        /// The topic.
        topic: &'a str,
        /// The message.
        body: &'a [u8],
    },
    /// DPUB of 1 to `max_msg_size` bytes.
    Dpub {
        /// The topic.
        topic: &'a str,
        /// The delay, within its bound.
        defer: Duration,
        /// The message.
        body: &'a [u8],
    },
    /// MPUB.
    Mpub {
        /// The topic.
        topic: &'a str,
        /// Its messages.
        bodies: Bodies<'a>,
    },
    /// The line of an MPUB whose body is still to be read: it takes no bytes, and comes again as [`Command::Mpub`] once
    /// the gate no longer asks to judge it.
    MpubHead {
        /// The topic.
        topic: &'a str,
    },
}

/// The messages of an MPUB, each 1 to `max_msg_size` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bodies<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Bodies<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (size, rest) = self.bytes.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)?;
        self.bytes = rest;
        Some(body)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Bodies<'_> {}

/// Why the connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the client is told; nothing for a line that is too long.
    pub error: Option<ProtocolError>,
    /// A topic that nsqd would have created before it noticed (MPUB).
    pub creates: Option<String>,
}

impl Fault {
    fn new(code: ErrorCode, description: impl Into<Vec<u8>>) -> Self {
        Self { error: Some(ProtocolError::new(code, description)), creates: None }
    }
}

/// Why there is no command (yet).
enum Halt {
    Incomplete,
    Fault(Fault),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Remembers how far an incomplete command was looked at, so that a large one is not read from its start each time some of
/// it arrives.
#[derive(Debug, Default)]
pub struct Parser {
    /// Bytes of the buffer known to hold no LF.
    scanned: usize,
    /// Members of an MPUB that were checked, and the bytes that they take.
    members: usize,
    members_bytes: usize,
}

impl Parser {
    /// Reads the first command of `buffer` and how many bytes it takes; `None` if it is not all there.
    ///
    /// # Errors
    /// What nsqd would close the connection for.
    pub fn next<'a>(
        &mut self,
        buffer: &'a [u8],
        gate: Gate,
        limits: &Limits,
    ) -> Result<Option<(Command<'a>, usize)>, Fault> {
        match self.parse(buffer, gate, limits, false) {
            // Its line is known already when it is looked at again.
            Ok(head @ (Command::MpubHead { .. }, _)) => Ok(Some(head)),
            Ok(command) => {
                *self = Self::default();
                Ok(Some(command))
            }
            Err(Halt::Incomplete) => Ok(None),
            Err(Halt::Fault(fault)) => Err(fault),
        }
    }

    /// What nsqd says when the connection ends with `buffer` left over. Nothing if no command had its line complete.
    pub fn at_end(&mut self, buffer: &[u8], gate: Gate, limits: &Limits) -> Option<Fault> {
        match self.parse(buffer, gate, limits, true) {
            Err(Halt::Fault(fault)) => Some(fault),
            _ => None,
        }
    }

    fn parse<'a>(
        &mut self,
        buffer: &'a [u8],
        gate: Gate,
        limits: &Limits,
        ended: bool,
    ) -> Result<(Command<'a>, usize), Halt> {
        if gate.phase != Phase::Init
            && let Some(id) = reader::plain_fin(buffer)
        {
            return Ok((Command::Fin(id), reader::PLAIN_FIN));
        }
        let window = buffer.get(..LINE_MAX).unwrap_or(buffer);
        let unseen = window.get(self.scanned..).unwrap_or_default();
        let Some(at) = memchr::memchr(b'\n', unseen) else {
            self.scanned = window.len();
            return Err(if window.len() == LINE_MAX {
                Fault { error: None, creates: None }.into()
            } else {
                Halt::Incomplete
            });
        };
        let end = self.scanned + at;
        let line = window.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut body =
            Body { rest: buffer.get(end + 1..).unwrap_or_default(), used: end + 1, ended };
        // A line that was found once is found again at once.
        self.scanned = end;
        let command = self.dispatch(line, &mut body, gate, limits)?;
        Ok((command, body.used))
    }

    fn dispatch<'a>(
        &mut self,
        line: &'a [u8],
        body: &mut Body<'a>,
        gate: Gate,
        limits: &Limits,
    ) -> Result<Command<'a>, Halt> {
        let mut params = Params { line: Some(line) };
        let name = params.next().unwrap_or_default();
        if gate.lacks_tls && name != b"IDENTIFY" {
            let text = [b"cannot ", name, b" in current state (TLS required)"].concat();
            return Err(Fault::new(ErrorCode::Invalid, text).into());
        }
        match name {
            b"FIN" => Ok(Command::Fin(settling("FIN", gate, &mut params)?)),
            b"PUB" => publish(&mut params, body, limits),
            b"RDY" => Ok(ready(&mut params, gate, limits)?),
            b"REQ" => Ok(requeue(&mut params, gate, limits)?),
            b"MPUB" => self.publish_many(&mut params, body, gate, limits),
            b"DPUB" => publish_deferred(&mut params, body, limits),
            b"TOUCH" => Ok(Command::Touch(settling("TOUCH", gate, &mut params)?)),
            b"NOP" => Ok(Command::Nop),
            b"SUB" => Ok(subscribe(&mut params, gate)?),
            b"CLS" if gate.phase == Phase::Subscribed => Ok(Command::Cls),
            b"CLS" => Err(in_state("CLS").into()),
            b"IDENTIFY" => {
                require_init("IDENTIFY", gate)?;
                Ok(Command::Identify(body.control("IDENTIFY", limits)?))
            }
            b"AUTH" => {
                require_init("AUTH", gate)?;
                if params.next().is_some() {
                    return Err(invalid("AUTH invalid number of parameters").into());
                }
                Ok(Command::Auth(body.control("AUTH", limits)?))
            }
            _ => Err(Fault::new(ErrorCode::Invalid, [b"invalid command ", name].concat()).into()),
        }
    }

    fn publish_many<'a>(
        &mut self,
        params: &mut Params<'a>,
        body: &mut Body<'a>,
        gate: Gate,
        limits: &Limits,
    ) -> Result<Command<'a>, Halt> {
        let name =
            params.next().ok_or_else(|| invalid("MPUB insufficient number of parameters"))?;
        // nsqd really says the code twice.
        let topic = valid_name(name).ok_or_else(|| {
            let name = quoted(name);
            Fault::new(
                ErrorCode::BadTopic,
                format!("E_BAD_TOPIC MPUB topic name {name} is not valid"),
            )
        })?;
        if gate.judges_mpub {
            body.used = 0;
            return Ok(Command::MpubHead { topic });
        }
        self.members(body, limits).map(|bodies| Command::Mpub { topic, bodies }).map_err(|halt| {
            match halt {
                Halt::Fault(fault) => Fault { creates: Some(topic.to_owned()), ..fault }.into(),
                Halt::Incomplete => halt,
            }
        })
    }

    fn members<'a>(&mut self, body: &mut Body<'a>, limits: &Limits) -> Result<Bodies<'a>, Halt> {
        let bad_body = |text: String| Fault::new(ErrorCode::BadBody, text);
        let bad_message = |text: String| Fault::new(ErrorCode::BadMessage, text);
        let max = limits.max_body_size;
        let size = body.number(|| bad_body("MPUB failed to read body size".into()))?;
        if size <= 0 {
            return Err(bad_body(format!("MPUB invalid body size {size}")).into());
        }
        if size > max {
            let text = limits.too_big("MPUB body", size, max, "max-body-size");
            return Err(bad_body(text).into());
        }
        let count = body.number(|| bad_body("MPUB failed to read message count".into()))?;
        // A message takes at least five bytes.
        if count <= 0 || count > (max - 4) / 5 {
            return Err(bad_body(format!("MPUB invalid message count {count}")).into());
        }
        let count = usize::try_from(count).unwrap_or(0);
        let all = body.rest;
        body.skip(self.members_bytes);
        let (body_max, max) = (max, limits.max_msg_size);
        while self.members < count {
            let at = self.members;
            let mut next = *body;
            let size = next
                .number(|| bad_message(format!("MPUB failed to read message({at}) body size")))?;
            if size <= 0 {
                return Err(
                    bad_message(format!("MPUB invalid message({at}) body size {size}")).into()
                );
            }
            if size > max {
                let text = limits.too_big("MPUB message", size, max, "max-msg-size");
                return Err(bad_message(text).into());
            }
            // nsqd bounds the declared size only and would take a million messages of a mebibyte each.
            let real =
                i64::try_from(self.members_bytes).unwrap_or(i64::MAX).saturating_add(8 + size);
            if real > body_max {
                let text = limits.too_big("MPUB body", real, body_max, "max-body-size");
                return Err(bad_body(text).into());
            }
            next.take(size, || bad_message("MPUB failed to read message body".into()))?;
            self.members_bytes += next.used - body.used;
            self.members += 1;
            *body = next;
        }
        Ok(Bodies { bytes: all, left: count })
    }
}

fn invalid(text: &str) -> Fault {
    Fault::new(ErrorCode::Invalid, text)
}

fn in_state(word: &str) -> Fault {
    Fault::new(ErrorCode::Invalid, format!("cannot {word} in current state"))
}

fn require_init(word: &str, gate: Gate) -> Result<(), Fault> {
    if gate.phase == Phase::Init { Ok(()) } else { Err(in_state(word)) }
}

/// The name as text, if it is valid. Valid names are ASCII.
fn valid_name(name: &[u8]) -> Option<&str> {
    is_valid_name(name).then(|| std::str::from_utf8(name).ok()).flatten()
}

fn raw_id(id: &[u8]) -> Result<RawId<'_>, Fault> {
    id.try_into().map_err(|_| invalid("invalid message ID"))
}

/// FIN or TOUCH.
fn settling<'a>(word: &str, gate: Gate, params: &mut Params<'a>) -> Result<RawId<'a>, Fault> {
    if gate.phase == Phase::Init {
        return Err(in_state(word));
    }
    let id = params.next();
    let id = id.ok_or_else(|| invalid(&format!("{word} insufficient number of params")))?;
    raw_id(id)
}

fn requeue<'a>(params: &mut Params<'a>, gate: Gate, limits: &Limits) -> Result<Command<'a>, Fault> {
    if gate.phase == Phase::Init {
        return Err(in_state("REQ"));
    }
    let (Some(id), Some(delay)) = (params.next(), params.next()) else {
        return Err(invalid("REQ insufficient number of params"));
    };
    let id = raw_id(id)?;
    let ms = decimal(delay).ok_or_else(|| {
        Fault::new(ErrorCode::Invalid, [b"REQ could not parse timeout ", delay].concat())
    })?;
    Ok(Command::Req(id, millis(ms).unwrap_or_default().min(limits.max_req_timeout)))
}

fn ready<'a>(params: &mut Params<'_>, gate: Gate, limits: &Limits) -> Result<Command<'a>, Fault> {
    match gate.phase {
        Phase::Closing => return Ok(Command::Nop),
        Phase::Init => return Err(in_state("RDY")),
        Phase::Subscribed => {}
    }
    let Some(count) = params.next() else {
        return Ok(Command::Rdy(1));
    };
    let parsed = decimal(count).ok_or_else(|| {
        Fault::new(ErrorCode::Invalid, [b"RDY could not parse count ", count].concat())
    })?;
    let (signed, max) = (parsed.cast_signed(), limits.max_rdy_count);
    if signed < 0 || signed > max {
        return Err(invalid(&format!("RDY count {signed} out of range 0-{max}")));
    }
    Ok(Command::Rdy(parsed))
}

fn subscribe<'a>(params: &mut Params<'a>, gate: Gate) -> Result<Command<'a>, Fault> {
    require_init("SUB", gate)?;
    if !gate.heartbeats {
        return Err(invalid("cannot SUB with heartbeats disabled"));
    }
    let (Some(topic), Some(channel)) = (params.next(), params.next()) else {
        return Err(invalid("SUB insufficient number of parameters"));
    };
    let bad = |code, what: &str, name: &[u8]| {
        Fault::new(code, format!("SUB {what} name {} is not valid", quoted(name)))
    };
    let topic = valid_name(topic).ok_or_else(|| bad(ErrorCode::BadTopic, "topic", topic))?;
    let channel =
        valid_name(channel).ok_or_else(|| bad(ErrorCode::BadChannel, "channel", channel))?;
    Ok(Command::Sub { topic, channel })
}

/// The topic of PUB or DPUB.
fn topic_of<'a>(word: &str, name: &'a [u8]) -> Result<&'a str, Fault> {
    valid_name(name).ok_or_else(|| {
        let text = format!("{word} topic name {} is not valid", quoted(name));
        Fault::new(ErrorCode::BadTopic, text)
    })
}

fn publish<'a>(
    params: &mut Params<'a>,
    body: &mut Body<'a>,
    limits: &Limits,
) -> Result<Command<'a>, Halt> {
    let name = params.next().ok_or_else(|| invalid("PUB insufficient number of parameters"))?;
    let topic = topic_of("PUB", name)?;
    Ok(Command::Pub { topic, body: body.message("PUB", limits)? })
}

fn publish_deferred<'a>(
    params: &mut Params<'a>,
    body: &mut Body<'a>,
    limits: &Limits,
) -> Result<Command<'a>, Halt> {
    let (Some(name), Some(delay)) = (params.next(), params.next()) else {
        return Err(invalid("DPUB insufficient number of parameters").into());
    };
    let topic = topic_of("DPUB", name)?;
    let ms = decimal(delay).ok_or_else(|| {
        Fault::new(ErrorCode::Invalid, [b"DPUB could not parse timeout ", delay].concat())
    })?;
    let max = limits.max_defer_time.unwrap_or(limits.max_req_timeout);
    let defer = millis(ms).filter(|defer| *defer <= max).ok_or_else(|| {
        // nsqd's words, and behind them the flag that nsqd does not have.
        let flag = limits.max_defer_time.map_or("", |_| " (--max-defer-time)");
        invalid(&format!("DPUB timeout {ms} out of range 0-{}{flag}", max.as_millis()))
    })?;
    Ok(Command::Dpub { topic, defer, body: body.message("DPUB", limits)? })
}
