//! How a utility begins and ends: its log, its runtime, the signals that stop it, and what it says when it cannot go on.

use std::process::ExitCode;

use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use super::client::{ClientOptions, ConnectOptions};
use crate::client::connect::host_of;
use crate::task::spawn;
use crate::telemetry::logs;

/// Why a utility ends before its work does.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The log level is not one, or TLS cannot be had.
    #[error("{0}")]
    Setup(String),
    /// A nsqd that was named is not there.
    #[error("cannot connect to nsqd {address}: {reason}")]
    Connect {
        /// As it was given.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// A message was refused, or not answered.
    #[error("cannot publish to {address}: {reason}")]
    Publish {
        /// The nsqd.
        address: String,
        /// Its words.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was to be done.
        what: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// What a nsqlookupd or nsqd was asked for.
    #[error("{0}")]
    Asked(String),
}

impl ToolError {
    /// What failed of reading or writing.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// How a utility logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlan {
    /// Its least severe level.
    pub level: String,
    /// What stands before each line.
    pub prefix: String,
}

impl LogPlan {
    /// That of the utility of this name.
    #[must_use]
    pub fn of(utility: &str) -> Self {
        Self { level: "info".into(), prefix: format!("[{utility}] ") }
    }
}

/// Runs `work` to its end: 0, or 1 with its error as the last line of the log.
pub(super) fn run<F>(log: &LogPlan, work: impl FnOnce() -> F) -> ExitCode
where
    F: Future<Output = Result<(), ToolError>>,
{
    let options = logs::LogOptions {
        level: log.level.clone(),
        format: logs::LogFormat::Nsqd(log.prefix.clone()),
        outputs: Vec::new(),
    };
    let ended = logs::init(&options).map_err(|error| ToolError::Setup(error.to_string())).and_then(
        |_level| {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            let runtime = runtime.map_err(ToolError::io("cannot start"))?;
            let ended = runtime.block_on(Box::pin(async { work().await }));
            // Somebody may still read what nobody will write.
            runtime.shutdown_background();
            ended
        },
    );
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&logs::nsqd_line(&log.prefix, "FATAL", &error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Turns true at SIGINT or SIGTERM.
///
/// # Errors
/// Signals cannot be heard.
pub(super) fn stop_signals() -> Result<watch::Receiver<bool>, ToolError> {
    let hear = |kind| signal(kind).map_err(ToolError::io("cannot hear signals"));
    let (mut terminate, mut interrupt) =
        (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?);
    let (stop, stopped) = watch::channel(false);
    drop(spawn("signals", async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
        // Whoever waits is told, not that nobody tells any more.
        std::future::pending::<()>().await;
    }));
    Ok(stopped)
}

/// Tries each of these nsqds once: one that is not there at start is most likely a mistake.
pub(super) async fn try_all(addresses: &[String], client: &ClientOptions) -> Result<(), ToolError> {
    for address in addresses {
        let ConnectOptions { dial_timeout, .. } = client.connect;
        let refused = |reason: String| ToolError::Connect { address: address.clone(), reason };
        if host_of(address).is_none() {
            return Err(refused("not host:port".into()));
        }
        match timeout(dial_timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(refused(error.to_string())),
            Err(_) => return Err(refused(format!("no connection within {dial_timeout:?}"))),
        }
    }
    Ok(())
}

#[allow(clippy::print_stderr, reason = "the last words of a program that may have no log")]
fn say_error(text: &str) {
    eprintln!("{text}");
}
