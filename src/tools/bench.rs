//! `leveret bench`: measures an NSQ server.

use std::process::ExitCode;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {}

/// Measures and prints.
#[must_use]
pub fn main(_args: Args) -> ExitCode {
    ExitCode::SUCCESS
}
