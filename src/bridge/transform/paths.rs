//! Which fields of the body (or of headers) templates look at, and a parser that reads those and skips the rest.
//!
//! Building a whole tree costs several times what it costs to walk over the text. What nobody looks at is skipped as it
//! is read: it must be JSON, but its numbers may be out of range and its texts may have halves of surrogates.

use std::fmt;

use minijinja::Value;
use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A set of fields, each with the fields inside it that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Paths {
    /// All of the value is wanted.
    is_whole: bool,
    fields: Vec<(String, Self)>,
}

impl Paths {
    /// Everything.
    pub(super) fn whole() -> Self {
        Self { is_whole: true, fields: Vec::new() }
    }

    /// Adds a path; none at all is the whole value.
    pub(super) fn add<'p>(&mut self, mut path: impl Iterator<Item = &'p str>) {
        if self.is_whole {
            return;
        }
        let Some(name) = path.next() else {
            *self = Self::whole();
            return;
        };
        if let Some((_, inner)) = self.fields.iter_mut().find(|(field, _)| field == name) {
            inner.add(path);
            return;
        }
        let mut inner = Self::default();
        inner.add(path);
        self.fields.push((name.to_owned(), inner));
    }

    /// Adds all paths of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.is_whole || other.is_whole {
            *self = Self { is_whole: self.is_whole || other.is_whole, fields: Vec::new() };
            return;
        }
        for (name, inner) in &other.fields {
            match self.fields.iter_mut().find(|(field, _)| field == name) {
                Some((_, own)) => own.merge(inner),
                None => self.fields.push((name.clone(), inner.clone())),
            }
        }
    }

    /// Whether every path of `other` is in here.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.is_whole
            || !other.is_whole
                && other.fields.iter().all(|(name, inner)| {
                    self.fields.iter().any(|(field, own)| field == name && own.covers(inner))
                })
    }

    /// The names at the top, if not everything is wanted.
    pub(super) fn names(&self) -> Option<impl Iterator<Item = &str>> {
        (!self.is_whole).then(|| self.fields.iter().map(|(name, _)| name.as_str()))
    }

    /// The fields of a JSON text.
    ///
    /// # Errors
    /// The parser's words if it is not JSON.
    pub(super) fn read(&self, text: &[u8]) -> Result<Value, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let mut parser = serde_json::Deserializer::from_str(text);
        let value = self.deserialize(&mut parser).map_err(|error| error.to_string())?;
        parser.end().map_err(|error| error.to_string())?;
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for &Paths {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.is_whole {
            Value::deserialize(deserializer)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

/// Scalars are taken as they are: a template that looks into one finds nothing there.
impl<'de> Visitor<'de> for &Paths {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::from(()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::from_iter(std::iter::empty::<Value>()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut found: Vec<(&str, Value)> = Vec::with_capacity(self.fields.len());
        while let Some(field) = map.next_key_seed(Name(self))? {
            let Some((name, inner)) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(inner)?;
            // Of a name that is there twice the last one counts, as in a whole tree.
            match found.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => found.push((name, value)),
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// Reads the name of a field: which of those that are wanted it is.
struct Name<'p>(&'p Paths);

impl<'de, 'p> DeserializeSeed<'de> for Name<'p> {
    type Value = Option<(&'p str, &'p Paths)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Name<'p> {
    type Value = Option<(&'p str, &'p Paths)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let field = self.0.fields.iter().find(|(field, _)| field == name);
        Ok(field.map(|(name, inner)| (name.as_str(), inner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(of: &[&str]) -> Paths {
        let mut paths = Paths::default();
        for path in of {
            paths.add(path.split('.').filter(|name| !name.is_empty()));
        }
        paths
    }

    #[test]
    fn only_what_is_wanted_is_read() {
        let body = br#"{"a":{"b":1,"c":[1e999,"\ud800"],"b":2},"d":[{"a":0}],"e":null,"f":"x"}"#;
        for (wanted, expected) in [
            (&["a.b"][..], r#"{"a": {"b": 2}}"#),
            (&["d", "f"], r#"{"d": [{"a": 0}], "f": "x"}"#),
            (&["e.x", "f.y", "d.z"], r#"{"d": [], "e": None, "f": "x"}"#),
            (&["none"], "{}"),
        ] {
            assert_eq!(paths(wanted).read(body).unwrap().to_string(), expected, "{wanted:?}");
        }
        assert!(paths(&["a"]).read(body).is_err(), "what is wanted must be right");
    }

    #[test]
    fn what_is_not_json_is_found_wherever_it_is() {
        for body in [
            &b"{\"a\":1,\"b\":}"[..],
            b"{\"a\":1} 2",
            b"{\"a\":1",
            b"",
            b"{\"b\":\"\xff\",\"a\":1}",
        ] {
            assert!(paths(&["a"]).read(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn paths_are_sets() {
        let mut all = paths(&["a.b", "c"]);
        assert!(all.covers(&paths(&["a.b"])) && all.covers(&paths(&["c.d"])));
        assert!(!all.covers(&paths(&["a"])) && !all.covers(&paths(&["a.c"])));
        assert!(!all.covers(&Paths::whole()));
        all.merge(&paths(&["a.c", "d"]));
        assert!(all.covers(&paths(&["a.c", "d", "c", "a.b"])));
        all.merge(&paths(&["a"]));
        assert!(all.covers(&paths(&["a.z"])));
        all.merge(&paths(&[""]));
        assert_eq!(all, Paths::whole());
    }
}
