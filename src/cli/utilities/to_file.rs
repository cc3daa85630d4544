//! nsq_to_file's flags.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::{
    CHANNEL, CONSUMER_OPT, JSON, LOOKUPD, MAX_IN_FLIGHT, NSQD, UsageError, VERSION, addresses,
    client_options, count, text, valid,
};
use crate::cli::goflags::{Flag, Given, Kind, flag};
use crate::tools::client::ClientOptions;
use crate::tools::nsq_to_file::{self, Regex};
use crate::tools::program::LogPlan;
use crate::tools::reader::Reading;

pub(super) const FLAGS: &[Flag] = &[
    flag("channel", Kind::Text, "\"nsq_to_file\"", CHANNEL),
    CONSUMER_OPT,
    flag(
        "datetime-format",
        Kind::Text,
        "\"%Y-%m-%d_%H\"",
        "strftime compatible format for <DATETIME> in filename format",
    ),
    flag(
        "filename-format",
        Kind::Text,
        "\"<TOPIC>.<HOST><REV>.<DATETIME>.log\"",
        "output filename format (<TOPIC>, <HOST>, <PID>, <DATETIME>, <REV> are replaced. <REV> is increased when file already exists)",
    ),
    flag("gzip", Kind::Bool, "", "gzip output files."),
    flag(
        "gzip-level",
        Kind::Int,
        "6",
        "gzip compression level (1-9, 1=BestSpeed, 9=BestCompression)",
    ),
    flag(
        "host-identifier",
        Kind::Text,
        "",
        "value to output in log filename in place of hostname. <SHORT_HOST> and <HOSTNAME> are valid replacement tokens",
    ),
    flag("http-client-connect-timeout", Kind::Duration, "2s", "timeout for HTTP connect"),
    flag("http-client-request-timeout", Kind::Duration, "5s", "timeout for HTTP request"),
    JSON,
    flag(
        "log-level",
        Kind::Level,
        "\"info\"",
        "set log verbosity: debug, info, warn, error, or fatal",
    ),
    flag("log-prefix", Kind::Text, "\"[nsq_to_file] \"", "log message prefix"),
    LOOKUPD,
    MAX_IN_FLIGHT,
    NSQD,
    flag("output-dir", Kind::Text, "\"/tmp\"", "directory to write output files to"),
    flag("rotate-interval", Kind::Duration, "0s", "rotate the file every duration"),
    flag(
        "rotate-size",
        Kind::Int,
        "0",
        "rotate the file when it grows bigger than `rotate-size` bytes",
    ),
    flag("skip-empty-files", Kind::Bool, "", "Skip writing empty files"),
    flag("sync-interval", Kind::Duration, "30s", "sync file to disk every duration"),
    flag("topic", Kind::Texts, "", "nsq topic (may be given multiple times)"),
    flag("topic-pattern", Kind::Text, "", "only log topics matching the following pattern"),
    flag(
        "topic-refresh",
        Kind::Duration,
        "1m0s",
        "how frequently the topic list should be refreshed",
    ),
    VERSION,
    flag("work-dir", Kind::Text, "", "directory for in-progress files before moving to output-dir"),
];

pub(super) fn run(given: &Given) -> Result<ExitCode, UsageError> {
    let fatal = |text: &str| Err(UsageError::Fatal(text.to_owned()));
    if !given.rest.is_empty() {
        return fatal(&format!("unknown arguments: [{}]", given.rest.join(" ")));
    }
    let topics: Result<Vec<_>, _> =
        given.texts("topic").iter().map(|topic| valid(topic, "topic")).collect();
    let pattern = given.text("topic-pattern").filter(|pattern| !pattern.is_empty());
    if given.texts("topic").is_empty() && pattern.is_none() {
        return fatal("--topic or --topic-pattern required");
    }
    let addresses = addresses(given, "nsqd-tcp-address")?;
    if given.texts("topic").is_empty() && addresses.lookupd.is_empty() {
        return fatal("--lookupd-http-address must be specified when no --topic specified");
    }
    let mut client = ClientOptions::of("nsq_to_file");
    // The original ignores an option that is none, without a word.
    let odd = client_options::apply(given.texts("consumer-opt"), &mut client).err();
    let output_dir = PathBuf::from(text(given, "output-dir", "/tmp"));
    let work_dir = given.text("work-dir").filter(|path| !path.is_empty()).map(PathBuf::from);
    let pattern = match pattern.map(Regex::new).transpose() {
        Ok(pattern) => pattern,
        Err(error) => return fatal(&format!("--topic-pattern: {error}")),
    };
    let options = nsq_to_file::Options {
        topics: topics?,
        pattern,
        refresh: positive(given, "topic-refresh", 60)?,
        reading: Reading {
            addresses,
            channel: valid(&text(given, "channel", "nsq_to_file"), "channel")?,
            max_in_flight: count(given, "max-in-flight", 200)?.max(1),
            client,
        },
        connect_timeout: positive(given, "http-client-connect-timeout", 2)?,
        request_timeout: positive(given, "http-client-request-timeout", 5)?,
        work_dir: work_dir.unwrap_or_else(|| output_dir.clone()),
        output_dir,
        filename_format: text(given, "filename-format", "<TOPIC>.<HOST><REV>.<DATETIME>.log"),
        datetime_format: text(given, "datetime-format", "%Y-%m-%d_%H"),
        host_identifier: text(given, "host-identifier", ""),
        gzip: gzip(given)?,
        skip_empty_files: given.bool("skip-empty-files") == Some(true),
        rotate_size: u64::try_from(given.int("rotate-size").unwrap_or(0))
            .map_err(|_| UsageError::Fatal("--rotate-size must not be negative".into()))?,
        rotate_interval: given.duration("rotate-interval").unwrap_or_default(),
        sync_interval: positive(given, "sync-interval", 30)?,
        log: LogPlan {
            level: text(given, "log-level", "info"),
            prefix: text(given, "log-prefix", "[nsq_to_file] "),
        },
        odd: odd.map(|error| error.to_string()),
        json: given.bool("json") == Some(true),
    };
    options.check().map_err(|error| UsageError::fatal(&error))?;
    Ok(nsq_to_file::run(&options))
}

fn gzip(given: &Given) -> Result<Option<u32>, UsageError> {
    let level = given.int("gzip-level").unwrap_or(6);
    let level = u32::try_from(level).ok().filter(|level| (1..=9).contains(level));
    let level = level.ok_or_else(|| {
        UsageError::Fatal(format!(
            "invalid --gzip-level value ({}), should be 1-9",
            given.int("gzip-level").unwrap_or_default()
        ))
    })?;
    Ok((given.bool("gzip") == Some(true)).then_some(level))
}

fn positive(given: &Given, flag: &str, default: u64) -> Result<Duration, UsageError> {
    match given.duration(flag) {
        None => Ok(Duration::from_secs(default)),
        Some(time) if time.is_zero() => {
            Err(UsageError::Fatal(format!("--{flag} should be positive")))
        }
        Some(time) => Ok(time),
    }
}
