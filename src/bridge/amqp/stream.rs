//! How far a stream has been read: its broker does not remember that for consumers of AMQP 0-9-1.

use std::collections::VecDeque;

use lapin::message::Delivery;
use lapin::types::AMQPValue;

/// The positions of the deliveries of one channel that are not settled, so that the next channel goes on there.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// Tags and offsets, both ascending.
    open: VecDeque<(u64, i64)>,
    /// The offset behind the last one that was settled in order.
    next: Option<i64>,
}

impl Positions {
    /// Notes a delivery, if it is one of a stream.
    pub(super) fn deliver(&mut self, delivery: &Delivery) {
        let headers = delivery.properties.headers().as_ref();
        let offset = headers.and_then(|headers| headers.inner().get("x-stream-offset"));
        if let Some(AMQPValue::LongLongInt(offset)) = offset {
            self.note(delivery.delivery_tag, *offset);
        }
    }

    fn note(&mut self, tag: u64, offset: i64) {
        self.open.push_back((tag, offset));
    }

    /// Where to go on if everything before the tag `first_open` is settled; `None` if nothing is known.
    pub(super) fn resume(&mut self, first_open: u64) -> Option<i64> {
        while let Some((_, offset)) = self.open.front().filter(|(tag, _)| *tag < first_open) {
            self.next = offset.checked_add(1);
            self.open.pop_front();
        }
        self.open.front().map(|(_, offset)| *offset).or(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_not_settled_is_read_again() {
        let mut positions = Positions::default();
        assert_eq!(positions.resume(1), None);
        for (tag, offset) in [(1, 7), (2, 8), (3, 12)] {
            positions.note(tag, offset);
        }
        assert_eq!(positions.resume(1), Some(7));
        assert_eq!(positions.resume(3), Some(12));
        assert_eq!(positions.resume(4), Some(13));
        assert_eq!(positions.resume(4), Some(13));
    }
}
