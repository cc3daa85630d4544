//! `/v1/messages/...`: messages of a channel put back where they come from, or thrown away.

use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Context;
use super::body::{End, Incoming};
use super::query::Query;
use super::reply::{Refusal, Reply};
use super::topics;
use crate::bridge::redrive::{self, RedriveError, Selection};
use crate::names::MessageId;

/// The largest request, bytes: some fifty thousand ids.
const REQUEST_MAX: u64 = 1 << 20;

/// Which messages, and where they are to go.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    all: bool,
    to: Option<String>,
}

/// What a request asks for, in JSON.
pub(super) async fn read<T: DeserializeOwned>(body: &mut Incoming) -> Result<T, Refusal> {
    let (text, end) = body.read(REQUEST_MAX).await;
    match end {
        End::Complete => {}
        End::TooLong => return Err(Refusal::too_large("BODY_TOO_BIG")),
        End::Broken => return Err(Refusal::internal()),
    }
    serde_json::from_slice(&text)
        .map_err(|error| Refusal::bad("INVALID_BODY").explained(Some(error.to_string())))
}

/// Neither some nor all, or both.
pub(super) fn unclear() -> Refusal {
    Refusal::bad("INVALID_BODY").explained(Some("give either ids or all: true".to_owned()))
}

impl Asked {
    fn selection(&self) -> Result<Selection, Refusal> {
        match (self.all, self.ids.is_empty()) {
            (true, true) => Ok(Selection::All),
            (false, false) => {
                let id = |text: &String| {
                    <&[u8; MessageId::LEN]>::try_from(text.as_bytes())
                        .ok()
                        .and_then(MessageId::from_hex)
                };
                let ids: Option<Vec<MessageId>> = self.ids.iter().map(id).collect();
                ids.map(Selection::These).ok_or_else(|| Refusal::bad("INVALID_ID"))
            }
            _ => Err(unclear()),
        }
    }
}

impl From<RedriveError> for Refusal {
    fn from(error: RedriveError) -> Self {
        let status = match error {
            RedriveError::Paused => StatusCode::CONFLICT,
            RedriveError::Name(_) => StatusCode::BAD_REQUEST,
            RedriveError::Closing => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

/// POST `/v1/messages/requeue`.
pub(super) async fn requeue(
    context: &Context,
    raw: &str,
    body: &mut Incoming,
) -> Result<Reply, Refusal> {
    let channel = topics::existing_channel(context, &Query::parse(raw)?)?;
    let asked: Asked = read(body).await?;
    let selection = asked.selection()?;
    let to = asked.to.as_deref().filter(|to| !to.is_empty());
    Reply::json(&redrive::requeue(&context.engine, &channel, &selection, to).await?)
}

/// POST `/v1/messages/discard`.
pub(super) async fn discard(
    context: &Context,
    raw: &str,
    body: &mut Incoming,
) -> Result<Reply, Refusal> {
    let channel = topics::existing_channel(context, &Query::parse(raw)?)?;
    let selection = read::<Asked>(body).await?.selection()?;
    Reply::json(&redrive::discard(&channel, &selection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(text: &str) -> Result<Selection, Refusal> {
        serde_json::from_str::<Asked>(text).unwrap().selection()
    }

    #[test]
    fn it_is_either_some_or_all() {
        assert_eq!(selection(r#"{"all":true}"#), Ok(Selection::All));
        let id = "00000000000000ff";
        let some = selection(&format!(r#"{{"ids":["{id}"]}}"#));
        assert_eq!(some, Ok(Selection::These(vec![MessageId(255)])));
        assert_eq!(selection(r#"{"ids":["ff"]}"#), Err(Refusal::bad("INVALID_ID")));
        for wrong in ["{}", r#"{"ids":[]}"#, r#"{"ids":["00000000000000ff"],"all":true}"#] {
            assert!(selection(wrong).is_err(), "{wrong}");
        }
    }
}
