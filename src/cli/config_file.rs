//! `--config` of NSQ's daemons: a TOML file whose top-level keys stand for flags. A flag on the command line wins over the file.
//!
//! Types are converted as nsqd converts them, with three differences: the integers 1 and 0 are true and false for a
//! switch (nsqd takes them the wrong way round), a type that nsqd turns into rubbish or silently drops is refused, and a
//! key that is none is named once at start.

use std::path::Path;

use toml::{Table, Value};

use crate::cli::goflags::{Flag, Given, Kind, is_level, parse_bool, parse_duration};

/// Keys that are not the flag's name with underscores; `None` for flags that a file cannot give.
const SPECIAL: &[(&str, Option<&str>)] = &[
    ("admin-user", Some("admin_users")),
    ("auth-http-address", Some("auth_http_addresses")),
    ("config", None),
    ("e2e-processing-latency-percentile", Some("e2e_processing_latency_percentiles")),
    ("lookupd-tcp-address", Some("nsqlookupd_tcp_addresses")),
    ("lookupd-http-address", Some("nsqlookupd_http_addresses")),
    ("node-id", Some("id")),
    ("nsqd-http-address", Some("nsqd_http_addresses")),
    ("verbose", None),
    ("version", None),
    ("worker-id", None),
];

/// Why the file cannot be used. nsqd's texts, as far as it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigFileError {
    /// It cannot be read, or is not TOML.
    #[error("failed to load config file {path} - {reason}")]
    Load {
        /// As it was given.
        path: String,
        /// The system's words, or what is wrong at which line.
        reason: String,
    },
    /// A value that is none of the words that there are.
    #[error("failed parsing {key} {value}")]
    Word {
        /// The option.
        key: String,
        /// As it stands in the file.
        value: String,
    },
    /// A value of a type that the option cannot have.
    #[error("Resolve failed to coerce value {value} for {key} - {reason}")]
    Coerce {
        /// The option.
        key: String,
        /// As it stands in the file.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigFileError {
    /// Whether a value has the wrong type, which nsqd reports as an error and not as fatal, though it ends too.
    #[must_use]
    pub(super) const fn is_coercion(&self) -> bool {
        matches!(self, Self::Coerce { .. })
    }
}

/// The name of `flag` in the file, and below `/config`; `None` if it has none.
pub(super) fn key(flag: &Flag) -> Option<String> {
    match SPECIAL.iter().find(|(name, _)| *name == flag.name) {
        Some((_, key)) => key.map(str::to_owned),
        None => Some(flag.name.replace('-', "_")),
    }
}

/// Adds to `given` what it lacks and the file has, and returns the keys that are none.
///
/// # Errors
/// The file cannot be read, or a value cannot be used.
pub(super) fn read(
    flags: &[Flag],
    given: &mut Given,
    path: &str,
) -> Result<Vec<String>, ConfigFileError> {
    let load = |reason| ConfigFileError::Load { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(Path::new(path))
        .map_err(|error| load(format!("open {path}: {error}")))?;
    let table = parse(&text).map_err(load)?;
    merge(flags, given, &table)
}

fn parse(text: &str) -> Result<Table, String> {
    text.parse::<Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("toml: line {line}, column {column}: {}", error.message().replace('\n', ", "))
    })
}

fn merge(flags: &[Flag], given: &mut Given, table: &Table) -> Result<Vec<String>, ConfigFileError> {
    let mut unknown: Vec<String> = table.keys().cloned().collect();
    for flag in flags {
        let Some(key) = key(flag) else { continue };
        let Some(value) = table.get(&key) else { continue };
        unknown.retain(|other| *other != key);
        if given.has(flag.name) {
            continue;
        }
        let shown = shown(value);
        let values = match word(flag, value) {
            Some(Ok(word)) => word,
            Some(Err(())) => return Err(ConfigFileError::Word { key, value: shown }),
            None => coerce(flag.kind, value).map_err(|reason| ConfigFileError::Coerce {
                key,
                value: shown,
                reason,
            })?,
        };
        if !values.is_empty() {
            given.set(flag, values);
        }
    }
    Ok(unknown)
}

/// The value of an option that takes certain words: `None` if `flag` is no such option.
fn word(flag: &Flag, value: &Value) -> Option<Result<Vec<String>, ()>> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Boolean(switch) => switch.to_string(),
        _ => String::new(),
    };
    let is_word = match (flag.kind, flag.name) {
        (Kind::Level, _) => is_level(&text),
        (_, "tls-required") => parse_bool(&text).is_some() || text == "tcp-https",
        (_, "tls-min-version") => {
            matches!(text.as_str(), "" | "tls1.0" | "tls1.1" | "tls1.2" | "tls1.3")
                && value.is_str()
        }
        _ => return None,
    };
    // An empty one is the default.
    Some(
        is_word.then(|| Some(text).filter(|text| !text.is_empty()).into_iter().collect()).ok_or(()),
    )
}

/// `value` as the texts that a flag of this kind takes.
fn coerce(kind: Kind, value: &Value) -> Result<Vec<String>, String> {
    let one = match (kind, value) {
        (Kind::Bool, Value::Boolean(switch)) => switch.to_string(),
        (Kind::Bool, Value::Integer(number @ 0..=1)) => (*number == 1).to_string(),
        (Kind::Bool, Value::Integer(number)) => {
            return Err(format!("{number} is neither true (1) nor false (0)"));
        }
        (Kind::Bool, Value::String(text)) if parse_bool(text).is_some() => text.clone(),
        (Kind::Int, Value::Integer(number)) => number.to_string(),
        (Kind::Int, Value::String(text)) => text
            .parse::<i64>()
            .map_err(|_| format!("\"{text}\" is not a whole number in base 10"))?
            .to_string(),
        (Kind::Duration, Value::Integer(millis)) => {
            let text = format!("{millis}ms");
            parse_duration(&text).ok_or_else(|| format!("{text} is too long"))?;
            text
        }
        (Kind::Duration, Value::String(text)) if parse_duration(text).is_some() => text.clone(),
        (Kind::Duration, Value::String(text)) if text.parse::<f64>().is_ok() => {
            return Err(format!("missing unit in duration \"{text}\""));
        }
        (Kind::Text | Kind::Level | Kind::Word(_), Value::String(text)) => text.clone(),
        (Kind::Texts, _) => return texts(value),
        (Kind::Float, Value::Float(number)) => number.to_string(),
        (Kind::Float, Value::Integer(number)) => number.to_string(),
        (Kind::Floats, _) => return floats(value),
        (_, Value::String(text)) => return Err(format!("\"{text}\" is not {}", wanted(kind))),
        _ => return Err(mismatch(kind, value)),
    };
    Ok(vec![one])
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(text.split(',').map(str::to_owned).collect()),
        Value::Array(elements) => {
            let text = |element: &Value| match element {
                Value::String(text) => Ok(text.clone()),
                _ => Err(mismatch(Kind::Text, element)),
            };
            elements.iter().map(text).collect()
        }
        _ => Err(mismatch(Kind::Texts, value)),
    }
}

fn floats(value: &Value) -> Result<Vec<String>, String> {
    let number = |text: &str| match text.trim() {
        trimmed if trimmed.parse::<f64>().is_ok() => Ok(trimmed.to_owned()),
        _ => Err(format!("\"{text}\" is not a number")),
    };
    let element = |element: &Value| match element {
        Value::Float(float) => Ok(float.to_string()),
        Value::Integer(whole) => Ok(whole.to_string()),
        _ => Err(mismatch(Kind::Floats, element)),
    };
    match value {
        Value::String(text) => text.split(',').map(number).collect(),
        Value::Array(elements) => elements.iter().map(element).collect(),
        _ => Ok(vec![element(value)?]),
    }
}

fn mismatch(kind: Kind, value: &Value) -> String {
    format!("expected {}, found {}", wanted(kind), value.type_str())
}

const fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool | Kind::BoolOr(_) => "true or false",
        Kind::Int => "a whole number",
        Kind::Duration => "a duration such as \"10s\", or whole milliseconds",
        Kind::Text | Kind::Level | Kind::Word(_) => "a string",
        Kind::Texts => "a list of strings",
        Kind::Float => "a number",
        Kind::Floats => "a list of numbers",
    }
}

/// A value as an error shows it: on one line, a string without its quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(switch) => switch.to_string(),
        Value::Datetime(moment) => moment.to_string(),
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(shown).collect();
            format!("[{}]", elements.join(" "))
        }
        Value::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::goflags;
    use crate::cli::nsqd::FLAGS;

    fn resolve(text: &str, args: &str) -> Result<(Given, Vec<String>), ConfigFileError> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        let mut given = goflags::parse(FLAGS, &args).unwrap();
        let unknown = merge(FLAGS, &mut given, &parse(text).unwrap())?;
        Ok((given, unknown))
    }

    fn one(text: &str) -> Given {
        resolve(text, "").unwrap().0
    }

    fn error(text: &str) -> String {
        resolve(text, "").unwrap_err().to_string()
    }

    #[test]
    fn edge_145_a_switch_takes_1_and_0_as_they_are_meant() {
        for (text, switch) in
            [("1", true), ("0", false), ("true", true), ("\"f\"", false), ("\"T\"", true)]
        {
            assert_eq!(one(&format!("snappy = {text}")).bool("snappy"), Some(switch), "{text}");
        }
        assert!(error("snappy = 2").ends_with("2 is neither true (1) nor false (0)"));
        assert_eq!(
            error("snappy = \"no\""),
            "Resolve failed to coerce value no for snappy - \"no\" is not true or false"
        );
        assert!(error("snappy = 1.5").ends_with("expected true or false, found float"));
    }

    #[test]
    fn edge_146_a_duration_without_a_unit_is_milliseconds_only_as_a_number() {
        let timeout = |text: &str| one(text).duration("msg-timeout").unwrap().as_millis();
        assert_eq!(timeout("msg_timeout = 5000"), 5000);
        assert_eq!(timeout("msg_timeout = \"1m\""), 60_000);
        assert_eq!(
            error("msg_timeout = \"5000\""),
            "Resolve failed to coerce value 5000 for msg_timeout - missing unit in duration \"5000\""
        );
        assert!(error("msg_timeout = 1.5").contains("found float"));
        assert!(error("msg_timeout = 9223372036854775807").contains("too long"));
    }

    #[test]
    fn numbers_and_texts() {
        assert_eq!(one("max_rdy_count = 77").int("max-rdy-count"), Some(77));
        assert_eq!(one("max_rdy_count = \"077\"").int("max-rdy-count"), Some(77));
        for bad in ["1.5", "true", "\"0x10\"", "[1]"] {
            assert!(
                error(&format!("max_rdy_count = {bad}")).starts_with("Resolve failed to coerce")
            );
        }
        assert_eq!(one("statsd_prefix = \"\"").text("statsd-prefix"), Some(""));
        assert!(error("statsd_prefix = 5").ends_with("expected a string, found integer"));
    }

    #[test]
    fn lists() {
        let addresses = |text: &str| one(text).texts("lookupd-tcp-address").to_vec();
        assert_eq!(addresses("nsqlookupd_tcp_addresses = [\"a:1\", \"b:2\"]"), ["a:1", "b:2"]);
        assert_eq!(addresses("nsqlookupd_tcp_addresses = \"a:1,b:2\""), ["a:1", "b:2"]);
        assert!(error("nsqlookupd_tcp_addresses = [1]").contains("found integer"));
        let percentiles = |text: &str| {
            one(&format!("e2e_processing_latency_percentiles = {text}"))
                .floats("e2e-processing-latency-percentile")
        };
        assert_eq!(percentiles("[0.5, 0.99, 1]"), [0.5, 0.99, 1.0], "in the file's order");
        assert_eq!(percentiles("\"0.5, 0.99\""), [0.5, 0.99]);
        assert_eq!(percentiles("0.5"), [0.5]);
        assert_eq!(percentiles("[]"), [0.0; 0]);
        assert!(error("e2e_processing_latency_percentiles = \"x\"").contains("not a number"));
    }

    #[test]
    fn words() {
        assert_eq!(one("log_level = \"WARN\"").text("log-level"), Some("WARN"));
        assert_eq!(error("log_level = \"loud\""), "failed parsing log_level loud");
        assert_eq!(error("log_level = 5"), "failed parsing log_level 5");
        assert_eq!(one("tls_required = false").text("tls-required"), Some("false"));
        assert_eq!(one("tls_required = \"tcp-https\"").text("tls-required"), Some("tcp-https"));
        assert_eq!(error("tls_required = \"maybe\""), "failed parsing tls_required maybe");
        assert_eq!(one("tls_min_version = \"tls1.2\"").text("tls-min-version"), Some("tls1.2"));
        assert_eq!(one("tls_min_version = \"\"").text("tls-min-version"), None);
        assert_eq!(error("tls_min_version = \"ssl3.0\""), "failed parsing tls_min_version ssl3.0");
    }

    #[test]
    fn a_flag_wins_and_what_is_no_key_is_named() {
        let file =
            "id = 5\nnode_id = 7\nmem-queue-size = 3\nmsg_timeout = \"1s\"\n[table]\nid = 9\n";
        let (given, unknown) = resolve(file, "-msg-timeout=9s").unwrap();
        assert_eq!(given.int("node-id"), Some(5));
        assert_eq!(given.text("msg-timeout"), Some("9s"));
        assert_eq!(given.int("mem-queue-size"), None);
        assert_eq!(unknown, ["mem-queue-size", "node_id", "table"]);
        let lists = "nsqlookupd_tcp_addresses = [\"a:1\", \"b:2\"]";
        let (given, _) = resolve(lists, "-lookupd-tcp-address=c:3").unwrap();
        assert_eq!(given.texts("lookupd-tcp-address"), ["c:3"]);
        // A value that the command line overrides is not looked at, as in nsqd.
        assert!(resolve("msg_timeout = true", "-msg-timeout=9s").is_ok());
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_place() {
        let error = parse("id = 1\nsnappy = \n").unwrap_err();
        assert!(error.starts_with("toml: line 2, column 10: "), "{error}");
        let error = read(FLAGS, &mut Given::default(), "/nowhere/nsqd.toml").unwrap_err();
        let text = error.to_string();
        let expected = "failed to load config file /nowhere/nsqd.toml - open /nowhere/nsqd.toml: ";
        assert!(text.starts_with(expected), "{text}");
    }
}
