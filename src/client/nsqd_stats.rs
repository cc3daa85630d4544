//! What nsqds tell of themselves over HTTP, as far as it is needed here.

use serde::Deserialize;

use super::http::{HttpClient, HttpError};

/// The figures of one channel on one nsqd, under nsqd's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ChannelStats {
    /// Messages that wait.
    pub depth: i64,
    /// Those of them that wait on disk.
    pub backend_depth: i64,
    /// Messages that are with consumers.
    pub in_flight_count: i64,
    /// Messages that wait for their time.
    pub deferred_count: i64,
    /// Requeues so far.
    pub requeue_count: i64,
    /// Timeouts so far.
    pub timeout_count: i64,
    /// Messages so far.
    pub message_count: i64,
    /// Consumers.
    pub client_count: i64,
}

/// The figures of one topic on one nsqd, under nsqd's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TopicStats {
    /// Its name.
    pub topic_name: String,
    /// Messages that no channel has got yet.
    pub depth: i64,
    /// Messages so far.
    pub message_count: i64,
    /// Its channels.
    pub channels: Vec<NamedChannel>,
}

/// A channel of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NamedChannel {
    /// Its name.
    pub channel_name: String,
    /// Its figures.
    #[serde(flatten)]
    pub stats: ChannelStats,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    topics: Vec<TopicStats>,
}

impl std::ops::AddAssign for ChannelStats {
    fn add_assign(&mut self, other: Self) {
        self.depth += other.depth;
        self.backend_depth += other.backend_depth;
        self.in_flight_count += other.in_flight_count;
        self.deferred_count += other.deferred_count;
        self.requeue_count += other.requeue_count;
        self.timeout_count += other.timeout_count;
        self.message_count += other.message_count;
        self.client_count += other.client_count;
    }
}

/// The figures of a channel on the nsqd whose HTTP is at `address`; `None` if it does not have it.
///
/// # Errors
/// Why it did not tell.
pub async fn channel_stats(
    http: &HttpClient,
    address: &str,
    topic: &str,
    channel: &str,
) -> Result<Option<ChannelStats>, HttpError> {
    let query =
        [("format", "json"), ("topic", topic), ("channel", channel), ("include_clients", "false")];
    let answer: Option<Answer> = http.ask(address, "/stats", &query).await?;
    let topics = answer.map(|answer| answer.topics).unwrap_or_default();
    let found = topics.into_iter().find(|found| found.topic_name == topic);
    let mut channels = found.into_iter().flat_map(|found| found.channels);
    Ok(channels.find(|found| found.channel_name == channel).map(|found| found.stats))
}
