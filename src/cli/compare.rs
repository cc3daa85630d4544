//! `leveret compare`: what two places have of the same messages.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::{load, say, say_error};
use crate::bridge::broker::{BrokerOptions, BrokerUri};
use crate::bridge::compare::{self, Findings, Key, Options, Place, Report};
use crate::config;

/// The exit code of a comparison that found differences; 2 is one that could not be made.
const EXIT_DIFFERENT: u8 = 1;
const EXIT_FAILED: u8 = 2;

/// What is asked for.
#[derive(ClapArgs, Clone, Debug)]
pub(super) struct Args {
    /// What is compared: queue:NAME, stream:NAME, exchange:NAME[:KEY] (each also as queue@BROKER:NAME),
    /// nsqd:HOST:PORT/TOPIC[/CHANNEL] or lookupd:HOST:PORT/TOPIC[/CHANNEL]
    #[arg(long, value_name = "PLACE", value_parser = Place::parse)]
    left: Place,
    /// What it is compared with
    #[arg(long, value_name = "PLACE", value_parser = Place::parse)]
    right: Place,
    /// By what a message is known: id (message_id), remote-id (as routes from other nsqds make it), body, or a template
    /// such as "{{ body.order }}"
    #[arg(long, value_name = "KEY", value_parser = Key::parse, default_value = "id")]
    key: Key,
    /// The same for the right side, if it is another one there
    #[arg(long, value_name = "KEY", value_parser = Key::parse)]
    right_key: Option<Key>,
    /// Compare bodies too
    #[arg(long)]
    bodies: bool,
    /// Watch both sides for so long, and judge what is first seen then; without it, what is there is read to its end
    #[arg(long = "for", value_name = "DURATION", value_parser = config::parse_duration)]
    watch: Option<Duration>,
    /// How long a message may take from one side to the other; without --for, how long nothing may come before that is
    /// the end
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration, default_value = "5s")]
    grace: Duration,
    /// Only messages published at this time or later: RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<i64>,
    /// Only messages published before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<i64>,
    /// The most different messages that are remembered, some 150 bytes each
    #[arg(long, value_name = "MESSAGES", default_value_t = 10_000_000)]
    most: usize,
    /// How many findings of a kind are shown
    #[arg(long, value_name = "MESSAGES", default_value_t = 20)]
    show: usize,
    /// The node's file, for its brokers
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The broker "default", if no file names it
    #[arg(long, value_name = "URI", value_parser = BrokerUri::parse)]
    amqp: Option<BrokerUri>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn moment(text: &str) -> Result<i64, String> {
    let expected = "expected RFC 3339, 2026-01-31T12:00:00Z, or Unix seconds";
    config::parse_moment(text).ok_or_else(|| expected.to_owned())
}

/// Compares, prints what it came to, and says so by the exit code.
pub(super) fn run(args: Args) -> ExitCode {
    let mut brokers = match load(args.config) {
        Ok(loaded) => loaded.node.brokers,
        Err(code) => return code,
    };
    if let Some(uri) = args.amqp {
        let name = BrokerOptions::DEFAULT_NAME;
        brokers.retain(|broker| broker.name != name);
        brokers.push(BrokerOptions::new(name, uri));
    }
    let options = Options {
        keys: [args.key.clone(), args.right_key.unwrap_or(args.key)],
        places: [args.left, args.right],
        bodies: args.bodies,
        watch: args.watch,
        grace: args.grace,
        published: (args.from.unwrap_or(0), args.to.unwrap_or(i64::MAX)),
        most: args.most,
        shown: args.show,
        brokers,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    let report = match runtime.block_on(compare::compare(&options)) {
        Ok(report) => report,
        Err(error) => return failed(&error.to_string()),
    };
    if args.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => say(&text),
            Err(error) => return failed(&error.to_string()),
        }
    } else {
        say(&text(&options, &report));
    }
    if report.is_same() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DIFFERENT) }
}

fn failed(words: &str) -> ExitCode {
    say_error(&format!("leveret compare: {words}"));
    ExitCode::from(EXIT_FAILED)
}

fn text(options: &Options, report: &Report) -> String {
    let ([left, right], Report { messages, unknown, .. }) = (&options.places, report);
    let mut lines = vec![
        format!("left   {left}: {} messages", messages[0]),
        format!("right  {right}: {} messages", messages[1]),
        format!("same   {}", report.same),
    ];
    let kinds: [(&str, &Findings); 5] = [
        ("missing on the right", &report.missing),
        ("extra on the right", &report.extra),
        ("double on the right", &report.double_right),
        ("different bodies", &report.different),
        ("double on the left, which says nothing of the right", &report.double_left),
    ];
    for (title, findings) in kinds.iter().filter(|(_, findings)| findings.count > 0) {
        lines.push(format!("{title}: {}", findings.count));
        for finding in &findings.first {
            let (key, left, right) = (&finding.key, finding.left, finding.right);
            lines.push(format!("  {key}  left {left}, right {right}"));
        }
        let hidden = findings.count - findings.first.len() as u64;
        if hidden > 0 {
            lines.push(format!("  and {hidden} more"));
        }
    }
    for (side, count) in [("left", unknown[0]), ("right", unknown[1])] {
        if count > 0 {
            lines.push(format!(
                "{count} messages on the {side} have nothing to know them by: choose another --key"
            ));
        }
    }
    if report.is_same() {
        lines.push("both have the same".to_owned());
    }
    lines.join("\n")
}
