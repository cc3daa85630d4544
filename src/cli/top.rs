//! `leveret top`.

use std::process::ExitCode;
use std::time::Duration;

use crate::tools::top::{self, Options};

/// Which nodes to watch.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// HTTP address of a node; several times for several
    #[arg(long = "http", value_name = "HOST:PORT")]
    nodes: Vec<String>,
    /// HTTP address of a nsqlookupd: all nodes that it knows are watched
    #[arg(long, value_name = "HOST:PORT")]
    lookupd: Vec<String>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Write the tables once as text, after two looks; so it is too where the output is no terminal
    #[arg(long)]
    once: bool,
}

/// Watches them; the node of this machine if none is named.
pub(super) fn run(args: Args) -> ExitCode {
    let mut nodes = args.nodes;
    if nodes.is_empty() && args.lookupd.is_empty() {
        nodes.push("127.0.0.1:4151".into());
    }
    top::run(&Options {
        nodes,
        lookupd: args.lookupd,
        interval: Duration::from_secs(args.interval),
        once: args.once,
    })
}
