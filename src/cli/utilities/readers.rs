//! The flags of nsq_tail and nsq_to_nsq.

use std::process::ExitCode;

use super::{
    CHANNEL, CONSUMER_OPT, JSON, LOOKUPD, MAX_IN_FLIGHT, NSQD, PRODUCER_OPT, STATUS_EVERY,
    UsageError, VERSION, client, count, reading, topics, valid,
};
use crate::cli::goflags::{Flag, Given, Kind, flag};
use crate::tools::Mode;
use crate::tools::{nsq_tail, nsq_to_nsq};

const TOPICS: Flag = flag("topic", Kind::Texts, "", "NSQ topic (may be given multiple times)");

pub(super) const TAIL_FLAGS: &[Flag] = &[
    flag("channel", Kind::Text, "", CHANNEL),
    CONSUMER_OPT,
    flag("json", Kind::Bool, "", "write each message as a JSON object (Leveret's own)"),
    LOOKUPD,
    MAX_IN_FLIGHT,
    flag("n", Kind::Int, "0", "total messages to show (will wait if starved)"),
    NSQD,
    flag("print-topic", Kind::Bool, "", "print topic name where message was received"),
    TOPICS,
    VERSION,
];

pub(super) fn tail(given: &Given) -> Result<ExitCode, UsageError> {
    let own = nsq_tail::own_channel();
    let channel = given.text("channel").filter(|channel| !channel.is_empty()).unwrap_or(&own);
    let topics = topics(given)?;
    let mut reading = reading(given, "nsq_tail", channel)?;
    channel.clone_into(&mut reading.channel);
    Ok(nsq_tail::run(&nsq_tail::Options {
        topics,
        reading,
        count: count(given, "n", 0)?.into(),
        print_topic: given.bool("print-topic") == Some(true),
        json: given.bool("json") == Some(true),
    }))
}

pub(super) const TO_NSQ_FLAGS: &[Flag] = &[
    flag("channel", Kind::Text, "\"nsq_to_nsq\"", CHANNEL),
    CONSUMER_OPT,
    flag(
        "destination-nsqd-tcp-address",
        Kind::Texts,
        "",
        "destination nsqd TCP address (may be given multiple times)",
    ),
    flag(
        "destination-topic",
        Kind::Text,
        "",
        "use this destination topic for all consumed topics (default is consumed topic name)",
    ),
    JSON,
    LOOKUPD,
    MAX_IN_FLIGHT,
    flag(
        "mode",
        Kind::Text,
        "\"hostpool\"",
        "the upstream request mode options: round-robin, hostpool (default), epsilon-greedy",
    ),
    NSQD,
    PRODUCER_OPT,
    flag(
        "require-json-field",
        Kind::Text,
        "",
        "for JSON messages: only pass messages that contain this field",
    ),
    flag(
        "require-json-value",
        Kind::Text,
        "",
        "for JSON messages: only pass messages in which the required field has this value",
    ),
    STATUS_EVERY,
    TOPICS,
    VERSION,
    flag(
        "whitelist-json-field",
        Kind::Texts,
        "",
        "for JSON messages: pass this field (may be given multiple times)",
    ),
];

pub(super) fn to_nsq(given: &Given) -> Result<ExitCode, UsageError> {
    let topics = topics(given)?;
    let optional = |name: &str| given.text(name).filter(|text| !text.is_empty());
    let destination_topic = match optional("destination-topic") {
        Some(topic) => Some(valid(topic, "destination-topic")?),
        None => None,
    };
    let reading = reading(given, "nsq_to_nsq", "nsq_to_nsq")?;
    let destinations = given.texts("destination-nsqd-tcp-address").to_vec();
    if destinations.is_empty() {
        return Err(UsageError::Fatal("--destination-nsqd-tcp-address required".into()));
    }
    Ok(nsq_to_nsq::run(&nsq_to_nsq::Options {
        topics,
        reading,
        destinations,
        destination_topic,
        // Anything else is round-robin, as with the original.
        mode: super::to_http::mode(given).unwrap_or(Mode::RoundRobin),
        filter: nsq_to_nsq::Filter {
            require_field: optional("require-json-field").map(str::to_owned),
            require_value: optional("require-json-value").map(str::to_owned),
            whitelist: given.texts("whitelist-json-field").to_vec(),
        },
        producer: client(given, "nsq_to_nsq", "producer-opt")?,
        status_every: count(given, "status-every", 250)? as usize,
        json: given.bool("json") == Some(true),
    }))
}
