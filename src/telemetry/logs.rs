//! Logs: to standard error, as text for people, as one JSON object a line, or line for line as nsqd writes them. What is
//! logged can be changed while the program runs.

pub mod files;
mod nsqd;
mod outputs;
pub mod remote;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::{EnvFilter, fmt, reload};

pub use nsqd::line as nsqd_line;
use outputs::Queue;
pub use outputs::{Destination, dropped};

/// How long the last lines may take to be written when the program ends.
const FLUSH: Duration = Duration::from_secs(1);

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
    /// Where lines go, beside a queue of their own; standard error, without one, if there are none.
    pub outputs: Vec<Output>,
}

/// One of several places for lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where they go.
    pub to: Destination,
    /// Its own level, which stays; that of all others if `None`.
    pub level: Option<String>,
    /// How a line looks there; as elsewhere if `None`.
    pub format: Option<LogFormat>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default(), outputs: Vec::new() }
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
    /// An output cannot be opened.
    #[error("log.outputs: {0}")]
    Output(#[from] io::Error),
    /// Somebody has set it up before.
    #[error("logging is set up already")]
    Repeated(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Changes what is logged, from anywhere.
#[derive(Clone, Debug)]
pub struct LevelHandle {
    /// Those that have no level of their own.
    filters: Vec<reload::Handle<EnvFilter, Registry>>,
    queue: Option<Queue>,
}

impl LevelHandle {
    /// Has the program log at `level` (see [`LogOptions::level`]) from now on.
    ///
    /// # Errors
    /// A level that is none.
    pub fn set(&self, level: &str) -> Result<(), LogError> {
        for handle in &self.filters {
            handle.reload(filter(level)?)?;
        }
        Ok(())
    }

    /// Whether lines go elsewhere than to standard error alone.
    #[must_use]
    pub const fn has_outputs(&self) -> bool {
        self.queue.is_some()
    }

    /// Opens files anew, since somebody may have moved them away.
    pub fn reopen(&self) {
        if let Some(queue) = &self.queue {
            queue.reopen();
        }
    }

    /// Waits until what was said is written, for a second at most.
    pub fn flush(&self) {
        if let Some(queue) = &self.queue {
            queue.flush(FLUSH);
        }
    }
}

/// Has the whole program log as `options` say, from now on.
///
/// # Errors
/// A level that is none, or a second call.
pub fn init(options: &LogOptions) -> Result<LevelHandle, LogError> {
    let ansi = io::stderr().is_terminal();
    let (subscriber, handle) = if options.outputs.is_empty() {
        subscriber(options, ansi, io::stderr)?
    } else {
        to_outputs(options)?
    };
    tracing::subscriber::set_global_default(subscriber)?;
    if handle.queue.is_some() {
        // What a panic says is among the last lines.
        let (told, at_panic) = (handle.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            at_panic(panic);
            told.flush();
        }));
    }
    Ok(handle)
}

type Subscribed = (Box<dyn Subscriber + Send + Sync>, LevelHandle);

/// Lines go through the queue, each output with a filter of its own.
fn to_outputs(options: &LogOptions) -> Result<Subscribed, LogError> {
    let destinations: Vec<Destination> =
        options.outputs.iter().map(|output| output.to.clone()).collect();
    let queue = Queue::start(&destinations)?;
    let (mut layers, mut filters) = (Vec::new(), Vec::new());
    for (at, output) in options.outputs.iter().enumerate() {
        let level = output.level.as_deref().unwrap_or(&options.level);
        let (filter, handle) = reload::Layer::new(filter(level)?);
        if output.level.is_none() {
            filters.push(handle);
        }
        let lines = fmt::layer().with_ansi(false).with_writer(queue.clone().to(at));
        let lines = match output.format.as_ref().unwrap_or(&options.format) {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
            LogFormat::Nsqd(prefix) => {
                lines.event_format(nsqd::Format::new(prefix.clone())).boxed()
            }
        };
        layers.push(lines.with_filter(filter).boxed());
    }
    let subscriber = Registry::default().with(layers);
    Ok((Box::new(subscriber), LevelHandle { filters, queue: Some(queue) }))
}

fn subscriber<W>(options: &LogOptions, ansi: bool, writer: W) -> Result<Subscribed, LogError>
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
    Ok((Box::new(subscriber), LevelHandle { filters: vec![handle], queue: None }))
}

/// Whether a text is a level, or directives.
#[must_use]
pub fn is_level(text: &str) -> bool {
    filter(text).is_ok()
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
        let options = LogOptions { level: level.to_owned(), format, ..LogOptions::default() };
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
        let options = LogOptions { level: "warn".to_owned(), ..LogOptions::default() };
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
