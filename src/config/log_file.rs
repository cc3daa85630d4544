//! Reads `log` from the node's file.

use std::path::Path;
use std::time::Duration;

use super::error::Report;
use super::keys::log::{FILE, LOG, OUTPUT, SYSLOG};
use super::node::{LogConfig, LogFormat, LogLevel};
use super::node_file::set;
use super::section::{Field, Section};
use crate::telemetry::logs::files::FileOptions;
use crate::telemetry::logs::remote::SyslogOptions;
use crate::telemetry::logs::{Destination, Output, is_level};

const YEAR: Duration = Duration::from_secs(365 * 86_400);
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// What is logged and where; `base` is the folder that the file is in.
pub(super) fn read(field: &Field<'_>, base: &Path, report: &mut Report) -> LogConfig {
    let mut config = LogConfig::default();
    let Some(section) = Section::open(field, LOG, report) else {
        return config;
    };
    let levels = [
        ("trace", LogLevel::Trace),
        ("debug", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("warn", LogLevel::Warn),
        ("error", LogLevel::Error),
    ];
    let level = section.get("level");
    set(&mut config.level, level.and_then(|field| field.choice(&levels, report)));
    let format = section.get("format");
    set(&mut config.format, format.and_then(|field| field.choice(&FORMATS, report)));
    let outputs = section.get("outputs").and_then(|field| field.list("a list of outputs", report));
    for field in outputs.unwrap_or_default() {
        config.outputs.extend(output(&field, base, report));
    }
    config
}

fn output(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<Output> {
    let section = Section::open(field, OUTPUT, report)?;
    let level = section.get("level").and_then(|field| {
        let text = field.text(report)?;
        if !is_level(&text) {
            let message = format!(
                "expected trace, debug, info, warn, error, off, or directives like info,leveret::bridge=debug, found \"{text}\""
            );
            report.error(&field.spot, message);
        }
        Some(text)
    });
    let format = section.get("format").and_then(|field| field.choice(&FORMATS, report));
    let kinds = ["stderr", "file", "syslog", "journald"];
    let given: Vec<&str> = kinds.into_iter().filter(|kind| section.get(kind).is_some()).collect();
    let [kind] = given.as_slice() else {
        let message = "expected one of stderr: true, file, syslog, journald: true";
        report.error(&section.spot, message);
        return None;
    };
    let field = section.get(kind)?;
    let to = match *kind {
        "file" => Destination::File(file(&field, base, report)?),
        "syslog" => Destination::Syslog(syslog(&field, report)?),
        "journald" => field.boolean(report).map(|_| Destination::Journald)?,
        _ => field.boolean(report).map(|_| Destination::Stderr)?,
    };
    Some(Output { to, level, format: format.map(Into::into) })
}

fn file(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<FileOptions> {
    let section = Section::open(field, FILE, report)?;
    let mut options = FileOptions {
        path: base.to_owned(),
        max_size: 100 << 20,
        max_age: Duration::ZERO,
        keep: 10,
        keep_for: Duration::ZERO,
        keep_bytes: 0,
        gzip: true,
    };
    let mut size = |slot: &mut u64, key: &str| {
        let field = section.get(key);
        set(slot, field.and_then(|field| field.size(0..=u64::MAX, report)));
    };
    size(&mut options.max_size, "max_size");
    size(&mut options.keep_bytes, "keep_bytes");
    for (key, slot) in [("max_age", &mut options.max_age), ("keep_for", &mut options.keep_for)] {
        let field = section.get(key);
        set(slot, field.and_then(|field| field.duration(Duration::ZERO..=YEAR, report)));
    }
    let keep = section.get("keep");
    set(&mut options.keep, keep.and_then(|field| field.integer(0..=100_000, report)));
    let gzip = section.get("gzip").and_then(|field| field.boolean(report));
    set(&mut options.gzip, gzip);
    let path = section.require("path", "/var/log/leveret/leveret.log", report)?;
    options.path = base.join(path.short_text(report)?);
    Some(options)
}

fn syslog(field: &Field<'_>, report: &mut Report) -> Option<SyslogOptions> {
    let section = Section::open(field, SYSLOG, report)?;
    let facility = section.get("facility").and_then(|field| field.integer(0..=23, report));
    let tag = section.get("tag").and_then(|field| field.short_text(report));
    let address = section.get("address").and_then(|field| field.short_text(report));
    Some(SyslogOptions {
        address: address.unwrap_or_else(|| "/dev/log".to_owned()),
        facility: facility.unwrap_or(3),
        tag: tag.unwrap_or_else(|| "leveret".to_owned()),
    })
}
