//! What a route changes of a message, as a user writes it.

use super::{Condition, MessageView, Needs, Template, TransformError};
use crate::bridge::properties::{HOPS_MAX, Properties, Property, Value};

/// Longest value of a header that a template may give, in bytes.
pub const HEADER_LEN_MAX: usize = 32 << 10;

/// Names of headers that a route itself writes: what a user sets there would be overwritten.
pub const OWN_HEADERS: &str = "x-leveret-";

/// Which messages a route takes, and what it changes of them. Templates see a message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Messages for which it does not hold are done with. `None` takes all.
    pub when: Option<Condition>,
    /// Headers that are taken away, before others are set.
    pub remove_headers: Vec<HeaderPattern>,
    /// Properties that are taken away, before others are set.
    pub remove_properties: Vec<Property>,
    /// Headers by name, each of at most 255 bytes, with their values as texts.
    pub set_headers: Vec<(String, Template)>,
    /// Properties with their values as texts.
    pub set_properties: Vec<(Property, Template)>,
    /// How properties and headers get through NSQ.
    pub envelope: Envelope,
    /// Whether a message of NSQ gets headers that say where it comes from.
    pub nsq_headers: bool,
    /// Routes that a message may go through, this one included; 1 to 255.
    pub max_hops: u8,
}

impl Default for Transform {
    fn default() -> Self {
        Self {
            when: None,
            remove_headers: Vec::new(),
            remove_properties: Vec::new(),
            set_headers: Vec::new(),
            set_properties: Vec::new(),
            envelope: Envelope::None,
            nsq_headers: false,
            max_hops: HOPS_MAX,
        }
    }
}

/// How properties and headers get through NSQ, which has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Envelope {
    /// Not at all: the body alone.
    #[default]
    None,
    /// In one JSON document with the body: put together on the way to NSQ, taken apart on the way from it.
    Json,
}

/// A header's name, or the beginning of names if it ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPattern(pub String);

impl HeaderPattern {
    /// Whether the header of that name is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.0,
        }
    }
}

impl Transform {
    /// Whether it changes properties or headers.
    #[must_use]
    pub fn changes_properties(&self) -> bool {
        !self.remove_headers.is_empty()
            || !self.remove_properties.is_empty()
            || !self.set_headers.is_empty()
            || !self.set_properties.is_empty()
            || self.nsq_headers
    }

    /// What its templates and its condition look at.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let mut needs = self.when.as_ref().map(Condition::needs).unwrap_or_default();
        let headers = self.set_headers.iter().map(|(_, template)| template);
        let properties = self.set_properties.iter().map(|(_, template)| template);
        headers.chain(properties).for_each(|template| needs.merge(&template.needs()));
        needs
    }

    /// Whether the route takes the message.
    ///
    /// # Errors
    /// [`TransformError`] if the condition fails.
    pub fn takes(&self, message: &MessageView<'_>) -> Result<bool, TransformError> {
        self.when.as_ref().map_or(Ok(true), |when| when.holds(message))
    }

    /// The properties of the message with the changes made, in this order: what is removed, what says where a message of
    /// NSQ comes from, what is set.
    ///
    /// # Errors
    /// [`TransformError`] if a template fails, or gives what a property cannot be.
    pub fn change(&self, message: &MessageView<'_>) -> Result<Properties, TransformError> {
        let mut properties = message.properties.cloned().unwrap_or_default();
        if !self.remove_headers.is_empty() {
            let is_removed =
                |name: &str| self.remove_headers.iter().any(|pattern| pattern.matches(name));
            properties.headers.retain(|name, _| !is_removed(name));
        }
        for property in &self.remove_properties {
            properties.remove(*property);
        }
        if self.nsq_headers {
            let mut set =
                |name: &str, value: Value| properties.headers.insert(name.to_owned(), value);
            set("x-nsq-topic", message.topic.into());
            set("x-nsq-id", message.id.into());
            set("x-nsq-attempts", Value::I32(message.attempts.into()));
            set("x-nsq-timestamp", Value::I64(message.timestamp));
            if !message.channel.is_empty() {
                set("x-nsq-channel", message.channel.into());
            }
        }
        for (name, template) in &self.set_headers {
            let text = template.render(message)?;
            properties.headers.insert(name.clone(), (&*text).into());
        }
        for (property, template) in &self.set_properties {
            let text = template.render(message)?.into_owned();
            properties.set(*property, text)?;
        }
        Ok(properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(source: &str) -> Template {
        Template::parse(source).unwrap()
    }

    #[test]
    fn what_is_removed_goes_before_what_is_set_comes() {
        let mut properties = Properties {
            app_id: Some("old".into()),
            reply_to: Some("there".into()),
            ..Properties::default()
        };
        for name in ["x-a", "x-b", "y", "z"] {
            properties.headers.insert(name.into(), Value::I16(1));
        }
        let transform = Transform {
            remove_headers: vec![HeaderPattern("x-*".into()), HeaderPattern("y".into())],
            remove_properties: vec![Property::ReplyTo],
            set_headers: vec![
                ("x-b".into(), template("{{ headers['x-b'] + 1 }}")),
                ("region".into(), template("{{ body.region }}")),
            ],
            set_properties: vec![
                (Property::AppId, template("was {{ properties.app_id }}")),
                (Property::Priority, template("{{ body.n }}")),
            ],
            ..Transform::default()
        };
        assert!(transform.changes_properties());
        let needs = transform.needs();
        let body = br#"{"region":"eu","n":5}"#;
        let mut message = MessageView::new("orders", "ab", 7, body).with_needs(&needs);
        message.properties = Some(&properties);
        let changed = transform.change(&message).unwrap();
        let headers: Vec<_> =
            changed.headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let (z, b, region) = (Value::I16(1), "2".into(), "eu".into());
        assert_eq!(headers, [("region", &region), ("x-b", &b), ("z", &z)]);
        assert_eq!(changed.app_id.as_deref(), Some("was old"));
        assert_eq!((changed.priority, changed.reply_to), (Some(5), None));
    }

    #[test]
    fn what_cannot_be_set_is_an_error() {
        let transform = Transform {
            set_properties: vec![(Property::Priority, template("{{ body.n }}"))],
            ..Transform::default()
        };
        for (body, expected) in [
            (&br#"{"n":"high"}"#[..], "property priority: expected a whole number"),
            (b"{}", "body.n: the value is missing"),
            (b"no", "the body is not JSON"),
        ] {
            let error = transform.change(&MessageView::new("t", "0", 0, body)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_message_of_nsq_says_where_it_comes_from() {
        let transform = Transform { nsq_headers: true, ..Transform::default() };
        let mut message = MessageView::new("orders", "00000000000000ab", 7, b"x");
        message.attempts = 3;
        message.channel = "archive";
        let headers = transform.change(&message).unwrap().headers;
        for (name, value) in [
            ("x-nsq-attempts", Value::I32(3)),
            ("x-nsq-channel", "archive".into()),
            ("x-nsq-id", "00000000000000ab".into()),
            ("x-nsq-timestamp", Value::I64(7)),
            ("x-nsq-topic", "orders".into()),
        ] {
            assert_eq!(headers.get(name), Some(&value), "{name}");
        }
        assert_eq!(headers.len(), 5);
    }
}
