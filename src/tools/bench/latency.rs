//! `leveret bench latency`: from the moment at which a message was due to be published until its consumer has it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::contest::{Contest, Reading};
use super::nsq::{self, DEFAULTS};
use super::publish::names;
use super::report::as_f64;
use super::server::Server;
use super::wire::{Fail, Outcome, Wire, fail};
use crate::clock::{self, Instant};
use crate::protocol::encode;
use crate::protocol::frame::{FrameType, HEARTBEAT, read_message};

/// No message for this long is the end of a measurement without a result.
const PATIENCE: Duration = Duration::from_secs(10);
/// The body starts with the time at which it was due.
const STAMP: usize = size_of::<u64>();
/// What is measured before this has passed does not count: connections and caches are cold.
const WARM_UP: Duration = Duration::from_millis(500);

/// What is sent, and how fast.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Latency {
    #[command(flatten)]
    contest: Contest,
    /// Messages a second, PUB by PUB from one connection
    #[arg(long, value_name = "RATE,...", value_delimiter = ',', default_values_t = [1000, 5000, 20_000])]
    rate: Vec<u64>,
    /// How long at each rate
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Bytes of a body
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// The consumer's output_buffer_timeout, if not the server's default
    #[arg(long, value_name = "MS", allow_hyphen_values = true)]
    output_buffer_timeout: Option<i32>,
}

impl Latency {
    pub(super) fn run(&self) -> Outcome<()> {
        let title = format!(
            "latency: {} s at each of {:?} msg/s, {} bytes, output_buffer_timeout {}",
            self.seconds,
            self.rate,
            self.size,
            self.output_buffer_timeout
                .map_or_else(|| "by default".to_owned(), |ms| format!("{ms} ms")),
        );
        self.contest.run(&title, |server| self.measure(server))
    }

    fn measure(&self, server: &Server) -> Outcome<Vec<Reading>> {
        let topics = names("latency", self.rate.len());
        let channels = names("channel", 1);
        server.make(&topics, &channels)?;
        let mut readings = Vec::new();
        for (&rate, topic) in self.rate.iter().zip(&topics) {
            let mut delays = self.at_rate(server, rate, topic, channels.first())?;
            delays.sort_unstable();
            for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                let millis = as_f64(percentile(&delays, share)) / 1e6;
                readings.push(Reading::new(format!("{name} at {rate} msg/s"), "ms", millis));
            }
        }
        server.unmake(&topics)?;
        Ok(readings)
    }

    /// All delays in nanoseconds.
    fn at_rate(
        &self,
        server: &Server,
        rate: u64,
        topic: &str,
        channel: Option<&String>,
    ) -> Outcome<Vec<u64>> {
        let identify = self.output_buffer_timeout.map_or_else(
            || DEFAULTS.to_owned(),
            |ms| format!(r#"{{"client_id":"bench","output_buffer_timeout":{ms}}}"#),
        );
        let mut wire = nsq::connect(&server.address, &identify)?;
        let mut out = Vec::new();
        encode::push_sub(&mut out, topic, channel.map_or("bench", String::as_str));
        encode::push_rdy(&mut out, 2500);
        wire.send(&out)?;
        wire.set_patience(Some(PATIENCE))?;
        let count = rate * self.seconds;
        let mut producer = Producer::connect(&server.address, topic, self.size.max(STAMP))?;
        thread::scope(|scope| {
            let zero = clock::now();
            let consuming = scope.spawn(move || consume(wire, zero, count));
            producer.run(zero, rate, count)?;
            consuming.join().map_err(|_| Fail::Said("the consumer panicked".into()))?
        })
    }
}

/// Sends what is due, reads answers when it comes by, and sleeps until the next is due.
struct Producer {
    stream: TcpStream,
    command: Vec<u8>,
    stamp_at: usize,
}

impl Producer {
    fn connect(address: &str, topic: &str, size: usize) -> Outcome<Self> {
        let to = |error| Fail::Connect(format!("cannot connect to {address}"), error);
        let mut stream = TcpStream::connect(address).map_err(to)?;
        stream.set_nodelay(true)?;
        stream.write_all(encode::MAGIC_V2)?;
        stream.set_nonblocking(true)?;
        let mut command = Vec::new();
        encode::push_pub(&mut command, topic, &vec![b'x'; size]);
        let stamp_at = command.len() - size;
        Ok(Self { stream, command, stamp_at })
    }

    fn run(&mut self, zero: Instant, rate: u64, count: u64) -> Outcome<()> {
        let due = |number: u64| Duration::from_nanos(number * 1_000_000_000 / rate.max(1));
        let mut number = 0;
        let mut out = Vec::new();
        while number < count {
            let now = clock::since(zero);
            out.clear();
            while number < count && due(number) <= now {
                self.push(&mut out, due(number));
                number += 1;
            }
            self.send(&out)?;
            self.drain()?;
            thread::park_timeout(due(number).saturating_sub(clock::since(zero)));
        }
        Ok(())
    }

    fn push(&mut self, out: &mut Vec<u8>, due: Duration) {
        let nanos = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
        let stamp = self.command.get_mut(self.stamp_at..).and_then(<[u8]>::first_chunk_mut);
        if let Some(stamp) = stamp {
            *stamp = nanos.to_be_bytes();
        }
        out.extend_from_slice(&self.command);
    }

    fn send(&mut self, mut bytes: &[u8]) -> Outcome<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.drain()?;
                    thread::park_timeout(Duration::from_micros(100));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what has been answered. That there are no errors among it shows when the messages arrive.
    fn drain(&mut self) -> Outcome<()> {
        let mut answers = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut answers) {
                Ok(0) => return fail("the server closed the producer's connection"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn consume(mut wire: Wire, zero: Instant, count: u64) -> Outcome<Vec<u64>> {
    let warm = u64::try_from(WARM_UP.as_nanos()).unwrap_or(0);
    let (mut taken, mut delays, mut out) = (0, Vec::new(), Vec::new());
    while taken < count {
        if !wire.fill()? {
            return fail(format!("{taken} of {count} messages came"));
        }
        let now = u64::try_from(clock::since(zero).as_nanos()).unwrap_or(u64::MAX);
        out.clear();
        nsq::take(&mut wire, |kind, data| {
            match kind {
                FrameType::Message => {
                    let Some(message) = read_message(data) else {
                        return fail("a message that is cut off");
                    };
                    encode::push_fin(&mut out, &message.id);
                    let due = message.body.first_chunk().copied().map_or(0, u64::from_be_bytes);
                    if due >= warm {
                        delays.push(now.saturating_sub(due));
                    }
                    taken += 1;
                }
                FrameType::Response if data == HEARTBEAT => encode::push_nop(&mut out),
                FrameType::Response => {}
                FrameType::Error => return fail(String::from_utf8_lossy(data)),
            }
            Ok(())
        })?;
        wire.send(&out)?;
    }
    Ok(delays)
}

/// The smallest of the (sorted) values that `share` of them do not exceed.
fn percentile(sorted: &[u64], share: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is a small positive number"
    )]
    let rank = (as_f64(sorted.len() as u64) * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or_else(|| sorted.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&values, 0.5), 50);
        assert_eq!(percentile(&values, 0.99), 99);
        assert_eq!(percentile(&values, 0.999), 100);
        assert_eq!(percentile(&[7], 0.5), 7);
        assert_eq!(percentile(&[], 0.5), 0);
    }
}
