//! Go's flag syntax, as NSQ's programs have it: `-flag` is `--flag`, `-flag=value` is `-flag value`, a boolean takes only
//! `-flag` or `-flag=value`, and parsing stops at the first argument that is not a flag.
//!
//! Source of the rules and texts: Go's `flag` package, as seen in `nsqd --help` and its errors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; the value may be left out.
    Bool,
    /// A whole number: decimal, `0x10`, `0o7`, `0b1`, `1_000`.
    Int,
    /// A duration with its unit: `300ms`, `1.5h`, `1h2m3s`, `0`.
    Duration,
    /// Any text; the last occurrence counts.
    Text,
    /// Any text; every occurrence counts.
    Texts,
    /// As [`Kind::Bool`], or this word in any case.
    BoolOr(&'static str),
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// A number.
    Float,
    /// Numbers, several separated by commas; every occurrence counts, and they are sorted, the largest first.
    Floats,
    /// nsqd's names of what is logged, in any case.
    Level,
}

/// One flag of a program.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name without dashes.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default as the usage shows it; empty for none.
    pub default: &'static str,
    /// One line of help.
    pub help: &'static str,
}

/// A flag of this name.
pub(super) const fn flag(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, kind, default, help }
}

/// What was given, by flag name. Values are checked against their flag's kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    values: BTreeMap<&'static str, Vec<String>>,
    /// Arguments from the first one on that is not a flag.
    pub rest: Vec<String>,
}

/// Why the arguments are not usable. Go's texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// `-h` or `-help`: show the usage and leave with status 0.
    #[error("help requested")]
    Help,
    /// No such flag.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// The value is missing.
    #[error("flag needs an argument: -{0}")]
    Missing(String),
    /// The value does not parse.
    #[error("invalid {what}value \"{value}\" for flag -{name}: {reason}")]
    Invalid {
        /// `boolean ` or nothing.
        what: &'static str,
        /// What was given.
        value: String,
        /// For which flag.
        name: String,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },
    /// Dashes that lead nowhere.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
}

impl Given {
    /// The last value given.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    /// All values given, in order.
    #[must_use]
    pub fn texts(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The last value of a boolean flag.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        parse_bool(self.text(name)?)
    }

    /// The last value of a number.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        parse_int(self.text(name)?)
    }

    /// The last value of a duration; a negative one counts as zero.
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        let nanos = parse_duration(self.text(name)?)?;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    }

    /// All values of a list of numbers, in order.
    #[must_use]
    pub fn floats(&self, name: &str) -> Vec<f64> {
        self.texts(name).iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// The last value of a number that need not be whole.
    #[must_use]
    pub fn float(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    /// Whether it was given.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Gives a flag its values, which must be such as the flag takes, in place of those that it has.
    pub fn set(&mut self, flag: &Flag, values: Vec<String>) {
        self.values.insert(flag.name, values);
    }

    /// The names of the flags that were given.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.values.keys().copied()
    }
}

/// Parses a program's arguments (without its name).
///
/// # Errors
/// What Go's `flag` package would print before the usage.
pub fn parse(flags: &[Flag], args: &[String]) -> Result<Given, FlagError> {
    let mut given = Given::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(flag) = arg.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            given.rest.push(arg.clone());
            break;
        };
        let flag = flag.strip_prefix('-').unwrap_or(flag);
        if flag.is_empty() {
            break;
        }
        if flag.starts_with(['-', '=']) {
            return Err(FlagError::Syntax(arg.clone()));
        }
        let (name, value) =
            flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
            return Err(if matches!(name, "h" | "help") {
                FlagError::Help
            } else {
                FlagError::Unknown(name.into())
            });
        };
        let value = match value {
            Some(value) => value.to_owned(),
            None if matches!(flag.kind, Kind::Bool | Kind::BoolOr(_)) => "true".to_owned(),
            None => args.next().ok_or_else(|| FlagError::Missing(name.into()))?.clone(),
        };
        check(flag, &value)?;
        let values = given.values.entry(flag.name).or_default();
        if flag.kind == Kind::Floats {
            values.extend(value.split(',').map(str::to_owned));
            values.sort_by(|one, other| float(other).total_cmp(&float(one)));
        } else {
            values.push(value);
        }
    }
    given.rest.extend(args.cloned());
    Ok(given)
}

fn check(flag: &Flag, value: &str) -> Result<(), FlagError> {
    let is_good = match flag.kind {
        Kind::Bool => parse_bool(value).is_some(),
        Kind::Int => parse_int(value).is_some(),
        Kind::Duration => parse_duration(value).is_some(),
        Kind::Float => value.parse::<f64>().is_ok(),
        Kind::Floats => value.split(',').all(|part| part.parse::<f64>().is_ok()),
        Kind::Level => is_level(value),
        Kind::Text | Kind::Texts => true,
        Kind::BoolOr(word) => parse_bool(value).is_some() || value.eq_ignore_ascii_case(word),
        Kind::Word(words) => words.iter().any(|word| value.eq_ignore_ascii_case(word)),
    };
    if is_good {
        return Ok(());
    }
    let is_bool = matches!(flag.kind, Kind::Bool | Kind::BoolOr(_));
    let what = if is_bool { "boolean " } else { "" };
    let reason = if flag.kind == Kind::Level {
        format!("invalid log level '{value}' (debug, info, warn, error, fatal)").into()
    } else {
        "parse error".into()
    };
    Err(FlagError::Invalid { what, value: value.into(), name: flag.name.into(), reason })
}

/// A number that was checked before.
fn float(text: &str) -> f64 {
    text.parse().unwrap_or_default()
}

/// Whether nsqd (or we, `trace`) know a level of this name.
pub(super) fn is_level(name: &str) -> bool {
    const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(name))
}

/// A boolean in any of Go's spellings.
pub(super) fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn parse_int(value: &str) -> Option<i64> {
    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", value.strip_prefix('+').unwrap_or(value)),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    let is_grouped_well = !digits.ends_with('_') && !digits.contains("__");
    let digits: String = digits.chars().filter(|&c| c != '_').collect();
    if !is_grouped_well || digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// Nanoseconds of a Go duration.
pub(super) fn parse_duration(value: &str) -> Option<i64> {
    let (is_negative, mut rest) = match value.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, value.strip_prefix('+').unwrap_or(value)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(end)?;
        let number: f64 = number.parse().ok()?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        total += number * unit_nanos(unit)?;
        rest = tail;
    }
    // 2^63 ns are 292 years; Go refuses more.
    if total >= 9.2e18 {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "bounded just above")]
    let nanos = total.round() as i64;
    Some(if is_negative { -nanos } else { nanos })
}

fn unit_nanos(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
}

/// The usage text that Go prints for `flags`.
#[must_use]
pub fn usage(program: &str, flags: &[Flag]) -> String {
    use std::fmt::Write as _;
    let mut text = format!("Usage of {program}:\n");
    for flag in flags {
        let kind = match flag.kind {
            Kind::Bool | Kind::BoolOr(_) => "",
            Kind::Int => " int",
            Kind::Duration => " duration",
            Kind::Float => " float",
            Kind::Text => " string",
            Kind::Texts | Kind::Floats | Kind::Level | Kind::Word(_) => " value",
        };
        let default = if flag.default.is_empty() {
            String::new()
        } else {
            format!(" (default {})", flag.default)
        };
        // Writing to a String cannot fail.
        write!(text, "  -{}{kind}\n    \t{}{default}\n", flag.name, flag.help).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag { name: "deflate", kind: Kind::Bool, default: "true", help: "" },
        Flag { name: "node-id", kind: Kind::Int, default: "", help: "" },
        Flag { name: "msg-timeout", kind: Kind::Duration, default: "1m0s", help: "how long" },
        Flag { name: "tcp-address", kind: Kind::Text, default: "", help: "" },
        Flag { name: "lookupd-tcp-address", kind: Kind::Texts, default: "", help: "" },
        Flag { name: "percentile", kind: Kind::Floats, default: "", help: "" },
        Flag { name: "log-level", kind: Kind::Level, default: "", help: "" },
    ];

    fn run(args: &str) -> Result<Given, FlagError> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        parse(FLAGS, &args)
    }

    #[test]
    fn both_dashes_and_both_separators_are_the_same() {
        for args in ["-tcp-address=a", "--tcp-address a", "-tcp-address a", "--tcp-address=a"] {
            assert_eq!(run(args).unwrap().text("tcp-address"), Some("a"), "{args}");
        }
        let given = run("-tcp-address=a --tcp-address=b").unwrap();
        assert_eq!(given.text("tcp-address"), Some("b"));
        let given = run("-lookupd-tcp-address=a --lookupd-tcp-address b").unwrap();
        assert_eq!(given.texts("lookupd-tcp-address"), ["a", "b"]);
        let given = run("-percentile=0.5,0.99 -percentile 1,.9").unwrap();
        assert_eq!(given.floats("percentile"), [1.0, 0.99, 0.9, 0.5]);
    }

    #[test]
    fn a_boolean_takes_its_value_only_behind_an_equals_sign() {
        assert_eq!(run("-deflate=false").unwrap().bool("deflate"), Some(false));
        let given = run("--deflate false --node-id=3").unwrap();
        assert_eq!(given.bool("deflate"), Some(true));
        assert_eq!(given.int("node-id"), None);
        assert_eq!(given.rest, ["false", "--node-id=3"]);
    }

    #[test]
    fn numbers_and_durations_are_go_literals() {
        for (text, value) in
            [("0x10", 16), ("0o7", 7), ("0b11", 3), ("1_000", 1000), ("-5", -5), ("010", 8)]
        {
            assert_eq!(parse_int(text), Some(value), "{text}");
        }
        for text in ["", "x", "1.5", "1__0", "_", "99999999999999999999", "--1"] {
            assert_eq!(parse_int(text), None, "{text}");
        }
        for (text, nanos) in [
            ("0", 0),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h2m3s", 3_723_000_000_000),
            ("-1s", -1_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
        }
        for text in ["", "5", "s", "1x", "1s2", "9999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn errors_are_gos() {
        let text = |args: &str| run(args).unwrap_err().to_string();
        assert_eq!(text("-nope"), "flag provided but not defined: -nope");
        assert_eq!(text("-node-id"), "flag needs an argument: -node-id");
        assert_eq!(text("---x"), "bad flag syntax: ---x");
        assert_eq!(text("-node-id=a"), "invalid value \"a\" for flag -node-id: parse error");
        assert_eq!(
            text("-deflate=3"),
            "invalid boolean value \"3\" for flag -deflate: parse error"
        );
        assert_eq!(
            text("-log-level=loud"),
            "invalid value \"loud\" for flag -log-level: invalid log level 'loud' (debug, info, warn, error, fatal)"
        );
        assert!(run("-log-level=WARN").is_ok() && run("-percentile=0.5,x").is_err());
        assert_eq!(run("-h"), Err(FlagError::Help));
        assert_eq!(run("--help"), Err(FlagError::Help));
        assert!(
            usage("nsqd", FLAGS)
                .contains("  -msg-timeout duration\n    \thow long (default 1m0s)\n")
        );
    }

    #[test]
    fn parsing_stops_at_a_double_dash() {
        let given = run("-deflate -- -node-id=1").unwrap();
        assert_eq!(given.rest, ["-node-id=1"]);
        assert_eq!(run("a -deflate").unwrap().rest, ["a", "-deflate"]);
    }
}
