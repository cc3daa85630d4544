//! Pending, firing, resolved: what a rule has said of each series, and what it says now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::expression::{LabelSet, Vector};
use super::rule::Rule;

/// Series of one rule that are looked after; the others are counted.
pub const SERIES_MAX: usize = 1000;

/// How a complaint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It holds, not long enough yet.
    Pending,
    /// It was told.
    Firing,
}

/// What a rule has to say of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Complaint {
    /// How it is.
    pub phase: Phase,
    /// Since when, Unix seconds.
    pub since: i64,
    /// When it held last, Unix seconds.
    pub seen: i64,
    /// The value then.
    pub value: f64,
}

/// Something that is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The series.
    pub labels: LabelSet,
    /// Whether it begins; it ends else.
    pub is_firing: bool,
    /// Since when, Unix seconds.
    pub since: i64,
    /// The last value.
    pub value: f64,
}

/// All complaints of a rule, by the series.
pub type Complaints = BTreeMap<LabelSet, Complaint>;

/// Takes over what a rule says `now`, Unix seconds, and returns what is to be told.
pub fn judge(rule: &Rule, complaints: &mut Complaints, holds: &Vector, now: i64) -> Vec<Notice> {
    let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let mut notices = Vec::new();
    for (labels, value) in holds {
        if !complaints.contains_key(labels) && complaints.len() >= SERIES_MAX {
            continue;
        }
        let complaint = complaints.entry(labels.clone()).or_insert(Complaint {
            phase: Phase::Pending,
            since: now,
            seen: now,
            value: *value,
        });
        (complaint.seen, complaint.value) = (now, *value);
        let has_held = now.saturating_sub(complaint.since) >= seconds(rule.hold);
        if complaint.phase == Phase::Pending && has_held {
            (complaint.phase, complaint.since) = (Phase::Firing, now);
            let (labels, value) = (labels.clone(), *value);
            notices.push(Notice { labels, is_firing: true, since: now, value });
        }
    }
    complaints.retain(|labels, complaint| {
        if complaint.seen == now && holds.iter().any(|(held, _)| held == labels) {
            return true;
        }
        match complaint.phase {
            Phase::Pending => false,
            Phase::Firing => {
                let is_over = now.saturating_sub(complaint.seen) >= seconds(rule.keep_firing_for);
                if is_over {
                    let Complaint { since, value, .. } = *complaint;
                    let labels = labels.clone();
                    notices.push(Notice { labels, is_firing: false, since, value });
                }
                !is_over
            }
        }
    });
    notices
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::alerts::expression::Expression;
    use crate::telemetry::alerts::rule::Severity;

    fn rule(hold: u64, keep: u64) -> Rule {
        Rule {
            name: "r".into(),
            when: Expression::parse("depth() > 1").unwrap(),
            hold: Duration::from_secs(hold),
            keep_firing_for: Duration::from_secs(keep),
            severity: Severity::Warning,
            labels: BTreeMap::new(),
            message: String::new(),
        }
    }

    fn of(topic: &str) -> LabelSet {
        LabelSet::from([("topic".to_owned(), topic.to_owned())])
    }

    #[test]
    fn it_is_told_once_after_its_time_and_once_when_it_is_over() {
        let (rule, mut complaints) = (rule(10, 5), Complaints::new());
        let mut at = |now, topics: &[&str]| {
            let holds = topics.iter().map(|topic| (of(topic), 7.0)).collect();
            let notices = judge(&rule, &mut complaints, &holds, now);
            notices
                .into_iter()
                .map(|notice| (notice.labels["topic"].clone(), notice.is_firing))
                .collect::<Vec<_>>()
        };
        assert_eq!(at(0, &["a"]), []);
        assert_eq!(at(5, &["a", "b"]), []);
        assert_eq!(at(10, &["a", "b"]), [("a".into(), true)]);
        assert_eq!(at(15, &["a"]), [], "b was pending, and is forgotten");
        assert_eq!(at(20, &["a", "b"]), []);
        assert_eq!(at(22, &["b"]), [], "a is kept for a while");
        assert_eq!(at(24, &["a", "b"]), [], "and holds again");
        assert_eq!(at(30, &["b"]), [("b".into(), true), ("a".into(), false)]);
        assert_eq!(at(40, &[]), [("b".into(), false)]);
        assert!(complaints.is_empty());
    }

    #[test]
    fn without_a_time_it_is_told_at_once_and_series_are_bounded() {
        let (rule, mut complaints) = (rule(0, 0), Complaints::new());
        let holds: Vector = (0..SERIES_MAX + 5).map(|n| (of(&n.to_string()), 1.0)).collect();
        assert_eq!(judge(&rule, &mut complaints, &holds, 1).len(), SERIES_MAX);
        assert_eq!(judge(&rule, &mut complaints, &Vec::new(), 1).len(), SERIES_MAX);
    }
}
