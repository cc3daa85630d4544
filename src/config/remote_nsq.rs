//! Reads what an NSQ end of a route says of nsqds other than this node.

use std::time::Duration;

use super::brokers_file::secret;
use super::endpoints::NsqEnd;
use super::error::{Report, Spot};
use super::keys::endpoints::NSQ_TLS;
use super::section::{Field, Section};
use crate::bridge::remote::{
    Addresses, ConnectOptions, RemoteNsq, RemoteSource, RemoteTarget, Secret,
};
use crate::bridge::route::{Source, Target};
use crate::bridge::transform::Template;
use crate::client::PackingKind;
use crate::client::connect::host_of;
use crate::names;
use crate::tls::ClientTls;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Keys that say nothing without an address.
const REMOTE: &[&str] = &[
    "auth_secret",
    "auth_secret_file",
    "compression",
    "heartbeat",
    "lookupd_interval",
    "max_backoff",
    "max_in_flight",
    "msg_timeout",
    "tls",
];
/// Those of a consumer.
const CONSUMER: &[&str] = &["max_backoff", "max_in_flight", "msg_timeout"];

/// What is said of other nsqds.
#[derive(Debug)]
pub(super) struct RemoteEnd {
    nsq: RemoteNsq,
    max_in_flight: u32,
    max_backoff: Duration,
    /// Where something is said that only a consumer has.
    of_consumer: Option<Spot>,
}

/// Reads the keys of other nsqds; `Some(None)` if the end is one of this node, `None` if something is wrong.
pub(super) fn read(section: &Section<'_>, report: &mut Report) -> Option<Option<Box<RemoteEnd>>> {
    let nsqd = section.get("nsqd").map(|field| addresses(&field, false, report));
    let lookupd = section.get("lookupd").map(|field| addresses(&field, true, report));
    let connect = connect_options(section, report);
    let mut time = |key: &str, least: Duration, most: Duration, default: Duration| {
        let field = section.get(key)?;
        Some(field.duration(least..=most, report).unwrap_or(default))
    };
    let interval = time("lookupd_interval", SECOND, HOUR, SECOND).unwrap_or(60 * SECOND);
    let max_backoff = time("max_backoff", Duration::ZERO, HOUR, SECOND).unwrap_or(120 * SECOND);
    let max_in_flight =
        section.get("max_in_flight").map(|field| field.integer(1..=100_000_u32, report));
    if section.get("nsqd").is_none() && section.get("lookupd").is_none() {
        let message = "it is for other nsqds, which the keys nsqd and lookupd name; this node needs no connection";
        section.refuse(REMOTE, message, report);
        return Some(None);
    }
    let of_consumer = CONSUMER.iter().find_map(|key| section.get(key)).map(|field| field.spot);
    Some(Some(Box::new(RemoteEnd {
        nsq: RemoteNsq {
            addresses: Addresses {
                nsqd: or_none(nsqd)?.unwrap_or_default(),
                lookupd: or_none(lookupd)?.unwrap_or_default(),
            },
            lookupd_interval: interval,
            connect: connect?,
        },
        max_in_flight: or_none(max_in_flight)?.unwrap_or(1000),
        max_backoff,
        of_consumer,
    })))
}

/// What is there and wrong as an end of everything.
fn or_none<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        Some(value) => value.map(Some),
        None => Some(None),
    }
}

/// One address or more, each once.
fn addresses(field: &Field<'_>, may_be_url: bool, report: &mut Report) -> Option<Vec<String>> {
    let fields = field.list("a list of host:port", report)?;
    if fields.is_empty() {
        report.error(&field.spot, "expected at least one host:port");
        return None;
    }
    let mut addresses = Vec::new();
    let mut is_right = true;
    for field in fields {
        let Some(text) = field.text(report) else {
            is_right = false;
            continue;
        };
        let is_url = may_be_url && (text.starts_with("http://") || text.starts_with("https://"));
        if host_of(&text).is_none() && !is_url {
            let what = if may_be_url { "host:port or a URL" } else { "host:port" };
            let message = format!("expected {what}, such as nsq.example:4150, found \"{text}\"");
            report.error(&field.spot, message);
            is_right = false;
        } else if addresses.contains(&text) {
            report.error(&field.spot, format!("\"{text}\" is given twice"));
            is_right = false;
        } else {
            addresses.push(text);
        }
    }
    is_right.then_some(addresses)
}

fn connect_options(section: &Section<'_>, report: &mut Report) -> Option<ConnectOptions> {
    let mut connect = ConnectOptions { heartbeat: 10 * SECOND, ..ConnectOptions::default() };
    if let Some(field) = section.get("heartbeat") {
        connect.heartbeat = field.duration(SECOND..=60 * SECOND, report)?;
    }
    if let Some(field) = section.get("msg_timeout") {
        connect.msg_timeout = Some(field.duration(SECOND..=900 * SECOND, report)?);
    }
    if let Some(field) = section.get("compression") {
        let words = [
            ("none", None),
            ("snappy", Some(PackingKind::Snappy)),
            ("deflate", Some(PackingKind::Deflate(6))),
        ];
        connect.compression = field.choice(&words, report)?;
    }
    if let Some(field) = section.get("tls") {
        connect.tls = Some(tls(&field, report)?);
    }
    let text = match (section.get("auth_secret"), section.get("auth_secret_file")) {
        (Some(_), Some(file)) => {
            report.error(&file.spot, "auth_secret and auth_secret_file are both given; keep one");
            return None;
        }
        (Some(field), None) => Some(field.text(report)?),
        (None, Some(field)) => Some(secret(&field, &field.spot.folder(), report)?),
        (None, None) => None,
    };
    connect.auth_secret = text.map(Secret::new);
    Some(connect)
}

pub(super) fn tls(field: &Field<'_>, report: &mut Report) -> Option<ClientTls> {
    let section = Section::open(field, NSQ_TLS, report)?;
    let folder = section.spot.folder();
    let mut file = |key| {
        let name = section.get(key)?.short_text(report)?;
        Some(folder.join(name))
    };
    let (ca, cert, key) = (file("ca_file"), file("cert_file"), file("key_file"));
    let server_name = section.get("server_name").and_then(|field| field.short_text(report));
    let insecure = section.get("insecure").map(|field| field.boolean(report));
    if cert.is_some() != key.is_some() {
        report.error(&section.spot, "cert_file and key_file belong together; give both or none");
        return None;
    }
    let insecure = or_none(insecure)?.unwrap_or_default();
    let tls = ClientTls { ca, identity: cert.zip(key), server_name, insecure };
    if let Err(error) = tls.load() {
        report.error(&section.spot, error.to_string());
        return None;
    }
    Some(tls)
}

/// An end that is consumed; `name` is the route's.
pub(super) fn source(
    remote: RemoteEnd,
    end: NsqEnd,
    name: &str,
    report: &mut Report,
) -> Option<Source> {
    end.is_constant(report).then_some(())?;
    let channel = match end.channel {
        Some((channel, spot)) if names::is_ephemeral(&channel) => {
            let message = "an #ephemeral channel goes with its last consumer, and its messages with it; a route must not lose them";
            report.error(&spot, message);
            return None;
        }
        Some((channel, _)) => channel,
        None => name.to_owned(),
    };
    Some(Source::Remote(Box::new(RemoteSource {
        nsq: remote.nsq,
        topic: end.topic,
        channel,
        max_in_flight: remote.max_in_flight,
        max_backoff: remote.max_backoff,
    })))
}

/// An end that is published to.
pub(super) fn target(remote: RemoteEnd, topic: &str, report: &mut Report) -> Option<Target> {
    if let Some(spot) = &remote.of_consumer {
        report.error(
            spot,
            "only an end that is read from has it; what is published is bounded by window",
        );
        return None;
    }
    let topic = Template::parse(topic).ok()?;
    Some(Target::Remote(Box::new(RemoteTarget { nsq: remote.nsq, topic })))
}
