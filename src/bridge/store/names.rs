//! How topics and channels are called at a broker. Pure and reversible: an NSQ name has no `:`.

/// Before every name.
const PREFIX: &str = "nsq.";
/// Between a topic and a channel.
pub(super) const SEPARATOR: char = ':';

/// The exchange that brings messages without a channel to their topics' own queues.
pub(super) const BACKLOG: &str = "nsq:backlog";

/// The fanout exchange of a topic.
pub(super) fn exchange(topic: &str) -> String {
    format!("{PREFIX}{topic}")
}

/// The queue of what a topic has while it has no channel, or is paused.
pub(super) fn backlog(topic: &str) -> String {
    format!("{PREFIX}{topic}")
}

/// The queue of a channel.
pub(super) fn queue(topic: &str, channel: &str) -> String {
    format!("{PREFIX}{topic}{SEPARATOR}{channel}")
}

/// The name of the flow that publishes a topic's messages, and of the others: no route of a file has a `:`.
pub(super) fn flow(topic: &str, part: Option<&str>) -> String {
    match part {
        Some(part) => format!("store{SEPARATOR}{topic}{SEPARATOR}{part}"),
        None => format!("store{SEPARATOR}{topic}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::is_valid_name;

    /// The topic, and the channel if it is one's, that a queue is of; `None` for a queue that is not a store's.
    fn of_queue(queue: &str) -> Option<(&str, Option<&str>)> {
        let name = queue.strip_prefix(PREFIX)?;
        let (topic, channel) = match name.split_once(SEPARATOR) {
            Some((topic, channel)) => (topic, Some(channel)),
            None => (name, None),
        };
        let is_valid = |name: &str| is_valid_name(name.as_bytes());
        (is_valid(topic) && channel.is_none_or(is_valid)).then_some((topic, channel))
    }

    fn name() -> impl Strategy<Value = String> {
        "[.a-zA-Z0-9_-]{1,54}(#ephemeral)?"
    }

    proptest! {
        #[test]
        fn names_come_back_from_their_queues(topic in name(), channel in name()) {
            let queue = queue(&topic, &channel);
            prop_assert!(queue.len() <= 255);
            prop_assert_eq!(of_queue(&queue), Some((&*topic, Some(&*channel))));
            let backlog = backlog(&topic);
            prop_assert_eq!(of_queue(&backlog), Some((&*topic, None)));
        }
    }

    #[test]
    fn queues_of_others_are_not_taken_for_ours() {
        for queue in ["orders", "nsq.", "nsq.a:", "nsq.:b", "nsq.a:b:c", "nsq.a b", "NSQ.a"] {
            assert_eq!(of_queue(queue), None, "{queue}");
        }
        assert_ne!(queue("a", "b"), queue("a.b", "c"));
    }
}
