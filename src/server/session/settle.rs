//! FIN, REQ and TOUCH: they come in runs, and a run is settled under one lock.

use super::Session;
use crate::clock::Instant;
use crate::engine::{SettleError, Settling};
use crate::names::MessageId;
use crate::protocol::command::{Command, Parser};
use crate::protocol::{ErrorCode, ProtocolError};

impl Session {
    /// Handles the run of FIN, REQ and TOUCH that `input` begins with under one lock, and returns the bytes that it takes.
    pub(super) fn settle(&mut self, input: &[u8], now: Instant) -> usize {
        let Some(consumer) = self.consumer.clone() else {
            return input.len();
        };
        let mut settling = consumer.settle(now);
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let Ok(Some((command, length))) =
                self.parser.next(rest, self.gate(), &self.options.limits)
            else {
                // Whatever is wrong or missing is looked at again outside.
                self.parser = Parser::default();
                return used;
            };
            if let Err(error) = settle(&mut settling, command) {
                let Some(error) = error else { return used };
                self.replies.fail(&mut self.out, &error);
            }
            used += length;
        }
    }
}

/// Settles one message. `Err(None)` for a command of another kind.
fn settle(settling: &mut Settling<'_>, command: Command<'_>) -> Result<(), Option<ProtocolError>> {
    let failed = |code, word: &str, id: &[u8; MessageId::LEN], error: SettleError| {
        let text = [word.as_bytes(), b" ", id, b" failed ", error.to_string().as_bytes()].concat();
        Some(ProtocolError::new(code, text))
    };
    match command {
        Command::Fin(id) => {
            settling.finish(id).map_err(|error| failed(ErrorCode::FinFailed, "FIN", id, error))
        }
        Command::Req(id, delay) => settling
            .requeue(id, delay)
            .map_err(|error| failed(ErrorCode::ReqFailed, "REQ", id, error)),
        Command::Touch(id) => {
            settling.touch(id).map_err(|error| failed(ErrorCode::TouchFailed, "TOUCH", id, error))
        }
        _ => Err(None),
    }
}
