//! Rows of two moments that a test made up.

use std::time::Duration;

use super::super::sample::{Counters, Limit};
use super::*;
use crate::client::nsqd_stats::{NamedChannel, TopicStats};
use crate::clock;

fn topic(name: &str, messages: i64, depth: i64, clients: i64) -> TopicStats {
    let stats = ChannelStats {
        depth,
        message_count: messages,
        client_count: clients,
        ..ChannelStats::default()
    };
    TopicStats {
        topic_name: name.into(),
        depth: 0,
        message_count: messages,
        channels: vec![NamedChannel { channel_name: "c".into(), stats }],
    }
}

fn route(received: u64, throttled_seconds: f64) -> Route {
    Route {
        name: "out".into(),
        from: "topic orders".into(),
        to: "exchange shop".into(),
        state: "running".into(),
        counters: Counters { received, confirmed: received, ..Counters::default() },
        pending: 3,
        window: Some(1000),
        limit: Some(Limit { throttled_seconds }),
        ..Route::default()
    }
}

/// Two nodes that have the same topic, two seconds apart.
fn model() -> Model {
    let mut model = Model::default();
    let start = clock::now();
    let sample = |more: i64, route| Sample {
        topics: vec![
            topic("orders", 100 + more, 10, 1),
            topic("orders", 50 + more, 5, 1),
            topic("clicks", 7, 7, 0),
        ],
        routes: vec![route],
        troubles: BTreeMap::from([("node-3:4151".to_owned(), "refused".to_owned())]),
        nodes: 2,
    };
    model.update(sample(0, route(10, 1.0)), start);
    model.update(sample(100, route(30, 2.0)), start + Duration::from_secs(2));
    model
}

fn cells(model: &Model) -> Vec<String> {
    model.rows().iter().map(|row| row.cells.join(" ")).collect()
}

#[test]
fn rates_are_of_two_moments_over_all_nodes() {
    let mut model = model();
    assert_eq!(cells(&model), ["clicks 0 0 7 1", "orders 100 0 350 1"]);
    model.press(KeyCode::Tab);
    assert_eq!(cells(&model), ["clicks c 0 0 7 0 0 0 0 0", "orders c 100 100 15 0 0 0 0 2"]);
    assert!(model.rows()[0].is_bad, "nobody consumes it");
    model.press(KeyCode::Char('3'));
    assert_eq!(cells(&model), ["out running 10 10 3/1000 - 0 0 50 % topic orders → exchange shop"]);
    assert_eq!(model.headline(), "2 nodes | node-3:4151: refused");
}

#[test]
fn keys_sort_filter_and_leave() {
    let mut model = model();
    model.press(KeyCode::Char('s'));
    assert_eq!(model.table.columns()[model.sorted], "in/s");
    assert!(cells(&model)[0].starts_with("orders"), "the largest first");
    for key in ['/', 'c', 'l'] {
        assert_eq!(model.press(KeyCode::Char(key)), Step::Stay);
    }
    assert_eq!(cells(&model).len(), 1);
    model.press(KeyCode::Enter);
    assert_eq!((model.filter.as_str(), model.is_typing), ("cl", false));
    model.press(KeyCode::Char('/'));
    model.press(KeyCode::Esc);
    model.press(KeyCode::End);
    model.press(KeyCode::Down);
    assert_eq!((cells(&model).len(), model.selected), (2, 1));
    model.press(KeyCode::Char('p'));
    model.update(Sample::default(), clock::now());
    assert_eq!(cells(&model).len(), 2, "it stands still");
    assert_eq!(model.press(KeyCode::Char('q')), Step::Leave);
}

#[test]
fn everything_can_be_written_as_text() {
    let text = model().text();
    for line in [
        "Topics",
        "topic   in/s  depth  messages  channels",
        "orders   100      0       350         1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("topic orders → exchange shop"), "{text}");
}
