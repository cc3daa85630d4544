//! What `/stats` shows, key for key: the order of the fields is that of the keys.

use serde::Serialize;
use serde_json::Number;

use crate::engine::RecordedLatency;
use crate::http::reply::number;
use crate::telemetry::process::HeapFigures;

#[derive(Debug, Serialize)]
pub(super) struct Stats {
    pub(super) version: &'static str,
    pub(super) health: String,
    pub(super) start_time: i64,
    /// `None` if the topic that was asked for is not there.
    pub(super) topics: Option<Vec<TopicStats>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<HeapFigures>,
    pub(super) producers: Option<Vec<ClientStats>>,
}

/// Without percentiles if none are configured, or if there is no channel to measure them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) percentiles: Option<Vec<Percentile>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Percentile {
    pub(super) quantile: Number,
    /// Nanoseconds.
    pub(super) value: Number,
}

impl From<Option<RecordedLatency>> for Latency {
    fn from(recorded: Option<RecordedLatency>) -> Self {
        let Some(recorded) = recorded else { return Self::default() };
        let summary = recorded.summary();
        let percentile =
            |&(quantile, value)| Percentile { quantile: number(quantile), value: number(value) };
        let percentiles = summary.values.iter().map(percentile).collect();
        Self { count: summary.count, percentiles: Some(percentiles) }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct TopicStats {
    pub(super) topic_name: String,
    pub(super) channels: Vec<ChannelStats>,
    pub(super) depth: u64,
    pub(super) backend_depth: u64,
    pub(super) message_count: u64,
    pub(super) message_bytes: u64,
    pub(super) paused: bool,
    pub(super) e2e_processing_latency: Latency,
    /// Not nsqd's, as is the next: shown once there is something to show.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) dropped_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) expired_count: u64,
}

/// Whether a count that is left out while it is 0 is to be left out.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Debug, Serialize)]
pub(super) struct ChannelStats {
    pub(super) channel_name: String,
    pub(super) depth: u64,
    pub(super) backend_depth: u64,
    pub(super) in_flight_count: u64,
    pub(super) deferred_count: u64,
    pub(super) message_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) zone_local_msg_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) region_local_msg_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) global_msg_count: u64,
    pub(super) requeue_count: u64,
    pub(super) timeout_count: u64,
    pub(super) client_count: usize,
    /// `None` if clients were not asked for.
    pub(super) clients: Option<Vec<ClientStats>>,
    pub(super) paused: bool,
    pub(super) e2e_processing_latency: Latency,
    /// Not nsqd's, as are the next: shown once there is something to show.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) dropped_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) expired_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) dead_letter_count: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ClientStats {
    pub(super) client_id: String,
    pub(super) hostname: String,
    pub(super) version: &'static str,
    pub(super) remote_address: String,
    pub(super) state: u8,
    pub(super) ready_count: u64,
    pub(super) in_flight_count: u64,
    pub(super) message_count: u64,
    pub(super) finish_count: u64,
    pub(super) requeue_count: u64,
    pub(super) connect_ts: i64,
    pub(super) sample_rate: u8,
    pub(super) deflate: bool,
    pub(super) snappy: bool,
    pub(super) user_agent: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) authed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) auth_identity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) auth_identity_url: String,
    pub(super) topology_zone: String,
    pub(super) topology_region: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) pub_counts: Vec<PubCount>,
    pub(super) tls: bool,
    pub(super) tls_cipher_suite: String,
    pub(super) tls_version: String,
    pub(super) tls_negotiated_protocol: String,
    pub(super) tls_negotiated_protocol_is_mutual: bool,
    /// Not nsqd's: why a consumer gets nothing, if that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waiting_for: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct PubCount {
    pub(super) topic: String,
    pub(super) count: u64,
}
