//! Reads what the node's file says of nsqlookupds: one of its own, and those that the node announces itself to.

use std::path::Path;
use std::time::Duration;

use super::error::Report;
use super::keys::lookupd::LOOKUPD;
use super::lookupd::LookupdConfig;
use super::node::NsqdConfig;
use super::node_file::{address, set};
use super::remote_nsq;
use super::section::{Field, Section};
use crate::client::connect::host_of;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// `lookupd`; `base` is the folder of the file.
pub(super) fn daemon(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<LookupdConfig> {
    let section = Section::open(field, LOOKUPD, report)?;
    let mut config = LookupdConfig::default();
    if let Some(field) = section.get("listen") {
        set(&mut config.listen, address(&field, None, report));
    }
    if let Some(field) = section.get("http_address") {
        config.http_address = match field.text(report).as_deref() {
            Some("") | None => None,
            Some(_) => address(&field, None, report),
        };
    }
    config.broadcast_address =
        section.get("broadcast_address").and_then(|field| field.short_text(report));
    for (key, least, slot) in [
        ("inactive_producer_timeout", SECOND, &mut config.inactive_producer_timeout),
        ("tombstone_lifetime", Duration::ZERO, &mut config.tombstone_lifetime),
    ] {
        let field = section.get(key);
        set(slot, field.and_then(|field| field.duration(least..=DAY, report)));
    }
    let mut file =
        |key| section.get(key).and_then(|field| field.text(report)).map(|text| base.join(text));
    let (cert, key) = (file("tls_cert"), file("tls_key"));
    config.tls_root_ca_file = file("tls_root_ca_file");
    if cert.is_some() != key.is_some() {
        report.error(&section.spot, "tls_cert and tls_key are given together or not at all");
    } else if let (None, Some(field)) = (&cert, section.get("tls_root_ca_file")) {
        report.error(&field.spot, "it says nothing without tls_cert and tls_key");
    }
    config.tls = cert.zip(key);
    Some(config)
}

/// The keys of `nsqd` that say where the node announces itself.
pub(super) fn announce(section: &Section<'_>, config: &mut NsqdConfig, report: &mut Report) {
    let addresses = section
        .get("nsqlookupd_tcp_addresses")
        .and_then(|field| field.list("a list of host:port", report))
        .unwrap_or_default();
    for field in addresses {
        let Some(text) = field.text(report) else { continue };
        if host_of(text.strip_prefix("tls://").unwrap_or(&text)).is_none() {
            let message = format!(
                "expected host:port or tls://host:port, such as lookup.example:4160, found \"{text}\""
            );
            report.error(&field.spot, message);
        } else if config.nsqlookupd_tcp_addresses.contains(&text) {
            report.error(&field.spot, format!("\"{text}\" is given twice"));
        } else {
            config.nsqlookupd_tcp_addresses.push(text);
        }
    }
    if let Some(field) = section.get("nsqlookupd_tls") {
        set(&mut config.nsqlookupd_tls, remote_nsq::tls(&field, report));
    }
}
