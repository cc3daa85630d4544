//! Tests of expressions: what they come to, and what is said of wrong ones.

use super::*;

struct Fixed;

fn set(labels: &[(&str, &str)]) -> LabelSet {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Figures for Fixed {
    fn now(&self, metric: &str) -> Vector {
        let channel = |topic, channel| set(&[("topic", topic), ("channel", channel)]);
        match metric {
            "leveret_channel_depth" => vec![
                (channel("orders", "a"), 5.0),
                (channel("orders", "b"), 50.0),
                (channel("other", "a"), 500.0),
            ],
            "leveret_channel_consumers" => {
                vec![(channel("orders", "b"), 0.0), (channel("other", "a"), 2.0)]
            }
            "leveret_topic_depth" => vec![(set(&[("topic", "orders")]), 7.0)],
            _ => Vec::new(),
        }
    }

    fn rate(&self, metric: &str, span: Duration) -> Option<Vector> {
        (span <= Duration::from_secs(300)).then(|| self.now(metric))
    }
}

fn holds(text: &str) -> Vec<(String, f64)> {
    let values = Expression::parse(text).unwrap().evaluate(&Fixed).unwrap();
    values
        .into_iter()
        .map(|(labels, value)| (labels.into_values().collect::<Vec<_>>().join("/"), value))
        .collect()
}

#[test]
fn series_are_chosen_compared_and_joined() {
    assert_eq!(holds("depth(topic=\"orders\", channel=\"*\") > 10"), [("b/orders".into(), 50.0)]);
    assert_eq!(holds("depth(channel=\"a\") >= 5").len(), 2);
    assert_eq!(holds("depth(topic=\"*r*\", channel=\"a\") > 5"), [("a/other".into(), 500.0)]);
    assert_eq!(holds("depth() == 7"), [("orders".into(), 7.0)]);
    let nobody = "channel_depth() > 10 and channel_consumers() == 0";
    assert_eq!(holds(nobody), [("b/orders".into(), 50.0)]);
    assert_eq!(holds("channel_depth() < 10 or channel_depth() > 100").len(), 2);
    assert_eq!(holds("channel_depth() / depth() > 7"), [("b/orders".into(), 50.0 / 7.0)]);
    assert_eq!(holds("2 * (channel_depth() - 1) > 900"), [("a/other".into(), 998.0)]);
    assert_eq!(holds("-depth() < -6"), [("orders".into(), -7.0)]);
    assert_eq!(holds("rate(channel_depth(channel=\"b\"), 5m) > 1KiB").len(), 0);
    assert_eq!(holds("route_lag() > 0").len(), 0);
}

#[test]
fn a_rate_over_a_time_that_was_not_seen_is_not_known() {
    let rate = Expression::parse("rate(channel_depth(), 10m) > 0 or depth() > 0").unwrap();
    assert_eq!(rate.evaluate(&Fixed), None);
    assert_eq!(rate.span(), Duration::from_secs(600));
}

#[test]
fn what_is_wrong_is_said_with_its_column() {
    for (text, column, words) in [
        ("", 1, "expected a metric"),
        ("depht() > 1", 1, "\"depht\" is not a metric"),
        ("depth( > 1", 8, "expected a label's name"),
        ("depth(topic=orders)", 13, "expected \"\\\"\""),
        ("depth(topic=\"orders) > 1", 14, "a quote at its end"),
        ("depth() > ", 11, "found the end"),
        ("depth() > 1 2", 13, "expected an operator"),
        ("(depth() > 1", 13, "expected \")\""),
        ("rate(depth(), 1s) > 1", 15, "a span of 10s to 1h"),
        ("rate(depth()) > 1", 13, "expected \",\""),
        ("ä", 1, "expected a metric"),
    ] {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(words), "{text}: {error}");
    }
    let deep = format!("{}1{}", "(".repeat(100), ")".repeat(100));
    assert!(Expression::parse(&deep).unwrap_err().message.contains("too deeply"));
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_much(text in "[a-z()\"=<>,*/0-9 .-]{0,60}") {
        drop(Expression::parse(&text));
    }
}
