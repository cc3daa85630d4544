//! IDENTIFY: what a client asks for, what it gets, and the reply.
//!
//! Source: nsqd 1.3.0 `nsqd/client_v2.go`, with the topology keys that came after it. The JSON follows Go's rules: keys
//! match without regard to case, the last of repeated keys counts, unknown keys are passed over, `null` leaves the default.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::error::{ErrorCode, ProtocolError};
use super::json::escaped;

/// What the client asks for. Absent and 0 mean the same, as they do for nsqd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `client_id`.
    pub client_id: String,
    /// `hostname`.
    pub hostname: String,
    /// `user_agent`.
    pub user_agent: String,
    /// `feature_negotiation`.
    pub feature_negotiation: bool,
    /// `heartbeat_interval`, milliseconds; -1 for none.
    pub heartbeat_interval: i64,
    /// `output_buffer_timeout`, milliseconds; -1 for none.
    pub output_buffer_timeout: i64,
    /// `output_buffer_size`, bytes; -1 for none.
    pub output_buffer_size: i64,
    /// `sample_rate`, per cent.
    pub sample_rate: i32,
    /// `msg_timeout`, milliseconds.
    pub msg_timeout: i64,
    /// `tls_v1`.
    pub tls_v1: bool,
    /// `deflate`.
    pub deflate: bool,
    /// `deflate_level`.
    pub deflate_level: i64,
    /// `snappy`.
    pub snappy: bool,
    /// `topology_region`.
    pub topology_region: String,
    /// `topology_zone`.
    pub topology_zone: String,
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Request;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_unit<E>(self) -> Result<Request, E> {
                Ok(Request::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Request, A::Error> {
                let mut request = Request::default();
                while let Some(key) = map.next_key::<String>()? {
                    request.set(&key.to_ascii_lowercase(), &mut map)?;
                }
                Ok(request)
            }
        }

        deserializer.deserialize_any(Keys)
    }
}

impl Request {
    /// Reads the body of IDENTIFY.
    ///
    /// # Errors
    /// nsqd's `E_BAD_BODY` for a body that is not such an object.
    pub fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        // Go puts U+FFFD in place of invalid UTF-8.
        let text = String::from_utf8_lossy(body);
        serde_json::from_str(&text).map_err(|_| {
            ProtocolError::new(ErrorCode::BadBody, "IDENTIFY failed to decode JSON body")
        })
    }

    fn set<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        fn read<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
            place: &mut T,
            map: &mut A,
        ) -> Result<(), A::Error> {
            if let Some(value) = map.next_value::<Option<T>>()? {
                *place = value;
            }
            Ok(())
        }
        match key {
            "client_id" => read(&mut self.client_id, map),
            "hostname" => read(&mut self.hostname, map),
            "user_agent" => read(&mut self.user_agent, map),
            "feature_negotiation" => read(&mut self.feature_negotiation, map),
            "heartbeat_interval" => read(&mut self.heartbeat_interval, map),
            "output_buffer_timeout" => read(&mut self.output_buffer_timeout, map),
            "output_buffer_size" => read(&mut self.output_buffer_size, map),
            "sample_rate" => read(&mut self.sample_rate, map),
            "msg_timeout" => read(&mut self.msg_timeout, map),
            "tls_v1" => read(&mut self.tls_v1, map),
            "deflate" => read(&mut self.deflate, map),
            "deflate_level" => read(&mut self.deflate_level, map),
            "snappy" => read(&mut self.snappy, map),
            "topology_region" => read(&mut self.topology_region, map),
            "topology_zone" => read(&mut self.topology_zone, map),
            _ => map.next_value::<IgnoredAny>().map(|_| ()),
        }
    }
}

/// What the server offers and bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `--max-rdy-count`.
    pub max_rdy_count: i64,
    /// The nsqd version that it claims to be.
    pub version: String,
    /// `--max-msg-timeout`.
    pub max_msg_timeout: Duration,
    /// `--max-heartbeat-interval`.
    pub max_heartbeat_interval: Duration,
    /// `--max-output-buffer-size`, bytes.
    pub max_output_buffer_size: i64,
    /// `--max-output-buffer-timeout`.
    pub max_output_buffer_timeout: Duration,
    /// `--min-output-buffer-timeout`.
    pub min_output_buffer_timeout: Duration,
    /// Whether TLS can be had.
    pub tls: bool,
    /// `--deflate`.
    pub deflate: bool,
    /// `--max-deflate-level`.
    pub max_deflate_level: i64,
    /// `--snappy`.
    pub snappy: bool,
    /// Whether AUTH is needed.
    pub auth_required: bool,
    /// `--topology-region`.
    pub topology_region: String,
    /// `--topology-zone`.
    pub topology_zone: String,
}

/// A connection's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Between heartbeats; `None` for none.
    pub heartbeat_interval: Option<Duration>,
    /// Bytes of messages that may wait for more; 1 for none.
    pub output_buffer_size: usize,
    /// How long they may wait; `None` for as long as it takes.
    pub output_buffer_timeout: Option<Duration>,
    /// Percentage of messages that the client wants; 0 for all.
    pub sample_rate: u8,
    /// How long the client may hold a message.
    pub msg_timeout: Duration,
}

/// What IDENTIFY came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The connection's settings from now on.
    pub settings: Settings,
    /// TLS follows the reply.
    pub tls: bool,
    /// Snappy follows the reply.
    pub snappy: bool,
    /// Deflate of this level follows the reply.
    pub deflate: Option<i64>,
    /// The reply: JSON if features were negotiated, `OK` otherwise.
    pub reply: Vec<u8>,
}

#[derive(Serialize)]
struct Reply<'a> {
    max_rdy_count: i64,
    version: &'a str,
    max_msg_timeout: u128,
    msg_timeout: u128,
    tls_v1: bool,
    deflate: bool,
    deflate_level: i64,
    max_deflate_level: i64,
    snappy: bool,
    sample_rate: u8,
    auth_required: bool,
    output_buffer_size: usize,
    output_buffer_timeout: u128,
    topology_region: &'a str,
    topology_zone: &'a str,
}

/// Judges a request, in nsqd's order. `current` is what holds where the request says nothing.
///
/// # Errors
/// What nsqd would close the connection for.
pub fn negotiate(
    request: &Request,
    offer: &Offer,
    current: Settings,
) -> Result<Agreed, ProtocolError> {
    let settings = settings(request, offer, current)?;
    let negotiates = request.feature_negotiation;
    let tls = negotiates && offer.tls && request.tls_v1;
    let deflate = negotiates && offer.deflate && request.deflate;
    let snappy = negotiates && offer.snappy && request.snappy;
    if deflate && snappy {
        let text = "cannot enable both deflate and snappy compression";
        return Err(ProtocolError::new(ErrorCode::IdentifyFailed, text));
    }
    let asked = if deflate && request.deflate_level > 0 { request.deflate_level } else { 6 };
    let level = asked.min(offer.max_deflate_level);
    let mut agreed =
        Agreed { settings, tls, snappy, deflate: deflate.then_some(level), reply: b"OK".to_vec() };
    if negotiates {
        agreed.reply = reply(offer, &agreed, level);
    }
    Ok(agreed)
}

fn reply(offer: &Offer, agreed: &Agreed, deflate_level: i64) -> Vec<u8> {
    let settings = &agreed.settings;
    let reply = Reply {
        max_rdy_count: offer.max_rdy_count,
        version: &offer.version,
        max_msg_timeout: offer.max_msg_timeout.as_millis(),
        msg_timeout: settings.msg_timeout.as_millis(),
        tls_v1: agreed.tls,
        deflate: agreed.deflate.is_some(),
        deflate_level,
        max_deflate_level: offer.max_deflate_level,
        snappy: agreed.snappy,
        sample_rate: settings.sample_rate,
        auth_required: offer.auth_required,
        output_buffer_size: settings.output_buffer_size,
        output_buffer_timeout: settings.output_buffer_timeout.unwrap_or_default().as_millis(),
        topology_region: &offer.topology_region,
        topology_zone: &offer.topology_zone,
    };
    // Strings and numbers only: it cannot fail.
    escaped(&serde_json::to_string(&reply).unwrap_or_default()).into_bytes()
}

fn settings(
    request: &Request,
    offer: &Offer,
    current: Settings,
) -> Result<Settings, ProtocolError> {
    let bad = |text: String| ProtocolError::new(ErrorCode::BadBody, format!("IDENTIFY {text}"));
    let mut settings = current;
    let asked = request.heartbeat_interval;
    settings.heartbeat_interval = match asked {
        -1 => None,
        0 => current.heartbeat_interval,
        _ => Some(
            within(asked, Duration::from_secs(1), offer.max_heartbeat_interval)
                .ok_or_else(|| bad(format!("heartbeat interval ({asked}) is invalid")))?,
        ),
    };
    let asked = request.output_buffer_timeout;
    settings.output_buffer_timeout = match asked {
        -1 => None,
        0 => current.output_buffer_timeout,
        _ => Some(
            within(asked, offer.min_output_buffer_timeout, offer.max_output_buffer_timeout)
                .ok_or_else(|| bad(format!("output buffer timeout ({asked}) is invalid")))?,
        ),
    };
    let asked = request.output_buffer_size;
    match asked {
        -1 => {
            settings.output_buffer_size = 1;
            settings.output_buffer_timeout = None;
        }
        0 => {}
        _ => {
            settings.output_buffer_size = usize::try_from(asked)
                .ok()
                .filter(|_| (64..=offer.max_output_buffer_size).contains(&asked))
                .ok_or_else(|| bad(format!("output buffer size ({asked}) is invalid")))?;
        }
    }
    let asked = request.sample_rate;
    settings.sample_rate = u8::try_from(asked)
        .ok()
        .filter(|rate| *rate <= 99)
        .ok_or_else(|| bad(format!("sample rate ({asked}) is invalid")))?;
    let asked = request.msg_timeout;
    if asked != 0 {
        settings.msg_timeout = within(asked, Duration::from_secs(1), offer.max_msg_timeout)
            .ok_or_else(|| bad(format!("msg timeout ({asked}) is invalid")))?;
    }
    Ok(settings)
}

fn within(millis: i64, min: Duration, max: Duration) -> Option<Duration> {
    let duration = Duration::from_millis(u64::try_from(millis).ok()?);
    (min..=max).contains(&duration).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer {
            max_rdy_count: 2500,
            version: "1.3.0".into(),
            max_msg_timeout: Duration::from_secs(900),
            max_heartbeat_interval: Duration::from_secs(60),
            max_output_buffer_size: 65536,
            max_output_buffer_timeout: Duration::from_secs(30),
            min_output_buffer_timeout: Duration::from_millis(25),
            tls: false,
            deflate: true,
            max_deflate_level: 6,
            snappy: true,
            auth_required: false,
            topology_region: String::new(),
            topology_zone: String::new(),
        }
    }

    const DEFAULTS: Settings = Settings {
        heartbeat_interval: Some(Duration::from_secs(30)),
        output_buffer_size: 16384,
        output_buffer_timeout: Some(Duration::from_millis(250)),
        sample_rate: 0,
        msg_timeout: Duration::from_secs(60),
    };

    fn run(json: &str) -> Result<Agreed, String> {
        let request = Request::parse(json.as_bytes()).map_err(|error| error.to_string())?;
        negotiate(&request, &offer(), DEFAULTS).map_err(|error| error.to_string())
    }

    #[test]
    fn the_json_is_read_as_go_does() {
        let request =
            Request::parse(br#" {"Client_ID":"a","CLIENT_ID":"b","x":[1],"msg_timeout":null} "#);
        assert_eq!(request.unwrap().client_id, "b");
        assert_eq!(Request::parse(b"null").unwrap(), Request::default());
        assert_eq!(Request::parse(b"{\"hostname\":\"\xff\"}").unwrap().hostname, "\u{fffd}");
        for bad in [
            "",
            "[]",
            "{} x",
            "1",
            r#"{"msg_timeout":1000.0}"#,
            r#"{"msg_timeout":1e3}"#,
            r#"{"msg_timeout":"1"}"#,
            r#"{"sample_rate":3000000000}"#,
            r#"{"snappy":1}"#,
        ] {
            let error = run(bad).unwrap_err();
            assert_eq!(error, "E_BAD_BODY IDENTIFY failed to decode JSON body", "{bad}");
        }
    }

    #[test]
    fn bounds_and_texts_are_nsqds() {
        for (json, text) in [
            (r#"{"heartbeat_interval":999}"#, "heartbeat interval (999) is invalid"),
            (r#"{"heartbeat_interval":60001}"#, "heartbeat interval (60001) is invalid"),
            (r#"{"heartbeat_interval":-2,"msg_timeout":1}"#, "heartbeat interval (-2) is invalid"),
            (r#"{"output_buffer_timeout":24}"#, "output buffer timeout (24) is invalid"),
            (r#"{"output_buffer_timeout":30001}"#, "output buffer timeout (30001) is invalid"),
            (r#"{"output_buffer_size":63}"#, "output buffer size (63) is invalid"),
            (r#"{"output_buffer_size":65537}"#, "output buffer size (65537) is invalid"),
            (r#"{"sample_rate":100}"#, "sample rate (100) is invalid"),
            (r#"{"sample_rate":-1}"#, "sample rate (-1) is invalid"),
            (r#"{"msg_timeout":999}"#, "msg timeout (999) is invalid"),
            (r#"{"msg_timeout":900001}"#, "msg timeout (900001) is invalid"),
        ] {
            assert_eq!(run(json).unwrap_err(), format!("E_BAD_BODY IDENTIFY {text}"));
        }
        let agreed =
            run(r#"{"heartbeat_interval":-1,"output_buffer_size":-1,"output_buffer_timeout":100}"#)
                .unwrap();
        let settings = agreed.settings;
        assert_eq!(
            (
                settings.heartbeat_interval,
                settings.output_buffer_size,
                settings.output_buffer_timeout
            ),
            (None, 1, None)
        );
    }

    #[test]
    fn the_reply_has_nsqds_keys_in_nsqds_order() {
        assert_eq!(run("{}").unwrap().reply, b"OK");
        let agreed = run(r#"{"feature_negotiation":true,"snappy":true,"tls_v1":true,"deflate_level":9,"sample_rate":7}"#).unwrap();
        assert!(agreed.snappy && !agreed.tls && agreed.deflate.is_none());
        assert_eq!(
            String::from_utf8(agreed.reply).unwrap(),
            r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":true,"sample_rate":7,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250,"topology_region":"","topology_zone":""}"#
        );
    }

    #[test]
    fn both_compressions_are_refused_only_if_negotiated() {
        let both = r#"{"feature_negotiation":true,"snappy":true,"deflate":true}"#;
        let text = "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression";
        assert_eq!(run(both).unwrap_err(), text);
        assert!(run(r#"{"snappy":true,"deflate":true}"#).unwrap().deflate.is_none());
        let level = |level: i64| {
            let json =
                format!(r#"{{"feature_negotiation":true,"deflate":true,"deflate_level":{level}}}"#);
            run(&json).unwrap().deflate
        };
        assert_eq!([level(0), level(-3), level(4), level(9)], [Some(6), Some(6), Some(4), Some(6)]);
    }
}
