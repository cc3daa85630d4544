//! Publishes over any number of nsqds: pipelined on each connection, answered in order, in turn from connection to
//! connection.
//!
//! Jobs wait in one queue, and each connection takes from it as it has room: who is fast gets more, and who hangs keeps
//! only what it has. When a connection is lost, what it had not answered goes back to the front of the queue, in its
//! order, and is published again: it may be there twice.

#[cfg(test)]
mod tests;
mod worker;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use super::connect::ConnectOptions;
use super::discovery::{Addresses, Discovery, Lookup};
use super::error::Refusal;
use super::pool::{Health, Pool, Work};
use crate::protocol::encode;
use crate::tls::TlsError;
use worker::Worker;

/// How to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerOptions {
    /// Where the nsqds are.
    pub addresses: Addresses,
    /// Between two questions to nsqlookupds.
    pub lookupd_interval: Duration,
    /// How long an answer may take before its connection is given up.
    pub response_timeout: Duration,
    /// How connections are made.
    pub connect: ConnectOptions,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The nsqd has it.
    Done,
    /// It refused it.
    Refused(Refusal),
    /// There was nothing to publish any more.
    Nothing,
}

/// One command to publish, and somebody who waits for its answer.
pub trait Job: Send + 'static {
    /// Appends the command; says whether there is one still. Called again if the connection was lost before the answer.
    fn write(&mut self, out: &mut Vec<u8>) -> bool;

    /// The answer. A job that never gets one is dropped.
    fn answered(self, answer: Answer);
}

/// A queue from which all connections take.
#[derive(Debug)]
struct Queue<J> {
    jobs: Mutex<VecDeque<J>>,
    arrived: Notify,
    /// What connections have taken and not answered.
    out: Mutex<usize>,
    /// Nothing is left to be answered.
    idle: Notify,
}

impl<J> Queue<J> {
    /// Takes the next job.
    fn take(&self) -> Option<J> {
        let mut jobs = self.jobs.lock();
        let job = jobs.pop_front()?;
        *self.out.lock() += 1;
        if !jobs.is_empty() {
            // Another connection may have room for it.
            self.arrived.notify_one();
        }
        Some(job)
    }

    /// Puts back what was not answered, in its order.
    fn put_back(&self, unanswered: impl DoubleEndedIterator<Item = J>) {
        let mut jobs = self.jobs.lock();
        let before = jobs.len();
        for job in unanswered.rev() {
            jobs.push_front(job);
        }
        let count = jobs.len() - before;
        drop(jobs);
        if count > 0 {
            *self.out.lock() -= count;
            self.arrived.notify_one();
        }
    }

    fn answered(&self) {
        let mut out = self.out.lock();
        *out -= 1;
        if *out == 0 {
            self.idle.notify_waiters();
        }
    }

    fn is_idle(&self) -> bool {
        let jobs = self.jobs.lock();
        jobs.is_empty() && *self.out.lock() == 0
    }
}

/// See the module's description.
#[derive(Debug)]
pub struct Producer<J> {
    queue: Arc<Queue<J>>,
    stop: watch::Sender<bool>,
    health: watch::Receiver<Health>,
}

impl<J: Job> Producer<J> {
    /// Starts connecting. The work ends when the producer was [closed](Producer::close). May block: it reads authorities'
    /// files.
    ///
    /// # Errors
    /// The files of TLS cannot be used.
    pub fn start(options: &ProducerOptions) -> Result<(Self, Work), TlsError> {
        let discovery = Discovery::new(
            options.addresses.clone(),
            Lookup::Nodes,
            options.lookupd_interval,
            options.connect.dial_timeout,
            options.connect.tls.as_ref(),
        )?;
        let queue = Arc::new(Queue {
            jobs: Mutex::default(),
            arrived: Notify::new(),
            out: Mutex::default(),
            idle: Notify::new(),
        });
        let stop = watch::Sender::new(false);
        let worker = Arc::new(Worker {
            queue: Arc::clone(&queue),
            response_timeout: options.response_timeout,
            stop: stop.subscribe(),
        });
        let pool = Pool::new(worker, options.connect.clone(), discovery, stop.subscribe());
        let health = pool.health();
        let work = Work::spawn("nsq-producer", pool.run());
        Ok((Self { queue, stop, health }, work))
    }

    /// Queues a job. Whoever queues keeps the number of unanswered jobs bounded.
    pub fn push(&self, job: J) {
        self.queue.jobs.lock().push_back(job);
        self.queue.arrived.notify_one();
    }

    /// Drops what no connection has taken yet.
    pub fn clear(&self) -> Vec<J> {
        self.queue.jobs.lock().drain(..).collect()
    }

    /// Waits until everything that was queued is answered.
    pub async fn idle(&self) {
        loop {
            let idle = self.queue.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.queue.is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// Closes the connections; what is not answered is dropped.
    pub fn close(&self) {
        self.stop.send_replace(true);
    }

    /// How its connections are; changes can be waited for.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }
}

/// Messages for one topic whose producer awaits the answer.
#[derive(Debug)]
pub struct Publish {
    topic: String,
    bodies: Vec<bytes::Bytes>,
    /// Milliseconds, for one message.
    defer_ms: Option<u64>,
    answer: oneshot::Sender<Result<(), Refusal>>,
}

impl Publish {
    /// A PUB or MPUB, and where its answer comes; the answer fails if the producer is closed before.
    #[must_use]
    pub fn new(
        topic: &str,
        bodies: Vec<bytes::Bytes>,
    ) -> (Self, oneshot::Receiver<Result<(), Refusal>>) {
        let (answer, answered) = oneshot::channel();
        (Self { topic: topic.to_owned(), bodies, defer_ms: None, answer }, answered)
    }

    /// A DPUB, and where its answer comes.
    #[must_use]
    pub fn deferred(
        topic: &str,
        body: bytes::Bytes,
        delay: Duration,
    ) -> (Self, oneshot::Receiver<Result<(), Refusal>>) {
        let (mut publish, answered) = Self::new(topic, vec![body]);
        publish.defer_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        (publish, answered)
    }
}

impl Job for Publish {
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        if self.answer.is_closed() {
            return false;
        }
        push_publish(out, &self.topic, &self.bodies, self.defer_ms);
        !self.bodies.is_empty()
    }

    fn answered(self, answer: Answer) {
        let answer = match answer {
            Answer::Done | Answer::Nothing => Ok(()),
            Answer::Refused(refusal) => Err(refusal),
        };
        // Whoever does not wait any more does not want to know.
        drop(self.answer.send(answer));
    }
}

/// Appends DPUB where there is a delay, PUB for one message, MPUB for several, nothing for none. Of several messages with a
/// delay only the first is taken: NSQ has no command for them.
pub fn push_publish(
    out: &mut Vec<u8>,
    topic: &str,
    bodies: &[bytes::Bytes],
    defer_ms: Option<u64>,
) {
    match (bodies, defer_ms) {
        ([], _) => {}
        ([body, ..], Some(delay)) => encode::push_dpub(out, topic, delay, body),
        ([body], None) => encode::push_pub(out, topic, body),
        (bodies, None) => {
            let bodies: Vec<&[u8]> = bodies.iter().map(|body| &body[..]).collect();
            encode::push_mpub(out, topic, &bodies);
        }
    }
}
