//! `leveret password`: the hash of a password that is read from the standard input.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use super::{say, say_error};
use crate::admin::access::password::PasswordHash;

/// Longest password, bytes.
const LEN_MAX: u64 = 1024;

/// Reads a line and prints its hash.
pub(super) fn run() -> ExitCode {
    match hash() {
        Ok(hash) => {
            say(hash.reveal());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say_error(&format!("leveret: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn hash() -> Result<PasswordHash, String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        say_error(
            "Type the password and a line feed, or pipe it: printf '%s' \"$SECRET\" | leveret password",
        );
    }
    let mut text = String::new();
    if input.is_terminal() {
        input.read_line(&mut text).map_err(|error| error.to_string())?;
    } else {
        input.take(LEN_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    }
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() || password.len() as u64 > LEN_MAX {
        return Err(format!("expected a password of 1 to {LEN_MAX} bytes on the standard input"));
    }
    PasswordHash::of(password)
}
