//! `/v1/brokers/{broker}/messages...`: messages of a broker's queue looked at, put back where they come from, or thrown
//! away.

use axum::http::StatusCode;
use serde::Deserialize;

use super::Context;
use super::body::Incoming;
use super::messages::{read, unclear};
use super::query::Query;
use super::reply::{Refusal, Reply};
use crate::bridge::Bridge;
use crate::bridge::letters::{Chosen, LettersError, Place};

/// Messages that are shown if nobody says how many, and at most.
const MESSAGES: usize = 10;
const MESSAGES_MAX: usize = 100;

/// Which messages, and where they are to go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    all: bool,
    to: Option<To>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    topic: Option<String>,
    exchange: Option<String>,
    routing_key: Option<String>,
}

impl Asked {
    fn chosen(&mut self) -> Result<Chosen, Refusal> {
        match (self.all, self.ids.is_empty()) {
            (true, true) => Ok(Chosen::All),
            (false, false) => Ok(Chosen::These(std::mem::take(&mut self.ids))),
            _ => Err(unclear()),
        }
    }

    fn place(self) -> Result<Option<Place>, Refusal> {
        let Some(to) = self.to else { return Ok(None) };
        match (to.topic, to.exchange, to.routing_key) {
            (Some(topic), None, None) => Ok(Some(Place::Topic { topic })),
            (None, exchange, Some(routing_key)) => {
                Ok(Some(Place::Exchange { exchange: exchange.unwrap_or_default(), routing_key }))
            }
            _ => {
                let detail = "to is a topic, or an exchange and a routing_key".to_owned();
                Err(Refusal::bad("INVALID_BODY").explained(Some(detail)))
            }
        }
    }
}

impl From<LettersError> for Refusal {
    fn from(error: LettersError) -> Self {
        let status = match error {
            LettersError::Unknown(_) => StatusCode::NOT_FOUND,
            LettersError::Name(_) => StatusCode::BAD_REQUEST,
            LettersError::Broker(_) => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error.to_string())
    }
}

fn bridge(context: &Context) -> Result<&Bridge, Refusal> {
    context.queues.as_deref().ok_or_else(|| Refusal::missing("NOT_FOUND"))
}

/// The segment of the path that names the broker.
fn broker(path: &str) -> &str {
    path.split('/').nth(3).unwrap_or_default()
}

fn queue(query: &Query) -> Result<&str, Refusal> {
    query.get("queue").ok_or_else(|| Refusal::bad("MISSING_ARG_QUEUE"))
}

/// GET `/v1/brokers/{broker}/messages`, with `queue` and `n`.
pub(super) async fn look(context: &Context, path: &str, raw: &str) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    let most = match query.get("n") {
        None => MESSAGES,
        Some(text) => text.parse::<usize>().map_err(|_| Refusal::bad("INVALID_ARG_N"))?,
    };
    let seen = bridge(context)?.look(broker(path), queue(&query)?, most.min(MESSAGES_MAX)).await?;
    Reply::json(&seen)
}

/// POST `/v1/brokers/{broker}/messages/requeue`.
pub(super) async fn requeue(
    context: &Context,
    path: &str,
    raw: &str,
    body: &mut Incoming,
) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    let from = (broker(path), queue(&query)?);
    let mut asked: Asked = read(body).await?;
    let chosen = asked.chosen()?;
    Reply::json(&bridge(context)?.put_back(from, &chosen, asked.place()?.as_ref()).await?)
}

/// POST `/v1/brokers/{broker}/messages/discard`.
pub(super) async fn discard(
    context: &Context,
    path: &str,
    raw: &str,
    body: &mut Incoming,
) -> Result<Reply, Refusal> {
    let query = Query::parse(raw)?;
    let from = (broker(path), queue(&query)?);
    let chosen = read::<Asked>(body).await?.chosen()?;
    Reply::json(&bridge(context)?.throw_away(from, &chosen).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Asked {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_place_is_a_topic_or_an_exchange() {
        let place = |to: &str| asked(&format!(r#"{{"all":true,"to":{to}}}"#)).place();
        assert_eq!(place("null"), Ok(None));
        let topic = Place::Topic { topic: "t".into() };
        assert_eq!(place(r#"{"topic":"t"}"#), Ok(Some(topic)));
        let queue = Place::Exchange { exchange: String::new(), routing_key: "q".into() };
        assert_eq!(place(r#"{"routing_key":"q"}"#), Ok(Some(queue)));
        for wrong in ["{}", r#"{"exchange":"e"}"#, r#"{"topic":"t","routing_key":"q"}"#] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
