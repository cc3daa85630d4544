//! Asks nsqlookupds and nsqds: all of them at once, each with a deadline of its own. One that does not tell is named, and
//! what the others told is shown.

mod actions;
mod questions;

pub(super) use actions::{Act, Subject};

use std::future::Future;

use axum::http::StatusCode;
use futures_util::future::join_all;
use parking_lot::Mutex;
use reqwest::Method;

use crate::client::{Answered, Call, HttpClient};
use crate::http::reply::Refusal;

/// What was told, and what the others had against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told<T> {
    pub(super) value: T,
    pub(super) warnings: Vec<String>,
}

impl<T> Told<T> {
    /// The same with more warnings.
    fn with(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Told<U> {
        Told { value: change(self.value), warnings: self.warnings }
    }
}

/// Nobody told anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Silence(pub(super) String);

impl From<Silence> for Refusal {
    fn from(silence: Silence) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, format!("UPSTREAM_ERROR: {silence}"))
    }
}

/// Whose word is taken for what there is.
#[derive(Debug)]
pub(super) struct Cluster {
    http: HttpClient,
    /// `host:port` of nsqlookupds' HTTP; they may be changed while it runs.
    lookupds: Mutex<Vec<String>>,
    /// `host:port` of nsqds' HTTP, where there are no nsqlookupds.
    nsqds: Vec<String>,
}

impl Cluster {
    pub(super) const fn new(http: HttpClient, lookupds: Vec<String>, nsqds: Vec<String>) -> Self {
        Self { http, lookupds: Mutex::new(lookupds), nsqds }
    }

    /// The nsqlookupds of the moment.
    pub(super) fn lookupds(&self) -> Vec<String> {
        self.lookupds.lock().clone()
    }

    /// Asks other nsqlookupds from now on.
    pub(super) fn set_lookupds(&self, addresses: Vec<String>) {
        *self.lookupds.lock() = addresses;
    }

    /// Whether nsqlookupds say what there is.
    fn has_lookupds(&self) -> bool {
        !self.lookupds.lock().is_empty()
    }

    /// Sends one request to one of them.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Answered, String> {
        let words = |error: &dyn std::fmt::Display| {
            format!("{} http://{}{}: {error}", call.method, call.address, call.path)
        };
        self.http.send(call).await.map_err(|error| words(&error))
    }

    /// A JSON answer; anything but 200 is an error, as it is for nsqadmin.
    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, String> {
        let answered = self.send(&Call { query, ..Call::get(address, path) }).await?;
        expect_ok(address, path, &answered)?;
        serde_json::from_slice(&answered.body)
            .map_err(|error| format!("http://{address}{path}: its answer: {error}"))
    }

    async fn post(&self, address: &str, path: &str, query: &[(&str, &str)]) -> Result<(), String> {
        let method = Method::POST;
        let call = Call { method, query, ..Call::get(address, path) };
        expect_ok(address, path, &self.send(&call).await?)
    }

    /// Posts to each of them, one after the other, whatever the others said.
    async fn post_each(&self, to: &[String], path: &str, query: &[(&str, &str)]) -> Vec<String> {
        let mut errors = Vec::new();
        for address in to {
            errors.extend(self.post(address, path, query).await.err());
        }
        errors
    }
}

fn expect_ok(address: &str, path: &str, answered: &Answered) -> Result<(), String> {
    if answered.status == StatusCode::OK {
        return Ok(());
    }
    let body = String::from_utf8_lossy(answered.body.get(..200).unwrap_or(&answered.body));
    Err(format!("http://{address}{path}: got response {} {body:?}", answered.status))
}

/// Has `ask` put to each target at once. An error if none of them told anything, be it that there are none.
async fn each<'t, T, F: Future<Output = Result<T, String>>>(
    targets: &'t [String],
    kind: &str,
    ask: impl Fn(&'t str) -> F,
) -> Result<Told<Vec<(&'t str, T)>>, Silence> {
    let answers = join_all(targets.iter().map(|target| ask(target))).await;
    let (mut value, mut warnings) = (Vec::new(), Vec::new());
    for (target, answer) in targets.iter().zip(answers) {
        match answer {
            Ok(told) => value.push((target.as_str(), told)),
            Err(words) => warnings.push(words),
        }
    }
    if value.is_empty() {
        return Err(Silence(format!("failed to query any {kind}: {}", warnings.join("\n"))));
    }
    Ok(Told { value, warnings: joined(warnings) })
}

/// The errors of one round of questions are one warning.
fn joined(warnings: Vec<String>) -> Vec<String> {
    if warnings.is_empty() { warnings } else { vec![warnings.join("\n")] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_some_told_is_shown_and_silence_is_an_error() {
        let targets: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let told = each(&targets, "nsqd", async |target| match target {
            "a" => Ok(1),
            other => Err(format!("{other} is gone")),
        });
        let told = told.await.unwrap();
        assert_eq!(told.value, [("a", 1)]);
        assert_eq!(told.warnings, ["b is gone\nc is gone"]);
        let none = each(&targets, "nsqd", async |_| Err::<(), _>("no".to_owned())).await;
        assert_eq!(none, Err(Silence("failed to query any nsqd: no\nno\nno".into())));
        let nobody = each(&[], "nsqlookupd", async |_| Ok(())).await;
        assert_eq!(nobody, Err(Silence("failed to query any nsqlookupd: ".into())));
    }
}
