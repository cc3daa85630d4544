//! What leaves the node about itself: metrics for Prometheus and statsd, logs, and what the process takes of its machine.

pub mod alerts;
pub mod figures;
pub mod logs;
pub mod opentsdb;
pub mod process;
pub mod prometheus;
pub mod samples;
pub mod statsd;
