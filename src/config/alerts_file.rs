//! Reads `alerts` from the node's file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::error::Report;
use super::keys::alerts::{ALERTS, RULE, WEBHOOK};
use super::node_file::set;
use super::section::{Field, Section};
use crate::telemetry::alerts::expression::Expression;
use crate::telemetry::alerts::{AlertOptions, Rule, Severity, Webhook};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// What is asked of alerts; `base` is the folder that the file is in.
pub(super) fn read(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<AlertOptions> {
    let section = Section::open(field, ALERTS, report)?;
    let defaults = section.get("defaults").and_then(|field| field.boolean(report));
    let mut interval = Duration::from_secs(10);
    let field = section.get("interval");
    set(&mut interval, field.and_then(|field| field.duration(SECOND..=HOUR, report)));
    let fields = section.get("rules").and_then(|field| field.list("a list of rules", report));
    let mut own: Vec<Rule> = Vec::new();
    for field in fields.unwrap_or_default() {
        let Some(rule) = rule(&field, report) else { continue };
        if own.iter().any(|other| other.name == rule.name) {
            report.error(&field.spot, format!("two rules have the name \"{}\"", rule.name));
        }
        own.push(rule);
    }
    let mut rules = Vec::new();
    if defaults.unwrap_or(true) {
        // A test reads them: they are right.
        rules = Rule::defaults().unwrap_or_default();
        rules.retain(|rule| own.iter().all(|other| other.name != rule.name));
    }
    rules.extend(own);
    let fields = section.get("webhooks").and_then(|field| field.list("a list of webhooks", report));
    let webhooks = fields.unwrap_or_default();
    let webhooks = webhooks.iter().filter_map(|field| webhook(field, base, report)).collect();
    Some(AlertOptions { rules, webhooks, interval })
}

fn rule(field: &Field<'_>, report: &mut Report) -> Option<Rule> {
    let section = Section::open(field, RULE, report)?;
    let name = section.require("name", "queue_grows", report);
    let name = name.and_then(|field| field.short_text(report));
    let mut time = |key| {
        let field = section.get(key);
        field.and_then(|field| field.duration(Duration::ZERO..=DAY, report)).unwrap_or_default()
    };
    let (hold, keep_firing_for) = (time("for"), time("keep_firing_for"));
    let severities = [
        ("info", Severity::Info),
        ("warning", Severity::Warning),
        ("critical", Severity::Critical),
    ];
    let severity = section.get("severity").and_then(|field| field.choice(&severities, report));
    let message = section.get("message").and_then(|field| field.text(report));
    let mut labels = BTreeMap::new();
    let named = section.get("labels").and_then(|field| Section::open_any(&field, report));
    for (name, field) in named.iter().flat_map(Section::fields) {
        labels.extend(field.short_text(report).map(|text| (name.to_owned(), text)));
    }
    let when = section.require("when", "depth(topic=\"orders\") > 10000", report)?;
    let expression = match Expression::parse(&when.text(report)?) {
        Ok(expression) => expression,
        Err(error) => {
            report.error(&when.spot, format!("expected an expression: {error}"));
            return None;
        }
    };
    Some(Rule {
        name: name?,
        when: expression,
        hold,
        keep_firing_for,
        severity: severity.unwrap_or_default(),
        labels,
        message: message.unwrap_or_default(),
    })
}

fn webhook(field: &Field<'_>, base: &Path, report: &mut Report) -> Option<Webhook> {
    let section = Section::open(field, WEBHOOK, report)?;
    let secret_file = section.get("secret_file").and_then(|field| field.text(report));
    let field = section.require("url", "https://alerts.example/leveret", report)?;
    let url = field.text(report)?;
    if !(url.starts_with("http://") || url.starts_with("https://")) || url.contains(' ') {
        let message = format!("expected http:// or https://, found \"{url}\"");
        report.error(&field.spot, message);
        return None;
    }
    Some(Webhook { url, secret_file: secret_file.map(|path| base.join(path)) })
}
