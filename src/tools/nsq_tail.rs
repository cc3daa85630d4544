//! nsq_tail: writes the messages of topics to the standard output, each on a line.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::program::{LogPlan, ToolError, run as run_program, stop_signals};
use super::reader::{Delivery, Reader, Reading};
use crate::clock;
use crate::task::stopped;

/// Messages that are written in one go.
const BATCH: usize = 256;

/// What to show, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The topics.
    pub topics: Vec<String>,
    /// Where from.
    pub reading: Reading,
    /// Of the first topic that has had so many, that is the end; 0 for none.
    pub count: u64,
    /// Whether each line begins with the topic.
    pub print_topic: bool,
    /// Whether each line is a JSON object with all that is known of the message.
    pub json: bool,
}

/// The channel of somebody who named none: one that is nobody else's and goes with its consumer.
#[must_use]
pub fn own_channel() -> String {
    named_channel(clock::unix_nanos().unsigned_abs() ^ u64::from(std::process::id()))
}

fn named_channel(random: u64) -> String {
    format!("tail{:06}#ephemeral", random % 1_000_000)
}

/// Shows messages until a signal, or until there were enough.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    run_program(&LogPlan::of("nsq_tail"), || tail(options))
}

async fn tail(options: &Options) -> Result<(), ToolError> {
    let mut stop = stop_signals()?;
    let mut reading = options.reading.clone();
    if options.count > 0 {
        let most = u32::try_from(options.count).unwrap_or(u32::MAX);
        reading.max_in_flight = reading.max_in_flight.min(most);
    }
    let enough = Arc::new(watch::Sender::new(false));
    // One at a time: lines must not come into each other.
    let output = Arc::new(Mutex::new(()));
    let mut topics = JoinSet::new();
    for topic in &options.topics {
        let reader = Reader::start(topic, &reading).await?;
        let (options, output) = (options.clone(), Arc::clone(&output));
        let (enough, ended) = (Arc::clone(&enough), enough.subscribe());
        topics.spawn(async move {
            let shown = show(&reader, &options, &output, ended).await;
            enough.send_replace(true);
            reader.end().await;
            shown
        });
    }
    let mut enough_said = enough.subscribe();
    tokio::select! {
        () = stopped(&mut stop) => {}
        () = stopped(&mut enough_said) => {}
    }
    enough.send_replace(true);
    let mut shown = Ok(());
    while let Some(ended) = topics.join_next().await {
        let ended = ended.map_err(|error| ToolError::Setup(error.to_string()))?;
        shown = if shown.is_ok() { ended } else { shown };
    }
    shown
}

/// Shows the messages of a topic until `enough` is true or there were enough. The last one of these is not finished, as with
/// the original: it comes again on a channel that lasts.
async fn show(
    reader: &Reader,
    options: &Options,
    output: &Mutex<()>,
    mut enough: watch::Receiver<bool>,
) -> Result<(), ToolError> {
    let mut shown = 0;
    loop {
        let messages = tokio::select! {
            () = stopped(&mut enough) => return Ok(()),
            messages = reader.next(BATCH) => messages,
        };
        let left = match options.count {
            0 => messages.len(),
            count => usize::try_from(count - shown).unwrap_or(usize::MAX).min(messages.len()),
        };
        let (now, later) = messages.split_at_checked(left).unwrap_or((&messages, &[]));
        {
            let _turn = output.lock();
            write(now, reader.topic(), options)?;
        }
        shown += now.len() as u64;
        let is_end = options.count > 0 && shown >= options.count;
        for (number, message) in now.iter().enumerate() {
            if is_end && number + 1 == now.len() {
                reader.give_back(message.tag);
            } else {
                reader.finish(&[message.tag]);
            }
        }
        later.iter().for_each(|message| reader.give_back(message.tag));
        if is_end {
            return Ok(());
        }
    }
}

fn write(messages: &[Delivery], topic: &str, options: &Options) -> Result<(), ToolError> {
    let mut lines = Vec::new();
    for message in messages {
        push_line(&mut lines, message, topic, options);
    }
    let mut output = std::io::stdout().lock();
    let written = output.write_all(&lines).and_then(|()| output.flush());
    written.map_err(ToolError::io("cannot write to the standard output"))
}

fn push_line(lines: &mut Vec<u8>, message: &Delivery, topic: &str, options: &Options) {
    if options.json {
        let line = json!({
            "topic": topic,
            "id": String::from_utf8_lossy(&message.tag.id),
            "timestamp": message.timestamp,
            "attempts": message.attempts,
            "nsqd": &*message.address,
            "body": String::from_utf8_lossy(&message.body),
        });
        lines.extend_from_slice(line.to_string().as_bytes());
    } else {
        if options.print_topic {
            lines.extend_from_slice(topic.as_bytes());
            lines.extend_from_slice(b" | ");
        }
        lines.extend_from_slice(&message.body);
    }
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_of_ones_own_has_six_digits() {
        assert_eq!(named_channel(42), "tail000042#ephemeral");
        assert_eq!(named_channel(u64::MAX).len(), "tail000042#ephemeral".len());
    }
}
