//! One nsqd as it tells of itself in IDENTIFY.

use serde::Serialize;
use serde_json::{Map, Value};

/// What is told of an nsqd, in the order of nsqlookupd's answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PeerInfo {
    /// `host:port` of its connection, which is also what it is known by; not told by the nsqd.
    pub remote_address: String,
    /// The machine's name.
    pub hostname: String,
    /// Where clients reach it.
    pub broadcast_address: String,
    /// The port of the NSQ protocol.
    pub tcp_port: i64,
    /// The port of its HTTP API.
    pub http_port: i64,
    /// Its version.
    pub version: String,
    /// The failure domain that it is part of; empty if unknown.
    pub topology_zone: String,
    /// The larger domain that it is part of; empty if unknown.
    pub topology_region: String,
}

/// Why the body of an IDENTIFY is no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a JSON object, or a value of the wrong type.
    #[error("IDENTIFY failed to decode JSON body")]
    Json,
    /// An address, a port or the version is missing.
    #[error("IDENTIFY missing fields")]
    Missing,
}

impl PeerInfo {
    /// Reads the JSON `body` of the IDENTIFY of a connection from `remote_address`. Unknown keys are ignored and `null` is
    /// as good as nothing, as Go reads it.
    ///
    /// # Errors
    /// What nsqlookupd says behind `E_BAD_BODY`.
    pub fn read(remote_address: &str, body: &[u8]) -> Result<Self, IdentityError> {
        let object: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| IdentityError::Json)?;
        let text = |key: &str| match object.get(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(IdentityError::Json),
        };
        let port = |key: &str| match object.get(key) {
            None | Some(Value::Null) => Ok(0),
            Some(value) => value.as_i64().ok_or(IdentityError::Json),
        };
        let info = Self {
            remote_address: remote_address.to_owned(),
            hostname: text("hostname")?,
            broadcast_address: text("broadcast_address")?,
            tcp_port: port("tcp_port")?,
            http_port: port("http_port")?,
            version: text("version")?,
            topology_zone: text("topology_zone")?,
            topology_region: text("topology_region")?,
        };
        let is_whole = !info.broadcast_address.is_empty()
            && !info.version.is_empty()
            && info.tcp_port != 0
            && info.http_port != 0;
        if is_whole { Ok(info) } else { Err(IdentityError::Missing) }
    }

    /// The name that a tombstone knows it by: its address and HTTP port, without brackets around an IPv6 address.
    #[must_use]
    pub fn node(&self) -> String {
        format!("{}:{}", self.broadcast_address, self.http_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"broadcast_address":"b","hostname":"h","http_port":4151,"tcp_port":4150,"version":"1.3.0","other":[1]}"#;

    #[test]
    fn a_whole_identity_is_read() {
        let info = PeerInfo::read("10.0.0.1:5", WHOLE.as_bytes()).unwrap();
        assert_eq!((info.remote_address.as_str(), info.tcp_port), ("10.0.0.1:5", 4150));
        assert_eq!((info.node().as_str(), info.topology_zone.as_str()), ("b:4151", ""));
        let json = serde_json::to_string(&info).unwrap();
        assert_eq!(
            json,
            r#"{"remote_address":"10.0.0.1:5","hostname":"h","broadcast_address":"b","tcp_port":4150,"http_port":4151,"version":"1.3.0","topology_zone":"","topology_region":""}"#
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        for key in ["broadcast_address", "http_port", "tcp_port", "version"] {
            for empty in [Value::Null, serde_json::json!("")] {
                let mut object: Map<String, Value> = serde_json::from_str(WHOLE).unwrap();
                let is_port = key.ends_with("port");
                object.insert(key.into(), if is_port { 0.into() } else { empty });
                let body = serde_json::to_vec(&object).unwrap();
                assert_eq!(PeerInfo::read("", &body), Err(IdentityError::Missing), "{key}");
            }
        }
        for bad in ["", "[]", "null", "{", r#"{"tcp_port":"4150"}"#, r#"{"tcp_port":1.5}"#] {
            assert_eq!(PeerInfo::read("", bad.as_bytes()), Err(IdentityError::Json), "{bad}");
        }
    }
}
