//! Reads `admin` from the node's file.

use std::path::Path;
use std::time::Duration;

use super::admin::AdminConfig;
use super::error::Report;
use super::keys::admin::{ADMIN, PROXY, USER};
use super::node_file::{address, set};
use super::section::{Field, Section};
use crate::admin::AdminOptions;
use crate::admin::access::network::Network;
use crate::admin::access::password::PasswordHash;
use crate::admin::options::{Role, User, base_path};

const DAY: Duration = Duration::from_secs(86_400);

/// The options of nsqadmin; `base` is the folder that the file is in.
pub(super) fn read(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<AdminConfig> {
    let section = Section::open(field, ADMIN, report)?;
    let listen_field = section.require("listen", "127.0.0.1:4171", report);
    let listen = listen_field.as_ref().and_then(|field| address(field, None, report));
    let mut options = AdminOptions::default();
    let mut text = |key| section.get(key).and_then(|field| field.text(report));
    options.base_path = text("base_path").map(|path| base_path(&path)).unwrap_or_default();
    options.graphite_url = text("graphite_url");
    options.notification_endpoint = text("notification_http_endpoint");
    set(&mut options.statsd_prefix, text("statsd_prefix"));
    let (cert, key) = (text("tls_cert"), text("tls_key"));
    if cert.is_some() != key.is_some() {
        report.error(&section.spot, "tls_cert and tls_key are given together or not at all");
    }
    let proxied = section.get("proxy_graphite").and_then(|field| field.boolean(report));
    set(&mut options.proxy_graphite, proxied);
    let timeout = section.get("session_timeout");
    let range = Duration::from_secs(60)..=DAY;
    set(&mut options.session_timeout, timeout.and_then(|field| field.duration(range, report)));
    options.lookupds = addresses(&section, "nsqlookupd_http_addresses", report);
    options.nsqds = addresses(&section, "nsqd_http_addresses", report);
    if let Some(field) = section.get("nsqd_http_addresses")
        && !options.lookupds.is_empty()
    {
        let message = "nsqlookupd_http_addresses say which nodes there are; give one of the two";
        report.error(&field.spot, message);
    }
    if let Some(field) = section.get("proxy") {
        proxy(&field, &mut options, report);
    }
    let users = section.get("users").and_then(|field| field.list("a list of users", report));
    for field in users.unwrap_or_default() {
        options.users.extend(user(&field, &options, base, report));
    }
    let is_guarded = section.get("users").is_some() || section.get("proxy").is_some();
    if let (Some(field), Some(listen)) = (&listen_field, &listen)
        && !is_guarded
        && !is_loopback(listen)
    {
        let message = "anybody who reaches this address could delete topics: give users or a proxy, or listen on \
                       127.0.0.1";
        report.error(&field.spot, message);
    }
    let tls = cert.zip(key).map(|(cert, key)| (base.join(cert), base.join(key)));
    Some(AdminConfig { listen: listen?, tls, options })
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn addresses(section: &Section<'_>, key: &str, report: &mut Report) -> Vec<String> {
    let fields = section.get(key).and_then(|field| field.list("a list of host:port", report));
    let fields = fields.unwrap_or_default();
    fields.iter().filter_map(|field| address(field, None, report)).collect()
}

fn proxy(field: &Field<'_>, options: &mut AdminOptions, report: &mut Report) {
    let Some(section) = Section::open(field, PROXY, report) else { return };
    let example = "[ \"10.0.0.0/8\" ]";
    let from = section.require("from", example, report);
    let networks = from.and_then(|field| field.list("a list of networks", report));
    for field in networks.unwrap_or_default() {
        let Some(text) = field.text(report) else { continue };
        match Network::parse(&text) {
            Some(network) => options.trusted_proxies.push(network),
            None => {
                let message = format!("expected a network such as 10.0.0.0/8, found \"{text}\"");
                report.error(&field.spot, message);
            }
        }
    }
    let header = section.get("header").and_then(|field| field.short_text(report));
    set(&mut options.acl_http_header, header);
    let operators =
        section.get("operators").and_then(|field| field.list("a list of names", report));
    let names = operators.unwrap_or_default();
    options.admin_users = names.iter().filter_map(|field| field.short_text(report)).collect();
}

fn user(
    field: &Field<'_>,
    options: &AdminOptions,
    base: &Path,
    report: &mut Report,
) -> Option<User> {
    let section = Section::open(field, USER, report)?;
    let name_field = section.require("name", "ann", report)?;
    let name = name_field.short_text(report)?;
    if options.users.iter().any(|user| user.name == name) {
        report.error(&name_field.spot, format!("\"{name}\" is given twice"));
    }
    let roles = [("view", Role::View), ("operate", Role::Operate)];
    let role = section.get("role").and_then(|field| field.choice(&roles, report));
    let (given, file) = (section.get("password_hash"), section.get("password_hash_file"));
    let (spot, text) = match (given, file) {
        (Some(field), None) => (field.spot.clone(), field.text(report)?),
        (None, Some(field)) => {
            let path = base.join(field.text(report)?);
            match std::fs::read_to_string(&path) {
                Ok(text) => (field.spot.clone(), text.trim_end().to_owned()),
                Err(error) => {
                    report.error(&field.spot, format!("{}: {error}", path.display()));
                    return None;
                }
            }
        }
        _ => {
            let message = "give password_hash or password_hash_file; `leveret password` makes one";
            report.error(&section.spot, message);
            return None;
        }
    };
    match PasswordHash::parse(&text) {
        Ok(password) => Some(User { name, password, role: role.unwrap_or(Role::View) }),
        Err(why) => {
            let message = format!("not an argon2 hash as `leveret password` makes it: {why}");
            report.error(&spot, message);
            None
        }
    }
}
