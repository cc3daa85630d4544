//! What stands ready in `config/` for other monitoring: that it can be read, and names only metrics that there are.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::support::root;

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join("config/monitoring").join(file)).unwrap()
}

/// Every metric of docs/metrics.md, which a test of its own holds against the program.
fn metrics() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `leveret_"));
    rows.map(|rest| format!("leveret_{}", rest.split('`').next().unwrap())).collect()
}

/// The names in a text that begin with `leveret` and a separator.
fn named(text: &str, separator: char) -> BTreeSet<String> {
    let begin = format!("leveret{separator}");
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == separator;
    let found = text.match_indices(&begin).map(|(at, _)| {
        let rest = &text[at..];
        rest[..rest.find(|c| !is_of_name(c)).unwrap_or(rest.len())].to_owned()
    });
    found.collect()
}

#[test]
fn the_grafana_dashboard_has_panels_with_units_over_metrics_that_there_are() {
    let text = text("grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{panel}");
        assert!(!panel["targets"][0]["expr"].as_str().unwrap().is_empty(), "{panel}");
    }
    let known = metrics();
    for name in named(&text, '_') {
        assert!(known.contains(&name), "{name}");
    }
}

#[test]
fn the_prometheus_rules_name_metrics_that_there_are_and_promtool_takes_them() {
    let known = metrics();
    let text = text("prometheus-rules.yml");
    let found = named(&text, '_');
    assert!(found.len() >= 8, "{found:?}");
    for name in found {
        assert!(known.contains(&name), "{name}");
    }
    let file = root().join("config/monitoring/prometheus-rules.yml");
    match Command::new("promtool").arg("check").arg("rules").arg(&file).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.contains("9 rules found"), "{said}");
        }
        Err(error) => eprintln!(
            "promtool (Debian's package prometheus) is not here, and checked nothing: {error}"
        ),
    }
}

#[test]
fn the_bosun_configuration_names_metrics_that_there_are() {
    let text = text("bosun.conf");
    let known: BTreeSet<String> = metrics().iter().map(|name| name.replacen('_', ".", 2)).collect();
    let queries: Vec<&str> =
        text.split("q(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(queries.len() >= 6, "{queries:?}");
    for query in queries {
        let metric = query.split('{').find(|part| part.contains("leveret.")).unwrap();
        let metric = &metric[metric.find("leveret.").unwrap()..];
        assert!(known.contains(metric), "{metric} of {query}");
    }
    assert_eq!(text.matches('{').count(), text.matches('}').count());
}
