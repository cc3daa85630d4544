//! `leveret plan` and `leveret apply`: what the routes ask of their brokers, and the making of it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as ClapArgs;

use super::{load, say, say_error};
use crate::bridge::plan;

/// What is asked for.
#[derive(ClapArgs, Clone, Debug)]
pub(super) struct Args {
    /// The node's file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Compares the routes' declarations with their brokers, and makes what is missing if `apply` is set.
pub(super) fn run(args: Args, apply: bool) -> ExitCode {
    // Its own code would mean that something is to be done.
    let Ok(loaded) = load(args.config) else { return ExitCode::FAILURE };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say_error(&format!("leveret: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let plan = runtime.block_on(plan::make(&loaded.node.brokers, &loaded.routes, apply));
    if args.json {
        match serde_json::to_string_pretty(&plan) {
            Ok(text) => say(&text),
            Err(error) => {
                say_error(&format!("leveret: {error}"));
                return ExitCode::FAILURE;
            }
        }
    } else {
        say(&plan.text());
    }
    ExitCode::from(plan.exit_code())
}
