//! What a delivery of the broker is to the rest of the bridge.

use std::sync::Arc;

use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};

use super::properties::from_amqp;
use crate::bridge::delay::{ATTEMPTS_HEADER, DUE_HEADER};
use crate::bridge::properties::Properties;
use crate::engine::Origin;

/// A message as it arrived.
#[derive(Debug)]
pub(in crate::bridge) struct Arrival {
    pub(in crate::bridge) body: bytes::Bytes,
    /// Publish time, nanoseconds since the Unix epoch; 0 if the message does not say.
    pub(in crate::bridge) timestamp: i64,
    /// Deliveries that it has behind it, as far as the broker tells.
    pub(in crate::bridge) attempts: u16,
    pub(in crate::bridge) message_id: Option<String>,
    /// When it is due, Unix milliseconds, if it was put off by us.
    pub(in crate::bridge) due: Option<i64>,
    /// Its properties, if somebody asked for them.
    pub(in crate::bridge) properties: Option<Arc<Properties>>,
    pub(in crate::bridge) origin: Origin,
}

impl Arrival {
    /// Bytes of its body.
    pub(in crate::bridge) fn size(&self) -> u64 {
        self.body.len() as u64
    }

    /// What `queue` delivered on the channel of this generation.
    pub(super) fn of(
        delivery: Delivery,
        queue: &str,
        generation: u64,
        with_properties: bool,
    ) -> Self {
        let properties = &delivery.properties;
        let seconds = properties.timestamp().unwrap_or(0);
        let timestamp =
            i64::try_from(seconds).ok().and_then(|s| s.checked_mul(1_000_000_000)).unwrap_or(0);
        let headers = properties.headers().as_ref();
        let due = headers.and_then(|headers| number(headers, DUE_HEADER));
        let attempts = attempts_behind(headers, queue, delivery.redelivered);
        let message_id = properties.message_id().as_ref().map(|id| id.as_str().to_owned());
        let origin = Origin { generation, tag: delivery.delivery_tag };
        let properties = with_properties.then(|| Arc::new(from_amqp(properties)));
        let body = delivery.data.into();
        Self { body, timestamp, attempts, message_id, due, properties, origin }
    }
}

/// How often a message was delivered before, as far as its headers tell. Four things count: deliveries of the queue as it
/// lies there now (a quorum queue counts them, a classic one only says that there was one), its earlier stays in this
/// queue that ended with a consumer's refusal (`x-death`: a retry queue dead-letters it back to here), and the attempts of
/// before it was put off by a route.
fn attempts_behind(headers: Option<&FieldTable>, queue: &str, redelivered: bool) -> u16 {
    let Some(headers) = headers else {
        return u16::from(redelivered);
    };
    let small = |number: i64| u16::try_from(number.max(0)).unwrap_or(u16::MAX);
    let counted = number(headers, "x-delivery-count").map(small);
    let here = counted.unwrap_or_else(|| u16::from(redelivered));
    // What was put off is a new message to the broker.
    let is_put_off = headers.inner().contains_key(DUE_HEADER);
    let put_off = if is_put_off { number(headers, ATTEMPTS_HEADER).map_or(0, small) } else { 0 };
    let died = headers.inner().get("x-death").map_or(0, |deaths| refusals(deaths, queue));
    here.saturating_add(put_off).saturating_add(small(died))
}

/// How often consumers of `queue` refused the message, by RabbitMQ's list of its deaths: one entry a queue and reason,
/// each with a `count`. Expiry and overflow are no deliveries.
fn refusals(deaths: &AMQPValue, queue: &str) -> i64 {
    let AMQPValue::FieldArray(deaths) = deaths else {
        return 0;
    };
    let counts = deaths.as_slice().iter().filter_map(|death| {
        let AMQPValue::FieldTable(death) = death else {
            return None;
        };
        let is = |key: &str, wanted: &[&str]| match death.inner().get(key) {
            Some(AMQPValue::LongString(text)) => {
                wanted.iter().any(|wanted| wanted.as_bytes() == text.as_bytes())
            }
            _ => false,
        };
        let counts = is("queue", &[queue]) && is("reason", &["rejected", "delivery_limit"]);
        counts.then(|| number(death, "count")).flatten()
    });
    counts.fold(0, i64::saturating_add)
}

fn number(table: &FieldTable, key: &str) -> Option<i64> {
    Some(match table.inner().get(key)? {
        AMQPValue::LongLongInt(number) => *number,
        AMQPValue::LongInt(number) => (*number).into(),
        AMQPValue::LongUInt(number) => (*number).into(),
        AMQPValue::ShortShortInt(number) => (*number).into(),
        AMQPValue::ShortInt(number) => (*number).into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;

    fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in entries {
            table.insert((*key).into(), value.clone());
        }
        table
    }

    fn death(queue: &str, reason: &str, count: i64) -> AMQPValue {
        AMQPValue::FieldTable(table(&[
            ("queue", AMQPValue::LongString(queue.into())),
            ("reason", AMQPValue::LongString(reason.into())),
            ("count", AMQPValue::LongLongInt(count)),
        ]))
    }

    fn deaths(all: Vec<AMQPValue>) -> (&'static str, AMQPValue) {
        ("x-death", AMQPValue::FieldArray(FieldArray::from(all)))
    }

    #[test]
    fn a_queue_that_counts_is_believed_and_another_says_only_that_there_was_one() {
        let counted = table(&[("x-delivery-count", AMQPValue::LongLongInt(4))]);
        assert_eq!(attempts_behind(Some(&counted), "q", true), 4);
        assert_eq!(attempts_behind(Some(&table(&[])), "q", true), 1);
        assert_eq!(attempts_behind(None, "q", true), 1);
        assert_eq!(attempts_behind(None, "q", false), 0);
    }

    #[test]
    fn refusals_in_earlier_stays_count_and_expiry_and_other_queues_do_not() {
        let headers = table(&[
            deaths(vec![
                death("q", "rejected", 2),
                death("q", "delivery_limit", 1),
                death("q", "expired", 7),
                death("q.retry", "expired", 3),
                death("other", "rejected", 9),
            ]),
            ("x-delivery-count", AMQPValue::LongLongInt(1)),
        ]);
        assert_eq!(attempts_behind(Some(&headers), "q", true), 4);
    }

    #[test]
    fn attempts_of_before_a_delay_count_and_only_with_it() {
        let attempts = (ATTEMPTS_HEADER, AMQPValue::LongUInt(5));
        let put_off = table(&[(DUE_HEADER, AMQPValue::LongLongInt(1)), attempts.clone()]);
        assert_eq!(attempts_behind(Some(&put_off), "q", false), 5);
        assert_eq!(attempts_behind(Some(&table(&[attempts])), "q", false), 0);
    }

    #[test]
    fn what_makes_no_sense_counts_as_much_as_fits() {
        let headers = table(&[
            deaths(vec![death("q", "rejected", i64::MAX), death("q", "rejected", 5)]),
            ("x-delivery-count", AMQPValue::LongLongInt(-3)),
        ]);
        assert_eq!(attempts_behind(Some(&headers), "q", false), u16::MAX);
        let wrong = table(&[("x-death", AMQPValue::LongLongInt(3))]);
        assert_eq!(attempts_behind(Some(&wrong), "q", false), 0);
    }
}
