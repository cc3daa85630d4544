//! GET and PUT `/config/<option>`: the node's options under their names in nsqd's config file.
//!
//! Every one can be read. Two can be changed while the node runs, as in nsqd: what is logged, and which nsqlookupds it
//! announces itself to. A change is not kept over a restart.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use super::body::{End, Incoming};
use super::reply::{Refusal, Reply, number};
use super::{Context, saturated};

/// What is logged, by nsqd's name; its number here is its place, from 1.
const LEVELS: [&str; 5] = ["debug", "info", "warn", "error", "fatal"];

const LOG_LEVEL: &str = "log_level";
const LOOKUPD: &str = "nsqlookupd_tcp_addresses";

/// An option's value. Texts are shown bare, all others as JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// Any text.
    Text(String),
    /// A switch.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A duration, shown in nanoseconds.
    Duration(Duration),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of numbers.
    Numbers(Vec<f64>),
}

impl OptionValue {
    fn reply(&self) -> Result<Reply, Refusal> {
        let json: Value = match self {
            Self::Text(text) if text.is_empty() => return Ok(Reply::Empty),
            Self::Text(text) => return Ok(Reply::Text(text.clone())),
            Self::Bool(switch) => (*switch).into(),
            Self::Int(number) => (*number).into(),
            Self::Duration(duration) => saturated(duration.as_nanos()).into(),
            Self::Texts(texts) => texts.clone().into(),
            Self::Numbers(numbers) => {
                numbers.iter().map(|&one| Value::Number(number(one))).collect()
            }
        };
        Reply::json(&json)
    }
}

/// Changes what is logged to one of `debug`, `info`, `warn`, `error` and `fatal`; `Err` says why it cannot.
pub type SetLogLevel = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// All options of a node.
pub struct Options {
    values: BTreeMap<&'static str, OptionValue>,
    /// The number of the level that is logged.
    level: Mutex<usize>,
    set_level: SetLogLevel,
    lookupd: watch::Sender<Vec<String>>,
    /// The list of nsqlookupds was set to JSON's `null`, which nsqd then shows.
    lookupd_is_null: AtomicBool,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("values", &self.values).finish_non_exhaustive()
    }
}

impl Options {
    /// Options that do not change, as `values`; the level that is logged now with the way to change it (a name that is
    /// none counts as `info`); and the nsqlookupds, see [`Options::lookupds`].
    #[must_use]
    pub fn new(
        values: BTreeMap<&'static str, OptionValue>,
        level: &str,
        set_level: SetLogLevel,
        lookupds: Vec<String>,
    ) -> Self {
        let level = Mutex::new(level_number(level).unwrap_or(2));
        let lookupd = watch::Sender::new(lookupds);
        Self { values, level, set_level, lookupd, lookupd_is_null: AtomicBool::new(false) }
    }

    /// The nsqlookupds that the node is to announce itself to, as they change.
    #[must_use]
    pub fn lookupds(&self) -> watch::Receiver<Vec<String>> {
        self.lookupd.subscribe()
    }

    fn get(&self, name: &str) -> Result<Reply, Refusal> {
        match name {
            LOG_LEVEL => Reply::json(&*self.level.lock()),
            LOOKUPD if self.lookupd_is_null.load(Ordering::Relaxed) => Reply::json(&Value::Null),
            LOOKUPD => Reply::json(&*self.lookupd.borrow()),
            _ => self.values.get(name).ok_or_else(|| Refusal::bad("INVALID_OPTION"))?.reply(),
        }
    }

    fn set(&self, name: &str, value: &[u8]) -> Result<(), Refusal> {
        match name {
            LOG_LEVEL => self.set_log_level(value),
            LOOKUPD => {
                let addresses: Option<Vec<String>> =
                    serde_json::from_slice(value).map_err(|_| Refusal::bad("INVALID_VALUE"))?;
                self.lookupd_is_null.store(addresses.is_none(), Ordering::Relaxed);
                let addresses = addresses.unwrap_or_default();
                tracing::info!(?addresses, "nsqlookupd addresses changed");
                self.lookupd.send_replace(addresses);
                Ok(())
            }
            _ => Err(Refusal::bad("INVALID_OPTION")),
        }
    }

    fn set_log_level(&self, value: &[u8]) -> Result<(), Refusal> {
        let word = std::str::from_utf8(value).ok();
        let number = word.and_then(level_number).ok_or_else(|| Refusal::bad("INVALID_VALUE"))?;
        let word = LEVELS.get(number - 1).copied().unwrap_or("info");
        let mut level = self.level.lock();
        (self.set_level)(word).map_err(|error| {
            tracing::error!(error, "the log level could not be changed");
            Refusal::internal()
        })?;
        *level = number;
        drop(level);
        tracing::info!(level = word, "log level changed");
        Ok(())
    }
}

/// The number of a level's name, in any case. Blanks are not taken off, and `warning` is none, as in nsqd.
fn level_number(word: &str) -> Option<usize> {
    // One more detailed than nsqd's.
    if word.eq_ignore_ascii_case("trace") {
        return Some(1);
    }
    LEVELS.iter().position(|level| level.eq_ignore_ascii_case(word)).map(|place| place + 1)
}

/// The option that `path`, decoded, names.
fn name(path: &str) -> Cow<'_, str> {
    path.rsplit('/').next().unwrap_or_default().into()
}

/// GET `/config/<option>`.
pub(super) fn get(context: &Context, path: &str) -> Result<Reply, Refusal> {
    context.options.get(&name(path))
}

/// PUT `/config/<option>`.
pub(super) async fn put(
    context: &Context,
    path: &str,
    body: &mut Incoming,
) -> Result<Reply, Refusal> {
    // nsqd: nothing, and more than a message may have, are too large alike.
    let (value, end) = body.read(context.limits.max_msg_size).await;
    match end {
        End::Broken => return Err(Refusal::internal()),
        End::TooLong => return Err(Refusal::too_large("INVALID_VALUE")),
        End::Complete if value.is_empty() => return Err(Refusal::too_large("INVALID_VALUE")),
        End::Complete => {}
    }
    context.options.set(&name(path), &value)?;
    context.options.get(&name(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_nsqds_numbers() {
        for (word, number) in [("debug", 1), ("Info", 2), ("WARN", 3), ("error", 4), ("fatal", 5)] {
            assert_eq!(level_number(word), Some(number));
        }
        for bad in ["warning", " info", "info\n", "\"info\"", ""] {
            assert_eq!(level_number(bad), None, "{bad:?}");
        }
    }
}
