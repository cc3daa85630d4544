//! Reads `metrics` from the node's file.

use std::time::Duration;

use super::error::Report;
use super::keys::metrics::{METRICS, OPENTSDB};
use super::node_file::set;
use super::section::{Field, Section};
use crate::telemetry::opentsdb::Options;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Where figures are pushed, if anywhere.
pub(super) fn read(field: &Field<'_>, report: &mut Report) -> Option<Options> {
    let section = Section::open(field, METRICS, report)?;
    let section = Section::open(&section.get("opentsdb")?, OPENTSDB, report)?;
    let mut options = Options {
        url: String::new(),
        tags: Vec::new(),
        interval: Duration::from_secs(15),
        batch: 50,
        queue: 100_000,
        gzip: true,
        bosun: false,
    };
    let field = section.get("interval");
    set(&mut options.interval, field.and_then(|field| field.duration(SECOND..=HOUR, report)));
    let field = section.get("batch");
    set(&mut options.batch, field.and_then(|field| field.integer(1..=10_000, report)));
    let field = section.get("queue");
    set(&mut options.queue, field.and_then(|field| field.integer(1..=10_000_000, report)));
    for (key, slot) in [("gzip", &mut options.gzip), ("bosun", &mut options.bosun)] {
        let field = section.get(key);
        set(slot, field.and_then(|field| field.boolean(report)));
    }
    let named = section.get("tags").and_then(|field| Section::open_any(&field, report));
    for (name, field) in named.iter().flat_map(Section::fields) {
        options.tags.extend(field.short_text(report).map(|text| (name.to_owned(), text)));
    }
    let field = section.require("url", "http://127.0.0.1:4242", report)?;
    let url = field.text(report)?;
    if !(url.starts_with("http://") || url.starts_with("https://")) || url.contains(' ') {
        let message = format!("expected http:// or https://, found \"{url}\"");
        report.error(&field.spot, message);
        return None;
    }
    url.trim_end_matches('/').clone_into(&mut options.url);
    Some(options)
}
