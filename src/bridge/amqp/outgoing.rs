//! What a message is published as: where it goes, what it says of itself, and how it is known again when it comes back.

use lapin::BasicProperties;
use lapin::message::BasicReturnMessage;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::properties::to_amqp;
use super::publisher::Publishing;
use crate::bridge::delay::{ATTEMPTS_HEADER, DUE_HEADER};
use crate::bridge::message::{Message, Refusal, RefusalKind};
use crate::bridge::properties::Unsendable;
use crate::bridge::transform::{Needs, Template, TransformError};
use crate::names::MessageId;

/// The header that holds a message's id where its `message_id` is not ours.
const ID_HEADER: &str = "x-leveret-id";

/// The header of what passed above the route's committed rate.
const EXCESS_HEADER: &str = "x-leveret-excess";

impl Publishing {
    /// The exchange and the routing key.
    pub(super) fn address(
        &self,
        needs: &Needs,
        message: &Message,
        id: &str,
    ) -> Result<(ShortString, ShortString), Refusal> {
        if let Some(put_off) = &message.put_off {
            return Ok(("".into(), put_off.queue.name.as_str().into()));
        }
        if let Some(key) = self.excess_key.as_ref().filter(|_| message.is_excess) {
            return self.excess_address(key, message, id);
        }
        if let Some((exchange, key)) = message.shaped().and_then(|shaped| shaped.address.as_ref()) {
            return Ok((exchange.as_str().into(), key.as_str().into()));
        }
        let refused =
            |error: TransformError| Refusal::new(RefusalKind::Transform, error.to_string());
        let view = message.view(&self.from, id).with_needs(needs);
        let exchange = self.to.exchange.render(&view).map_err(refused)?;
        let routing_key = self.to.routing_key.render(&view).map_err(refused)?;
        Ok(((&*exchange).into(), (&*routing_key).into()))
    }

    /// Where a message above the committed rate goes: to the same exchange.
    fn excess_address(
        &self,
        key: &Template,
        message: &Message,
        id: &str,
    ) -> Result<(ShortString, ShortString), Refusal> {
        let refused =
            |error: TransformError| Refusal::new(RefusalKind::Transform, error.to_string());
        let view = message.view(&self.from, id);
        let exchange = self.to.exchange.render(&view).map_err(refused)?;
        let routing_key = key.render(&view).map_err(refused)?;
        Ok(((&*exchange).into(), (&*routing_key).into()))
    }

    /// What the message says of itself, and what it does not say.
    pub(super) fn properties(
        &self,
        frame_max: u32,
        message: &Message,
        id: &str,
    ) -> Result<BasicProperties, Refusal> {
        let target = &self.to;
        let own = message.sent_properties();
        if let Some(own) = own {
            let refused = |error: Unsendable| Refusal::new(RefusalKind::Invalid, error.to_string());
            own.check(frame_max).map_err(refused)?;
        }
        let mut properties = own.map(to_amqp).unwrap_or_default();
        let foreign = match own {
            Some(own) => own.message_id.as_deref(),
            None => message.message_id.as_deref(),
        };
        let message_id = match foreign {
            Some(foreign) => foreign.into(),
            None => format!("{}:{id}", self.from.topic).into(),
        };
        properties = properties.with_message_id(message_id);
        if properties.delivery_mode().is_none() {
            properties = properties.with_delivery_mode(if target.persistent { 2 } else { 1 });
        }
        if properties.timestamp().is_none() {
            let seconds = u64::try_from(message.timestamp / 1_000_000_000).unwrap_or(0);
            properties = properties.with_timestamp(seconds);
        }
        if let Some(content_type) = &target.content_type {
            properties = properties.with_content_type(content_type.as_str().into());
        }
        let mut headers = properties.headers().clone().unwrap_or_default();
        if let Some(refusal) = &message.dead {
            self.add_dead_letter_headers(&mut headers, message, refusal);
        }
        if message.is_excess && message.dead.is_none() {
            headers.insert(EXCESS_HEADER.into(), AMQPValue::LongUInt(1));
        }
        if let Some(put_off) = &message.put_off {
            headers.insert(DUE_HEADER.into(), AMQPValue::LongLongInt(put_off.due));
            let behind = message.attempts.saturating_sub(1);
            headers.insert(ATTEMPTS_HEADER.into(), AMQPValue::LongUInt(behind.into()));
        }
        // A message_id that is not ours says nothing of which message a return is about.
        if foreign.is_some() {
            headers.insert(ID_HEADER.into(), AMQPValue::LongString(id.into()));
        }
        Ok(if headers.inner().is_empty() { properties } else { properties.with_headers(headers) })
    }

    fn add_dead_letter_headers(
        &self,
        headers: &mut FieldTable,
        message: &Message,
        refusal: &Refusal,
    ) {
        let text = |text: &str| AMQPValue::LongString(text.into());
        headers.insert("x-leveret-route".into(), text(&self.status.name));
        headers.insert("x-leveret-reason".into(), text(refusal.kind.as_str()));
        headers.insert("x-leveret-error".into(), text(&refusal.reason));
        headers.insert("x-leveret-origin".into(), text(&self.from.text));
        headers.insert("x-leveret-attempts".into(), AMQPValue::LongUInt(message.attempts.into()));
        headers.insert("x-leveret-first-seen".into(), AMQPValue::LongLongInt(message.timestamp));
    }
}

/// The message that was returned, by the `message_id` that we gave it, and why.
pub(super) fn whose(message: &BasicReturnMessage) -> Option<(MessageId, String)> {
    let properties = &message.delivery.properties;
    let header = properties.headers().as_ref().and_then(|headers| headers.inner().get(ID_HEADER));
    let hex = match header {
        Some(AMQPValue::LongString(hex)) => hex.as_bytes(),
        _ => {
            let id = properties.message_id().as_ref()?.as_str();
            id.rsplit_once(':')?.1.as_bytes()
        }
    };
    let id = MessageId::from_hex(hex.try_into().ok()?)?;
    let (exchange, key) = (&message.delivery.exchange, &message.delivery.routing_key);
    let words = format!(
        "{} ({}): no queue takes exchange \"{}\" with routing key \"{}\"",
        message.reply_text.as_str(),
        message.reply_code,
        exchange.as_str(),
        key.as_str(),
    );
    Some((id, words))
}
