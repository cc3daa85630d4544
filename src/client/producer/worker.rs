//! One connection of a producer: commands out, answers in, in the same order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{Answer, Job, Queue};
use crate::client::connection::Connection;
use crate::client::error::{ConnectError, Refusal};
use crate::client::pool::{Ended, Serve, Up};
use crate::clock::{self, Instant};
use crate::protocol::frame::FrameType;
use crate::task::stopped;

/// Jobs that one connection may have unanswered.
const DEPTH: usize = 32;
/// Bytes that may wait to be written before a connection takes no more.
const PENDING: usize = 1 << 20;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Worker<J> {
    pub(super) queue: Arc<Queue<J>>,
    pub(super) response_timeout: Duration,
    pub(super) stop: watch::Receiver<bool>,
}

/// What a connection has sent.
struct Session<'a, J: Job> {
    queue: &'a Queue<J>,
    connection: Connection,
    /// What is not answered, and when it was sent.
    sent: VecDeque<(J, Instant)>,
    /// An OK has come.
    was_useful: bool,
}

impl<J: Job> Serve for Worker<J> {
    async fn serve(&self, _address: &Arc<str>, connection: Connection, up: &Up<'_>) -> Ended {
        up.say();
        let mut session = Session {
            queue: &self.queue,
            connection,
            sent: VecDeque::with_capacity(DEPTH),
            was_useful: false,
        };
        let mut stop = self.stop.clone();
        let ended = tokio::select! {
            () = stopped(&mut stop) => None,
            error = session.run(self.response_timeout) => Some(error),
        };
        session.queue.put_back(session.sent.drain(..).map(|(job, _)| job));
        match ended {
            None => {
                session.connection.close().await;
                Ended::Closed
            }
            Some(error) => Ended::Lost {
                // What is one message's fault says nothing of the connection.
                was_useful: session.was_useful || is_final(&error),
                is_lasting: error.is_lasting() && !is_final(&error),
                reason: error.to_string(),
            },
        }
    }
}

fn is_final(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Refused(refusal) if refusal.is_final())
}

impl<J: Job> Session<'_, J> {
    /// Works until the connection is at its end.
    async fn run(&mut self, response_timeout: Duration) -> ConnectError {
        let mut ticks = interval((response_timeout / 4).min(self.connection.beat()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.fill();
            let has_room = self.has_room();
            tokio::select! {
                done = self.connection.transfer() => {
                    if let Err(error) = done.map_err(ConnectError::from).and_then(|()| self.receive()) {
                        return error;
                    }
                }
                () = self.queue.arrived.notified(), if has_room => {}
                _ = ticks.tick() => {
                    if let Some(reason) = self.overdue(clock::now(), response_timeout) {
                        return std::io::Error::new(std::io::ErrorKind::TimedOut, reason).into();
                    }
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.sent.len() < DEPTH && self.connection.pending() < PENDING
    }

    fn overdue(&self, now: Instant, response_timeout: Duration) -> Option<String> {
        let is_late =
            |(_, at): &(J, Instant)| now.saturating_duration_since(*at) > response_timeout;
        if self.sent.front().is_some_and(is_late) {
            return Some(format!("no answer within {} s", response_timeout.as_secs_f64()));
        }
        self.connection.overdue(now)
    }

    /// Takes as many jobs as there is room for.
    fn fill(&mut self) {
        let now = clock::now();
        while self.has_room()
            && let Some(mut job) = self.queue.take()
        {
            if job.write(&mut self.connection.out) {
                self.sent.push_back((job, now));
            } else {
                job.answered(Answer::Nothing);
                self.queue.answered();
            }
        }
    }

    fn receive(&mut self) -> Result<(), ConnectError> {
        while let Some((kind, data)) = self.connection.next_frame()? {
            match kind {
                FrameType::Response => {
                    let unasked =
                        || ConnectError::Protocol("an answer that nobody asked for".into());
                    let (job, _) = self.sent.pop_front().ok_or_else(unasked)?;
                    self.was_useful = true;
                    job.answered(Answer::Done);
                    self.queue.answered();
                }
                FrameType::Error => {
                    // The nsqd closes behind it: nothing that follows was looked at.
                    let refusal = Refusal::new(&data);
                    if let Some((job, _)) = self.sent.pop_front() {
                        job.answered(Answer::Refused(refusal.clone()));
                        self.queue.answered();
                    }
                    return Err(ConnectError::Refused(refusal));
                }
                FrameType::Message => {
                    return Err(ConnectError::Protocol("a message without SUB".into()));
                }
            }
        }
        Ok(())
    }
}
