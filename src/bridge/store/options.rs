//! Which topics live at a broker, and how: rows by patterns of names, and what they come to for one topic.

use std::time::Duration;

use crate::bridge::route::{MAX_HOLD, PublishOptions, QueueKind};
use crate::engine::policy::Pattern;

/// Where messages of a topic live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In this node's own log.
    Local,
    /// At a RabbitMQ broker: the topic is an exchange, each channel a queue.
    Rabbitmq,
}

/// What a row of the file asks for. `None` leaves a key to other rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreRow {
    /// Which topics.
    pub pattern: Pattern,
    /// Where they live.
    pub home: Option<Home>,
    /// The broker's name in the node's configuration.
    pub broker: Option<String>,
    /// How channels' queues are stored; never a stream.
    pub queue: Option<QueueKind>,
    /// See [`StoreOptions::delivery_limit`].
    pub delivery_limit: Option<u32>,
    /// See [`StoreOptions::prefetch`].
    pub prefetch: Option<u16>,
    /// How long a publish may wait for its confirm; 10 ms to 10 min.
    pub publish_timeout: Option<Duration>,
    /// See [`StoreOptions::max_hold`].
    pub max_hold: Option<Duration>,
}

impl StoreRow {
    /// A row that asks for nothing yet.
    #[must_use]
    pub const fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            home: None,
            broker: None,
            queue: None,
            delivery_limit: None,
            prefetch: None,
            publish_timeout: None,
            max_hold: None,
        }
    }

    /// Whether it asks for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::new(self.pattern.clone())
    }
}

/// How a topic lives at a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The broker's name in the node's configuration.
    pub broker: String,
    /// How channels' queues are stored, unless they are ephemeral.
    pub queue: QueueKind,
    /// Deliveries after which a quorum queue drops a message, 1 to 2^31 - 1.
    pub delivery_limit: u32,
    /// The most messages of a channel that this node holds unacknowledged, 1 to 65535.
    pub prefetch: u16,
    /// How confirms are waited for. So long at most SUB and changes over HTTP wait for the broker, too.
    pub publish: PublishOptions,
    /// How long a message that a consumer has put off is held here at most; for longer it waits at the broker. 1 s to
    /// 25 min.
    pub max_hold: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            broker: "default".to_owned(),
            queue: QueueKind::Quorum,
            // NSQ knows none, and RabbitMQ 4 would drop messages after 20 deliveries: as many as attempts can count.
            delivery_limit: 65_535,
            prefetch: 300,
            publish: PublishOptions::default(),
            max_hold: MAX_HOLD,
        }
    }
}

/// Whether `topic` lives at a broker.
#[must_use]
pub fn keeps(rows: &[StoreRow], topic: &str) -> bool {
    resolve(rows, topic).is_some()
}

/// What `rows` come to for `topic`: later ones refine earlier ones, key by key. `None` if it lives here.
pub(super) fn resolve(rows: &[StoreRow], topic: &str) -> Option<StoreOptions> {
    let mut home = Home::Local;
    let mut options = StoreOptions::default();
    for row in rows.iter().filter(|row| row.pattern.matches(topic)) {
        home = row.home.unwrap_or(home);
        if let Some(broker) = &row.broker {
            options.broker.clone_from(broker);
        }
        options.queue = row.queue.unwrap_or(options.queue);
        options.delivery_limit = row.delivery_limit.unwrap_or(options.delivery_limit);
        options.prefetch = row.prefetch.unwrap_or(options.prefetch);
        options.publish.timeout = row.publish_timeout.unwrap_or(options.publish.timeout);
        options.max_hold = row.max_hold.unwrap_or(options.max_hold);
    }
    (home == Home::Rabbitmq).then_some(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_rows_refine_earlier_ones() {
        let row = |pattern: &str| StoreRow::new(Pattern::new(pattern).unwrap());
        let rows = [
            StoreRow { home: Some(Home::Rabbitmq), prefetch: Some(7), ..row("pay.*") },
            StoreRow { queue: Some(QueueKind::Classic), ..row("pay.eu") },
            StoreRow { home: Some(Home::Local), ..row("pay.local") },
            StoreRow { broker: Some("other".into()), ..row("clicks") },
        ];
        assert_eq!(resolve(&rows, "clicks"), None);
        assert_eq!(resolve(&rows, "pay.local"), None);
        let us = resolve(&rows, "pay.us").unwrap();
        assert_eq!(us, StoreOptions { prefetch: 7, ..StoreOptions::default() });
        assert_eq!(us.queue, QueueKind::Quorum);
        assert_eq!(resolve(&rows, "pay.eu").unwrap().queue, QueueKind::Classic);
    }
}
