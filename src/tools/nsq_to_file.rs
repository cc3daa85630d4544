//! nsq_to_file: writes topics to files, a message a line. A message is finished once it is on disk.
//!
//! | file | what it is |
//! | --- | --- |
//! | `naming` | names of files |
//! | `writer` | the file of a topic: opened, turned over, synced, moved |
//! | `topic` | one topic, from its messages to its file |

mod naming;
mod topic;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

pub use naming::NoRevision;
use naming::{Naming, Parts};
pub use regex::Regex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use topic::TopicFile;
use writer::{Writer, WriterOptions};

use super::program::{LogPlan, ToolError, run as run_program, stop_signals};
use super::progress::Progress;
use super::reader::{Reader, Reading};
use crate::client::lookupd::LookupdClient;
use crate::task::stopped;

/// What to write where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The topics; those that nsqlookupds know if there are none.
    pub topics: Vec<String>,
    /// Which of them, by a part of their names; all if `None`.
    pub pattern: Option<Regex>,
    /// How often nsqlookupds are asked for topics.
    pub refresh: Duration,
    /// Where from.
    pub reading: Reading,
    /// For a connection to a nsqlookupd to be open.
    pub connect_timeout: Duration,
    /// For its answer.
    pub request_timeout: Duration,
    /// Where files are to be in the end.
    pub output_dir: PathBuf,
    /// Where they are while they are written.
    pub work_dir: PathBuf,
    /// How they are called.
    pub filename_format: String,
    /// The time in that.
    pub datetime_format: String,
    /// The host in that, empty for the short name.
    pub host_identifier: String,
    /// The level, 1 to 9, if they are packed.
    pub gzip: Option<u32>,
    /// Whether there is no file without a message.
    pub skip_empty_files: bool,
    /// A file with more bytes is turned over; 0 for never.
    pub rotate_size: u64,
    /// A file that was open for longer is turned over; zero for never.
    pub rotate_interval: Duration,
    /// How often it is synced at least.
    pub sync_interval: Duration,
    /// How it logs.
    pub log: LogPlan,
    /// What is to be said once at start.
    pub odd: Option<String>,
    /// Whether its progress is for machines.
    pub json: bool,
}

impl Options {
    /// Whether there may be several files of a name.
    fn has_revisions(&self) -> bool {
        self.gzip.is_some()
            || self.rotate_size > 0
            || !self.rotate_interval.is_zero()
            || self.work_dir != self.output_dir
    }

    fn naming(&self, topic: &str) -> Result<Naming, NoRevision> {
        let hostname = gethostname::gethostname().to_string_lossy().into_owned();
        let parts = Parts {
            topic,
            host_identifier: &self.host_identifier,
            hostname: &hostname,
            pid: std::process::id(),
        };
        let is_gzip = self.gzip.is_some();
        let (format, time) = (&self.filename_format, &self.datetime_format);
        Naming::new(format, time, &parts, is_gzip, self.has_revisions())
    }

    /// Whether the name has what it needs.
    ///
    /// # Errors
    /// What is missing in it.
    pub fn check(&self) -> Result<(), NoRevision> {
        self.naming("topic").map(drop)
    }

    fn writer(&self, topic: &str) -> Result<Writer, ToolError> {
        let naming = self.naming(topic).map_err(|error| ToolError::Setup(error.to_string()))?;
        let options = WriterOptions {
            output_dir: self.output_dir.clone(),
            work_dir: self.work_dir.clone(),
            gzip: self.gzip,
            rotate_size: self.rotate_size,
            rotate_interval: self.rotate_interval,
        };
        Ok(Writer::new(naming, options))
    }
}

/// Writes until a signal.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    run_program(&options.log, || write_all(options))
}

/// The topics that are written.
struct Topics<'a> {
    options: &'a Options,
    running: JoinSet<Result<(), ToolError>>,
    /// Counts SIGHUPs.
    hangups: watch::Sender<u64>,
    stop: watch::Receiver<bool>,
    progress: Arc<Progress>,
    /// Whether each topic that was met is written.
    met: BTreeMap<String, bool>,
}

async fn write_all(options: &Options) -> Result<(), ToolError> {
    if let Some(odd) = &options.odd {
        tracing::warn!("{odd}: it is ignored");
    }
    let mut stop = stop_signals()?;
    let hear = signal(SignalKind::hangup());
    let mut hangup = hear.map_err(ToolError::io("cannot hear signals"))?;
    let lookupd = LookupdClient::new(options.connect_timeout, options.request_timeout, None);
    let lookupd = lookupd.map_err(|error| ToolError::Setup(error.to_string()))?;
    let lookupd = lookupd.authorized(options.reading.client.connect.auth_secret.clone());
    let mut topics = Topics {
        options,
        running: JoinSet::new(),
        hangups: watch::Sender::new(0),
        stop: stop.clone(),
        progress: Progress::begin("written", options.json, true, None),
        met: BTreeMap::new(),
    };
    topics.add(&options.topics).await?;
    let mut refresh = interval(options.refresh);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let is_told = options.topics.is_empty();
    let ended = loop {
        tokio::select! {
            () = stopped(&mut stop) => break Ok(()),
            _ = hangup.recv() => topics.hangups.send_modify(|count| *count += 1),
            // The original waits for a whole period before it asks for the first time.
            _ = refresh.tick(), if is_told => {
                let known = known_topics(&lookupd, &options.reading.addresses.lookupd).await;
                topics.add(&known).await?;
            }
            Some(ended) = topics.running.join_next(), if !topics.running.is_empty() => {
                break flat(ended);
            }
        }
    };
    // What the others have not synced comes again.
    ended?;
    while let Some(ended) = topics.running.join_next().await {
        flat(ended)?;
    }
    topics.progress.end();
    Ok(())
}

fn flat(ended: Result<Result<(), ToolError>, tokio::task::JoinError>) -> Result<(), ToolError> {
    ended.map_err(|error| ToolError::Setup(error.to_string()))?
}

/// All topics that any nsqlookupd knows.
async fn known_topics(lookupd: &LookupdClient, addresses: &[String]) -> Vec<String> {
    let mut known = Vec::new();
    for address in addresses {
        match lookupd.topics(address).await {
            Ok(topics) => known.extend(topics),
            Err(error) => tracing::error!("cannot ask nsqlookupd {address} for topics: {error}"),
        }
    }
    known
}

impl Topics<'_> {
    /// Begins to write those that are new.
    async fn add(&mut self, topics: &[String]) -> Result<(), ToolError> {
        for topic in topics {
            if self.met.contains_key(topic) {
                continue;
            }
            let pattern = self.options.pattern.as_ref();
            let is_wanted = pattern.is_none_or(|pattern| pattern.is_match(topic));
            self.met.insert(topic.clone(), is_wanted);
            if !is_wanted {
                tracing::warn!("skipping topic {topic} (doesn't match pattern)");
                continue;
            }
            let file = TopicFile {
                writer: self.options.writer(topic)?,
                reader: Reader::start(topic, &self.options.reading).await?,
                most: self.options.reading.max_in_flight as usize,
                sync_interval: self.options.sync_interval,
                skips_empty: self.options.skip_empty_files,
                progress: Arc::clone(&self.progress),
                unfinished: Vec::new(),
            };
            self.running.spawn(file.run(self.hangups.subscribe(), self.stop.clone()));
        }
        Ok(())
    }
}
