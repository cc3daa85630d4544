//! to_nsq's flags.

use std::num::NonZeroU64;
use std::process::ExitCode;

use super::{JSON, NSQD, PRODUCER_OPT, UsageError, client, name};
use crate::cli::goflags::{Flag, Given, Kind, flag};
use crate::tools::to_nsq;

pub(super) const FLAGS: &[Flag] = &[
    flag("delimiter", Kind::Text, "\"\\n\"", "character to split input from stdin"),
    JSON,
    flag(
        "nsqd-tcp-address",
        Kind::Texts,
        "",
        "destination nsqd TCP address (may be given multiple times)",
    ),
    PRODUCER_OPT,
    flag("rate", Kind::Int, "0", "Throttle messages to n/second. 0 to disable"),
    flag("topic", Kind::Text, "", "NSQ topic to publish to"),
];

pub(super) fn run(given: &Given) -> Result<ExitCode, UsageError> {
    let topic = name(given, "topic")?;
    let nsqd = given.texts(NSQD.name).to_vec();
    if nsqd.is_empty() {
        return Err(UsageError::Fatal("--nsqd-tcp-address required".into()));
    }
    let delimiter = match given.text("delimiter").unwrap_or("\n").as_bytes() {
        [byte] => *byte,
        _ => return Err(UsageError::Fatal("--delimiter must be a single byte".into())),
    };
    let rate = match given.int("rate").unwrap_or(0) {
        rate if rate < 0 => return Err(UsageError::Fatal("--rate must not be negative".into())),
        rate => NonZeroU64::new(rate.unsigned_abs()),
    };
    Ok(to_nsq::run(&to_nsq::Options {
        topic,
        nsqd,
        delimiter,
        rate,
        client: client(given, "to_nsq", "producer-opt")?,
        json: given.bool("json") == Some(true),
    }))
}
