//! A supervised connection to a broker, for publishing or for consuming.
//!
//! It connects, watches, and connects again with jittered, endless backoff. Each connection has a generation number. An
//! error that only an operator can mend is shown as such and tried again at a slow pace, so that the mend is noticed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::{Connection, Event};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::connect::{self, Failure};
use super::errors;
use super::socket::Plug;
use crate::bridge::broker::{BrokerOptions, Host, Turns};
use crate::bridge::status::Status;
use crate::clock::{self, jittered};
use crate::metrics::broker::{BrokerState, BrokerStatus};

/// First delay after a network fault, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Delay before the next host is tried, while some are left.
const NEXT_HOST: Duration = Duration::from_millis(50);
/// Delay after an error that only an operator can mend.
const BACKOFF_LASTING: Duration = Duration::from_secs(15);
/// How long closing a connection politely may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a connection's state is looked at, should its event have been missed.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::bridge) enum Role {
    Publish,
    Consume,
}

impl Role {
    pub(in crate::bridge) const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

/// A connection that is up.
#[derive(Clone)]
pub(in crate::bridge) struct Up {
    pub(super) connection: Arc<Connection>,
    /// Which life of the link this is.
    pub(super) generation: u64,
}

/// How a link is, and since when it is that.
#[derive(Clone)]
pub(super) enum State {
    Down { error: Option<String>, lasting: bool, attempt: u32 },
    Up { up: Up, blocked: Option<String> },
}

/// See the module's description.
pub(in crate::bridge) struct Link {
    broker: BrokerOptions,
    role: Role,
    state: watch::Sender<(State, i64)>,
    /// The host that it is connected to, or was tried last.
    host: Mutex<Host>,
    broken: Notify,
    /// Why somebody gave up on it.
    broken_by: Mutex<Option<String>>,
}

impl Link {
    pub(in crate::bridge) fn new(broker: BrokerOptions, role: Role) -> Arc<Self> {
        let down = State::Down { error: None, lasting: false, attempt: 0 };
        let state = watch::Sender::new((down, clock::unix_seconds()));
        let host = Host { name: broker.uri.host().to_owned(), port: broker.uri.port() };
        Arc::new(Self {
            broker,
            role,
            state,
            host: Mutex::new(host),
            broken: Notify::new(),
            broken_by: Mutex::default(),
        })
    }

    /// The broker's settings.
    pub(super) const fn broker(&self) -> &BrokerOptions {
        &self.broker
    }

    /// Follows the link's state. [`Link::trouble`] says what it comes to.
    pub(super) fn watch_state(&self) -> watch::Receiver<(State, i64)> {
        self.state.subscribe()
    }

    /// Waits until this life of the link has ended.
    pub(super) async fn lost(&self, generation: u64) {
        let mut state = self.state.subscribe();
        loop {
            let is_alive = matches!(&state.borrow_and_update().0, State::Up { up, .. } if up.generation == generation);
            if !is_alive || state.changed().await.is_err() {
                return;
            }
        }
    }

    /// Says that this life of the link does not work, whatever lapin thinks of it.
    pub(super) fn give_up(&self, generation: u64, reason: impl Into<String>) {
        if matches!(&self.state.borrow().0, State::Up { up, .. } if up.generation == generation) {
            *self.broken_by.lock() = Some(reason.into());
            self.broken.notify_one();
        }
    }

    /// Why the link is not up, in words; `None` if it is up.
    pub(in crate::bridge) fn trouble(&self) -> Option<(String, bool)> {
        match &self.state.borrow().0 {
            State::Up { blocked: Some(reason), .. } => {
                Some((format!("broker {} blocks publishers: {reason}", self.broker.name), false))
            }
            State::Up { .. } => None,
            State::Down { error, lasting, .. } => {
                let words = error.as_deref().unwrap_or("connecting");
                Some((format!("broker {}: {words}", self.broker.name), *lasting))
            }
        }
    }

    /// The link as `/v1/routes` shows it.
    pub(in crate::bridge) fn status(&self) -> BrokerStatus {
        let (state, since) = &*self.state.borrow();
        let (name, error, attempt) = match state {
            State::Up { blocked: Some(reason), .. } => {
                (BrokerState::Blocked, Some(reason.clone()), 0)
            }
            State::Up { .. } => (BrokerState::Up, None, 0),
            State::Down { error, lasting: true, attempt } => {
                (BrokerState::Failed, error.clone(), *attempt)
            }
            State::Down { error, attempt, .. } => {
                (BrokerState::Connecting, error.clone(), *attempt)
            }
        };
        BrokerStatus {
            // Told by whoever knows the routes.
            routes: 0,
            name: self.broker.name.clone(),
            role: self.role.as_str(),
            address: self.host.lock().to_string(),
            state: name,
            since: *since,
            attempt,
            error,
        }
    }

    fn enter(&self, state: State) {
        self.state.send_replace((state, clock::unix_seconds()));
    }

    /// Keeps the link up until `stop` resolves.
    pub(in crate::bridge) async fn run(&self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let (mut generation, mut attempt) = (0, 0);
        let mut turns = Turns::new();
        loop {
            attempt += 1;
            let connected = tokio::select! {
                () = &mut stop => return,
                connected = self.connect(&mut turns) => connected,
            };
            let delay = match connected {
                Ok((connection, plug)) => {
                    generation += 1;
                    attempt = 0;
                    let connection = Arc::new(connection);
                    let ended =
                        self.watch(Arc::clone(&connection), generation, stop.as_mut()).await;
                    if let Some(error) = &ended {
                        let (broker, role) = (&self.broker.name, self.role.as_str());
                        let host = self.host.lock().clone();
                        turns.failed(&host);
                        tracing::warn!(broker, role, %host, error, "connection lost");
                        let error = Some(error.clone());
                        self.enter(State::Down { error, lasting: false, attempt });
                    }
                    close(connection).await;
                    plug.pull();
                    if ended.is_none() {
                        return;
                    }
                    BACKOFF.0
                }
                Err((failure, hosts)) => {
                    let Failure { words, lasting, .. } = self.explained(failure);
                    self.report(&words, lasting, attempt);
                    self.enter(State::Down { error: Some(words), lasting, attempt });
                    delay(attempt, hosts, lasting)
                }
            };
            tokio::select! {
                () = &mut stop => return,
                () = sleep(jittered(delay)) => {}
            }
        }
    }

    /// A refusal is sometimes lost behind the end of the connection: what was refused last time still is, as far as is
    /// known.
    fn explained(&self, failure: Failure) -> Failure {
        match &self.state.borrow().0 {
            State::Down { error: Some(words), lasting: true, .. } if failure.is_vague => {
                Failure::to_mend(words.clone())
            }
            _ => failure,
        }
    }

    /// Logs the first failure of a kind loudly and its repetitions quietly.
    fn report(&self, error: &str, lasting: bool, attempt: u32) {
        let is_news = match &self.state.borrow().0 {
            State::Down { error: Some(last), .. } => last != error,
            _ => true,
        };
        let (broker, role) = (&self.broker.name, self.role.as_str());
        if is_news {
            tracing::warn!(broker, role, error, lasting, attempt, "cannot connect");
        } else {
            tracing::debug!(broker, role, error, lasting, attempt, "cannot connect");
        }
    }

    /// Tries the host whose turn it is; an error comes with the number of hosts that there are.
    async fn connect(&self, turns: &mut Turns) -> Result<(Connection, Plug), (Failure, u32)> {
        let uri = connect::address(&self.broker).await.map_err(|failure| (failure, 1))?;
        let hosts = self.broker.all_hosts(&uri);
        let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        let Some(host) = turns.next(&hosts) else {
            let words = "there is no host to connect to".to_owned();
            return Err((Failure::to_mend(words), 1));
        };
        *self.host.lock() = host.clone();
        let name = format!("{} ({})", self.broker.connection_name, self.role.as_str());
        match connect::connect(&self.broker, &uri, &host, &name).await {
            Ok(connected) => {
                turns.worked(&host);
                Ok(connected)
            }
            Err(mut failure) => {
                turns.failed(&host);
                if count > 1 {
                    failure.words = format!("{host}: {}", failure.words);
                }
                Err((failure, count))
            }
        }
    }

    /// Watches a connection until it ends; `None` if that is because of `stop`.
    async fn watch(
        &self,
        connection: Arc<Connection>,
        generation: u64,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Option<String> {
        let mut events = Box::pin(connection.events_listener());
        // A wish to give up that was meant for the life before.
        self.broken.notified().now_or_never();
        let up = Up { connection: Arc::clone(&connection), generation };
        self.enter(State::Up { up: up.clone(), blocked: None });
        tracing::info!(
            broker = self.broker.name,
            role = self.role.as_str(),
            generation,
            "connected"
        );
        loop {
            let event = tokio::select! {
                () = &mut stop => return None,
                () = self.broken.notified() => return Some(self.broken_by.lock().take().unwrap_or_default()),
                event = events.next() => event,
                () = sleep(WATCH_INTERVAL) => {
                    if connection.status().connected() { continue }
                    return Some("the connection is closed".into());
                }
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(
                        broker = self.broker.name,
                        reason,
                        "the broker blocks publishers"
                    );
                    self.enter(State::Up { up: up.clone(), blocked: Some(reason) });
                }
                Some(Event::ConnectionUnblocked) => {
                    self.enter(State::Up { up: up.clone(), blocked: None });
                }
                // A channel's error is its flow's own business.
                Some(Event::Error(_)) if connection.status().connected() => {}
                Some(Event::Error(error)) => return Some(errors::describe(&error)),
                Some(_) => {}
                None => return Some("the connection is closed".into()),
            }
        }
    }
}

/// Waits until `link` is up, and has `status` say what it waits for.
pub(super) async fn up_or_say(link: &Link, status: &Status) -> Up {
    let mut state = link.state.subscribe();
    loop {
        if let State::Up { up, .. } = &state.borrow_and_update().0 {
            return up.clone();
        }
        if let Some((words, lasting)) = link.trouble() {
            if lasting { status.failed(words) } else { status.waiting(words) }
        }
        if state.changed().await.is_err() {
            // The sender is the link's: it cannot be gone while the link is borrowed.
            std::future::pending::<()>().await;
        }
    }
}

async fn close(connection: Arc<Connection>) {
    if connection.status().connected() {
        let closing = connection.close(200, "closing".into());
        // Whether the broker still answers does not matter any more.
        let answer = timeout(CLOSE_TIMEOUT, closing).await;
        tracing::debug!(polite = matches!(answer, Ok(Ok(()))), "connection closed");
    }
}

/// How long to wait after an attempt that failed: until every host had its turn, only a moment.
fn delay(attempt: u32, hosts: u32, lasting: bool) -> Duration {
    let hosts = hosts.max(1);
    if !attempt.is_multiple_of(hosts) {
        NEXT_HOST
    } else if lasting {
        BACKOFF_LASTING
    } else {
        backoff(attempt / hosts)
    }
}

/// Doubles from attempt to attempt.
pub(super) fn backoff(attempt: u32) -> Duration {
    let (first, longest) = BACKOFF;
    first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_hosts_are_tried_before_it_waits() {
        let millis = |hosts, lasting| {
            (1..=4).map(|n| delay(n, hosts, lasting).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(millis(1, false), [200, 400, 800, 1600]);
        assert_eq!(millis(2, false), [50, 200, 50, 400]);
        assert_eq!(millis(3, true), [50, 50, 15_000, 50]);
    }
}
