//! An address of a broker, as far as one is measured.

use crate::tools::bench::wire::{Fail, Outcome, fail};

/// Where a broker is and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uri {
    pub(super) address: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) vhost: String,
}

impl Uri {
    pub(super) fn parse(uri: &str) -> Outcome<Self> {
        let Some(rest) = uri.strip_prefix("amqp://") else {
            return fail(format!("{uri}: only amqp:// is measured"));
        };
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        let (authority, vhost) = rest.split_once('/').unwrap_or((rest, "%2f"));
        let (login, address) = authority.rsplit_once('@').unwrap_or(("guest:guest", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let has_port =
            address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { address.to_owned() } else { format!("{address}:5672") };
        let decoded = |text| decode(text).ok_or_else(|| Fail::Said(format!("{uri}: a wrong %")));
        Ok(Self {
            address,
            user: decoded(user)?,
            password: decoded(password)?,
            vhost: decoded(vhost)?,
        })
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            decoded.push(u8::try_from(value).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_taken_apart() {
        let uri = Uri::parse("amqp://me:a%40b@127.0.0.1:21000/%2f?heartbeat=10").unwrap();
        assert_eq!((uri.user.as_str(), uri.password.as_str()), ("me", "a@b"));
        assert_eq!((uri.address.as_str(), uri.vhost.as_str()), ("127.0.0.1:21000", "/"));
        let uri = Uri::parse("amqp://broker/x").unwrap();
        assert_eq!((uri.address.as_str(), uri.vhost.as_str()), ("broker:5672", "x"));
        assert_eq!((uri.user.as_str(), uri.password.as_str()), ("guest", "guest"));
        assert!(Uri::parse("amqps://broker").is_err() && Uri::parse("amqp://broker/%2").is_err());
    }
}
