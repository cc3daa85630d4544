//! Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

use super::samples::{Kind, Samples};

/// The `Content-Type` of what [`render`] makes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole page.
#[must_use]
pub fn render(samples: &Samples) -> String {
    let mut text = String::new();
    for family in &samples.families {
        let name = family.name;
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
        };
        let help = escape(family.help, false);
        // Writing to a string cannot fail.
        write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n").unwrap_or_default();
        for sample in &family.samples {
            text.push_str(name);
            text.push_str(sample.suffix);
            for (place, (label, value)) in sample.labels.iter().enumerate() {
                let opening = if place == 0 { '{' } else { ',' };
                let value = escape(value, true);
                write!(text, "{opening}{label}=\"{value}\"").unwrap_or_default();
            }
            let closing = if sample.labels.is_empty() { "" } else { "}" };
            writeln!(text, "{closing} {}", sample.value).unwrap_or_default();
        }
    }
    text
}

/// What the format asks for: backslashes and line feeds, and in a label's value quotes as well.
fn escape(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for next in text.chars() {
        match next {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            _ => escaped.push(next),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
