//! nsqadmin's own command line: every flag of nsqadmin 1.3.0, as it spells them.

use std::path::PathBuf;

use super::goflags::{Flag, Given, Kind, flag};
use crate::admin::AdminOptions;
use crate::admin::access::network::Network;
use crate::admin::options::base_path;
use crate::config::LogLevel;
use crate::node::AdminPlan;

/// Every flag.
pub(super) const FLAGS: &[Flag] = &[
    flag(
        "acl-http-header",
        Kind::Text,
        "\"X-Forwarded-User\"",
        "HTTP header to check for authenticated admin users",
    ),
    flag(
        "admin-user",
        Kind::Texts,
        "",
        "admin user (may be given multiple times; if specified, only these users will be able to perform privileged actions; acl-http-header is used to determine the authenticated user)",
    ),
    flag(
        "allow-config-from-cidr",
        Kind::Text,
        "\"127.0.0.1/8\"",
        "A CIDR from which to allow HTTP requests to the /config endpoint",
    ),
    flag("base-path", Kind::Text, "\"/\"", "URL base path"),
    flag("config", Kind::Text, "", "path to config file"),
    flag("dev-static-dir", Kind::Text, "", "(development use only)"),
    flag("graphite-url", Kind::Text, "", "graphite HTTP address"),
    flag(
        "http-address",
        Kind::Text,
        "\"0.0.0.0:4171\"",
        "<addr>:<port> to listen on for HTTP clients",
    ),
    flag("http-client-connect-timeout", Kind::Duration, "2s", "timeout for HTTP connect"),
    flag("http-client-request-timeout", Kind::Duration, "5s", "timeout for HTTP request"),
    flag("http-client-tls-cert", Kind::Text, "", "path to certificate file for the HTTP client"),
    flag(
        "http-client-tls-insecure-skip-verify",
        Kind::Bool,
        "",
        "configure the HTTP client to skip verification of TLS certificates",
    ),
    flag("http-client-tls-key", Kind::Text, "", "path to key file for the HTTP client"),
    flag("http-client-tls-root-ca-file", Kind::Text, "", "path to CA file for the HTTP client"),
    flag(
        "log-level",
        Kind::Level,
        "\"info\"",
        "set log verbosity: debug, info, warn, error, or fatal",
    ),
    flag("log-prefix", Kind::Text, "\"[nsqadmin] \"", "log message prefix"),
    flag(
        "lookupd-http-address",
        Kind::Texts,
        "",
        "lookupd HTTP address (may be given multiple times)",
    ),
    flag(
        "notification-http-endpoint",
        Kind::Text,
        "",
        "HTTP endpoint (fully qualified) to which POST notifications of admin actions will be sent",
    ),
    flag("nsqd-http-address", Kind::Texts, "", "nsqd HTTP address (may be given multiple times)"),
    flag("proxy-graphite", Kind::Bool, "", "proxy HTTP requests to graphite"),
    flag(
        "statsd-counter-format",
        Kind::Text,
        "\"stats.counters.%s.count\"",
        "The counter stats key formatting applied by the implementation of statsd. If no formatting is desired, set this to an empty string.",
    ),
    flag(
        "statsd-gauge-format",
        Kind::Text,
        "\"stats.gauges.%s\"",
        "The gauge stats key formatting applied by the implementation of statsd. If no formatting is desired, set this to an empty string.",
    ),
    flag(
        "statsd-interval",
        Kind::Duration,
        "1m0s",
        "time interval nsqd is configured to push to statsd (must match nsqd)",
    ),
    flag(
        "statsd-prefix",
        Kind::Text,
        "\"nsq.%s\"",
        "prefix used for keys sent to statsd (%s for host replacement, must match nsqd)",
    ),
    flag("verbose", Kind::Bool, "", "[deprecated] has no effect, use --log-level"),
    flag("version", Kind::Bool, "", "print version string"),
];

/// Why the flags cannot be served. nsqadmin's texts, as far as it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AdminFlagError {
    /// Nobody to ask.
    #[error("--nsqd-http-address or --lookupd-http-address required")]
    NoAddress,
    /// Two that may say different things.
    #[error("use --nsqd-http-address or --lookupd-http-address not both")]
    BothAddresses,
    /// One of the two is of no use.
    #[error("--http-client-tls-key must be specified with --http-client-tls-cert")]
    NoKey,
    /// One of the two is of no use.
    #[error("--http-client-tls-cert must be specified with --http-client-tls-key")]
    NoCertificate,
    /// Not a network.
    #[error("failed to parse --allow-config-from-cidr='{0}' - invalid CIDR address: {0}")]
    Network(String),
    /// Not a URL.
    #[error("failed to parse --graphite-url='{0}' - expected http://HOST:PORT")]
    Graphite(String),
}

/// What the flags come to.
///
/// # Errors
/// Flags that cannot be served together.
pub(super) fn configure(given: &Given) -> Result<AdminPlan, AdminFlagError> {
    let mut options = AdminOptions::default();
    let text = |name: &str| given.text(name).map(str::to_owned);
    let filled = |name: &str| text(name).filter(|text| !text.is_empty());
    options.lookupds = given.texts("lookupd-http-address").to_vec();
    options.nsqds = given.texts("nsqd-http-address").to_vec();
    match (options.lookupds.is_empty(), options.nsqds.is_empty()) {
        (true, true) => return Err(AdminFlagError::NoAddress),
        (false, false) => return Err(AdminFlagError::BothAddresses),
        _ => {}
    }
    let file = |name: &str| filled(name).map(PathBuf::from);
    options.tls.ca = file("http-client-tls-root-ca-file");
    options.tls.identity = match (file("http-client-tls-cert"), file("http-client-tls-key")) {
        (Some(_), None) => return Err(AdminFlagError::NoKey),
        (None, Some(_)) => return Err(AdminFlagError::NoCertificate),
        (cert, key) => cert.zip(key),
    };
    options.tls.insecure = given.bool("http-client-tls-insecure-skip-verify").unwrap_or_default();
    if let Some(text) = text("allow-config-from-cidr") {
        options.allow_config_from = if text.is_empty() {
            None
        } else {
            Some(Network::parse(&text).ok_or(AdminFlagError::Network(text))?)
        };
    }
    options.base_path = base_path(given.text("base-path").unwrap_or_default());
    options.dev_static_dir = file("dev-static-dir");
    options.graphite_url = filled("graphite-url");
    if let Some(url) = options.graphite_url.as_ref().filter(|url| !url.contains("://")) {
        return Err(AdminFlagError::Graphite(url.clone()));
    }
    options.proxy_graphite = given.bool("proxy-graphite").unwrap_or_default();
    for (name, slot) in [
        ("statsd-counter-format", &mut options.statsd_counter_format),
        ("statsd-gauge-format", &mut options.statsd_gauge_format),
        ("statsd-prefix", &mut options.statsd_prefix),
        ("acl-http-header", &mut options.acl_http_header),
    ] {
        *slot = text(name).unwrap_or_else(|| std::mem::take(slot));
    }
    for (name, slot) in [
        ("statsd-interval", &mut options.statsd_interval),
        ("http-client-connect-timeout", &mut options.connect_timeout),
        ("http-client-request-timeout", &mut options.request_timeout),
    ] {
        *slot = given.duration(name).unwrap_or(*slot);
    }
    options.notification_endpoint = filled("notification-http-endpoint");
    options.admin_users = given.texts("admin-user").to_vec();
    // A level is one of those that there are: the flags were checked.
    let level = given.text("log-level").and_then(super::nsqd::log_level);
    Ok(AdminPlan {
        http_address: given.text("http-address").unwrap_or("0.0.0.0:4171").to_owned(),
        options,
        log_level: level.unwrap_or(LogLevel::Info),
        log_prefix: given.text("log-prefix").unwrap_or("[nsqadmin] ").to_owned(),
        notes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::goflags::parse;

    fn run(args: &str) -> Result<AdminPlan, AdminFlagError> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        configure(&parse(FLAGS, &args).unwrap())
    }

    #[test]
    fn flags_become_options() {
        let plan = run("--nsqd-http-address=a:1 -nsqd-http-address b:2").unwrap();
        assert_eq!(plan.http_address, "0.0.0.0:4171");
        let wanted =
            AdminOptions { nsqds: vec!["a:1".into(), "b:2".into()], ..AdminOptions::default() };
        assert_eq!(plan.options, wanted);
        let plan = run("--lookupd-http-address=l:1 --base-path=/x/ --graphite-url=http://g:1 --proxy-graphite --statsd-prefix= --statsd-interval=10s --admin-user=ann --acl-http-header=X-User --allow-config-from-cidr= --http-client-tls-insecure-skip-verify --notification-http-endpoint=http://n/").unwrap();
        let options = plan.options;
        assert_eq!((options.base_path.as_str(), options.proxy_graphite), ("/x", true));
        assert_eq!(
            (options.statsd_prefix.as_str(), options.statsd_interval),
            ("", Duration::from_secs(10))
        );
        assert_eq!(
            (options.admin_users, options.acl_http_header),
            (vec!["ann".into()], "X-User".into())
        );
        assert_eq!((options.allow_config_from, options.tls.insecure), (None, true));
        assert_eq!(options.notification_endpoint.as_deref(), Some("http://n/"));
    }

    #[test]
    fn what_cannot_be_served_is_told_in_nsqadmins_words() {
        let error = |args: &str| run(args).unwrap_err().to_string();
        assert_eq!(error(""), "--nsqd-http-address or --lookupd-http-address required");
        let both = error("--nsqd-http-address=a:1 --lookupd-http-address=b:1");
        assert_eq!(both, "use --nsqd-http-address or --lookupd-http-address not both");
        assert!(error("--nsqd-http-address=a:1 --http-client-tls-cert=x").contains("tls-key"));
        assert!(
            error("--nsqd-http-address=a:1 --allow-config-from-cidr=x").contains("invalid CIDR")
        );
    }
}
