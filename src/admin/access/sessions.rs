//! Who is logged in. Sessions are in memory alone: a restart ends them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use parking_lot::Mutex;

use crate::admin::options::Role;
use crate::clock::{self, Instant};

/// How long a session lasts at most, however busy it is.
const LIFETIME: Duration = Duration::from_secs(7 * 86_400);
/// Sessions at once; the oldest one makes room.
const SESSIONS_MAX: usize = 10_000;
/// Logins that may fail within [`FAILURES_WITHIN`] before an address has to wait.
const FAILURES_MAX: u32 = 10;
const FAILURES_WITHIN: Duration = Duration::from_secs(60);
/// Addresses whose failures are remembered.
const ADDRESSES_MAX: usize = 10_000;

/// A session that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admin) struct Opened {
    pub(in crate::admin) user: String,
    pub(in crate::admin) role: Role,
    /// What its pages send with each change.
    pub(in crate::admin) token: String,
}

#[derive(Debug)]
struct Session {
    opened: Opened,
    since: Instant,
    seen: Instant,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

/// See the module's description.
#[derive(Debug)]
pub(in crate::admin) struct Sessions {
    /// By the id in the cookie.
    open: Mutex<HashMap<String, Session>>,
    /// By the peer's address, without its port.
    failures: Mutex<HashMap<String, Failures>>,
    idle: Duration,
}

impl Sessions {
    /// Sessions end when nothing is asked for so long.
    pub(in crate::admin) fn new(idle: Duration) -> Self {
        Self { open: Mutex::default(), failures: Mutex::default(), idle }
    }

    /// Opens a session and returns the id for its cookie.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(in crate::admin) fn open(
        &self,
        user: &str,
        role: Role,
    ) -> Result<(String, Opened), String> {
        let (id, token) = (random()?, random()?);
        let opened = Opened { user: user.to_owned(), role, token };
        let now = clock::now();
        let mut open = self.open.lock();
        open.retain(|_, session| self.is_alive(session, now));
        if open.len() >= SESSIONS_MAX {
            let oldest = open.iter().min_by_key(|(_, session)| session.seen);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                open.remove(&id);
            }
        }
        open.insert(id.clone(), Session { opened: opened.clone(), since: now, seen: now });
        Ok((id, opened))
    }

    fn is_alive(&self, session: &Session, now: Instant) -> bool {
        now < session.seen + self.idle && now < session.since + LIFETIME
    }

    /// The session of an id, if it is still open.
    pub(in crate::admin) fn find(&self, id: &str) -> Option<Opened> {
        let now = clock::now();
        let mut open = self.open.lock();
        let session = open.get_mut(id)?;
        if !self.is_alive(session, now) {
            open.remove(id);
            return None;
        }
        session.seen = now;
        Some(session.opened.clone())
    }

    /// Ends a session.
    pub(in crate::admin) fn close(&self, id: &str) {
        self.open.lock().remove(id);
    }

    /// Whether a peer may try to log in; counts the try as a failure until [`Sessions::succeeded`].
    pub(in crate::admin) fn may_try(&self, peer: &str) -> bool {
        let now = clock::now();
        let mut failures = self.failures.lock();
        failures.retain(|_, failures| now < failures.since + FAILURES_WITHIN);
        if failures.len() >= ADDRESSES_MAX && !failures.contains_key(host(peer)) {
            return false;
        }
        let of_peer = failures.entry(host(peer).to_owned());
        let of_peer = of_peer.or_insert(Failures { count: 0, since: now });
        of_peer.count = of_peer.count.saturating_add(1);
        of_peer.count <= FAILURES_MAX
    }

    /// A peer has logged in.
    pub(in crate::admin) fn succeeded(&self, peer: &str) {
        self.failures.lock().remove(host(peer));
    }
}

fn host(peer: &str) -> &str {
    peer.rsplit_once(':').map_or(peer, |(host, _)| host)
}

/// 256 bits that nobody can guess, in hexadecimal digits.
fn random() -> Result<String, String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    let mut text = String::with_capacity(64);
    for byte in bytes {
        // Writing into a text cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_nothing_is_asked_and_after_a_week() {
        let sessions = Sessions::new(Duration::from_secs(60));
        let (id, opened) = sessions.open("ann", Role::View).unwrap();
        assert_eq!(id.len(), 64);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(sessions.find(&id), Some(opened.clone()));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(sessions.find(&id), Some(opened), "it was asked meanwhile");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(sessions.find(&id), None);
        let (id, _) = sessions.open("ann", Role::View).unwrap();
        sessions.close(&id);
        assert_eq!(sessions.find(&id), None);
        let busy = Sessions::new(LIFETIME * 2);
        let (id, _) = busy.open("ann", Role::View).unwrap();
        tokio::time::advance(LIFETIME).await;
        assert_eq!(busy.find(&id), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_guesses_has_to_wait_and_others_have_not() {
        let sessions = Sessions::new(Duration::from_secs(60));
        for at in 0..FAILURES_MAX {
            assert!(sessions.may_try(&format!("1.2.3.4:{at}")));
        }
        assert!(!sessions.may_try("1.2.3.4:99"));
        assert!(sessions.may_try("1.2.3.5:1"));
        tokio::time::advance(FAILURES_WITHIN).await;
        assert!(sessions.may_try("1.2.3.4:1"));
        sessions.succeeded("1.2.3.4:1");
        assert!(sessions.may_try("1.2.3.4:2"));
    }
}
