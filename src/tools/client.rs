//! What can be told of connections: the options of NSQ's own client library, as far as there is anything to tell here.

use std::time::Duration;

pub use crate::client::{Addresses, ConnectOptions, PackingKind, Secret};
pub use crate::tls::ClientTls;

/// How a utility is a client. The defaults are go-nsq's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// How connections are made.
    pub connect: ConnectOptions,
    /// `lookupd_poll_interval`.
    pub lookupd_interval: Duration,
    /// `max_attempts`: a message that has come more often is given up; 0 for never.
    pub max_attempts: u16,
    /// `default_requeue_delay`: how long a message that failed stays away, times its attempts.
    pub requeue_delay: Duration,
    /// `max_requeue_delay`: the longest that this may come to.
    pub max_requeue_delay: Duration,
    /// `backoff_multiplier`: the first pause after a failure.
    pub min_backoff: Duration,
    /// `max_backoff_duration`: the longest; zero for none.
    pub max_backoff: Duration,
}

impl ClientOptions {
    /// Those of the utility of this name on this machine.
    #[must_use]
    pub fn of(utility: &str) -> Self {
        let hostname = gethostname::gethostname().to_string_lossy().into_owned();
        let short = hostname.split('.').next().unwrap_or_default().to_owned();
        Self {
            connect: ConnectOptions {
                client_id: short,
                hostname,
                // What a server shows of the original.
                user_agent: format!("{utility}/1.3.0 go-nsq/1.1.0"),
                dial_timeout: Duration::from_secs(1),
                output_buffer_size: Some(16 * 1024),
                output_buffer_timeout: Some(Duration::from_millis(250)),
                ..ConnectOptions::default()
            },
            lookupd_interval: Duration::from_secs(60),
            max_attempts: 5,
            requeue_delay: Duration::from_secs(90),
            max_requeue_delay: Duration::from_secs(15 * 60),
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(120),
        }
    }

    /// How long a message stays away that has failed after so many deliveries.
    #[must_use]
    pub fn delay_after(&self, attempts: u16) -> Duration {
        self.requeue_delay.saturating_mul(attempts.into()).min(self.max_requeue_delay)
    }

    /// Whether a message that comes for this time is given up.
    #[must_use]
    pub const fn gives_up(&self, attempts: u16) -> bool {
        self.max_attempts > 0 && attempts > self.max_attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_156_the_sixth_delivery_is_given_up() {
        let mut options = ClientOptions::of("nsq_tail");
        assert!(!options.gives_up(5) && options.gives_up(6));
        options.max_attempts = 0;
        assert!(!options.gives_up(u16::MAX));
    }

    #[test]
    fn a_delay_grows_with_the_attempts() {
        let options = ClientOptions::of("nsq_tail");
        assert_eq!(options.delay_after(1), Duration::from_secs(90));
        assert_eq!(options.delay_after(3), Duration::from_secs(270));
        assert_eq!(options.delay_after(1000), Duration::from_secs(900));
    }
}
