//! nsqlookupd's own command line: every flag of nsqlookupd 1.3.0, as it spells them, and those of TLS.

use std::path::PathBuf;

use super::goflags::{Flag, Given, Kind, flag};
use crate::config::{LogLevel, LookupdConfig};
use crate::node::LookupdPlan;

/// Every flag.
pub(super) const FLAGS: &[Flag] = &[
    flag(
        "broadcast-address",
        Kind::Text,
        "the host's name",
        "address of this lookupd node, (default to the OS hostname)",
    ),
    flag("config", Kind::Text, "", "path to config file"),
    flag(
        "http-address",
        Kind::Text,
        "\"0.0.0.0:4161\"",
        "<addr>:<port> to listen on for HTTP clients",
    ),
    flag(
        "inactive-producer-timeout",
        Kind::Duration,
        "5m0s",
        "duration of time a producer will remain in the active list since its last ping",
    ),
    flag(
        "log-level",
        Kind::Level,
        "\"info\"",
        "set log verbosity: debug, info, warn, error, or fatal",
    ),
    flag("log-prefix", Kind::Text, "\"[nsqlookupd] \"", "log message prefix"),
    flag(
        "tcp-address",
        Kind::Text,
        "\"0.0.0.0:4160\"",
        "<addr>:<port> to listen on for TCP clients",
    ),
    flag("tls-cert", Kind::Text, "", "certificate file: both ports are TLS then (Leveret's own)"),
    flag("tls-key", Kind::Text, "", "the certificate's key file (Leveret's own)"),
    flag(
        "tls-root-ca-file",
        Kind::Text,
        "",
        "CA file that clients' certificates are verified with (Leveret's own)",
    ),
    flag(
        "tombstone-lifetime",
        Kind::Duration,
        "45s",
        "duration of time a producer will remain tombstoned if registration remains",
    ),
    flag("verbose", Kind::Bool, "", "[deprecated] has no effect, use --log-level"),
    flag("version", Kind::Bool, "", "print version string"),
];

/// Why the flags cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookupdFlagError {
    /// One of the two is of no use.
    #[error("--tls-cert and --tls-key are given together or not at all")]
    HalfCertificate,
    /// It verifies nothing.
    #[error("--tls-root-ca-file says nothing without --tls-cert and --tls-key")]
    NoCertificate,
}

/// What the flags come to.
///
/// # Errors
/// Flags that cannot be served together.
pub(super) fn configure(given: &Given) -> Result<LookupdPlan, LookupdFlagError> {
    let mut config = LookupdConfig {
        listen: given.text("tcp-address").unwrap_or("0.0.0.0:4160").to_owned(),
        ..LookupdConfig::default()
    };
    let http = given.text("http-address").unwrap_or("0.0.0.0:4161");
    config.http_address = (!http.is_empty()).then(|| http.to_owned());
    config.broadcast_address = given.text("broadcast-address").map(str::to_owned);
    for (name, place) in [
        ("inactive-producer-timeout", &mut config.inactive_producer_timeout),
        ("tombstone-lifetime", &mut config.tombstone_lifetime),
    ] {
        *place = given.duration(name).unwrap_or(*place);
    }
    let file = |name: &str| given.text(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    config.tls_root_ca_file = file("tls-root-ca-file");
    config.tls = match (file("tls-cert"), file("tls-key")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) if config.tls_root_ca_file.is_some() => {
            return Err(LookupdFlagError::NoCertificate);
        }
        (None, None) => None,
        _ => return Err(LookupdFlagError::HalfCertificate),
    };
    // A level is one of those that there are: the flags were checked.
    let level = given.text("log-level").and_then(super::nsqd::log_level);
    Ok(LookupdPlan {
        config,
        log_level: level.unwrap_or(LogLevel::Info),
        log_prefix: given.text("log-prefix").unwrap_or("[nsqlookupd] ").to_owned(),
        notes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::goflags::parse;

    fn run(args: &str) -> Result<LookupdPlan, LookupdFlagError> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        configure(&parse(FLAGS, &args).unwrap())
    }

    #[test]
    fn flags_become_configuration() {
        let plan = run("").unwrap();
        assert_eq!(plan.config.listen, "0.0.0.0:4160");
        assert_eq!(plan.config.http_address.as_deref(), Some("0.0.0.0:4161"));
        assert_eq!((plan.log_level, plan.log_prefix.as_str()), (LogLevel::Info, "[nsqlookupd] "));
        let plan = run("-tcp-address=:1 --http-address= -broadcast-address me --inactive-producer-timeout=1s --tombstone-lifetime 2s --log-level=WARN --log-prefix=x --tls-cert=c --tls-key=k --tls-root-ca-file=ca --verbose").unwrap();
        let config = plan.config;
        assert_eq!((config.listen.as_str(), config.http_address), (":1", None));
        assert_eq!(config.broadcast_address.as_deref(), Some("me"));
        let times = (config.inactive_producer_timeout, config.tombstone_lifetime);
        assert_eq!(times, (Duration::from_secs(1), Duration::from_secs(2)));
        assert_eq!(config.tls, Some(("c".into(), "k".into())));
        assert_eq!((plan.log_level, plan.log_prefix.as_str()), (LogLevel::Warn, "x"));
        assert_eq!(run("--tls-cert=c").unwrap_err(), LookupdFlagError::HalfCertificate);
        assert_eq!(run("--tls-root-ca-file=c").unwrap_err(), LookupdFlagError::NoCertificate);
    }
}
