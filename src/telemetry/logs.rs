//! Logs: to standard error, as text for people, as one JSON object a line, or line for line as nsqd writes them. What is
//! logged can be changed while the program runs.

mod nsqd;

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::{EnvFilter, fmt, reload};

pub use nsqd::line as nsqd_line;

/// Levels as they may be written, and what each means here. `fatal` is nsqd's.
const LEVELS: [(&str, &str); 7] = [
    ("trace", "trace"),
    ("debug", "debug"),
    ("info", "info"),
    ("warn", "warn"),
    ("error", "error"),
    ("fatal", "error"),
    ("off", "off"),
];

/// How a log line looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured if standard error is a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// As nsqd's, with this prefix.
    Nsqd(String),
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A level (`trace`, `debug`, `info`, `warn`, `error`, `fatal`, `off`, in any case), or directives for single modules
    /// separated by commas, such as `info,leveret::bridge=debug,lapin=warn`. A level alone is that of Leveret's own
    /// modules; libraries are then heard from `warn` on.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A word that is neither a level nor a directive.
    #[error(
        "log level \"{0}\": expected trace, debug, info, warn, error, fatal or off, or directives like info,leveret::bridge=debug"
    )]
    Level(String),
    /// A directive that does not parse.
    #[error("log level \"{level}\": {source}")]
    Directive {
        /// What was given.
        level: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The logs are gone.
    #[error("the log level cannot be changed: {0}")]
    Reload(#[from] reload::Error),
    /// Somebody has set it up before.
    #[error("logging is set up already")]
    Repeated(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Changes what is logged, from anywhere.
#[derive(Clone, Debug)]
pub struct LevelHandle(reload::Handle<EnvFilter, Registry>);

impl LevelHandle {
    /// Has the program log at `level` (see [`LogOptions::level`]) from now on.
    ///
    /// # Errors
    /// A level that is none.
    pub fn set(&self, level: &str) -> Result<(), LogError> {
        Ok(self.0.reload(filter(level)?)?)
    }
}

/// Has the whole program log as `options` say, from now on.
///
/// # Errors
/// A level that is none, or a second call.
pub fn init(options: &LogOptions) -> Result<LevelHandle, LogError> {
    let ansi = std::io::stderr().is_terminal();
    let (subscriber, handle) = subscriber(options, ansi, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(handle)
}

fn subscriber<W>(
    options: &LogOptions,
    ansi: bool,
    writer: W,
) -> Result<(Box<dyn Subscriber + Send + Sync>, LevelHandle), LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(&options.level)?);
    let lines = fmt::layer().with_ansi(ansi).with_writer(writer);
    let lines = match &options.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Nsqd(prefix) => {
            lines.with_ansi(false).event_format(nsqd::Format::new(prefix.clone())).boxed()
        }
    };
    let subscriber = Registry::default().with(filter).with(lines);
    Ok((Box::new(subscriber), LevelHandle(handle)))
}

fn level(word: &str) -> Option<&'static str> {
    let mut levels = LEVELS.iter();
    let (_, meaning) = levels.find(|(name, _)| name.eq_ignore_ascii_case(word))?;
    Some(meaning)
}

fn filter(wanted: &str) -> Result<EnvFilter, LogError> {
    let directives = directives(wanted)?;
    let parsed = EnvFilter::builder().parse(&directives);
    parsed.map_err(|source| LogError::Directive { level: wanted.to_owned(), source })
}

/// What `wanted` is for [`EnvFilter`].
fn directives(wanted: &str) -> Result<String, LogError> {
    let wanted = wanted.trim();
    if let Some(level) = level(wanted) {
        return Ok(match level {
            "off" | "error" => level.to_owned(),
            _ => format!("warn,leveret={level}"),
        });
    }
    // A word alone would be taken for a module whose every line is wanted, and a misspelt level with it.
    let words = wanted.split(',').map(str::trim);
    let known = words.map(|word| match level(word) {
        Some(level) => Ok(level),
        None if word.contains(['=', '[']) => Ok(word),
        None => Err(LogError::Level(word.to_owned())),
    });
    Ok(known.collect::<Result<Vec<_>, _>>()?.join(","))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, format: LogFormat) -> String {
        let page = Page::default();
        let writer = page.clone();
        let options = LogOptions { level: level.to_owned(), format };
        let (subscriber, _) = subscriber(&options, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("quiet");
            tracing::info!(route = "orders", "heard");
            tracing::info!(target: "lapin::channel", "chatter");
        });
        let bytes = page.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_level_is_that_of_our_own_modules() {
        let text = logged("INFO", LogFormat::Text);
        assert!(text.contains("heard") && text.contains("route=\"orders\""), "{text}");
        assert!(!text.contains("quiet") && !text.contains("chatter"), "{text}");
        assert!(logged("debug", LogFormat::Text).contains("quiet"));
        assert_eq!(logged("fatal", LogFormat::Text), "");
        assert!(logged("warn,lapin=info", LogFormat::Text).contains("chatter"));
    }

    #[test]
    fn nsqds_lines_have_its_prefix_and_levels() {
        let text = logged("info", LogFormat::Nsqd("[nsqd] ".to_owned()));
        let (_, line) = text.split_once(" INFO: ").unwrap();
        assert_eq!(line, "heard route=\"orders\"\n");
        assert!(text.starts_with("[nsqd] 20"), "{text}");
    }

    #[test]
    fn the_level_changes_while_it_runs() {
        let page = Page::default();
        let writer = page.clone();
        let options = LogOptions { level: "warn".to_owned(), format: LogFormat::Text };
        let (subscriber, handle) = subscriber(&options, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for level in ["warn", "debug", "error"] {
                handle.set(level).unwrap();
                tracing::debug!("at {level}");
            }
            assert!(handle.set("loud").is_err());
        });
        let text = String::from_utf8(page.0.lock().clone()).unwrap();
        assert!(text.contains("at debug") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = logged("info", LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&line["message"], &line["route"]), (&"heard".into(), &"orders".into()));
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for bad in ["inof", "", "info,debgu", "leveret=loud", "warning"] {
            let error = filter(bad).unwrap_err().to_string();
            assert!(error.starts_with("log level \""), "{bad}: {error}");
        }
        for good in ["Trace", "off", "fatal", "info, leveret::bridge=debug", "[task]=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
    }
}
