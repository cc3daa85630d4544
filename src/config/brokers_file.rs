//! Reads the brokers of the node's file.

use std::path::Path;
use std::time::Duration;

use super::error::Report;
use super::keys::brokers::{BROKER, TLS};
use super::section::{Field, Section};
use crate::bridge::broker::{Auth, BrokerOptions, BrokerUri, TlsOptions, read_secret};

/// The brokers by name.
pub(super) fn brokers(field: &Field<'_>, base: &Path, report: &mut Report) -> Vec<BrokerOptions> {
    let Some(section) = Section::open_any(field, report) else {
        return Vec::new();
    };
    section
        .fields()
        .filter_map(|(name, field)| {
            let is_name = !name.is_empty()
                && name.len() <= 64
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            if !is_name {
                let message = format!(
                    "\"{name}\" is not a name: 1 to 64 of the characters . a-z A-Z 0-9 _ -"
                );
                report.error(&field.spot, message);
            }
            broker(name, &field, base, report)
        })
        .collect()
}

fn broker(
    name: &str,
    field: &Field<'_>,
    base: &Path,
    report: &mut Report,
) -> Option<BrokerOptions> {
    let section = Section::open(field, BROKER, report)?;
    let uri = broker_uri(&section, base, report);
    // The other keys are read even if the address is wrong, so that all errors come at once.
    let placeholder = BrokerUri::parse("amqp://localhost").ok()?;
    let mut options = BrokerOptions::new(name, uri.clone().unwrap_or(placeholder));
    figures(&section, &mut options, report);
    options.uri_file =
        section.get("uri_file").and_then(|field| field.plain_text()).map(|file| base.join(file));
    options.password_file = section
        .get("password_file")
        .and_then(|field| field.plain_text())
        .map(|file| base.join(file));
    hosts(&section, &mut options, report);
    security(&section, uri.as_ref(), &mut options, base, report);
    if let Some(field) = section.get("management") {
        options.management = management(&field, report);
    }
    uri.map(|_| options)
}

fn figures(section: &Section<'_>, options: &mut BrokerOptions, report: &mut Report) {
    if let Some(field) = section.get("heartbeat") {
        let range = Duration::from_secs(1)..=Duration::from_secs(64_800);
        let heartbeat = field.duration(range, report);
        if heartbeat.is_some_and(|heartbeat| heartbeat.subsec_nanos() > 0) {
            let message = format!("expected whole seconds, found {}", field.node.found());
            report.error(&field.spot, message);
        }
        options.heartbeat = heartbeat.unwrap_or(options.heartbeat);
    }
    let range = Duration::from_millis(100)..=Duration::from_secs(600);
    let timeout = section.get("connect_timeout").and_then(|field| field.duration(range, report));
    options.connect_timeout = timeout.unwrap_or(options.connect_timeout);
    if let Some(field) = section.get("connection_name") {
        options.connection_name = field.short_text(report).unwrap_or_default();
    }
    let size = section.get("max_message_size");
    let size = size.and_then(|field| field.size(1024..=512 << 20, report));
    options.max_message_size = size.unwrap_or(options.max_message_size);
}

fn hosts(section: &Section<'_>, options: &mut BrokerOptions, report: &mut Report) {
    let Some(field) = section.get("hosts") else { return };
    for field in field.list("a list of hosts", report).unwrap_or_default() {
        let Some(text) = field.text(report) else { continue };
        match options.uri.parse_host(&text) {
            Ok(host) => options.hosts.push(host),
            Err(error) => {
                let message = format!("expected a host such as rabbit-2 or rabbit-2:5672: {error}");
                report.error(&field.spot, message);
            }
        }
    }
}

/// TLS, and how we log in.
fn security(
    section: &Section<'_>,
    uri: Option<&BrokerUri>,
    options: &mut BrokerOptions,
    base: &Path,
    report: &mut Report,
) {
    let field = section.get("tls");
    options.tls = field.as_ref().and_then(|field| tls(field, base, report)).unwrap_or_default();
    let is_tls = uri.is_none_or(BrokerUri::tls);
    if let (Some(field), false) = (&field, is_tls) {
        report.error(&field.spot, "TLS needs an address that starts with amqps://");
    }
    let Some(field) = section.get("auth") else { return };
    let words = [("plain", Auth::Plain), ("external", Auth::External)];
    options.auth = field.choice(&words, report).unwrap_or_default();
    if options.auth == Auth::External && (options.tls.identity.is_none() || !is_tls) {
        let message = "external logs in by a certificate: give tls with cert_file and key_file, and an amqps:// address";
        report.error(&field.spot, message);
    }
}

fn tls(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<TlsOptions> {
    let section = Section::open(field, TLS, report)?;
    let mut file = |key| {
        let name = section.get(key)?.short_text(report)?;
        Some(base.join(name))
    };
    let (ca_file, cert, key) = (file("ca_file"), file("cert_file"), file("key_file"));
    let server_name = section.get("server_name").and_then(|field| field.short_text(report));
    if cert.is_some() != key.is_some() {
        report.error(&section.spot, "cert_file and key_file belong together; give both or none");
        return None;
    }
    let options = TlsOptions { ca_file, identity: cert.zip(key), server_name };
    if let Err(error) = options.load() {
        report.error(&section.spot, error);
    }
    Some(options)
}

fn management(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.text(report)?;
    let is_address = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']));
    if is_address {
        return Some(text.trim_end_matches('/').to_owned());
    }
    let message = "expected http:// or https:// with host and port and without a user, such as http://127.0.0.1:15672";
    report.error(&field.spot, message);
    None
}

/// The broker's address from `uri` or `uri_file`, with the password of `password_file` if there is one.
fn broker_uri(section: &Section<'_>, base: &Path, report: &mut Report) -> Option<BrokerUri> {
    let (field, text) = match (section.get("uri"), section.get("uri_file")) {
        (Some(_), Some(file)) => {
            report.error(&file.spot, "uri and uri_file are both given; keep one");
            return None;
        }
        (Some(field), None) => {
            let text = field.text(report)?;
            (field, text)
        }
        (None, Some(field)) => {
            let text = secret(&field, base, report)?;
            (field, text)
        }
        (None, None) => {
            let example = "amqp://guest:guest@127.0.0.1:5672/%2f";
            section.require("uri", example, report)?;
            return None;
        }
    };
    let uri = BrokerUri::parse(&text)
        .map_err(|error| report.error(&field.spot, error.to_string()))
        .ok()?;
    match section.get("password_file") {
        Some(field) => Some(uri.with_password(secret(&field, base, report)?)),
        None => Some(uri),
    }
}

/// What stands in the file that `field` names, without the line end.
pub(super) fn secret(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<String> {
    let path = base.join(field.short_text(report)?);
    read_secret(&path).map_err(|message| report.error(&field.spot, message)).ok()
}
