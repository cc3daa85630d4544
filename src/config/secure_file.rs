//! Reads TLS, compression, AUTH and topology from the `nsqd` section.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Report;
use super::node::NsqdConfig;
use super::section::{Field, Section};
use super::secure::{HttpMethod, SecureError, TlsRequired, TlsVersion};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Fills what `section` says; `base` is the folder that the file is in.
pub(super) fn read(section: &Section<'_>, base: &Path, nsqd: &mut NsqdConfig, report: &mut Report) {
    tls(section, base, nsqd, report);
    auth(section, nsqd, report);
    if let Some(field) = section.get("deflate") {
        nsqd.deflate = field.boolean(report).unwrap_or(nsqd.deflate);
    }
    if let Some(field) = section.get("max_deflate_level") {
        nsqd.max_deflate_level = field.integer(1..=9, report).unwrap_or(nsqd.max_deflate_level);
    }
    if let Some(field) = section.get("snappy") {
        nsqd.snappy = field.boolean(report).unwrap_or(nsqd.snappy);
    }
    let texts = [
        ("topology_region", &mut nsqd.topology_region),
        ("topology_zone", &mut nsqd.topology_zone),
    ];
    for (key, place) in texts {
        if let Some(text) = section.get(key).and_then(|field| field.text(report)) {
            *place = text;
        }
    }
    rules(section, nsqd, report);
}

fn tls(section: &Section<'_>, base: &Path, nsqd: &mut NsqdConfig, report: &mut Report) {
    let mut path = |key: &str, place: &mut Option<PathBuf>| {
        if let Some(field) = section.get(key) {
            *place = field.short_text(report).map(|text| base.join(text));
        }
    };
    let tls = &mut nsqd.tls;
    path("tls_cert", &mut tls.cert);
    path("tls_key", &mut tls.key);
    path("tls_root_ca_file", &mut tls.root_ca_file);
    if let Some(field) = section.get("tls_client_auth_policy") {
        let policies = [("require", "require"), ("require-verify", "require-verify")];
        tls.client_auth_policy = field.choice(&policies, report).unwrap_or_default().to_owned();
    }
    if let Some(field) = section.get("tls_required") {
        let choices = [
            ("true", TlsRequired::Yes),
            ("false", TlsRequired::No),
            ("tcp-https", TlsRequired::TcpHttps),
        ];
        tls.required = field.choice(&choices, report).unwrap_or_default();
    }
    if let Some(field) = section.get("tls_min_version") {
        tls.min_version = field.choice(&TlsVersion::NAMES, report).unwrap_or_default();
    }
}

fn auth(section: &Section<'_>, nsqd: &mut NsqdConfig, report: &mut Report) {
    let auth = &mut nsqd.auth;
    if let Some(field) = section.get("auth_http_addresses") {
        let addresses = field.list("a list of host:port or URLs", report).unwrap_or_default();
        let text = |field: &Field<'_>| field.short_text(report);
        auth.http_addresses = addresses.iter().filter_map(text).collect();
    }
    if let Some(field) = section.get("auth_http_request_method") {
        let methods = [("get", HttpMethod::Get), ("post", HttpMethod::Post)];
        auth.http_request_method = field.choice(&methods, report).unwrap_or_default();
    }
    let mut time = |key: &str, place: &mut Duration, least: Duration| {
        if let Some(field) = section.get(key) {
            *place = field.duration(least..=DAY, report).unwrap_or(*place);
        }
    };
    time("auth_stale_if_error", &mut auth.stale_if_error, Duration::ZERO);
    let (connect, request) =
        (&mut nsqd.http_client_connect_timeout, &mut nsqd.http_client_request_timeout);
    time("http_client_connect_timeout", connect, SECOND / 1000);
    time("http_client_request_timeout", request, SECOND / 1000);
}

/// Options that are right one by one and impossible together.
fn rules(section: &Section<'_>, nsqd: &NsqdConfig, report: &mut Report) {
    let Err(error) = nsqd.check_secure() else { return };
    let (keys, message): (&[&str], _) = match error {
        // Said at the key already.
        SecureError::DeflateLevel => return,
        SecureError::NoCertificate => (
            &["tls_required", "tls_client_auth_policy"],
            "TLS is required and cannot be had: tls_cert and tls_key are missing",
        ),
        SecureError::HalfCertificate => {
            (&["tls_cert", "tls_key"], "tls_cert and tls_key are given together or not at all")
        }
    };
    if let Some(field) = keys.iter().find_map(|key| section.get(key)) {
        report.error(&field.spot, message);
    }
}
