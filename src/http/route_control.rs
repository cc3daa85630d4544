//! `/v1/routes/...`: routes looked at, changed, paused and reloaded while the node runs.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;

use super::Context;
use super::body::{End, Incoming};
use super::query::Query;
use super::reply::{Refusal, Reply};
use crate::metrics::route::RouteStatus;

/// The largest definition of a route, bytes.
const DEFINITION_MAX: u64 = 1 << 20;
/// How long a drain is waited for, unless the request says otherwise, and at most.
const DRAIN_TIMEOUT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));

/// What a change of routes came to, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Routes that were not there before.
    pub started: Vec<String>,
    /// Routes that go on with other figures of their limit.
    pub retuned: Vec<String>,
    /// Routes that started anew.
    pub changed: Vec<String>,
    /// Routes that are no more.
    pub stopped: Vec<String>,
    /// How many others went on undisturbed.
    pub unchanged: usize,
    /// What is allowed and probably not meant.
    pub warnings: Vec<String>,
}

/// Where a route is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// The file's path.
    pub file: String,
    /// The file's text.
    pub text: String,
}

/// Why routes were left as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No route has this name.
    #[error("there is no route \"{0}\"")]
    Unknown(String),
    /// The route stands where it cannot be changed from here.
    #[error("{0}")]
    Conflict(String),
    /// The configuration would be wrong: one finding each, with file, line and column.
    #[error("the configuration is wrong")]
    Invalid(Vec<String>),
    /// It could not be written down.
    #[error("{0}")]
    Storage(String),
    /// Something did not end in its time.
    #[error("{0}")]
    Late(String),
}

/// An answer that takes its time.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, ControlError>> + Send>>;

/// Whoever owns the routes of a running node.
pub trait RouteControl: Send + Sync {
    /// Reads the route files again and takes over what differs.
    fn reload(&self) -> Pending<Changes>;
    /// Where a route is written down.
    fn definition(&self, name: &str) -> Pending<Definition>;
    /// Writes a route down and takes it over; with `is_dry` only says what would change.
    fn put(&self, name: &str, text: String, is_dry: bool) -> Pending<Changes>;
    /// Removes a route; with `is_dry` only says what would change.
    fn remove(&self, name: &str, is_dry: bool) -> Pending<Changes>;
    /// Has a route take nothing more, or go on.
    ///
    /// # Errors
    /// If there is no such route.
    fn pause(&self, name: &str, is_paused: bool) -> Pending<()>;
    /// Pauses a route and waits until all that it has taken is settled.
    fn drain(&self, name: &str, timeout: Duration) -> Pending<()>;
    /// Has a route start anew.
    fn reset(&self, name: &str) -> Pending<()>;
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        let status = match &error {
            ControlError::Unknown(_) => StatusCode::NOT_FOUND,
            ControlError::Conflict(_) => StatusCode::CONFLICT,
            ControlError::Invalid(_) => StatusCode::BAD_REQUEST,
            ControlError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
            ControlError::Late(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        let detail = match &error {
            ControlError::Invalid(findings) => Some(findings.join("\n")),
            _ => None,
        };
        Self::new(status, error.to_string()).explained(detail)
    }
}

/// What can be done with a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Pause,
    Resume,
    Drain,
    Reset,
}

fn control(context: &Context) -> Result<&dyn RouteControl, Refusal> {
    context.control.as_deref().ok_or_else(|| Refusal::missing("NOT_FOUND"))
}

/// The segment of the path that names the route.
fn name(path: &str) -> &str {
    path.split('/').nth(3).unwrap_or_default()
}

fn is_dry(raw: &str) -> Result<bool, Refusal> {
    match Query::parse(raw)?.get("dry_run") {
        None | Some("false") => Ok(false),
        Some("true" | "") => Ok(true),
        Some(_) => Err(Refusal::bad("INVALID_DRY_RUN")),
    }
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: RouteStatus,
    definition: Option<Definition>,
}

fn status(context: &Context, name: &str) -> Result<RouteStatus, Refusal> {
    let found = context.routes.routes().into_iter().find(|route| route.name == name);
    found.ok_or_else(|| ControlError::Unknown(name.to_owned()).into())
}

/// GET `/v1/routes/{name}`.
pub(super) async fn show(context: &Context, path: &str) -> Result<Reply, Refusal> {
    let name = name(path);
    let status = status(context, name)?;
    // One that the files do not have any more runs on until the next reload.
    let definition = control(context)?.definition(name).await.ok();
    Reply::json(&Shown { status, definition })
}

/// GET `/v1/routes/{name}/history`: the last hour.
pub(super) fn history(context: &Context, path: &str) -> Result<Reply, Refusal> {
    let name = name(path);
    let history = context.routes.history(name);
    Reply::json(&history.ok_or_else(|| ControlError::Unknown(name.to_owned()))?)
}

/// PUT `/v1/routes/{name}`.
pub(super) async fn put(
    context: &Context,
    path: &str,
    raw: &str,
    body: &mut Incoming,
) -> Result<Reply, Refusal> {
    let is_dry = is_dry(raw)?;
    let (text, end) = body.read(DEFINITION_MAX).await;
    let text = match end {
        End::Complete => String::from_utf8(text).map_err(|_| Refusal::bad("INVALID_UTF8"))?,
        End::TooLong => return Err(Refusal::too_large("BODY_TOO_BIG")),
        End::Broken => return Err(Refusal::internal()),
    };
    let changes = control(context)?.put(name(path), text, is_dry).await?;
    Reply::json(&changes)
}

/// DELETE `/v1/routes/{name}`.
pub(super) async fn remove(context: &Context, path: &str, raw: &str) -> Result<Reply, Refusal> {
    let is_dry = is_dry(raw)?;
    Reply::json(&control(context)?.remove(name(path), is_dry).await?)
}

/// POST `/v1/routes/reload`.
pub(super) async fn reload(context: &Context) -> Result<Reply, Refusal> {
    Reply::json(&control(context)?.reload().await?)
}

/// POST `/v1/routes/{name}/pause`, `resume`, `drain` (with `timeout` in milliseconds) and `reset`.
pub(super) async fn act(
    context: &Context,
    path: &str,
    raw: &str,
    act: Act,
) -> Result<Reply, Refusal> {
    let (control, name) = (control(context)?, name(path));
    match act {
        Act::Pause => control.pause(name, true).await?,
        Act::Resume => control.pause(name, false).await?,
        Act::Drain => {
            let timeout = match Query::parse(raw)?.get("timeout") {
                None => DRAIN_TIMEOUT.0,
                Some(text) => text
                    .parse()
                    .ok()
                    .map(Duration::from_millis)
                    .filter(|timeout| *timeout <= DRAIN_TIMEOUT.1)
                    .ok_or_else(|| Refusal::bad("INVALID_TIMEOUT"))?,
            };
            control.drain(name, timeout).await?;
        }
        Act::Reset => control.reset(name).await?,
    }
    Reply::json(&status(context, name)?)
}
