//! A client's bytes: nothing panics, nothing is read twice, and what is read does not depend on how the bytes arrive.
//!
//! The first byte of the input says how large the pieces are.

#![no_main]

use std::time::Duration;

use leveret::protocol::command::{Command, Gate, Limits, Parser, Phase};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    max_msg_size: 64,
    max_body_size: 256,
    max_rdy_count: 2500,
    max_req_timeout: Duration::from_secs(3600),
};

/// What a command carries, in an owned form. The bytes behind an MPUB's last message are not its own.
fn said(command: &Command<'_>) -> String {
    match command {
        Command::Mpub { topic, bodies } => {
            assert_eq!(bodies.len(), bodies.count(), "each message is there");
            format!("MPUB {topic} {:?}", bodies.collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}

/// Reads a conversation as a connection does, to its end.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut parser = Parser::default();
    let mut gate = Gate { phase: Phase::Init, heartbeats: true };
    let (mut buffer, mut seen) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut used = 0;
        loop {
            match parser.next(&buffer[used..], gate, &LIMITS) {
                Ok(Some((command, length))) => {
                    assert!(length > 0 && used + length <= buffer.len(), "it takes what there is");
                    match command {
                        Command::Sub { .. } => gate.phase = Phase::Subscribed,
                        Command::Cls => gate.phase = Phase::Closing,
                        _ => {}
                    }
                    seen.push(said(&command));
                    used += length;
                }
                Ok(None) => break,
                Err(fault) => {
                    seen.push(format!("{fault:?}"));
                    return seen;
                }
            }
        }
        buffer.drain(..used);
    }
    seen.extend(parser.at_end(&buffer, gate, &LIMITS).map(|fault| format!("{fault:?}")));
    seen
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = read([stream]);
    assert_eq!(read(stream.chunks(usize::from(size).max(1))), whole);
    assert_eq!(read(stream.chunks(1)), whole);
});
