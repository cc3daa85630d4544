//! `/stats` as text, column for column as nsqd prints it.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::view::{ChannelStats, ClientStats, Latency, Stats, TopicStats};
use crate::clock;
use crate::http::gotime::{duration, rfc3339};
use crate::http::{Node, VERSION};

/// The whole page.
pub(super) fn render(stats: &Stats, node: &Node) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    write(&mut page, stats, node).unwrap_or_default();
    page
}

fn write(page: &mut String, stats: &Stats, node: &Node) -> fmt::Result {
    let now = clock::unix_seconds();
    writeln!(page, "nsqd v{} (built w/leveret {VERSION})", stats.version)?;
    writeln!(page, "start_time {}", rfc3339(stats.start_time))?;
    writeln!(page, "uptime {}", duration(clock::since(node.started)))?;
    writeln!(page, "\nHealth: {}", stats.health)?;
    if let Some(memory) = &stats.memory {
        writeln!(page, "\nMemory:")?;
        for (key, value) in memory.lines() {
            writeln!(page, "   {key:<25}\t{value}")?;
        }
    }
    let topics = stats.topics.as_deref().unwrap_or_default();
    if topics.is_empty() {
        writeln!(page, "\nTopics: None")?;
    } else {
        // Each topic begins with the line feed that ends this.
        write!(page, "\nTopics:")?;
    }
    for topic in topics {
        write_topic(page, topic, now)?;
    }
    match stats.producers.as_deref() {
        None | Some([]) => writeln!(page, "\nProducers: None"),
        Some(producers) => {
            writeln!(page, "\nProducers:")?;
            producers.iter().try_for_each(|producer| {
                write!(page, "   ")?;
                write_client(page, producer, now)
            })
        }
    }
}

fn write_topic(page: &mut String, topic: &TopicStats, now: i64) -> fmt::Result {
    writeln!(
        page,
        "\n{}[{:<15}] depth: {:<5} be-depth: {:<5} msgs: {:<8} e2e%: {}",
        if topic.paused { "*P " } else { "   " },
        topic.topic_name,
        topic.depth,
        topic.backend_depth,
        topic.message_count,
        latency(&topic.e2e_processing_latency),
    )?;
    for channel in &topic.channels {
        write_channel(page, channel)?;
        for client in channel.clients.iter().flatten() {
            write!(page, "        ")?;
            write_client(page, client, now)?;
        }
    }
    Ok(())
}

fn write_channel(page: &mut String, channel: &ChannelStats) -> fmt::Result {
    write!(
        page,
        "{}[{:<25}] depth: {:<5} be-depth: {:<5} inflt: {:<4} def: {:<4} ",
        if channel.paused { "   *P " } else { "      " },
        channel.channel_name,
        channel.depth,
        channel.backend_depth,
        channel.in_flight_count,
        channel.deferred_count,
    )?;
    writeln!(
        page,
        "re-q: {:<5} timeout: {:<5} msgs: {:<8} e2e%: {}",
        channel.requeue_count,
        channel.timeout_count,
        channel.message_count,
        latency(&channel.e2e_processing_latency),
    )
}

fn write_client(page: &mut String, client: &ClientStats, now: i64) -> fmt::Result {
    let port = client.remote_address.rsplit_once(':').map_or("", |(_, port)| port);
    let who = format!("{}:{port} {}", client.hostname, client.user_agent);
    let connected = now.saturating_sub(client.connect_ts);
    let connected = Duration::from_secs(u64::try_from(connected).unwrap_or(0));
    write!(page, "[{} {who:<21}] ", client.version)?;
    if let Some(published) = client.pub_counts.first() {
        write!(
            page,
            "msgs: {:<8} topics: {}={}",
            published.count, published.topic, published.count
        )?;
    } else {
        write!(
            page,
            "state: {} inflt: {:<4} rdy: {:<4} fin: {:<8} re-q: {:<8} msgs: {:<8}",
            client.state,
            client.in_flight_count,
            client.ready_count,
            client.finish_count,
            client.requeue_count,
            client.message_count,
        )?;
    }
    writeln!(page, " connected: {}", duration(connected))
}

/// Nanoseconds each, in the largest unit that they exceed, one digit behind the point.
fn latency(latency: &Latency) -> String {
    let percentiles = latency.percentiles.iter().flatten();
    let values = percentiles.map(|percentile| {
        let nanos = percentile.value.as_f64().unwrap_or_default();
        let (unit, name) = match nanos {
            _ if nanos > 1e9 => (1e9, "s"),
            _ if nanos > 1e6 => (1e6, "ms"),
            _ if nanos > 1e3 => (1e3, "us"),
            _ => (1.0, "ns"),
        };
        format!("{:.1}{name}", nanos / unit)
    });
    values.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::reply::number;
    use crate::http::stats::view::Percentile;

    #[test]
    fn latencies_take_the_unit_that_fits() {
        let percentile = |value| Percentile { quantile: number(0.5), value: number(value) };
        let shown = latency(&Latency {
            count: 4,
            percentiles: Some([1.5e9, 2e6, 1e6, 12.0].map(percentile).into()),
        });
        assert_eq!(shown, "1.5s, 2.0ms, 1000.0us, 12.0ns");
        assert_eq!(latency(&Latency::default()), "");
    }
}
