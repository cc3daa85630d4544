//! Messages of a broker's queue that an operator looks at, puts back where they come from, or throws away: of a queue of
//! dead letters above all.
//!
//! A message is published first and acknowledged afterwards. What stays is given back to its place.

use serde::Serialize;

use super::Bridge;
use super::amqp::hand::{Got, Hand};
use super::envelope::Printable;
use super::envelope::headers_json;
use super::properties::{Properties, ROUTE_HEADER, Value};
use super::redrive::{Failed, Redriven, publish_to};
use super::route::{Flow, Route, Source};
use crate::names::is_valid_name;

/// How far into a queue single messages are looked for.
const SEARCH_MAX: usize = 1000;

/// A message that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Letter {
    /// Its `message_id`, or a number made of its body if it has none.
    pub id: String,
    /// Where it was published, as the broker tells it.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Whether it was delivered or looked at before.
    pub redelivered: bool,
    /// AMQP's properties, by their names.
    pub properties: Properties,
    /// Its headers, typed as in an envelope.
    pub headers: serde_json::Value,
    /// Where it would be put back; `None` if that has to be said.
    pub back_to: Option<Place>,
    /// Bytes of the whole body.
    pub size: usize,
    /// The body.
    #[serde(flatten)]
    pub body: Printable,
}

/// Where a message is put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// A topic of this node: the body alone, as a producer would publish it.
    Topic {
        /// The topic.
        topic: String,
    },
    /// An exchange of the same broker, with the properties that it has.
    Exchange {
        /// The exchange; empty for the default one.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
}

/// Which messages are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Those with these ids, among the first thousand.
    These(Vec<String>),
    /// As many as there are now.
    All,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LettersError {
    /// No broker has this name.
    #[error("there is no broker \"{0}\"")]
    Unknown(String),
    /// The name is none.
    #[error("\"{0}\" is not a topic's name")]
    Name(String),
    /// The broker did not do as it was asked.
    #[error("{0}")]
    Broker(String),
}

impl Bridge {
    /// The first `most` messages of a queue. They go back to their places; a quorum queue counts it as a delivery.
    ///
    /// # Errors
    /// [`LettersError`].
    pub async fn look(
        &self,
        broker: &str,
        queue: &str,
        most: usize,
    ) -> Result<Vec<Letter>, LettersError> {
        let hand = self.hand(broker).await?;
        let routes = self.configured();
        let mut seen = Vec::new();
        let looked = loop {
            if seen.len() >= most {
                break Ok(());
            }
            match hand.get(queue).await {
                Ok(Some(got)) => seen.push(letter(got, broker, &routes)),
                Ok(None) => break Ok(()),
                Err(words) => break Err(words),
            }
        };
        hand.close().await;
        looked.map(|()| seen).map_err(LettersError::Broker)
    }

    /// Puts messages of a queue where they come from, or to `to`. What cannot be put there stays.
    ///
    /// # Errors
    /// [`LettersError`], if it broke off; what was done until then is done.
    pub async fn put_back(
        &self,
        (broker, queue): (&str, &str),
        chosen: &Chosen,
        to: Option<&Place>,
    ) -> Result<Redriven, LettersError> {
        if let Some(Place::Topic { topic }) = to
            && !is_valid_name(topic.as_bytes())
        {
            return Err(LettersError::Name(topic.clone()));
        }
        let act = Act::PutBack { to: to.cloned(), routes: self.configured() };
        self.each(broker, queue, chosen, &act).await
    }

    /// Throws messages of a queue away.
    ///
    /// # Errors
    /// [`LettersError`], if it broke off; what was done until then is done.
    pub async fn throw_away(
        &self,
        (broker, queue): (&str, &str),
        chosen: &Chosen,
    ) -> Result<Redriven, LettersError> {
        self.each(broker, queue, chosen, &Act::ThrowAway).await
    }

    async fn hand(&self, broker: &str) -> Result<Hand, LettersError> {
        let options = self.shared.links.broker(broker);
        let options = options.ok_or_else(|| LettersError::Unknown(broker.to_owned()))?;
        Box::pin(Hand::open(&options)).await.map_err(LettersError::Broker)
    }

    /// Does something with each chosen message and acknowledges it.
    async fn each(
        &self,
        broker: &str,
        queue: &str,
        chosen: &Chosen,
        act: &Act,
    ) -> Result<Redriven, LettersError> {
        let hand = self.hand(broker).await?;
        let mut redriven = Redriven::default();
        // Apart, as it is large.
        let done = Box::pin(self.walk(&hand, (broker, queue), chosen, act, &mut redriven)).await;
        hand.close().await;
        done.map(|()| redriven).map_err(LettersError::Broker)
    }

    async fn walk(
        &self,
        hand: &Hand,
        (broker, queue): (&str, &str),
        chosen: &Chosen,
        act: &Act,
        redriven: &mut Redriven,
    ) -> Result<(), String> {
        let mut wanted = match chosen {
            Chosen::These(ids) => Some(ids.clone()),
            Chosen::All => None,
        };
        // What comes in meanwhile, be it what was put back, is not meant.
        let mut left = None;
        while left != Some(0)
            && wanted.as_ref().is_none_or(|wanted| !wanted.is_empty())
            && let Some(got) = hand.get(queue).await?
        {
            let first = if wanted.is_some() { SEARCH_MAX } else { got.left as usize + 1 };
            left = Some(left.unwrap_or(first) - 1);
            let id = id_of(&got);
            if let Some(wanted) = &mut wanted {
                let Some(at) = wanted.iter().position(|wanted| *wanted == id) else { continue };
                wanted.remove(at);
            }
            match self.act(hand, &got, broker, act).await {
                Ok(()) => {
                    hand.ack(got.tag).await?;
                    redriven.done += 1;
                }
                Err(reason) => redriven.failed.push(Failed { id, reason }),
            }
        }
        redriven.missing = wanted.unwrap_or_default();
        Ok(())
    }

    async fn act(&self, hand: &Hand, got: &Got, broker: &str, act: &Act) -> Result<(), String> {
        let Act::PutBack { to, routes } = act else { return Ok(()) };
        let found = || back_to(&got.properties, broker, routes);
        let place = to.clone().or_else(found).ok_or_else(|| {
            "the message does not say where it comes from: say where it is to go".to_owned()
        })?;
        match place {
            Place::Topic { topic } => publish_to(&self.shared.engine, &topic, &got.body).await,
            Place::Exchange { exchange, routing_key } => {
                let properties = again(&got.properties);
                hand.publish(&exchange, &routing_key, &properties, &got.body).await
            }
        }
    }
}

/// What is done with messages.
enum Act {
    PutBack { to: Option<Place>, routes: Vec<Route> },
    ThrowAway,
}

fn letter(got: Got, broker: &str, routes: &[Route]) -> Letter {
    Letter {
        id: id_of(&got),
        back_to: back_to(&got.properties, broker, routes),
        headers: headers_json(&got.properties.headers),
        exchange: got.exchange,
        routing_key: got.routing_key,
        redelivered: got.redelivered,
        properties: got.properties,
        size: got.body.len(),
        body: Printable::new(&got.body),
    }
}

fn id_of(got: &Got) -> String {
    got.properties.message_id.clone().unwrap_or_else(|| {
        // FNV-1a: it has to be the same the next time, and nothing more.
        let hash = got.body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("body:{hash:016x}")
    })
}

/// Where a dead letter comes from: by the route that gave it up, or by the broker's own account of its first death.
fn back_to(properties: &Properties, broker: &str, routes: &[Route]) -> Option<Place> {
    let text = |name: &str| match properties.headers.get(name)? {
        Value::Text(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    let queue =
        |queue: &str| Place::Exchange { exchange: String::new(), routing_key: queue.into() };
    // The mark of any route is there on what has passed one; the reason is there on what a route gave up.
    if text("x-leveret-reason").is_none() {
        return text("x-first-death-queue").map(queue);
    }
    let name = text(ROUTE_HEADER)?;
    let route = routes.iter().find(|route| route.name == name)?;
    let topic = |topic: &str| Some(Place::Topic { topic: topic.into() });
    match &route.flow {
        Flow::Ingress { topic: name, .. } => topic(name),
        Flow::Channel { from, .. } => (from.broker == broker).then(|| queue(&from.queue)),
        Flow::Move(moving) => match &moving.from {
            Source::Nsq(from) => topic(&from.topic),
            Source::Amqp(from) => (from.broker == broker).then(|| queue(&from.queue)),
            Source::Remote(_) => None,
        },
    }
}

/// The properties of a message that begins anew: without what was said of its end.
fn again(properties: &Properties) -> Properties {
    let mut properties = properties.clone();
    properties.headers.retain(|name, _| {
        !name.starts_with("x-leveret-")
            && !name.starts_with("x-death")
            && !name.contains("-death-")
            && name != "x-delivery-count"
    });
    properties
}

#[cfg(test)]
mod tests;
