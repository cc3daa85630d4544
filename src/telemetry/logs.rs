//! Logs: to standard error, as text for people or as one JSON object a line.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured if standard error is a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
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
    /// Somebody has set it up before.
    #[error("logging is set up already")]
    Repeated(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Has the whole program log as `options` say, from now on.
///
/// # Errors
/// A level that is none, or a second call.
pub fn init(options: &LogOptions) -> Result<(), LogError> {
    let ansi = std::io::stderr().is_terminal();
    let subscriber = subscriber(options, ansi, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(())
}

fn subscriber<W>(
    options: &LogOptions,
    ansi: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&options.level)?)
        .with_ansi(ansi)
        .with_writer(writer);
    Ok(match options.format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
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
        let subscriber = subscriber(&options, false, move || writer.clone()).unwrap();
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
