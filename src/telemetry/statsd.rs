//! The node's figures, pushed to statsd over UDP as nsqd pushes them: same names, same order, same datagrams.
//!
//! [`lines`] says what is sent and how it is packed; this file reads the engine, keeps the beat and sends. Where nsqd
//! leaves its last interval unsent at a clean exit, what is new since the last push is sent then. An interval of a second
//! or less, at which nsqd panics, sends a push's datagrams one behind the other.

mod lines;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::clock;
use crate::engine::{Engine, RecordedLatency};
use crate::task::stopped;
use crate::telemetry::process::HeapFigures;
use lines::{ChannelFigures, Figures, TopicFigures};

/// How long the address may take to be resolved, as nsqd's dial.
const RESOLVE_MAX: Duration = Duration::from_secs(1);
/// This much of an interval is kept free of datagrams.
const QUIET: Duration = Duration::from_secs(1);

/// Where and how the figures are pushed. The defaults are nsqd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `host:port` of the statsd server, resolved anew for each push; `None` switches pushing off.
    pub address: Option<String>,
    /// What stands before each name. Each `%s` in it becomes the node's host and HTTP port.
    pub prefix: String,
    /// Time between two pushes, above 0; the first push is one interval after the start.
    pub interval: Duration,
    /// Whether the process' memory is pushed too.
    pub mem_stats: bool,
    /// Bytes that a datagram holds at most, unless a single line is longer.
    pub packet_size: usize,
    /// Whether `#ephemeral` topics and channels are left out.
    pub exclude_ephemeral: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: None,
            prefix: "nsq.%s".to_owned(),
            interval: Duration::from_secs(60),
            mem_stats: true,
            packet_size: 508,
            exclude_ephemeral: false,
        }
    }
}

/// The prefix as it is sent: `%s` replaced by `host:port` with `.` and `:` turned into `_`, and a dot at the end unless it
/// is empty.
#[must_use]
pub fn full_prefix(prefix: &str, host: &str, http_port: u16) -> String {
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let key = format!("{bracketed}:{http_port}").replace(['.', ':'], "_");
    let prefix = prefix.replace("%s", &key);
    if prefix.is_empty() || prefix.ends_with('.') { prefix } else { prefix + "." }
}

/// Pushes `engine`'s figures under `prefix` until `stop`, and once more then. Returns at once without an address.
pub async fn run(
    options: Options,
    prefix: String,
    engine: Arc<Engine>,
    mut stop: watch::Receiver<bool>,
) {
    let Some(address) = &options.address else { return };
    let mut last = Figures::default();
    let mut due = clock::now() + options.interval;
    loop {
        let is_last = tokio::select! {
            () = tokio::time::sleep_until(due) => false,
            () = stopped(&mut stop) => true,
        };
        match connect(address).await {
            Ok(socket) => {
                tracing::info!("STATSD: pushing stats to {address}");
                if let Some(count) = engine.count_elsewhere()
                    && let Err(reason) = count.await
                {
                    tracing::debug!(reason, "what waits elsewhere is pushed as it was known last");
                }
                let now = figures(&engine, &options);
                let lines = lines::render(&prefix, &now, &last);
                send(&socket, &lines::pack(&lines, options.packet_size), &options, &mut stop).await;
                last = now;
            }
            Err(error) => {
                tracing::error!("failed to create UDP socket to statsd({address}): {error}");
            }
        }
        if is_last {
            tracing::info!("STATSD: closing");
            return;
        }
        // A push that took longer than the interval is followed at once, and none is made up for.
        due = (due + options.interval).max(clock::now());
    }
}

async fn connect(address: &str) -> io::Result<UdpSocket> {
    let resolving = tokio::time::timeout(RESOLVE_MAX, tokio::net::lookup_host(address));
    let found = resolving.await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, "its name was not resolved within a second")
    })??;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for target in found {
        let own: SocketAddr = match target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        match UdpSocket::bind(own).await {
            Ok(socket) => match socket.connect(target).await {
                Ok(()) => return Ok(socket),
                Err(error) => failure = error,
            },
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Sends `datagrams`, spread over the interval but for its last second; without pauses once the node stops.
async fn send(
    socket: &UdpSocket,
    datagrams: &[String],
    options: &Options,
    stop: &mut watch::Receiver<bool>,
) {
    let pause = pause(options.interval, datagrams.len());
    for (number, datagram) in datagrams.iter().enumerate() {
        if number > 0 && !pause.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopped(stop) => {}
            }
        }
        if let Err(error) = socket.send(datagram.as_bytes()).await {
            // Nobody listens there, most likely: an answer to an earlier datagram says so. Statsd promises nothing.
            tracing::debug!(%error, "a datagram for statsd was not sent");
        }
    }
}

/// The time between two of `datagrams`.
fn pause(interval: Duration, datagrams: usize) -> Duration {
    let datagrams = u32::try_from(datagrams).unwrap_or(u32::MAX).max(1);
    interval.saturating_sub(QUIET) / datagrams
}

/// What there is at this moment.
fn figures(engine: &Engine, options: &Options) -> Figures {
    let is_wanted = |is_ephemeral: bool| !(options.exclude_ephemeral && is_ephemeral);
    let mut figures =
        Figures { topics: Vec::new(), heap: options.mem_stats.then(HeapFigures::read) };
    for topic in engine.topics().iter().filter(|topic| is_wanted(topic.is_ephemeral())) {
        let channels = topic.channels();
        let channels = channels.iter().filter(|channel| is_wanted(channel.is_ephemeral()));
        let channels = channels.map(|channel| ChannelFigures {
            name: Arc::clone(channel.name()),
            counts: channel.counts(),
            latency: values(channel.latency()),
        });
        figures.topics.push(TopicFigures {
            name: Arc::clone(topic.name()),
            messages: topic.message_count(),
            bytes: topic.message_bytes(),
            depth: topic.depth(),
            latency: values(topic.latency()),
            channels: channels.collect(),
        });
    }
    figures
}

fn values(recorded: Option<RecordedLatency>) -> Vec<(f64, f64)> {
    recorded.map(|recorded| recorded.summary().values).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Options as EngineOptions;

    #[test]
    fn the_prefix_is_nsqds() {
        for (prefix, host, full) in [
            ("nsq.%s", "my.host", "nsq.my_host_4151."),
            ("%s.%s.", "h", "h_4151.h_4151."),
            ("plain", "h", "plain."),
            ("", "h", ""),
            ("%s", "::1", "[__1]_4151."),
        ] {
            assert_eq!(full_prefix(prefix, host, 4151), full, "{prefix}");
        }
    }

    #[test]
    fn edge_147_an_interval_of_a_second_or_less_does_not_spread() {
        for millis in [1, 500, 1000] {
            assert_eq!(pause(Duration::from_millis(millis), 3), Duration::ZERO);
        }
        assert_eq!(pause(Duration::from_secs(61), 3), Duration::from_secs(20));
        assert_eq!(pause(Duration::from_secs(61), 0), Duration::from_secs(60));
    }

    /// A node that pushes every `interval` to the returned socket, until told to stop.
    async fn pushing(
        interval: Duration,
        packet_size: usize,
    ) -> (UdpSocket, Arc<Engine>, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let options = Options {
            address: Some(server.local_addr().unwrap().to_string()),
            interval,
            packet_size,
            mem_stats: false,
            exclude_ephemeral: true,
            ..Options::default()
        };
        let engine = Engine::new(EngineOptions::default());
        let stop = watch::Sender::new(false);
        let running = run(options, "p.".into(), Arc::clone(&engine), stop.subscribe());
        (server, engine, stop, crate::task::spawn("statsd", running))
    }

    async fn datagram(server: &UdpSocket) -> String {
        let mut buffer = [0; 2000];
        let receiving = server.recv(&mut buffer);
        let length = tokio::time::timeout(Duration::from_secs(10), receiving).await.unwrap();
        String::from_utf8(buffer[..length.unwrap()].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn counters_are_differences_and_the_end_is_sent_too() {
        let (server, engine, stop, task) = pushing(Duration::from_millis(100), 508).await;
        engine.topic("hidden#ephemeral").unwrap();
        let topic = engine.topic("t").unwrap();
        let publish = || topic.publish([b"12345".as_slice()].into_iter(), &Arc::default()).unwrap();
        drop(publish());
        let first = datagram(&server).await;
        assert!(first.starts_with("p.topic.t.message_count:1|c\np.topic.t.message_bytes:5|c\n"));
        assert!(!first.contains("hidden"), "{first}");
        drop(publish());
        drop(publish());
        stop.send_replace(true);
        let mut sum = 0;
        while sum < 2 {
            let next = datagram(&server).await;
            let (_, count) = next.lines().next().unwrap().split_once(':').unwrap();
            sum += count.trim_end_matches("|c").parse::<i64>().unwrap();
        }
        assert_eq!(sum, 2);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_the_spreading() {
        let (server, engine, stop, task) = pushing(Duration::from_millis(1500), 1).await;
        engine.topic("t").unwrap();
        datagram(&server).await;
        stop.send_replace(true);
        for _ in 0..3 + 4 {
            datagram(&server).await;
        }
        task.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_there_and_no_such_name_are_no_end() {
        let options = |address: &str| Options {
            address: Some(address.to_owned()),
            interval: Duration::from_millis(1),
            ..Options::default()
        };
        for address in ["127.0.0.1:1", "no port", "127.0.0.1:99999"] {
            let engine = Engine::new(EngineOptions::default());
            let stop = watch::Sender::new(true);
            run(options(address), String::new(), engine, stop.subscribe()).await;
        }
    }
}
