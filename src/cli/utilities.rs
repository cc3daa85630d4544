//! NSQ's utilities by their own flags: reads them, and starts what they ask for.

mod client_options;
mod readers;
mod stat;
mod to_file;
mod to_http;
mod to_nsq;

use std::process::ExitCode;
use std::time::Duration;

use super::goflags::{self, Flag, FlagError, Given, Kind, flag};
use super::{EXIT_CONFIG, fail_as, say, say_error};
use crate::tools::client::{Addresses, ClientOptions};
use crate::tools::reader::Reading;

/// A utility: its name, its flags, and what runs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Utility {
    pub(super) name: &'static str,
    flags: &'static [Flag],
    run: fn(&Given) -> Result<ExitCode, UsageError>,
}

/// All of them.
const UTILITIES: &[Utility] = &[
    Utility { name: "nsq_stat", flags: stat::FLAGS, run: stat::run },
    Utility { name: "nsq_tail", flags: readers::TAIL_FLAGS, run: readers::tail },
    Utility { name: "nsq_to_file", flags: to_file::FLAGS, run: to_file::run },
    Utility { name: "nsq_to_http", flags: to_http::FLAGS, run: to_http::run },
    Utility { name: "nsq_to_nsq", flags: readers::TO_NSQ_FLAGS, run: readers::to_nsq },
    Utility { name: "to_nsq", flags: to_nsq::FLAGS, run: to_nsq::run },
];

/// Why a utility's flags cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UsageError {
    /// Its usage is shown and it leaves with 2, as for a flag that is none.
    #[error("{0}")]
    Flag(String),
    /// It leaves with 1.
    #[error("{0}")]
    Fatal(String),
}

impl UsageError {
    fn fatal(error: &impl ToString) -> Self {
        Self::Fatal(error.to_string())
    }
}

/// The utility of this name, if there is one.
pub(super) fn find(name: &str) -> Option<Utility> {
    UTILITIES.iter().copied().find(|utility| utility.name == name)
}

impl Utility {
    /// Runs it with these arguments.
    pub(super) fn main(self, args: &[String]) -> ExitCode {
        let usage = || goflags::usage(self.name, self.flags);
        let given = match goflags::parse(self.flags, args) {
            Ok(given) => given,
            Err(FlagError::Help) => {
                say_error(&usage());
                return ExitCode::SUCCESS;
            }
            Err(error) => {
                say_error(&format!("{error}\n{}", usage()));
                return ExitCode::from(EXIT_CONFIG);
            }
        };
        if given.bool("version") == Some(true) {
            let own = env!("CARGO_PKG_VERSION");
            say(&format!("{} v1.3.0 (built w/leveret {own})", self.name));
            return ExitCode::SUCCESS;
        }
        match (self.run)(&given) {
            Ok(code) => code,
            Err(UsageError::Flag(error)) => {
                say_error(&format!("{error}\n{}", usage()));
                ExitCode::from(EXIT_CONFIG)
            }
            Err(UsageError::Fatal(error)) => fail_as(self.name, "FATAL", &error),
        }
    }
}

const CHANNEL: &str = "nsq channel";
const CONSUMER_OPT: Flag = flag(
    "consumer-opt",
    Kind::Texts,
    "",
    "option to passthrough to nsq.Consumer (may be given multiple times, http://godoc.org/github.com/nsqio/go-nsq#Config)",
);
const PRODUCER_OPT: Flag = flag(
    "producer-opt",
    Kind::Texts,
    "",
    "option to passthrough to nsq.Producer (may be given multiple times, http://godoc.org/github.com/nsqio/go-nsq#Config)",
);
const LOOKUPD: Flag = flag(
    "lookupd-http-address",
    Kind::Texts,
    "",
    "lookupd HTTP address (may be given multiple times)",
);
const NSQD: Flag =
    flag("nsqd-tcp-address", Kind::Texts, "", "nsqd TCP address (may be given multiple times)");
const MAX_IN_FLIGHT: Flag =
    flag("max-in-flight", Kind::Int, "200", "max number of messages to allow in flight");
const STATUS_EVERY: Flag = flag(
    "status-every",
    Kind::Int,
    "250",
    "the # of requests between logging status (per destination), 0 disables",
);
const VERSION: Flag = flag("version", Kind::Bool, "", "print version string");
const JSON: Flag =
    flag("json", Kind::Bool, "", "write progress for machines, an object a second (Leveret's own)");

/// The text of a flag; its default if it was not given.
fn text(given: &Given, name: &str, default: &str) -> String {
    given.text(name).unwrap_or(default).to_owned()
}

/// A time of a flag; so many seconds if it was not given.
fn time(given: &Given, name: &str, default: u64) -> Duration {
    given.duration(name).unwrap_or_else(|| Duration::from_secs(default))
}

/// A number of a flag, 0 and more.
fn count(given: &Given, name: &str, default: u32) -> Result<u32, UsageError> {
    match given.int(name) {
        None => Ok(default),
        Some(value) => u32::try_from(value)
            .map_err(|_| UsageError::Fatal(format!("--{name} must be 0 to {}", u32::MAX))),
    }
}

/// A topic or channel that was given.
fn name(given: &Given, flag: &str) -> Result<String, UsageError> {
    let name = given.text(flag).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| UsageError::Fatal(format!("--{flag} is required")))?;
    valid(name, flag)
}

fn valid(name: &str, flag: &str) -> Result<String, UsageError> {
    if crate::tools::reader::is_valid_name(name.as_bytes()) {
        return Ok(name.to_owned());
    }
    Err(UsageError::Fatal(format!("--{flag} is invalid: \"{name}\" is no name of NSQ's")))
}

/// The topics that were given, one and more.
fn topics(given: &Given) -> Result<Vec<String>, UsageError> {
    let topics = given.texts("topic");
    if topics.is_empty() {
        return Err(UsageError::Fatal("--topic required".into()));
    }
    topics.iter().map(|topic| valid(topic, "topic")).collect()
}

/// Where nsqds are: named by `nsqd`, or found by nsqlookupds.
fn addresses(given: &Given, nsqd: &str) -> Result<Addresses, UsageError> {
    let (named, lookupd) = (given.texts(nsqd), given.texts("lookupd-http-address"));
    let wrong = |what: &str| UsageError::Fatal(what.to_owned());
    match (named.is_empty(), lookupd.is_empty()) {
        (true, true) => Err(wrong(&format!("--{nsqd} or --lookupd-http-address required"))),
        (false, false) => Err(wrong(&format!("use --{nsqd} or --lookupd-http-address not both"))),
        _ => Ok(Addresses { nsqd: named.to_vec(), lookupd: lookupd.to_vec() }),
    }
}

/// How a utility is a client, by the options of this flag.
fn client(given: &Given, utility: &str, flag: &str) -> Result<ClientOptions, UsageError> {
    let mut options = ClientOptions::of(utility);
    client_options::apply(given.texts(flag), &mut options)
        .map_err(|error| UsageError::Flag(format!("invalid value for flag -{flag}: {error}")))?;
    Ok(options)
}

/// What a utility consumes from, by its flags.
fn reading(given: &Given, utility: &str, channel: &str) -> Result<Reading, UsageError> {
    let channel = text(given, "channel", channel);
    Ok(Reading {
        addresses: addresses(given, "nsqd-tcp-address")?,
        channel: valid(&channel, "channel")?,
        max_in_flight: count(given, "max-in-flight", 200)?.max(1),
        client: client(given, utility, "consumer-opt")?,
    })
}
