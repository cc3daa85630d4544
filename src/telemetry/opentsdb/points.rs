//! Points: one value of one metric at one moment, under names that OpenTSDB takes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::telemetry::samples::{Kind, Samples};

/// Tags of a point that OpenTSDB takes unless it is told otherwise.
const TAGS_MAX: usize = 8;

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Point {
    metric: String,
    /// Unix seconds.
    timestamp: i64,
    value: f64,
    tags: BTreeMap<String, String>,
}

/// What Bosun is told of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Metadata {
    metric: String,
    /// `rate`, `unit` or `desc`.
    name: &'static str,
    value: String,
}

/// The metric's name there: the parts that it begins with are divided by dots.
fn name(metric: &str, suffix: &str) -> String {
    metric.replacen('_', ".", 2) + suffix
}

/// A text of which nothing is left that OpenTSDB does not take: letters, digits and `-_./`.
fn clean(text: &str) -> String {
    let is_good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    text.chars().map(|c| if is_good(c) { c } else { '_' }).collect()
}

/// All figures as points of `now`, Unix seconds, each with `tags`. What is no number is left out.
pub(super) fn of(samples: &Samples, tags: &[(String, String)], now: i64) -> Vec<Point> {
    let mut points = Vec::new();
    for family in &samples.families {
        for sample in &family.samples {
            let Some(value) = sample.value.as_f64().filter(|value| value.is_finite()) else {
                continue;
            };
            let own = sample.labels.iter().map(|(name, value)| (*name, value.as_str()));
            let given = tags.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            // An empty value is none there.
            let all = given.chain(own).filter(|(_, value)| !value.is_empty()).take(TAGS_MAX);
            points.push(Point {
                metric: name(family.name, sample.suffix),
                timestamp: now,
                value,
                tags: all.map(|(name, value)| (clean(name), clean(value))).collect(),
            });
        }
    }
    points
}

/// What each metric means, for Bosun.
pub(super) fn metadata(samples: &Samples) -> Vec<Metadata> {
    let of_family = samples.families.iter().flat_map(|family| {
        let rate = if family.kind == Kind::Counter { "counter" } else { "gauge" };
        let unit = unit(family.name);
        [("rate", rate), ("unit", unit), ("desc", family.help)].map(|(what, value)| Metadata {
            metric: name(family.name, ""),
            name: what,
            value: value.to_owned(),
        })
    });
    of_family.collect()
}

/// The unit that a metric's name ends in.
fn unit(metric: &str) -> &'static str {
    let bare = metric.strip_suffix("_total").unwrap_or(metric);
    let units = [("_seconds", "seconds"), ("_bytes", "bytes"), ("_messages", "messages")];
    let found = units.into_iter().find(|(end, _)| bare.ends_with(end));
    found.map_or("items", |(_, unit)| unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::samples::{Family, Sample, Value};

    #[test]
    fn figures_become_points_that_opentsdb_takes() {
        let labels = vec![("route", "a b\"ü".to_owned()), ("to", String::new())];
        let sample = |suffix, value| Sample { suffix, labels: labels.clone(), value };
        let samples = vec![
            sample("", Value::Count(3)),
            sample("_sum", Value::Amount(0.5)),
            sample("", Value::Amount(f64::NAN)),
        ];
        let name = "leveret_route_received_bytes_total";
        let family = Family { name, kind: Kind::Counter, help: "Bytes.", samples };
        let samples = Samples { families: vec![family] };
        let points = of(&samples, &[("host".into(), "h:1".into())], 7);
        let json = serde_json::to_string(&points[0]).unwrap();
        assert_eq!(
            json,
            r#"{"metric":"leveret.route.received_bytes_total","timestamp":7,"value":3.0,"tags":{"host":"h_1","route":"a_b_ü"}}"#
        );
        assert_eq!(
            (points.len(), points[1].metric.as_str()),
            (2, "leveret.route.received_bytes_total_sum")
        );
        let told = metadata(&samples);
        let values: Vec<&str> = told.iter().map(|one| one.value.as_str()).collect();
        assert_eq!(values, ["counter", "bytes", "Bytes."]);
    }
}
