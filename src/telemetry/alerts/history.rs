//! What figures were a while ago: enough of them for the longest rate that a rule asks for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::expression::{Figures, LabelSet, Vector, series};
use crate::clock::Instant;
use crate::telemetry::samples::Samples;

/// Figures that are kept at most, whatever is asked for.
const KEPT_MAX: usize = 720;

/// See the module's description.
#[derive(Debug, Default)]
pub struct History {
    /// Oldest first; only the metrics whose rates are asked for.
    past: VecDeque<(Instant, Vec<(String, Vector)>)>,
    latest: Arc<Samples>,
}

impl History {
    /// Takes the figures of `now`. Those of `rated` metrics are kept for `span`.
    pub fn take(&mut self, samples: Samples, now: Instant, rated: &[String], span: Duration) {
        let values = rated.iter().map(|metric| (metric.clone(), series(&samples, metric)));
        if !rated.is_empty() {
            self.past.push_back((now, values.collect()));
        }
        self.latest = Arc::new(samples);
        // One that is older than the span is kept: it is what the latest is compared with.
        while self.past.len() > KEPT_MAX
            || self.past.get(1).is_some_and(|(at, _)| now >= *at + span)
        {
            self.past.pop_front();
        }
    }
}

impl Figures for History {
    fn now(&self, metric: &str) -> Vector {
        series(&self.latest, metric)
    }

    fn rate(&self, metric: &str, span: Duration) -> Option<Vector> {
        let (now, latest) = self.past.back()?;
        let before = self.past.iter().rev().find(|(at, _)| *now >= *at + span)?;
        let seconds = now.duration_since(before.0).as_secs_f64();
        let of = |values: &[(String, Vector)]| {
            values.iter().find(|(name, _)| name == metric).map(|(_, values)| values.clone())
        };
        let (old, new) = (of(&before.1)?, of(latest)?);
        let was = |labels: &LabelSet| {
            old.iter().find(|(known, _)| known == labels).map_or(0.0, |(_, value)| *value)
        };
        let grown = new.into_iter().map(|(labels, value)| {
            // A counter that is less than it was has begun anew.
            let from = Some(was(&labels)).filter(|was| *was <= value).unwrap_or(0.0);
            let rate = (value - from) / seconds;
            (labels, rate)
        });
        Some(grown.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::telemetry::samples::{Family, Kind, Sample, Value};

    fn samples(value: u64) -> Samples {
        let labels = vec![("route", "r".to_owned())];
        let sample = Sample { suffix: "", labels, value: Value::Count(value) };
        let name = "leveret_route_received_total";
        let family = Family { name, kind: Kind::Counter, help: "", samples: vec![sample] };
        Samples { families: vec![family] }
    }

    #[test]
    fn a_rate_is_growth_over_the_span_and_survives_a_counter_that_begins_anew() {
        let (mut history, start) = (History::default(), clock::now());
        let span = Duration::from_secs(60);
        let rated = ["leveret_route_received_total".to_owned()];
        let mut take = |at: u64, value: u64| {
            history.take(samples(value), start + Duration::from_secs(at), &rated, span);
            history.rate(&rated[0], span).map(|values| values[0].1)
        };
        assert_eq!((take(0, 100), take(30, 130)), (None, None));
        assert_eq!(take(60, 220), Some(2.0));
        assert_eq!(take(90, 250), Some(2.0));
        assert_eq!(take(120, 30), Some(0.5), "30 since it began anew");
        assert_eq!(history.past.len(), 3);
        assert_eq!(history.now(&rated[0])[0].1, 30.0);
    }
}
