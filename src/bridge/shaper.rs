//! Shapes the messages of a running route: filter, envelope, headers and properties, and where each one goes.
//!
//! The message itself is kept as it came, for its next attempt or its dead letter; what it is sent as is a [`Shaped`].

use std::sync::Arc;

use bytes::Bytes;

use super::envelope::message as envelope;
use super::message::{Message, Provenance, Refusal, RefusalKind};
use super::properties::Properties;
use super::route::{DeadLetter, Route, Target};
use super::transform::{Envelope, MessageView, Needs, Template, Transform, TransformError};

/// What a message is sent as.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shaped {
    /// Its body, if it is another one.
    pub(super) body: Option<Bytes>,
    /// Whether the body was taken out of an envelope.
    pub(super) is_opened: bool,
    /// Its properties, if it has some.
    pub(super) properties: Option<Properties>,
    /// Exchange and routing key, if it goes to one place, at a broker.
    pub(super) address: Option<(String, String)>,
}

/// Why a message is not sent.
#[derive(Debug, PartialEq)]
pub(super) enum Unsent {
    /// The route does not take it: it is done with.
    Filtered,
    /// It cannot be sent as it is to be, now or later.
    Poison(Refusal),
}

/// A message to be shaped.
pub(super) struct Incoming<'a> {
    pub(super) id: &'a str,
    pub(super) timestamp: i64,
    pub(super) attempts: u16,
    pub(super) body: &'a [u8],
    pub(super) properties: Option<&'a Properties>,
}

/// What happens to envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrapping {
    Leave,
    Wrap,
    Unwrap,
}

/// See the module's description.
pub(super) struct Shaper {
    route: String,
    rules: Transform,
    from: Provenance,
    wrapping: Wrapping,
    /// Whether properties get to where messages go.
    carries: bool,
    /// Exchange and routing key, if messages go to one place, at a broker.
    address: Option<(Template, Template)>,
    needs: Needs,
}

impl Shaper {
    /// For a route whose messages come from `from`; `None` if they go on as they are.
    pub(super) fn new(route: &Route, from: &Provenance) -> Option<Self> {
        let from_broker = route.source().is_some();
        let rules = &route.transform;
        let to_broker = leads_to_broker(route.target());
        let wrapping = match (rules.envelope, from_broker) {
            (Envelope::Json, true) => Wrapping::Wrap,
            (Envelope::Json, false) => Wrapping::Unwrap,
            (Envelope::None, _) => Wrapping::Leave,
        };
        let carries = to_broker || wrapping == Wrapping::Wrap;
        let is_idle = rules.when.is_none()
            && wrapping == Wrapping::Leave
            && !(carries && (from_broker || rules.changes_properties()));
        if is_idle {
            return None;
        }
        let to = route.target().and_then(Target::amqp);
        let address = to.map(|to| (to.exchange.clone(), to.routing_key.clone()));
        let mut needs = rules.needs();
        for template in address.iter().flat_map(|(exchange, key)| [exchange, key]) {
            needs.merge(&template.needs());
        }
        Some(Self {
            route: route.name.clone(),
            rules: rules.clone(),
            from: from.clone(),
            wrapping,
            carries,
            address,
            needs,
        })
    }

    /// Works out what a message is sent as.
    pub(super) fn shape(&self, incoming: &Incoming<'_>) -> Result<Shaped, Unsent> {
        let poison = |kind, reason: String| Unsent::Poison(Refusal::new(kind, reason));
        let opened = match self.wrapping {
            Wrapping::Unwrap => Some(
                envelope::unwrap(incoming.body)
                    .map_err(|error| poison(RefusalKind::Transform, error.to_string()))?,
            ),
            Wrapping::Leave | Wrapping::Wrap => None,
        };
        let (body, came_with) = match &opened {
            Some((body, properties)) => (body.as_slice(), Some(properties)),
            None => (incoming.body, incoming.properties),
        };
        let mut view = MessageView::new(&self.from.topic, incoming.id, incoming.timestamp, body)
            .with_needs(&self.needs);
        view.channel = &self.from.channel;
        view.attempts = incoming.attempts;
        view.properties = came_with;
        let failed = |error: TransformError| poison(RefusalKind::Transform, error.to_string());
        if !self.rules.takes(&view).map_err(failed)? {
            return Err(Unsent::Filtered);
        }
        let properties = if self.carries && (came_with.is_some() || self.rules.changes_properties())
        {
            let mut properties = self.rules.change(&view).map_err(failed)?;
            if came_with.is_some() {
                properties
                    .pass(&self.route, self.rules.max_hops)
                    .map_err(|error| poison(RefusalKind::Transform, error.to_string()))?;
            }
            Some(properties)
        } else {
            None
        };
        // Where it goes may depend on what it has become.
        view.properties = properties.as_ref().or(came_with);
        let address = match &self.address {
            Some((exchange, key)) => {
                let exchange = exchange.render(&view).map_err(failed)?.into_owned();
                Some((exchange, key.render(&view).map_err(failed)?.into_owned()))
            }
            None => None,
        };
        if self.wrapping == Wrapping::Wrap {
            let wrapped = envelope::wrap(body, &properties.unwrap_or_default());
            let body = Some(wrapped.into());
            return Ok(Shaped { body, is_opened: false, properties: None, address });
        }
        let is_opened = opened.is_some();
        let body = opened.map(|(body, _)| body.into());
        Ok(Shaped { body, is_opened, properties, address })
    }

    /// Shapes a batch: those to be sent, and the others.
    pub(super) fn sift(&self, batch: Vec<Message>) -> (Vec<Message>, Vec<(Message, Unsent)>) {
        let (mut sent, mut unsent) = (Vec::with_capacity(batch.len()), Vec::new());
        for mut message in batch {
            let id = message.id.to_string();
            let shaped = self.shape(&Incoming {
                id: &id,
                timestamp: message.timestamp,
                attempts: message.attempts,
                body: &message.body,
                properties: message.properties.as_deref(),
            });
            match shaped {
                Ok(shaped) => {
                    message.shaped = Some(Arc::new(shaped));
                    sent.push(message);
                }
                Err(why) => unsent.push((message, why)),
            }
        }
        (sent, unsent)
    }
}

/// Whether some of what goes to `target` comes to a broker.
fn leads_to_broker(target: Option<&Target>) -> bool {
    target.is_some_and(|target| target.places().into_iter().any(|place| place.amqp().is_some()))
}

/// Whether a route has a use for what its broker says of its messages.
pub(super) fn reads_properties(route: &Route) -> bool {
    let dead = match route.dead_letter() {
        Some(DeadLetter::To(target)) => Some(&**target),
        Some(DeadLetter::Stop | DeadLetter::Drop) | None => None,
    };
    let templates = route.target().into_iter().flat_map(Target::places).any(|place| match place {
        Target::Topic { topic } => topic.constant().is_none(),
        Target::Remote(to) => to.topic.constant().is_none(),
        _ => false,
    });
    leads_to_broker(route.target())
        || leads_to_broker(dead)
        || templates
        || route.transform.when.is_some()
        || route.limit.as_ref().is_some_and(|limit| limit.per.is_some())
        || route.transform.envelope == Envelope::Json
}

#[cfg(test)]
mod tests {
    use super::super::properties::Value;
    use super::super::route::{
        AmqpSource, AmqpTarget, Flow, Instances, Mode, Move, NsqChannel, PublishOptions, Retry,
        Source, Topology,
    };
    use super::super::transform::Condition;
    use super::*;

    fn queue() -> Source {
        Source::Amqp(AmqpSource {
            broker: "b".into(),
            queue: "q".into(),
            prefetch: 1,
            consumer_tag: None,
            offset: None,
            declare: Topology::default(),
        })
    }

    fn channel() -> Source {
        Source::Nsq(NsqChannel { topic: "t".into(), channel: "c".into() })
    }

    fn exchange(key: &str) -> Target {
        Target::Amqp(AmqpTarget {
            broker: "b".into(),
            exchange: Template::parse("x").unwrap(),
            routing_key: Template::parse(key).unwrap(),
            persistent: true,
            content_type: None,
            declare: Topology::default(),
        })
    }

    fn topic() -> Target {
        Target::Topic { topic: Template::parse("t").unwrap() }
    }

    fn shaper(from: Source, to: Target, transform: Transform) -> Option<Shaper> {
        let provenance =
            Provenance { topic: "t".into(), channel: "c".into(), text: "nsq t/c".into() };
        let flow = Flow::Move(Box::new(Move {
            from,
            to,
            publish: PublishOptions::default(),
            retry: Retry::default(),
            dead_letter: DeadLetter::Stop,
            ordered: false,
        }));
        let route = Route {
            name: "r".into(),
            mode: Mode::Queued,
            flow,
            limit: None,
            transform,
            instances: Instances::All,
        };
        Shaper::new(&route, &provenance)
    }

    fn incoming<'a>(body: &'a [u8], properties: Option<&'a Properties>) -> Incoming<'a> {
        Incoming { id: "00000000000000ab", timestamp: 7, attempts: 1, body, properties }
    }

    #[test]
    fn a_route_that_changes_nothing_has_no_shaper() {
        let plain = Transform::default;
        assert!(shaper(channel(), exchange("{{ body.k }}"), plain()).is_none());
        assert!(shaper(channel(), topic(), plain()).is_none());
        assert!(shaper(queue(), topic(), plain()).is_none());
        assert!(shaper(queue(), exchange("k"), plain()).is_some(), "it counts the hop");
        let when = Condition::parse("body.k").ok();
        assert!(shaper(channel(), topic(), Transform { when, ..plain() }).is_some());
    }

    #[test]
    fn the_address_depends_on_what_the_message_has_become() {
        let set = vec![("region".to_owned(), Template::parse("{{ body.region }}").unwrap())];
        let when = Condition::parse("body.region != 'us' and not headers.region").ok();
        let transform = Transform { when, set_headers: set, ..Transform::default() };
        let shaper =
            shaper(channel(), exchange("{{ headers.region }}.{{ body.n }}"), transform).unwrap();
        let shaped = shaper.shape(&incoming(br#"{"region":"eu","n":1}"#, None)).unwrap();
        assert_eq!(shaped.address, Some(("x".to_owned(), "eu.1".to_owned())));
        let headers = shaped.properties.unwrap().headers;
        assert_eq!(headers.get("region"), Some(&"eu".into()));
        assert_eq!(headers.len(), 1, "a message of NSQ has no hops");
        let us = shaper.shape(&incoming(br#"{"region":"us","n":1}"#, None));
        assert_eq!(us, Err(Unsent::Filtered));
        let Err(Unsent::Poison(refusal)) = shaper.shape(&incoming(br#"{"region":"eu"}"#, None))
        else {
            panic!("n is missing")
        };
        assert_eq!(refusal.kind, RefusalKind::Transform);
        assert!(refusal.reason.contains("body.n: the value is missing"), "{}", refusal.reason);
    }

    #[test]
    fn an_envelope_is_closed_on_the_way_to_nsq_and_opened_on_the_way_back() {
        let json = || Transform { envelope: Envelope::Json, ..Transform::default() };
        let mut properties = Properties { app_id: Some("a".into()), ..Properties::default() };
        properties.headers.insert("n".into(), Value::U16(1));
        let there = shaper(queue(), topic(), json()).unwrap();
        let wrapped = there.shape(&incoming(b"body", Some(&properties))).unwrap();
        assert!(wrapped.properties.is_none() && !wrapped.is_opened);
        let back = shaper(channel(), exchange("{{ properties.app_id }}"), json()).unwrap();
        let body = wrapped.body.unwrap();
        let opened = back.shape(&incoming(&body, None)).unwrap();
        assert_eq!(opened.body.as_deref(), Some(&b"body"[..]));
        assert_eq!(opened.address, Some(("x".to_owned(), "a".to_owned())));
        let mut came = opened.properties.unwrap();
        assert_eq!(came.hops(), 2);
        came.headers.retain(|name, _| name == "n");
        assert_eq!(came, properties);
        let Err(Unsent::Poison(refusal)) = back.shape(&incoming(b"body", None)) else {
            panic!("not an envelope")
        };
        assert!(refusal.reason.contains("not an envelope"), "{}", refusal.reason);
    }
}
