//! nsq_stat: the figures of one channel over all nsqds, a row at each interval.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval_at};

use super::client::Addresses;
use super::program::{LogPlan, ToolError, run as run_program, stop_signals};
use crate::client::http::HttpClient;
use crate::client::lookupd::{LookupdClient, Producer};
use crate::client::nsqd_stats::{ChannelStats, channel_stats};
use crate::clock;
use crate::task::stopped;

/// Rows between two headers.
const HEADER_EVERY: u64 = 25;

const HEADER: &str =
    "------rate------+----------------depth----------------+--------------metadata---------------
ingress  egress |   total     mem    disk inflt   def |     req     t-o         msgs clients";

/// What to show, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The topic.
    pub topic: String,
    /// The channel.
    pub channel: String,
    /// HTTP addresses of nsqds, or of nsqlookupds that know them.
    pub addresses: Addresses,
    /// Between two rows; not zero.
    pub interval: Duration,
    /// Rows, and then the end; 0 for no end.
    pub count: u64,
    /// For a connection to be open.
    pub connect_timeout: Duration,
    /// For an answer.
    pub request_timeout: Duration,
    /// Whether rows are JSON objects.
    pub json: bool,
}

/// Shows rows until a signal, or until there were enough.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    run_program(&LogPlan::of("nsq_stat"), || show(options))
}

async fn show(options: &Options) -> Result<(), ToolError> {
    let setup = |error: crate::tls::TlsError| ToolError::Setup(error.to_string());
    let (connect, request) = (options.connect_timeout, options.request_timeout);
    let lookupd = LookupdClient::new(connect, request, None).map_err(setup)?;
    let http = HttpClient::new(connect, request, None).map_err(setup)?;
    let mut stop = stop_signals()?;
    let mut hangup = signal(SignalKind::hangup()).map_err(ToolError::io("cannot hear signals"))?;
    let mut ticks = interval_at(clock::now() + options.interval, options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = sample(options, &lookupd, &http).await?;
    if !options.json {
        say(HEADER);
    }
    let mut row = 0;
    while options.count == 0 || row < options.count {
        tokio::select! {
            () = stopped(&mut stop) => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let now = sample(options, &lookupd, &http).await?;
        if row > 0 && row.is_multiple_of(HEADER_EVERY) && !options.json {
            say(HEADER);
        }
        let rates = Rates::between(&last, &now, options.interval);
        say(&if options.json { rates.json(&now) } else { rates.row(&now) });
        last = now;
        row += 1;
    }
    Ok(())
}

/// The channel's figures over all nsqds now.
async fn sample(
    options: &Options,
    lookupd: &LookupdClient,
    http: &HttpClient,
) -> Result<ChannelStats, ToolError> {
    let (topic, channel) = (&options.topic, &options.channel);
    let mut nsqds: BTreeSet<String> = options.addresses.nsqd.iter().cloned().collect();
    let asking = options.addresses.lookupd.iter().map(|address| async move {
        lookupd.producers(address, topic).await.map_err(|error| format!("{address}: {error}"))
    });
    for answer in join_all(asking).await {
        let producers = answer.map_err(|error| {
            ToolError::Asked(format!("failed to get topic producers - {error}"))
        })?;
        nsqds.extend(producers.iter().map(Producer::http_address));
    }
    let asking = nsqds.iter().map(|address| async move {
        let stats = channel_stats(http, address, topic, channel).await;
        stats.map_err(|error| format!("{address}: {error}"))
    });
    let mut sum = None;
    for answer in join_all(asking).await {
        let stats = answer
            .map_err(|error| ToolError::Asked(format!("failed to get nsqd stats - {error}")))?;
        if let Some(stats) = stats {
            *sum.get_or_insert_with(ChannelStats::default) += stats;
        }
    }
    sum.ok_or_else(|| {
        let text =
            format!("failed to find channel({channel}) in stats metadata for topic({topic})");
        ToolError::Asked(text)
    })
}

/// Messages a second, as the original computes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rates {
    ingress: i64,
    egress: i64,
}

impl Rates {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "rates are truncated, as the original does"
    )]
    fn between(last: &ChannelStats, now: &ChannelStats, interval: Duration) -> Self {
        let came = now.message_count - last.message_count;
        let went = came - (now.depth - last.depth);
        let rate = |count: i64| (count as f64 / interval.as_secs_f64()) as i64;
        Self { ingress: rate(came), egress: rate(went) }
    }

    fn row(self, now: &ChannelStats) -> String {
        format!(
            "{:7} {:7} | {:7} {:7} {:7} {:5} {:5} | {:7} {:7} {:12} {:7}",
            self.ingress,
            self.egress,
            now.depth,
            now.depth - now.backend_depth,
            now.backend_depth,
            now.in_flight_count,
            now.deferred_count,
            now.requeue_count,
            now.timeout_count,
            now.message_count,
            now.client_count
        )
    }

    fn json(self, now: &ChannelStats) -> String {
        json!({
            "timestamp": clock::unix_seconds(),
            "ingress": self.ingress,
            "egress": self.egress,
            "depth": now.depth,
            "memory_depth": now.depth - now.backend_depth,
            "backend_depth": now.backend_depth,
            "in_flight_count": now.in_flight_count,
            "deferred_count": now.deferred_count,
            "requeue_count": now.requeue_count,
            "timeout_count": now.timeout_count,
            "message_count": now.message_count,
            "client_count": now.client_count,
        })
        .to_string()
    }
}

#[allow(clippy::print_stdout, reason = "rows are the program's output")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_laid_out_as_the_originals() {
        let last = ChannelStats { message_count: 100, depth: 10, ..ChannelStats::default() };
        let now = ChannelStats {
            depth: 20,
            backend_depth: 5,
            in_flight_count: 3,
            deferred_count: 2,
            requeue_count: 7,
            timeout_count: 8,
            message_count: 203,
            client_count: 1,
        };
        let rates = Rates::between(&last, &now, Duration::from_secs(2));
        assert_eq!(rates, Rates { ingress: 51, egress: 46 });
        assert_eq!(
            rates.row(&now),
            "     51      46 |      20      15       5     3     2 |       7       8          203       1"
        );
        assert!(rates.json(&now).contains(r#""egress":46"#));
    }
}
