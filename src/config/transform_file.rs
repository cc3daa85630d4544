//! Reads which messages a route takes (`when`) and what it changes of them (`transform`), and checks that its ends have a
//! use for that.

use super::error::{Report, Spot};
use super::keys::transforms::{REMOVE, SET, TRANSFORM};
use super::section::{Field, Section};
use super::suggest::hint;
use crate::bridge::properties::{Property, SHORT_LEN_MAX};
use crate::bridge::route::{Route, Target};
use crate::bridge::transform::{
    Condition, Envelope, HEADER_LEN_MAX, HeaderPattern, OWN_HEADERS, Template, TemplateError,
    Transform, VARIABLES,
};

/// Reads the keys `when` and `transform` of a route.
pub(super) fn read(route: &Section<'_>, report: &mut Report) -> Transform {
    let mut transform = Transform {
        when: route.get("when").and_then(|field| condition(&field, report)),
        ..Transform::default()
    };
    let section = route.get("transform").and_then(|field| Section::open(&field, TRANSFORM, report));
    let Some(section) = section else {
        return transform;
    };
    if let Some(field) = section.get("set") {
        set(&field, &mut transform, report);
    }
    if let Some(field) = section.get("remove") {
        remove(&field, &mut transform, report);
    }
    let envelopes = [("none", Envelope::None), ("json", Envelope::Json)];
    if let Some(envelope) =
        section.get("envelope").and_then(|field| field.choice(&envelopes, report))
    {
        transform.envelope = envelope;
    }
    if let Some(field) = section.get("nsq_headers") {
        transform.nsq_headers = field.boolean(report).unwrap_or_default();
    }
    if let Some(hops) = section.get("max_hops").and_then(|field| field.integer(1..=u8::MAX, report))
    {
        transform.max_hops = hops;
    }
    transform
}

/// Reports what of a route's transform cannot have an effect between its two ends.
pub(super) fn check(section: &Section<'_>, route: &Route, report: &mut Report) {
    let transform = &route.transform;
    let Some(field) = section.get("transform") else { return };
    let Some(section) = Section::open_any(&field, &mut Report::default()) else { return };
    let places = route.target().map(Target::places).unwrap_or_default();
    let to_brokers = places.iter().filter(|place| place.amqp().is_some()).count();
    let from_broker = route.source().is_some();
    if transform.envelope == Envelope::Json {
        let message = match (from_broker, to_brokers) {
            (true, 0) => None,
            (false, to_brokers) if to_brokers > 0 && to_brokers == places.len() => None,
            (true, _) => Some("properties and headers get from broker to broker as they are"),
            (false, 0) => Some(
                "a message of NSQ has nothing to put into an envelope or to take out of one for NSQ",
            ),
            (false, _) => {
                Some("one of the places is NSQ, which gets the envelope as it is, the other is not")
            }
        };
        if let Some(message) = message {
            section.refuse(&["envelope"], message, report);
        }
    } else if to_brokers == 0 {
        let message = "NSQ has no properties and headers; a route from a broker brings them there with envelope: json";
        section.refuse(&["set", "remove", "nsq_headers", "max_hops"], message, report);
    }
    if from_broker {
        section.refuse(&["nsq_headers"], "the messages are not from NSQ", report);
    }
    let content_type = |place: &&Target| place.amqp().is_some_and(|to| to.content_type.is_some());
    let sets = |wanted| transform.set_properties.iter().any(|(property, _)| *property == wanted);
    if places.iter().any(content_type) && sets(Property::ContentType) {
        let message = "to.amqp.content_type and transform.set.properties.content_type are both given; keep one";
        section.refuse(&["set"], message, report);
    }
    if (from_broker || transform.changes_properties())
        && places.len() > to_brokers
        && to_brokers > 0
    {
        let message =
            "a place in NSQ gets bodies alone, and so does a secondary place with wait: primary";
        report.warn(&section.spot, message);
    }
}

fn set(field: &Field<'_>, transform: &mut Transform, report: &mut Report) {
    let Some(section) = Section::open(field, SET, report) else { return };
    let headers = section.get("headers").and_then(|field| Section::open_any(&field, report));
    for (name, field) in headers.iter().flat_map(Section::fields) {
        if is_header(name, &field.spot, report)
            && let Some(template) = template_within(&field, HEADER_LEN_MAX, report)
        {
            transform.set_headers.push((name.to_owned(), template));
        }
    }
    let properties = section.get("properties").and_then(|field| Section::open_any(&field, report));
    for (name, field) in properties.iter().flat_map(Section::fields) {
        let Some(property) = property(name, &field.spot, report) else { continue };
        if property == Property::UserId {
            let message =
                "RabbitMQ refuses a message with another user than the connection's; use a header";
            report.error(&field.spot, message);
            continue;
        }
        let Some(template) = template_within(&field, SHORT_LEN_MAX, report) else { continue };
        if let Some(text) = template.constant()
            && let Err(error) =
                crate::bridge::properties::Properties::default().set(property, text.to_owned())
        {
            report.error(&field.spot, error.to_string());
            continue;
        }
        transform.set_properties.push((property, template));
    }
}

fn remove(field: &Field<'_>, transform: &mut Transform, report: &mut Report) {
    let Some(section) = Section::open(field, REMOVE, report) else { return };
    let headers = section.get("headers").and_then(|field| field.list("a list of headers", report));
    for field in headers.into_iter().flatten() {
        if let Some(name) = field.short_text(report) {
            transform.remove_headers.push(HeaderPattern(name));
        }
    }
    let properties =
        section.get("properties").and_then(|field| field.list("a list of properties", report));
    for field in properties.into_iter().flatten() {
        let name = field.text(report);
        if let Some(property) = name.and_then(|name| property(&name, &field.spot, report)) {
            transform.remove_properties.push(property);
        }
    }
}

fn is_header(name: &str, spot: &Spot, report: &mut Report) -> bool {
    if name.is_empty() || name.len() > SHORT_LEN_MAX {
        report.error(spot, format!("expected 1 to 255 bytes of text, found {}", name.len()));
        return false;
    }
    if name.starts_with(OWN_HEADERS) {
        report.error(spot, format!("headers that begin with {OWN_HEADERS} are written by routes"));
        return false;
    }
    true
}

fn property(name: &str, spot: &Spot, report: &mut Report) -> Option<Property> {
    let property = Property::by_name(name);
    if property.is_none() {
        let names = Property::ALL.map(Property::name);
        let hint = hint(name, names);
        let separator = if hint.is_empty() { ";" } else { "" };
        let message = format!(
            "unknown property \"{name}\"{hint}{separator} expected one of {}",
            names.join(", ")
        );
        report.error(spot, message);
    }
    property
}

/// A template whose results have at most `len_max` bytes.
pub(super) fn template_within(
    field: &Field<'_>,
    len_max: usize,
    report: &mut Report,
) -> Option<Template> {
    let text = field.text(report)?;
    Template::parse_within(&text, len_max)
        .map_err(|error| wrong(field, "the template is wrong", &error, report))
        .ok()
}

fn condition(field: &Field<'_>, report: &mut Report) -> Option<Condition> {
    let text = field.text(report)?;
    if text.contains("{{") || text.contains("{%") {
        let message = "expected an expression without braces, such as body.region == 'eu'";
        report.error(&field.spot, message);
        return None;
    }
    Condition::parse(&text)
        .map_err(|error| wrong(field, "the expression is wrong", &error, report))
        .ok()
}

/// Reports what is wrong with a template, at its place in the text.
pub(super) fn wrong(field: &Field<'_>, what: &str, error: &TemplateError, report: &mut Report) {
    let message = match error {
        TemplateError::Syntax { .. } => format!("{what}: {error}"),
        TemplateError::UnknownVariable { name, .. } => {
            let hint = hint(name, VARIABLES);
            let separator = if hint.is_empty() { ";" } else { "" };
            format!("{what}: {error}{hint}{separator} expected one of {}", VARIABLES.join(", "))
        }
        TemplateError::TooLong { .. } => error.to_string(),
    };
    field.error_at(error.offset(), message, report);
}
