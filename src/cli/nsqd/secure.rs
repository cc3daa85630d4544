//! nsqd's flags about TLS, compression, AUTH and topology.

use std::path::PathBuf;
use std::time::Duration;

use super::super::goflags::Given;
use super::NsqdFlagError;
use crate::config::{HttpMethod, NsqdConfig, TlsConfig, TlsRequired, TlsVersion};

/// Fills what was given.
///
/// # Errors
/// What nsqd would not start with, in its words.
pub(super) fn configure(given: &Given, nsqd: &mut NsqdConfig) -> Result<(), NsqdFlagError> {
    let https = given.text("https-address").unwrap_or("0.0.0.0:4152");
    nsqd.https_address = (!https.is_empty()).then(|| https.to_owned());
    tls(given, &mut nsqd.tls);
    // Who stands for clients stands for servers too, as it does for auth servers.
    nsqd.nsqlookupd_tls.ca = nsqd.tls.root_ca_file.clone();
    auth(given, nsqd)?;
    for (name, place) in [("deflate", &mut nsqd.deflate), ("snappy", &mut nsqd.snappy)] {
        *place = given.bool(name).unwrap_or(*place);
    }
    if let Some(level) = given.int("max-deflate-level") {
        // A level out of range is refused with the others below.
        nsqd.max_deflate_level = u8::try_from(level).unwrap_or(0);
    }
    for (name, place) in
        [("topology-region", &mut nsqd.topology_region), ("topology-zone", &mut nsqd.topology_zone)]
    {
        *place = given.text(name).unwrap_or_default().to_owned();
    }
    nsqd.check_secure().map_err(|error| NsqdFlagError::Range(error.to_string()))
}

fn tls(given: &Given, tls: &mut TlsConfig) {
    let path = |name: &str| given.text(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    tls.cert = path("tls-cert");
    tls.key = path("tls-key");
    tls.root_ca_file = path("tls-root-ca-file");
    tls.client_auth_policy = given.text("tls-client-auth-policy").unwrap_or_default().to_owned();
    tls.required = match given.bool("tls-required") {
        Some(true) => TlsRequired::Yes,
        None if given.text("tls-required").is_some() => TlsRequired::TcpHttps,
        Some(false) | None => TlsRequired::No,
    };
    if let Some(name) = given.text("tls-min-version").map(str::to_ascii_lowercase) {
        let known = TlsVersion::NAMES.iter().find(|(other, _)| *other == name);
        tls.min_version = known.map(|(_, version)| *version).unwrap_or_default();
    }
}

fn auth(given: &Given, nsqd: &mut NsqdConfig) -> Result<(), NsqdFlagError> {
    nsqd.auth.http_addresses = given.texts("auth-http-address").to_vec();
    nsqd.auth.http_request_method = match given.text("auth-http-request-method") {
        None | Some("get") => HttpMethod::Get,
        Some("post") => HttpMethod::Post,
        Some(_) => {
            let text = "--auth-http-request-method must be post or get";
            return Err(NsqdFlagError::Range(text.into()));
        }
    };
    for (name, place) in [
        ("auth-stale-if-error", &mut nsqd.auth.stale_if_error),
        ("http-client-connect-timeout", &mut nsqd.http_client_connect_timeout),
        ("http-client-request-timeout", &mut nsqd.http_client_request_timeout),
    ] {
        let given: Option<Duration> = given.duration(name);
        *place = given.unwrap_or(*place);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::FLAGS;
    use super::*;
    use crate::cli::goflags::parse;

    fn run(args: &str) -> Result<NsqdConfig, String> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        let given = parse(FLAGS, &args).map_err(|error| error.to_string())?;
        let mut nsqd = NsqdConfig::default();
        configure(&given, &mut nsqd).map(|()| nsqd).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_become_configuration() {
        let nsqd = run("").unwrap();
        assert_eq!(nsqd.https_address.as_deref(), Some("0.0.0.0:4152"));
        assert!(nsqd.deflate && nsqd.snappy && nsqd.max_deflate_level == 6);
        let nsqd = run("--tls-cert=c --tls-key=k --tls-root-ca-file=r --tls-client-auth-policy=require --tls-min-version=TLS1.3 --https-address= --deflate=false --snappy=0 --max-deflate-level=9 --topology-zone=z --topology-region r --auth-http-address=a:1 --auth-http-address http://b/x --auth-http-request-method=post --auth-stale-if-error=1m --http-client-connect-timeout=1s --http-client-request-timeout=3s").unwrap();
        assert_eq!((nsqd.tls.cert, nsqd.tls.key), (Some("c".into()), Some("k".into())));
        assert_eq!(nsqd.tls.root_ca_file, Some("r".into()));
        assert_eq!(
            (&*nsqd.tls.client_auth_policy, nsqd.tls.min_version),
            ("require", TlsVersion::V13)
        );
        assert_eq!((nsqd.https_address, nsqd.deflate, nsqd.snappy), (None, false, false));
        assert_eq!(
            (nsqd.max_deflate_level, &*nsqd.topology_zone, &*nsqd.topology_region),
            (9, "z", "r")
        );
        assert_eq!(nsqd.auth.http_addresses, ["a:1", "http://b/x"]);
        assert_eq!(nsqd.auth.http_request_method, HttpMethod::Post);
        assert_eq!(nsqd.auth.stale_if_error.as_secs(), 60);
        assert_eq!(nsqd.http_client_connect_timeout.as_secs(), 1);
        assert_eq!(nsqd.http_client_request_timeout.as_secs(), 3);
    }

    #[test]
    fn tls_required_is_a_boolean_with_a_third_value() {
        let required = |flag: &str| {
            run(&format!("--tls-cert=c --tls-key=k {flag}")).map(|nsqd| nsqd.tls.required)
        };
        assert_eq!(required("-tls-required"), Ok(TlsRequired::Yes));
        assert_eq!(required("-tls-required=T"), Ok(TlsRequired::Yes));
        assert_eq!(required("-tls-required=false"), Ok(TlsRequired::No));
        assert_eq!(required("-tls-required=TCP-https"), Ok(TlsRequired::TcpHttps));
        assert!(required("-tls-required=maybe").unwrap_err().contains("invalid boolean value"));
    }

    #[test]
    fn what_nsqd_does_not_start_with_is_refused_in_its_words() {
        for (args, text) in [
            ("--max-deflate-level=0", "--max-deflate-level must be [1,9]"),
            ("--max-deflate-level=10", "--max-deflate-level must be [1,9]"),
            ("--tls-required", "cannot require TLS client connections without TLS key and cert"),
            (
                "--tls-client-auth-policy=x",
                "cannot require TLS client connections without TLS key and cert",
            ),
            ("--auth-http-request-method=put", "--auth-http-request-method must be post or get"),
            (
                "--tls-min-version=ssl3.0",
                "invalid value \"ssl3.0\" for flag -tls-min-version: parse error",
            ),
        ] {
            assert_eq!(run(args).unwrap_err(), text);
        }
    }
}
