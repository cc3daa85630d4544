//! One connection of a consumer: SUB, then messages in and what settles them out, until it is lost or left.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::state::{Shared, delivery};
use crate::client::connect::{ConnectOptions, step};
use crate::client::connection::Connection;
use crate::client::error::{ConnectError, Refusal};
use crate::client::pool::{Ended, Serve, Up};
use crate::clock;
use crate::protocol::encode;
use crate::protocol::frame::{CLOSE_WAIT, FrameType};

/// How long the end of a connection may take once all is settled.
const FAREWELL: Duration = Duration::from_secs(2);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) topic: String,
    pub(super) channel: String,
    pub(super) options: ConnectOptions,
}

/// What a connection's loop knows.
struct Session<'a> {
    shared: &'a Shared,
    address: &'a Arc<str>,
    number: u64,
    connection: Connection,
    /// CLS is sent.
    is_closing: bool,
    /// Its answer has come: there will be no more messages.
    is_closed: bool,
    was_useful: bool,
}

impl Serve for Worker {
    async fn serve(&self, address: &Arc<str>, mut connection: Connection, up: &Up<'_>) -> Ended {
        encode::push_sub(&mut connection.out, &self.topic, &self.channel);
        if let Err(error) = step(&mut connection, &self.options, "SUB").await {
            let is_lasting = error.is_lasting();
            let reason = format!("SUB {}/{}: {error}", self.topic, self.channel);
            return Ended::Lost { reason, was_useful: false, is_lasting };
        }
        up.say();
        let wake = Arc::<Notify>::default();
        let number =
            self.shared.join(connection.agreed.max_rdy_count, Arc::clone(&wake), clock::now());
        let mut session = Session {
            shared: &self.shared,
            address,
            number,
            connection,
            is_closing: false,
            is_closed: false,
            was_useful: false,
        };
        let ended = session.run(&wake).await;
        self.shared.part(number, clock::now());
        match ended {
            Ok(()) => {
                session.connection.close().await;
                Ended::Closed
            }
            Err(error) => Ended::Lost {
                reason: error.to_string(),
                was_useful: session.was_useful,
                is_lasting: error.is_lasting(),
            },
        }
    }
}

impl Session<'_> {
    async fn run(&mut self, wake: &Notify) -> Result<(), ConnectError> {
        let msg_timeout = Duration::from_millis(self.connection.agreed.msg_timeout.max(1));
        let mut ticks = interval((msg_timeout / 8).min(self.connection.beat()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (is_leaving, held) = self.shared.collect(self.number, &mut self.connection.out);
            if is_leaving && !self.is_closing {
                encode::push_cls(&mut self.connection.out);
                self.is_closing = true;
            }
            if self.is_closing && held == 0 {
                return self.farewell().await;
            }
            tokio::select! {
                done = self.connection.transfer() => {
                    done?;
                    self.receive()?;
                }
                () = wake.notified() => {}
                _ = ticks.tick() => {
                    let now = clock::now();
                    if let Some(reason) = self.connection.overdue(now) {
                        let error = std::io::Error::new(std::io::ErrorKind::TimedOut, reason);
                        return Err(error.into());
                    }
                    self.shared.touch(self.number, msg_timeout, now);
                }
            }
        }
    }

    /// Takes in everything that has come.
    fn receive(&mut self) -> Result<(), ConnectError> {
        let mut deliveries = Vec::new();
        while let Some((kind, data)) = self.connection.next_frame()? {
            match kind {
                FrameType::Message => {
                    let short = || ConnectError::Protocol("a message without a head".into());
                    deliveries.push(delivery(self.number, self.address, &data).ok_or_else(short)?);
                }
                FrameType::Response => self.is_closed |= data == CLOSE_WAIT,
                FrameType::Error => {
                    let refusal = Refusal::new(&data);
                    if !refusal.is_of_settling() {
                        return Err(ConnectError::Refused(refusal));
                    }
                    // It had come back to its nsqd by itself; it is delivered once more.
                    tracing::debug!(address = %self.address, %refusal, "too late for a message");
                }
            }
        }
        if !deliveries.is_empty() {
            self.was_useful = true;
            self.shared.arrive(self.number, deliveries, clock::now());
        }
        Ok(())
    }

    /// Writes the last of it, and gives back what still comes before the nsqd has heard CLS.
    async fn farewell(&mut self) -> Result<(), ConnectError> {
        let ending = async {
            while !self.is_closed {
                self.connection.transfer().await?;
                self.receive()?;
                self.shared.collect(self.number, &mut self.connection.out);
            }
            self.connection.flush().await?;
            Ok::<_, ConnectError>(())
        };
        // An nsqd that does not answer has nothing to be told either.
        drop(timeout(FAREWELL, ending).await);
        Ok(())
    }
}
