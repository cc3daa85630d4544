//! Whether a queue is there.

use std::sync::Arc;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::time::timeout;

use super::link::Link;

/// Whether the broker has a queue of this name. Waits until there is a connection; an answer that does not come, or is a
/// refusal of another kind, counts as no.
pub(in crate::bridge) async fn has_queue(link: &Arc<Link>, name: &str) -> bool {
    let up = link.up().await;
    let asking = async {
        let channel = up.connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        // A refusal closes the channel, and nothing else.
        channel.queue_declare(name.into(), options, FieldTable::default()).await?;
        channel.close(200, "asked".into()).await
    };
    matches!(timeout(link.broker().connect_timeout, asking).await, Ok(Ok(())))
}
