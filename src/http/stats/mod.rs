//! `/stats`: topics, channels and clients, as JSON or as text. [`collect`] reads the engine once; the JSON keys and their
//! order are the fields of [`view`], and [`text`] prints the same values.

mod collect;
mod text;
mod view;

use super::Context;
use super::query::Query;
use super::reply::{Refusal, Reply};

/// Brings up to date what waits at a store, as far as that answers.
pub(super) async fn count_elsewhere(context: &Context) {
    if let Some(count) = context.engine.count_elsewhere()
        && let Err(reason) = count.await
    {
        tracing::debug!(reason, "what waits elsewhere is shown as it was known last");
    }
}

/// GET `/stats`.
pub(super) async fn stats(context: &Context, query: &Query) -> Result<Reply, Refusal> {
    count_elsewhere(context).await;
    let stats = collect::collect(context, query);
    if query.get("format") == Some("json") {
        Reply::json(&stats)
    } else {
        Ok(Reply::Text(text::render(&stats, &context.node)))
    }
}
