//! Where lines go: one bounded queue and one thread for all outputs, so that a slow disk or a full pipe never holds a message
//! up. What finds no room is dropped, counted, and said once there is room again.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::files::{FileOptions, RollingFile};
use super::remote::{Journal, Syslog, SyslogOptions};

/// Lines that may wait.
const WAITING_MAX: usize = 8192;

/// Lines that were dropped since the start.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that found no room in the queue since the program started.
#[must_use]
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard error.
    Stderr,
    /// A file that is rolled.
    File(FileOptions),
    /// A syslog server, or the machine's own.
    Syslog(SyslogOptions),
    /// systemd's journal.
    Journald,
}

/// What the thread is to do.
enum Job {
    Write {
        to: usize,
        severity: u8,
        line: Vec<u8>,
    },
    /// Somebody has moved the files away.
    Reopen,
    Flush(SyncSender<()>),
}

/// An output that is open.
enum Sink {
    Stderr,
    File(Box<RollingFile>),
    Syslog(Syslog),
    Journal(Journal),
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub(super) struct Queue(SyncSender<Job>);

impl Queue {
    /// Opens all outputs and starts the thread.
    ///
    /// # Errors
    /// The system's, with the output.
    pub(super) fn start(outputs: &[Destination]) -> io::Result<Self> {
        let sinks = outputs.iter().map(Sink::open).collect::<io::Result<Vec<_>>>()?;
        let (queue, jobs) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("logs".to_owned());
        thread.spawn(move || work(&jobs, sinks))?;
        Ok(Self(queue))
    }

    /// Opens files anew.
    pub(super) fn reopen(&self) {
        // If the thread is gone, nobody writes any more.
        self.0.send(Job::Reopen).unwrap_or_default();
    }

    /// Waits until all that was said is written, but not longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let (done, wait) = sync_channel(1);
        if self.0.try_send(Job::Flush(done)).is_ok() {
            wait.recv_timeout(limit).unwrap_or_default();
        }
    }

    /// Who makes writers for one output.
    pub(super) const fn to(self, output: usize) -> ToOutput {
        ToOutput { queue: self, output }
    }
}

impl Sink {
    fn open(destination: &Destination) -> io::Result<Self> {
        Ok(match destination {
            Destination::Stderr => Self::Stderr,
            Destination::File(options) => Self::File(Box::new(RollingFile::open(options.clone())?)),
            Destination::Syslog(options) => Self::Syslog(Syslog::open(options.clone())?),
            Destination::Journald => Self::Journal(Journal::open()?),
        })
    }

    fn write(&mut self, severity: u8, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().write_all(line),
            Self::File(file) => file.write(line),
            Self::Syslog(syslog) => syslog.write(severity, line),
            Self::Journal(journal) => journal.write(severity, line),
        }
    }
}

fn work(jobs: &Receiver<Job>, mut sinks: Vec<Sink>) {
    let (mut said, mut is_failing) = (0, false);
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Write { to, severity, line } => {
                let Some(sink) = sinks.get_mut(to) else { continue };
                let lost = dropped();
                if lost > said {
                    let words = format!(
                        "{} lines of the log found no room and were dropped\n",
                        lost - said
                    );
                    said = lost;
                    sink.write(4, words.as_bytes()).unwrap_or_default();
                }
                match sink.write(severity, &line) {
                    Ok(()) => is_failing = false,
                    // The first of many: where else could it be said?
                    Err(error) if !is_failing => {
                        is_failing = true;
                        let words = format!("leveret: the log cannot be written: {error}\n");
                        io::stderr().write_all(words.as_bytes()).unwrap_or_default();
                    }
                    Err(_) => {}
                }
            }
            Job::Reopen => {
                for sink in &mut sinks {
                    if let Sink::File(file) = sink {
                        file.reopen().unwrap_or_default();
                    }
                }
            }
            // Nobody waits any more if it took too long.
            Job::Flush(done) => done.send(()).unwrap_or_default(),
        }
    }
}

/// Makes a writer for each event of one output.
#[derive(Clone, Debug)]
pub(super) struct ToOutput {
    queue: Queue,
    output: usize,
}

/// Collects one event's line and hands it on when it is complete.
#[derive(Debug)]
pub(super) struct LineWriter {
    to: ToOutput,
    severity: u8,
    line: Vec<u8>,
}

impl<'a> MakeWriter<'a> for ToOutput {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter { to: self.clone(), severity: 6, line: Vec::new() }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> LineWriter {
        // syslog's numbers.
        let severity = match *of.level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        LineWriter { to: self.clone(), severity, line: Vec::new() }
    }
}

impl io::Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return;
        }
        let job = Job::Write { to: self.to.output, severity: self.severity, line };
        if self.to.queue.0.try_send(job).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}
