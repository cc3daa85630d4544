//! `/ping` and `/info`.

use axum::http::StatusCode;
use serde::Serialize;

use super::reply::{Refusal, Reply};
use super::{Context, NSQ_VERSION, VERSION, saturated};

/// GET `/ping`.
pub(super) fn ping(context: &Context) -> Result<Reply, Refusal> {
    match (context.health)() {
        Ok(()) => Ok(Reply::ok()),
        Err(wrong) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err(Refusal::new(status, format!("NOK - {wrong}")))
        }
    }
}

#[derive(Serialize)]
struct Info<'a> {
    version: &'static str,
    broadcast_address: &'a str,
    hostname: &'a str,
    http_port: i32,
    tcp_port: i32,
    start_time: i64,
    /// Nanoseconds, as is the next but one.
    max_heartbeat_interval: u64,
    max_output_buffer_size: u64,
    max_output_buffer_timeout: u64,
    max_deflate_level: u8,
    topology_zone: &'a str,
    topology_region: &'a str,
    /// Not nsqd's.
    leveret_version: &'static str,
}

/// GET `/info`.
pub(super) fn info(context: &Context) -> Result<Reply, Refusal> {
    let (node, limits) = (&context.node, &context.limits);
    Reply::json(&Info {
        version: NSQ_VERSION,
        broadcast_address: &node.broadcast_address,
        hostname: &node.hostname,
        http_port: node.http_port,
        tcp_port: node.tcp_port,
        start_time: node.start_time,
        max_heartbeat_interval: saturated(limits.max_heartbeat_interval.as_nanos()),
        max_output_buffer_size: limits.max_output_buffer_size,
        max_output_buffer_timeout: saturated(limits.max_output_buffer_timeout.as_nanos()),
        max_deflate_level: limits.max_deflate_level,
        topology_zone: &node.topology_zone,
        topology_region: &node.topology_region,
        leveret_version: VERSION,
    })
}
