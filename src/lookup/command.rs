//! The lines that nsqds send to nsqlookupd, and what they are answered. Pure functions.
//!
//! A request is a line; only IDENTIFY has a body behind it. An answer is a length and that many bytes, without a frame's
//! type. Every error is the last answer of its connection.

use crate::names::is_valid_name;

/// What a client sends first.
pub const MAGIC: [u8; 4] = *b"  V1";
/// The longest line, bytes; nsqlookupd has no bound.
pub const LINE_MAX: usize = 4096;
/// The longest body of an IDENTIFY, bytes; nsqlookupd has no bound.
pub const BODY_MAX: usize = 1 << 20;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// A sign of life.
    Ping,
    /// Who the client is; its body follows.
    Identify,
    /// It has a topic, and a channel of it.
    Register(&'a str, Option<&'a str>),
    /// It has it no more.
    Unregister(&'a str, Option<&'a str>),
}

/// Why a request is refused, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No protocol of this name.
    #[error("E_BAD_PROTOCOL")]
    Protocol,
    /// A command that is none, or not now.
    #[error("E_INVALID {0}")]
    Invalid(String),
    /// A topic that cannot be.
    #[error("E_BAD_TOPIC {0}")]
    Topic(String),
    /// A channel that cannot be.
    #[error("E_BAD_CHANNEL {0}")]
    Channel(String),
    /// A body that cannot be used.
    #[error("E_BAD_BODY {0}")]
    Body(String),
}

/// Reads a line, its end included or not. `is_known` says whether the client has told who it is.
///
/// # Errors
/// What the client is answered.
pub fn parse(line: &str, is_known: bool) -> Result<Command<'_>, Refusal> {
    let mut words = line.trim().split(' ');
    let name = words.next().unwrap_or_default();
    match name {
        "PING" => Ok(Command::Ping),
        "IDENTIFY" if is_known => Err(Refusal::Invalid("cannot IDENTIFY again".into())),
        "IDENTIFY" => Ok(Command::Identify),
        "REGISTER" | "UNREGISTER" => {
            if !is_known {
                return Err(Refusal::Invalid("client must IDENTIFY".into()));
            }
            let (topic, channel) = names(name, words.next(), words.next())?;
            Ok(match name {
                "REGISTER" => Command::Register(topic, channel),
                _ => Command::Unregister(topic, channel),
            })
        }
        _ => Err(Refusal::Invalid(format!("invalid command {name}"))),
    }
}

/// A topic and perhaps a channel; an empty channel is none.
fn names<'a>(
    command: &str,
    topic: Option<&'a str>,
    channel: Option<&'a str>,
) -> Result<(&'a str, Option<&'a str>), Refusal> {
    let Some(topic) = topic else {
        return Err(Refusal::Invalid(format!("{command} insufficient number of params")));
    };
    if !is_valid_name(topic.as_bytes()) {
        return Err(Refusal::Topic(format!("{command} topic name '{topic}' is not valid")));
    }
    let channel = channel.filter(|channel| !channel.is_empty());
    if let Some(channel) = channel.filter(|channel| !is_valid_name(channel.as_bytes())) {
        return Err(Refusal::Channel(format!("{command} channel name '{channel}' is not valid")));
    }
    Ok((topic, channel))
}

/// The length of an IDENTIFY's body as it came.
///
/// # Errors
/// No body can be so long: the original dies of a negative one.
pub fn body_len(raw: [u8; 4]) -> Result<usize, Refusal> {
    let length = i32::from_be_bytes(raw);
    let length = usize::try_from(length).ok().filter(|length| *length <= BODY_MAX);
    length.ok_or_else(|| Refusal::Body("IDENTIFY failed to read body".into()))
}

/// Appends an answer.
pub fn push_answer(out: &mut Vec<u8>, answer: &[u8]) {
    // Answers are short: nothing is cut off.
    out.extend_from_slice(&u32::try_from(answer.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(answer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands() {
        assert_eq!(parse("PING\n", false), Ok(Command::Ping));
        assert_eq!(parse(" PING a b \r\n", false), Ok(Command::Ping));
        assert_eq!(parse("IDENTIFY\n", false), Ok(Command::Identify));
        assert_eq!(parse("REGISTER t", true), Ok(Command::Register("t", None)));
        assert_eq!(parse("REGISTER t  x", true), Ok(Command::Register("t", None)), "no channel");
        assert_eq!(parse("REGISTER t c x", true), Ok(Command::Register("t", Some("c"))));
        assert_eq!(
            parse("UNREGISTER t#ephemeral c", true),
            Ok(Command::Unregister("t#ephemeral", Some("c")))
        );
    }

    #[test]
    fn refusals_are_nsqlookupds() {
        let text = |line, is_known| parse(line, is_known).unwrap_err().to_string();
        assert_eq!(text("REGISTER t", false), "E_INVALID client must IDENTIFY");
        assert_eq!(text("UNREGISTER", false), "E_INVALID client must IDENTIFY");
        assert_eq!(text("IDENTIFY", true), "E_INVALID cannot IDENTIFY again");
        assert_eq!(text("REGISTER", true), "E_INVALID REGISTER insufficient number of params");
        assert_eq!(
            text("REGISTER bad$ c", true),
            "E_BAD_TOPIC REGISTER topic name 'bad$' is not valid"
        );
        assert_eq!(text("REGISTER  t", true), "E_BAD_TOPIC REGISTER topic name '' is not valid");
        assert_eq!(
            text("UNREGISTER t bad$", true),
            "E_BAD_CHANNEL UNREGISTER channel name 'bad$' is not valid"
        );
        assert_eq!(text("hello you", true), "E_INVALID invalid command hello");
        assert_eq!(text("", true), "E_INVALID invalid command ");
        assert_eq!(text("ping", true), "E_INVALID invalid command ping");
    }

    #[test]
    fn edge_134_a_length_that_cannot_be_is_refused() {
        assert_eq!(body_len(5_u32.to_be_bytes()), Ok(5));
        for bad in [-1, i32::MIN, i32::MAX] {
            let refusal = body_len(bad.to_be_bytes()).unwrap_err();
            assert_eq!(refusal.to_string(), "E_BAD_BODY IDENTIFY failed to read body");
        }
    }

    #[test]
    fn edge_133_an_answer_has_a_length_and_no_type() {
        let mut out = Vec::new();
        push_answer(&mut out, b"OK");
        assert_eq!(out, b"\x00\x00\x00\x02OK");
    }
}
