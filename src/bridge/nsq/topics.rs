//! Which topic a message goes to, where it is to be a message of NSQ.

use std::borrow::Cow;

use crate::bridge::message::{Message, Provenance, Refusal, RefusalKind};
use crate::bridge::transform::Template;
use crate::names;

/// The topic that `template` makes for a message.
pub(super) fn topic_of<'a>(
    template: &'a Template,
    from: &Provenance,
    message: &Message,
) -> Result<Cow<'a, str>, Refusal> {
    if let Some(topic) = template.constant() {
        return Ok(Cow::Borrowed(topic));
    }
    let id = message.id.to_string();
    let view = message.view(from, &id);
    let topic = template.render(&view);
    let topic = topic.map_err(|error| Refusal::new(RefusalKind::Transform, error.to_string()))?;
    if names::is_valid_name(topic.as_bytes()) {
        return Ok(Cow::Owned(topic.into_owned()));
    }
    let reason =
        format!("\"{topic}\" is not a topic's name: 1 to 64 of the characters . a-z A-Z 0-9 _ -");
    Err(Refusal::new(RefusalKind::Transform, reason))
}
