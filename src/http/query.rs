//! Parameters: from the query string only, read as Go reads it.

use super::reply::Refusal;

/// A query string, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Takes `raw` (what follows the `?`) apart.
    ///
    /// A `%` that two hexadecimal digits do not follow and a raw `;` are `INVALID_REQUEST`, wherever they are. Bytes that
    /// are not UTF-8 are replaced: no name has any.
    pub(crate) fn parse(raw: &str) -> Result<Self, Refusal> {
        let mut parameters = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            if pair.contains(';') {
                return Err(Refusal::bad("INVALID_REQUEST"));
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(key), Some(value)) = (decode(key, true), decode(value, true)) else {
                return Err(Refusal::bad("INVALID_REQUEST"));
            };
            parameters.push((key, value));
        }
        Ok(Self { parameters })
    }

    /// The first value of `key`; empty if it was given without one.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let (_, value) = parameters.find(|(other, _)| other == key)?;
        Some(value)
    }

    /// Whether `key` is on: true unless it is `false` or `0`.
    pub(crate) fn is_on(&self, key: &str) -> bool {
        !matches!(self.get(key), Some("false" | "0"))
    }
}

/// Undoes percent escapes, and in a query `+` for a blank. `None` for a bad escape.
pub(crate) fn decode(text: &str, in_query: bool) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                high << 4 | low
            }
            b'+' if in_query => b' ',
            _ => byte,
        });
    }
    Some(match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(raw: &str, key: &str) -> Option<String> {
        Query::parse(raw).unwrap().get(key).map(str::to_owned)
    }

    #[test]
    fn parameters_are_read_as_go_reads_them() {
        assert_eq!(get("topic=a&topic=b", "topic").as_deref(), Some("a"));
        assert_eq!(get("x=1&&topic=a%2Bb+c", "topic").as_deref(), Some("a+b c"));
        assert_eq!(get("topic", "topic").as_deref(), Some(""));
        assert_eq!(get("topic=", "topic").as_deref(), Some(""));
        assert_eq!(get("topic=a=b", "topic").as_deref(), Some("a=b"));
        assert_eq!(get("%74opic=a", "topic").as_deref(), Some("a"));
        assert_eq!(get("topic=%ff", "topic").as_deref(), Some("\u{fffd}"));
        assert_eq!(get("", "topic"), None);
    }

    #[test]
    fn bad_escapes_and_semicolons_are_refused_wherever_they_are() {
        for bad in ["topic=a;b=c", "topic=%", "topic=%2", "topic=%zz", "topic=a&x=%q0", "%=a", ";"]
        {
            assert_eq!(Query::parse(bad), Err(Refusal::bad("INVALID_REQUEST")), "{bad}");
        }
        assert!(Query::parse("topic=a%3Bb").is_ok());
    }

    #[test]
    fn switches_are_on_unless_they_are_off() {
        let query = Query::parse("a=false&b=0&c=no&d&e=true").unwrap();
        assert!(!query.is_on("a") && !query.is_on("b"));
        assert!(["c", "d", "e", "f"].iter().all(|key| query.is_on(key)));
    }

    #[test]
    fn a_path_keeps_its_plus() {
        assert_eq!(decode("/a+%2fb", false).as_deref(), Some("/a+/b"));
        assert_eq!(decode("/%4", false), None);
    }
}
