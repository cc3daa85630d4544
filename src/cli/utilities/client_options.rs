//! `--consumer-opt` and `--producer-opt`: options of NSQ's client library by their names there.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::goflags::{parse_bool, parse_duration};
use crate::tools::client::{ClientOptions, ClientTls, PackingKind, Secret};

const MINUTE: Duration = Duration::from_secs(60);

/// An option that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OptionError {
    #[error("invalid option {0}")]
    Unknown(String),
    #[error("failed to coerce option {name} ({value}) - {reason}")]
    Value { name: String, value: String, reason: String },
}

/// What several options come to together.
#[derive(Debug, Default)]
struct Draft {
    tls: Option<bool>,
    tls_options: ClientTls,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    snappy: bool,
    deflate: bool,
    deflate_level: u32,
}

/// Options of the library that say nothing here: what they bound is bounded in another way.
const WITHOUT_EFFECT: &[&str] = &[
    "backoff_strategy",
    "lookupd_poll_jitter",
    "lookupd_poll_timeout",
    "low_rdy_idle_timeout",
    "low_rdy_timeout",
    "max_in_flight",
    "rdy_redistribute_interval",
    "read_timeout",
    "tls_min_version",
    "user_agent",
    "write_timeout",
];

/// Applies options, each `name,value` or `name` for `name,true`, to `options`.
///
/// # Errors
/// One that is none, or whose value cannot be.
pub(super) fn apply(texts: &[String], options: &mut ClientOptions) -> Result<(), OptionError> {
    let mut draft = Draft { deflate_level: 6, ..Draft::default() };
    for text in texts {
        let (name, value) = text.split_once(',').unwrap_or((text, "true"));
        let name = name.replace('-', "_");
        set(&name, value, options, &mut draft).map_err(|error| match error {
            None => OptionError::Unknown(name.clone()),
            Some(reason) => OptionError::Value { name: name.clone(), value: value.into(), reason },
        })?;
    }
    let together = |name: &str, reason: &str| OptionError::Value {
        name: name.into(),
        value: "true".into(),
        reason: reason.into(),
    };
    if draft.snappy && draft.deflate {
        return Err(together("snappy", "there is one compression: snappy or deflate"));
    }
    if draft.cert.is_some() != draft.key.is_some() {
        return Err(together("tls_cert", "tls_cert and tls_key belong together"));
    }
    draft.tls_options.identity = draft.cert.zip(draft.key);
    if draft.tls == Some(true) {
        options.connect.tls = Some(draft.tls_options);
    }
    if draft.snappy {
        options.connect.compression = Some(PackingKind::Snappy);
    } else if draft.deflate {
        options.connect.compression = Some(PackingKind::Deflate(draft.deflate_level));
    }
    Ok(())
}

/// `Err(None)` for a name that is none.
fn set(
    name: &str,
    value: &str,
    options: &mut ClientOptions,
    draft: &mut Draft,
) -> Result<(), Option<String>> {
    let connect = &mut options.connect;
    match name {
        "dial_timeout" => {
            connect.dial_timeout = time(value, Duration::from_millis(1)..=60 * MINUTE)?
        }
        "local_addr" => {
            connect.local_addr =
                Some(value.parse().map_err(|_| "not an address with a port".to_owned())?);
        }
        "lookupd_poll_interval" => {
            options.lookupd_interval = time(value, Duration::from_millis(10)..=5 * MINUTE)?;
        }
        "max_requeue_delay" => {
            options.max_requeue_delay = time(value, Duration::ZERO..=60 * MINUTE)?
        }
        "default_requeue_delay" => {
            options.requeue_delay = time(value, Duration::ZERO..=60 * MINUTE)?
        }
        "max_backoff_duration" => options.max_backoff = time(value, Duration::ZERO..=60 * MINUTE)?,
        "backoff_multiplier" => options.min_backoff = time(value, Duration::ZERO..=60 * MINUTE)?,
        "max_attempts" => options.max_attempts = number(value, 0..=u16::MAX)?,
        "client_id" => value.clone_into(&mut connect.client_id),
        "hostname" => value.clone_into(&mut connect.hostname),
        "heartbeat_interval" => {
            connect.heartbeat = time(value, Duration::from_secs(1)..=5 * MINUTE)?
        }
        "sample_rate" => connect.sample_rate = number(value, 0..=99)?,
        "msg_timeout" => connect.msg_timeout = Some(time(value, Duration::ZERO..=60 * MINUTE)?),
        "output_buffer_size" => connect.output_buffer_size = Some(number(value, 64..=u32::MAX)?),
        "output_buffer_timeout" => {
            connect.output_buffer_timeout = Some(time(value, Duration::ZERO..=60 * MINUTE)?);
        }
        "auth_secret" => connect.auth_secret = Some(Secret::new(value.to_owned())),
        "tls_v1" => draft.tls = Some(switch(value)?),
        "tls_root_ca_file" => draft.tls_options.ca = Some(value.into()),
        "tls_insecure_skip_verify" => draft.tls_options.insecure = switch(value)?,
        "tls_cert" => draft.cert = Some(value.into()),
        "tls_key" => draft.key = Some(value.into()),
        "snappy" => draft.snappy = switch(value)?,
        "deflate" => draft.deflate = switch(value)?,
        "deflate_level" => draft.deflate_level = number(value, 1..=9)?,
        // Without it the secret goes to nsqlookupds as well.
        "skip_lookupd_authorization" => drop(switch(value)?),
        _ if WITHOUT_EFFECT.contains(&name) => {}
        _ => return Err(None),
    }
    Ok(())
}

fn time(value: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    // A number alone is milliseconds to the library.
    let nanos = match value.parse::<i64>() {
        Ok(millis) => millis.checked_mul(1_000_000),
        Err(_) => parse_duration(value),
    };
    let nanos = nanos.and_then(|nanos| u64::try_from(nanos).ok());
    let time = nanos.map(Duration::from_nanos).ok_or_else(|| "not a duration".to_owned())?;
    if range.contains(&time) {
        Ok(time)
    } else {
        Err(format!("expected {:?} to {:?}", range.start(), range.end()))
    }
}

fn number<T>(value: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("expected a number from {} to {}", range.start(), range.end()))
}

fn switch(value: &str) -> Result<bool, String> {
    parse_bool(value).ok_or_else(|| "expected true or false".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(texts: &[&str]) -> Result<ClientOptions, OptionError> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let mut options = ClientOptions::of("nsq_tail");
        apply(&texts, &mut options).map(|()| options)
    }

    #[test]
    fn options_are_taken_by_their_names() {
        let options = with(&[
            "max-attempts,0",
            "msg_timeout,5s",
            "default_requeue_delay,1500",
            "tls_v1",
            "tls-insecure-skip-verify,true",
            "deflate",
            "deflate_level,3",
            "auth_secret,a,b",
            "sample_rate,10",
            "low_rdy_timeout,1s",
        ])
        .unwrap();
        assert_eq!(options.max_attempts, 0);
        assert_eq!(options.requeue_delay, Duration::from_millis(1500));
        let connect = &options.connect;
        assert_eq!(connect.msg_timeout, Some(Duration::from_secs(5)));
        assert!(connect.tls.as_ref().is_some_and(|tls| tls.insecure));
        assert_eq!(connect.compression, Some(PackingKind::Deflate(3)));
        assert_eq!(connect.auth_secret.as_ref().map(Secret::reveal), Some("a,b"));
        assert_eq!(
            (connect.sample_rate, connect.user_agent.as_str()),
            (10, "nsq_tail/1.3.0 go-nsq/1.1.0")
        );
        assert!(with(&["tls_insecure_skip_verify"]).unwrap().connect.tls.is_none());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(with(&["no_such,1"]).unwrap_err().to_string(), "invalid option no_such");
        for bad in
            ["max_attempts,x", "sample_rate,100", "snappy,maybe", "msg_timeout,-1s", "local_addr,x"]
        {
            assert!(matches!(with(&[bad]), Err(OptionError::Value { .. })), "{bad}");
        }
        assert!(with(&["snappy", "deflate"]).is_err() && with(&["tls_cert,x"]).is_err());
    }
}
