//! A rule: when it complains, how urgently, and in what words.

use std::collections::BTreeMap;
use std::time::Duration;

use super::expression::{Expression, ExpressionError, LabelSet};

/// How urgent it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be known.
    Info,
    /// To be looked at.
    #[default]
    Warning,
    /// To be mended now.
    Critical,
}

impl Severity {
    /// As one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// See the module's description.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What it complains of.
    pub when: Expression,
    /// For how long that has to hold before it is told.
    pub hold: Duration,
    /// For how long it goes on after that no longer holds.
    pub keep_firing_for: Duration,
    /// How urgent it is.
    pub severity: Severity,
    /// Labels beside those of the series.
    pub labels: BTreeMap<String, String>,
    /// What is said; `{{ value }}` and `{{ LABEL }}` are filled in.
    pub message: String,
}

impl Rule {
    /// What it says of a series.
    #[must_use]
    pub fn say(&self, labels: &LabelSet, value: f64) -> String {
        if self.message.is_empty() {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            return format!("{}: {value} ({})", self.when, labels.join(", "));
        }
        let mut said = String::new();
        let mut rest = self.message.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, behind)) = after.split_once("}}") else { break };
            said.push_str(before);
            match (name.trim(), labels.get(name.trim())) {
                ("value", _) => said.push_str(&value.to_string()),
                (_, Some(label)) => said.push_str(label),
                (_, None) => {}
            }
            rest = behind;
        }
        said + rest
    }

    /// The rules that a node has unless it is told not to.
    ///
    /// # Errors
    /// None in practice: a test reads them.
    pub fn defaults() -> Result<Vec<Self>, ExpressionError> {
        const MINUTE: Duration = Duration::from_secs(60);
        let rows = [
            (
                "route_stuck",
                "route_state(state=\"failed\") == 1 or route_state(state=\"waiting\") == 1",
                2 * MINUTE,
                Severity::Critical,
                "route {{ route }} is {{ state }}",
            ),
            (
                "route_lag_grows",
                "rate(route_received_total(), 5m) - rate(route_confirmed_total(), 5m) > 1 and pending() > 1000",
                10 * MINUTE,
                Severity::Warning,
                "route {{ route }} takes in {{ value }} messages a second more than it brings on",
            ),
            (
                "broker_blocked",
                "broker_connections(state=\"blocked\") > 0",
                MINUTE,
                Severity::Critical,
                "broker {{ broker }} takes nothing from publishers (memory or disk alarm)",
            ),
            (
                "disk_full",
                "disk_free() < 2 * disk_reserve_bytes()",
                Duration::ZERO,
                Severity::Critical,
                "{{ value }} bytes are free for the data folder; below the reserve publishes are refused",
            ),
            (
                "dead_letters",
                "rate(dead_letters(), 5m) > 0",
                Duration::ZERO,
                Severity::Warning,
                "route {{ route }} gives up {{ value }} messages a second",
            ),
            (
                "certificate_expires",
                "certificate_expiry_seconds() < 1209600",
                Duration::ZERO,
                Severity::Warning,
                "the certificate {{ file }} expires in {{ value }} seconds",
            ),
        ];
        let rule = |(name, when, hold, severity, message): (&str, &str, _, _, &str)| {
            Ok(Self {
                name: name.to_owned(),
                when: Expression::parse(when)?,
                hold,
                keep_firing_for: MINUTE,
                severity,
                labels: BTreeMap::new(),
                message: message.to_owned(),
            })
        };
        rows.into_iter().map(rule).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_read_and_say_what_they_mean() {
        let rules = Rule::defaults().unwrap();
        let labels = LabelSet::from([("route".to_owned(), "r".to_owned())]);
        let said: Vec<String> = rules.iter().map(|rule| rule.say(&labels, 2.5)).collect();
        assert_eq!(said[4], "route r gives up 2.5 messages a second");
        assert_eq!(rules.len(), 6);
        let bare = Rule { message: String::new(), ..rules[1].clone() };
        assert!(bare.say(&labels, 1.0).ends_with(": 1 (route=r)"));
        let odd = Rule { message: "{{ none }}x{{ open".into(), ..rules[1].clone() };
        assert_eq!(odd.say(&labels, 1.0), "x{{ open");
    }
}
