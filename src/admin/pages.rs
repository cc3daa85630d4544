//! The files of `web/`: one page, its scripts and its styles. They are in the binary.

use std::path::Path;

use axum::http::StatusCode;
use serde_json::json;

use super::Admin;
use super::access::Actor;
use super::router::Given;
use crate::http::reply::Refusal;
use crate::http::{NSQ_VERSION, VERSION};
use crate::protocol::json::escaped;

/// Where the page has its settings, and where it has the base path.
const SETTINGS: &str = "{{settings}}";
const BASE: &str = "{{base}}";

const INDEX: &str = include_str!("web/index.html");

/// Every file, by its name.
const FILES: &[(&str, &[u8])] = &[
    ("app.css", include_bytes!("web/app.css")),
    ("app.js", include_bytes!("web/app.js")),
    ("alerts.js", include_bytes!("web/alerts.js")),
    ("api.js", include_bytes!("web/api.js")),
    ("chart.js", include_bytes!("web/chart.js")),
    ("counter.js", include_bytes!("web/counter.js")),
    ("dom.js", include_bytes!("web/dom.js")),
    ("graphite.js", include_bytes!("web/graphite.js")),
    ("icon.svg", include_bytes!("web/icon.svg")),
    ("login.js", include_bytes!("web/login.js")),
    ("lookup.js", include_bytes!("web/lookup.js")),
    ("messages.js", include_bytes!("web/messages.js")),
    ("nodes.js", include_bytes!("web/nodes.js")),
    ("routes.js", include_bytes!("web/routes.js")),
    ("streams.js", include_bytes!("web/streams.js")),
    ("tables.js", include_bytes!("web/tables.js")),
    ("topics.js", include_bytes!("web/topics.js")),
];

/// The page, which is the same for every path.
pub(super) fn index(admin: &Admin, actor: Option<&Actor>) -> Result<Given, Refusal> {
    let options = &admin.options;
    let graphite = options.graphite_url.as_deref().filter(|_| !options.proxy_graphite);
    // Who is not logged in learns nothing of the network.
    let lookupds = if actor.is_some() { admin.cluster.lookupds() } else { Vec::new() };
    let settings = json!({
        "version": NSQ_VERSION,
        "leveret": VERSION,
        "base": options.base_path,
        "graphite": options.graphite_url.is_some(),
        "graphite_url": graphite.unwrap_or_default(),
        "statsd_counter_format": options.statsd_counter_format,
        "statsd_gauge_format": options.statsd_gauge_format,
        "statsd_prefix": options.statsd_prefix,
        "statsd_interval": options.statsd_interval.as_secs(),
        "nsqlookupds": lookupds,
    });
    let page = INDEX.replace(SETTINGS, &escaped(&settings.to_string()));
    let page = page.replace(BASE, &attribute(&options.base_path));
    Ok(Given::Whole {
        status: StatusCode::OK,
        content_type: "text/html; charset=utf-8".into(),
        etag: None,
        body: page.into_bytes(),
    })
}

fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&#34;").replace('<', "&lt;")
}

/// A file; those of a folder are read anew each time.
pub(super) async fn asset(admin: &Admin, name: &str) -> Result<Given, Refusal> {
    let missing = || Refusal::missing("NOT_FOUND");
    let body = match &admin.options.dev_static_dir {
        None => {
            let file = FILES.iter().find(|(known, _)| *known == name);
            file.map(|(_, bytes)| bytes.to_vec()).ok_or_else(missing)?
        }
        Some(folder) => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if !name.chars().all(is_plain) || name.starts_with('.') {
                return Err(missing());
            }
            let path = folder.join(name);
            let reading = tokio::task::spawn_blocking(move || std::fs::read(&path));
            reading.await.ok().and_then(Result::ok).ok_or_else(missing)?
        }
    };
    Ok(Given::Whole {
        status: StatusCode::OK,
        content_type: content_type(name).to_owned(),
        etag: Some(etag(&body)),
        body,
    })
}

fn content_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|end| end.to_str()) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// What tells one version of a file from another.
fn etag(body: &[u8]) -> String {
    // FNV-1a: nobody gains from two files that look the same.
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("\"{hash:016x}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_type_and_no_script_is_in_the_page() {
        for (name, bytes) in FILES {
            assert_ne!(content_type(name), "application/octet-stream", "{name}");
            assert!(!bytes.is_empty(), "{name}");
        }
        let page = INDEX
            .replace("<script type=\"module\"", "")
            .replace("<script type=\"application/json\"", "");
        assert!(!page.contains("<script") && !page.contains("<style") && !page.contains(" style="));
        assert!(!page.contains(" on"), "no handler in an attribute");
    }
}
