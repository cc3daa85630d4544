//! nsq_stat's flags.

use std::process::ExitCode;

use super::{LOOKUPD, UsageError, VERSION, addresses, name, time};
use crate::cli::goflags::{Flag, Given, Kind, flag};
use crate::tools::nsq_stat;

pub(super) const FLAGS: &[Flag] = &[
    flag("channel", Kind::Text, "", "NSQ channel"),
    flag("count", Kind::Int, "", "number of reports"),
    flag("http-client-connect-timeout", Kind::Duration, "2s", "timeout for HTTP connect"),
    flag("http-client-request-timeout", Kind::Duration, "5s", "timeout for HTTP request"),
    flag("interval", Kind::Duration, "2s", "duration of time between polling/printing output"),
    flag("json", Kind::Bool, "", "write each row as a JSON object (Leveret's own)"),
    LOOKUPD,
    flag("nsqd-http-address", Kind::Texts, "", "nsqd HTTP address (may be given multiple times)"),
    flag("topic", Kind::Text, "", "NSQ topic"),
    VERSION,
];

pub(super) fn run(given: &Given) -> Result<ExitCode, UsageError> {
    let fatal = |text: &str| Err(UsageError::Fatal(text.to_owned()));
    let is_missing = |flag: &str| given.text(flag).is_none_or(str::is_empty);
    if is_missing("topic") || is_missing("channel") {
        return fatal("--topic and --channel are required");
    }
    let interval = time(given, "interval", 2);
    if interval.is_zero() {
        return fatal("--interval should be positive");
    }
    let count = match given.int("count") {
        None => 0,
        Some(count) => match u64::try_from(count) {
            Ok(count) if count > 0 => count,
            _ => return fatal("--count should be positive"),
        },
    };
    let addresses = addresses(given, "nsqd-http-address")?;
    if addresses.nsqd.iter().chain(&addresses.lookupd).any(|address| address.starts_with("http")) {
        return fatal("address should not contain scheme");
    }
    Ok(nsq_stat::run(&nsq_stat::Options {
        topic: name(given, "topic")?,
        channel: name(given, "channel")?,
        addresses,
        interval,
        count,
        connect_timeout: time(given, "http-client-connect-timeout", 2),
        request_timeout: time(given, "http-client-request-timeout", 5),
        json: given.bool("json") == Some(true),
    }))
}
