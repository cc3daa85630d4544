//! nsq_to_http's flags.

use std::process::ExitCode;

use super::{
    CHANNEL, CONSUMER_OPT, JSON, LOOKUPD, MAX_IN_FLIGHT, NSQD, STATUS_EVERY, UsageError, VERSION,
    count, name, reading, text, time,
};
use crate::cli::goflags::{Flag, Given, Kind, flag};
use crate::tools::Mode;
use crate::tools::nsq_to_http::{self, Address, header};

pub(super) const FLAGS: &[Flag] = &[
    flag("channel", Kind::Text, "\"nsq_to_http\"", CHANNEL),
    CONSUMER_OPT,
    flag(
        "content-type",
        Kind::Text,
        "\"application/octet-stream\"",
        "the Content-Type used for POST requests",
    ),
    flag(
        "get",
        Kind::Texts,
        "",
        "HTTP address to make a GET request to. '%s' will be printf replaced with data (may be given multiple times)",
    ),
    flag(
        "header",
        Kind::Texts,
        "",
        "custom header for HTTP requests (may be given multiple times)",
    ),
    flag("http-client-connect-timeout", Kind::Duration, "2s", "timeout for HTTP connect"),
    flag("http-client-request-timeout", Kind::Duration, "20s", "timeout for HTTP request"),
    JSON,
    LOOKUPD,
    MAX_IN_FLIGHT,
    flag(
        "mode",
        Kind::Text,
        "\"hostpool\"",
        "the upstream request mode options: round-robin, hostpool (default), epsilon-greedy; anything else sends to all",
    ),
    flag("n", Kind::Int, "100", "number of concurrent publishers"),
    NSQD,
    flag(
        "post",
        Kind::Texts,
        "",
        "HTTP address to make a POST request to.  data will be in the body (may be given multiple times)",
    ),
    flag("sample", Kind::Float, "1", "% of messages to publish (float b/w 0.0 -> 1.0)"),
    STATUS_EVERY,
    flag("topic", Kind::Text, "", "nsq topic"),
    VERSION,
];

/// How a destination is chosen; `None` for a word that is none.
pub(super) fn mode(given: &Given) -> Option<Mode> {
    match given.text("mode").unwrap_or("hostpool") {
        "hostpool" => Some(Mode::HostPool),
        "epsilon-greedy" => Some(Mode::EpsilonGreedy),
        "round-robin" => Some(Mode::RoundRobin),
        _ => None,
    }
}

pub(super) fn run(given: &Given) -> Result<ExitCode, UsageError> {
    let fatal = |text: &str| Err(UsageError::Fatal(text.to_owned()));
    let topic = name(given, "topic")?;
    let reading = reading(given, "nsq_to_http", "nsq_to_http")?;
    let (posts, gets) = (given.texts("post"), given.texts("get"));
    let addresses: Result<Vec<_>, _> = match (posts.is_empty(), gets.is_empty()) {
        (true, true) => return fatal("--get or --post required"),
        (false, false) => return fatal("use --get or --post not both"),
        (false, true) => posts.iter().map(|url| Address::post(url)).collect(),
        (true, false) => gets.iter().map(|url| Address::get(url)).collect(),
    };
    if posts.is_empty() && given.has("content-type") {
        return fatal("--content-type only used with --post");
    }
    let sample = given.float("sample").unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample) {
        return fatal("--sample must be between 0.0 and 1.0");
    }
    let headers: Result<Vec<_>, _> =
        given.texts("header").iter().map(|text| header(text)).collect();
    Ok(nsq_to_http::run(&nsq_to_http::Options {
        topic,
        reading,
        addresses: addresses.map_err(|error| UsageError::fatal(&error))?,
        mode: mode(given),
        handlers: count(given, "n", 100)?.max(1) as usize,
        headers: headers.map_err(|error| UsageError::fatal(&error))?,
        content_type: text(given, "content-type", "application/octet-stream"),
        connect_timeout: time(given, "http-client-connect-timeout", 2),
        request_timeout: time(given, "http-client-request-timeout", 20),
        sample,
        status_every: count(given, "status-every", 250)? as usize,
        json: given.bool("json") == Some(true),
    }))
}
