//! `leveret export`: the way back, from a stopped node to a data folder of nsqd.

use std::path::PathBuf;

use crate::node::NodeError;
use crate::node::export::{self, Report};

/// nsqd's default of `--max-msg-size`, bytes.
const MAX_MSG_SIZE: u64 = 1 << 20;

/// What to export, and where to.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write for nsqd: new, or empty
    #[arg(long, value_name = "DIR")]
    nsqd: PathBuf,
    /// The data folder of the node, which has to be stopped
    #[arg(long, value_name = "DIR")]
    data_path: PathBuf,
    /// The node's id, which is a part of every message's id [default: from the hostname, as the node has it]
    #[arg(long, value_name = "0-1023", value_parser = clap::value_parser!(u16).range(0..1024))]
    node_id: Option<u16>,
}

/// Exports, and tells what it came to.
pub(super) fn run(args: &Args) -> Result<String, NodeError> {
    export::to_nsqd(&args.data_path, args.node_id, &args.nsqd).map(|report| tell(&report))
}

fn tell(report: &Report) -> String {
    let Report { topics, channels, messages, bytes, largest_body } = report;
    let counts =
        format!("{topics} topics, {channels} channels, {messages} messages, {bytes} bytes\n");
    if *largest_body <= MAX_MSG_SIZE {
        return counts;
    }
    format!(
        "{counts}the largest message has {largest_body} bytes: start nsqd with --max-msg-size={largest_body} or more, \
         or it gives up the file that it is in\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nsqd_would_give_up_is_told() {
        let report =
            Report { topics: 1, channels: 2, messages: 3, bytes: 4, largest_body: 1 << 20 };
        assert_eq!(tell(&report), "1 topics, 2 channels, 3 messages, 4 bytes\n");
        let report = Report { largest_body: (1 << 20) + 1, ..report };
        assert!(tell(&report).contains("--max-msg-size=1048577"), "{}", tell(&report));
    }
}
