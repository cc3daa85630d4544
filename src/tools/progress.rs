//! What long work shows of itself: a line that renews itself on a terminal, lines of the log elsewhere, JSON for machines.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::{self, Instant};
use crate::task::spawn;

/// How often a terminal or a machine hears of it.
const TICK: Duration = Duration::from_secs(1);
/// After so many ticks a log does.
const LOG_TICKS: u64 = 60;

/// Who is shown to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Terminal,
    Log,
    Machine,
}

/// How much is done.
#[derive(Debug)]
pub(super) struct Progress {
    verb: &'static str,
    audience: Audience,
    start: Instant,
    messages: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    /// Bytes that there are in all, if that is known.
    total: Option<u64>,
}

/// The figures of a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    messages: u64,
    bytes: u64,
    failures: u64,
    seconds: f64,
    total: Option<u64>,
}

impl Progress {
    /// Of work whose messages are `verb` (published, written); on a terminal only if nothing else is written there.
    pub(super) fn begin(
        verb: &'static str,
        is_for_machines: bool,
        has_terminal: bool,
        total: Option<u64>,
    ) -> Arc<Self> {
        let audience = if is_for_machines {
            Audience::Machine
        } else if has_terminal && std::io::stderr().is_terminal() {
            Audience::Terminal
        } else {
            Audience::Log
        };
        let progress = Arc::new(Self {
            verb,
            audience,
            start: clock::now(),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            total,
        });
        let showing = Arc::downgrade(&progress);
        drop(spawn("progress", async move {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            for tick in 1_u64.. {
                ticks.tick().await;
                let Some(progress) = showing.upgrade() else { return };
                if progress.audience != Audience::Log || tick.is_multiple_of(LOG_TICKS) {
                    progress.show(false);
                }
            }
        }));
        progress
    }

    /// So many messages more are done, with so many bytes of their source.
    pub(super) fn done(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// One has failed.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows the whole of it.
    pub(super) fn end(&self) {
        self.show(true);
    }

    fn figures(&self) -> Figures {
        Figures {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            seconds: clock::since(self.start).as_secs_f64(),
            total: self.total,
        }
    }

    fn show(&self, is_end: bool) {
        let figures = self.figures();
        match self.audience {
            Audience::Machine => say(&figures.json(is_end)),
            Audience::Log => tracing::info!("{}", figures.line(self.verb)),
            Audience::Terminal => {
                let mut out = std::io::stderr().lock();
                let end = if is_end { "\n" } else { "" };
                // A terminal that is gone needs no progress.
                write!(out, "\r\x1b[K{}{end}", figures.line(self.verb))
                    .and_then(|()| out.flush())
                    .unwrap_or_default();
            }
        }
    }
}

impl Figures {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds.max(0.001)
    }

    /// Seconds until the end, as it goes.
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    fn left(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > self.bytes && self.bytes > 0)?;
        Some((total - self.bytes) as f64 * self.seconds / self.bytes as f64)
    }

    fn line(&self, verb: &str) -> String {
        let mut line = format!("{} {verb}, {:.0}/s", self.messages, self.rate());
        if self.failures > 0 {
            line.push_str(&format!(", {} failed", self.failures));
        }
        if let Some(total) = self.total.filter(|total| *total > 0) {
            line.push_str(&format!(", {} %", (self.bytes * 100 / total).min(100)));
        }
        if let Some(left) = self.left() {
            line.push_str(&format!(", {left:.0} s left"));
        }
        line
    }

    fn json(&self, is_end: bool) -> String {
        json!({
            "messages": self.messages,
            "bytes": self.bytes,
            "failed": self.failures,
            "seconds": (self.seconds * 1000.0).round() / 1000.0,
            "rate": self.rate().round(),
            "seconds_left": self.left().map(f64::round),
            "done": is_end,
        })
        .to_string()
    }
}

#[allow(clippy::print_stdout, reason = "what a machine reads is the program's output")]
fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_for_people_and_for_machines() {
        let mut figures =
            Figures { messages: 500, bytes: 250, failures: 0, seconds: 2.0, total: Some(1000) };
        assert_eq!(figures.line("published"), "500 published, 250/s, 25 %, 6 s left");
        let json: serde_json::Value = serde_json::from_str(&figures.json(false)).unwrap();
        assert_eq!((&json["rate"], &json["seconds_left"]), (&250.0.into(), &6.0.into()));
        figures = Figures { failures: 3, total: None, ..figures };
        assert_eq!(figures.line("sent"), "500 sent, 250/s, 3 failed");
        assert!(figures.json(true).contains(r#""seconds_left":null"#));
    }
}
