//! Each action is a line of the audit log, and goes to the notification endpoint if there is one: one after the other,
//! while others wait in a bounded queue.

use serde::Serialize;
use tokio::sync::mpsc;

use super::access::Actor;
use super::router::Asked;
use crate::client::{Call, HttpClient};
use crate::clock;
use crate::task::spawn;

/// Notifications that may wait.
const WAITING_MAX: usize = 1000;

/// What was done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Action<'a> {
    pub(super) action: &'a str,
    pub(super) topic: &'a str,
    pub(super) channel: &'a str,
    pub(super) node: &'a str,
}

/// nsqadmin's notification.
#[derive(Serialize)]
struct Notification<'a> {
    action: &'a str,
    topic: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    channel: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    node: &'a str,
    timestamp: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    remote_ip: &'a str,
    user_agent: &'a str,
    url: String,
    via: &'a str,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Notifier {
    queue: Option<mpsc::Sender<Vec<u8>>>,
    hostname: String,
}

impl Notifier {
    /// One that tells `endpoint`, a URL.
    pub(super) fn start(endpoint: Option<&str>, http: &HttpClient) -> Self {
        let queue = endpoint.map(|endpoint| {
            let (queue, waiting) = mpsc::channel(WAITING_MAX);
            spawn("notifications", post_each(endpoint.to_owned(), http.clone(), waiting));
            queue
        });
        Self { queue, hostname: gethostname::gethostname().to_string_lossy().into_owned() }
    }

    /// Tells of what was done.
    pub(super) fn tell(&self, actor: &Actor, asked: &Asked<'_>, action: &Action<'_>) {
        let Action { action: name, topic, channel, node } = *action;
        let user = actor.name.as_deref().unwrap_or_default();
        tracing::info!(
            target: "leveret::admin::audit",
            action = name, topic, channel, node, user, remote = asked.remote(), "done"
        );
        let Some(queue) = &self.queue else { return };
        let basic = asked.basic_user();
        let notification = Notification {
            action: name,
            topic,
            channel,
            node,
            timestamp: clock::unix_seconds(),
            user: basic.as_deref().unwrap_or(user),
            remote_ip: asked.remote(),
            user_agent: asked.header("user-agent").unwrap_or_default(),
            url: asked.url(),
            via: &self.hostname,
        };
        let Ok(body) = serde_json::to_vec(&notification) else { return };
        if queue.try_send(body).is_err() {
            tracing::error!(
                action = name,
                "a notification is dropped: {WAITING_MAX} wait for the endpoint"
            );
        }
    }
}

async fn post_each(endpoint: String, http: HttpClient, mut waiting: mpsc::Receiver<Vec<u8>>) {
    let (address, path) = split(&endpoint);
    while let Some(body) = waiting.recv().await {
        let call = Call {
            method: reqwest::Method::POST,
            headers: &[("content-type", "application/json")],
            body: Some(&body),
            ..Call::get(address, path)
        };
        match http.send(&call).await {
            Ok(answered) if answered.status.is_success() => {}
            Ok(answered) => {
                tracing::error!(%endpoint, status = %answered.status, "the notification endpoint refuses");
            }
            Err(error) => tracing::error!(%endpoint, %error, "failed to POST notification"),
        }
    }
}

/// A URL's server, and the path with its query.
fn split(url: &str) -> (&str, &str) {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let slash = url.get(begin..).and_then(|rest| rest.find('/'));
    slash.and_then(|at| url.split_at_checked(begin + at)).unwrap_or((url, "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_before_its_path() {
        assert_eq!(split("http://a:1/b/c?d=e"), ("http://a:1", "/b/c?d=e"));
        assert_eq!(split("https://a"), ("https://a", "/"));
        assert_eq!(split("a:1/x"), ("a:1", "/x"));
    }
}
