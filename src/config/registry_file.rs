//! Reads `registry` from the node's file.

use std::path::Path;
use std::time::Duration;

use super::error::Report;
use super::keys::registry::{AUTH, ETCD, REGISTRY, TLS};
use super::section::{Field, Section};
use crate::registry::{EtcdAuth, EtcdOptions, EtcdTls, LEASE, PREFIX};

/// The registry's options; `base` is the folder that the file is in.
pub(super) fn read(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<EtcdOptions> {
    let section = Section::open(field, REGISTRY, report)?;
    let example = "{ endpoints: [ \"http://127.0.0.1:2379\" ] }";
    let field = section.require("etcd", example, report)?;
    let section = Section::open(&field, ETCD, report)?;
    let endpoints = endpoints(&section, report);
    let prefix = section.get("prefix").and_then(|field| prefix(&field, report));
    let lease = section.get("lease").and_then(|field| lease(&field, report));
    let tls_field = section.get("tls");
    let tls = tls_field.as_ref().and_then(|field| tls(field, base, report));
    let auth = section.get("auth").and_then(|field| auth(&field, base, report));
    let endpoints = endpoints?;
    if let Some(field) = &tls_field
        && !endpoints.iter().any(|endpoint| endpoint.starts_with("https://"))
    {
        report.error(&field.spot, "TLS needs endpoints that start with https://");
    }
    Some(EtcdOptions {
        endpoints,
        prefix: prefix.unwrap_or_else(|| PREFIX.to_owned()),
        tls: tls.unwrap_or_default(),
        auth,
        lease: lease.unwrap_or(LEASE),
    })
}

fn endpoints(section: &Section<'_>, report: &mut Report) -> Option<Vec<String>> {
    let field = section.require("endpoints", "[ \"http://127.0.0.1:2379\" ]", report)?;
    let fields = field.list("a list of addresses", report)?;
    if fields.is_empty() {
        report.error(&field.spot, "expected one address at least");
    }
    let endpoint = |field: &Field<'_>| {
        let text = field.text(report)?;
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let host = rest.map(|rest| rest.trim_end_matches('/'));
        if host.is_none_or(|host| host.is_empty() || host.contains(['@', '?', '#', '/', ' '])) {
            let message =
                "expected http:// or https:// with host and port, such as http://127.0.0.1:2379";
            report.error(&field.spot, message);
            return None;
        }
        Some(text.trim_end_matches('/').to_owned())
    };
    Some(fields.iter().filter_map(endpoint).collect())
}

fn prefix(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.text(report)?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !text.starts_with('/') || !is_plain || text.len() > 200 {
        let message =
            "expected up to 200 visible ASCII characters that begin with a slash, such as /leveret";
        report.error(&field.spot, message);
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

fn lease(field: &Field<'_>, report: &mut Report) -> Option<Duration> {
    let range = Duration::from_secs(3)..=Duration::from_secs(300);
    let lease = field.duration(range, report)?;
    if lease.subsec_nanos() > 0 {
        let message = format!("expected whole seconds, found {}", field.node.found());
        report.error(&field.spot, message);
    }
    Some(lease)
}

fn tls(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<EtcdTls> {
    let section = Section::open(field, TLS, report)?;
    let mut file = |key| {
        let name = section.get(key)?.short_text(report)?;
        Some(base.join(name))
    };
    let (ca_file, cert, key) = (file("ca_file"), file("cert_file"), file("key_file"));
    if cert.is_some() != key.is_some() {
        report.error(&section.spot, "cert_file and key_file belong together; give both or none");
        return None;
    }
    let server_name = section.get("server_name").and_then(|field| field.short_text(report));
    Some(EtcdTls { ca_file, identity: cert.zip(key), server_name })
}

fn auth(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<EtcdAuth> {
    let section = Section::open(field, AUTH, report)?;
    let username =
        section.require("username", "leveret", report).and_then(|field| field.short_text(report));
    let password = section.get("password");
    let file = section.get("password_file");
    match (&password, &file) {
        (Some(_), Some(file)) => {
            report.error(&file.spot, "password and password_file are both given; keep one");
        }
        (None, None) => {
            report.error(&section.spot, "the key \"password\" or \"password_file\" is missing");
        }
        _ => {}
    }
    let password = password.and_then(|field| field.text(report)).unwrap_or_default();
    let password_file = file.and_then(|field| field.short_text(report)).map(|name| base.join(name));
    Some(EtcdAuth { username: username?, password, password_file })
}
