//! `when` and `transform` of a route: what is right, and every error.

use super::{AMQP, Folder, NODE, publish, route_findings};
use crate::bridge::properties::Property;
use crate::bridge::route::Target;
use crate::bridge::transform::Envelope;

fn deliver(to: &str, more: &str) -> String {
    format!(
        "routes:\n- name: r\n  from: {{amqp: {{queue: q}}}}\n  to: {{{to}}}\n  mode: queued\n{more}\n"
    )
}

fn assert_findings(text: &str, expected: &str) {
    let expected = format!("routes/r.yaml:{expected}");
    assert_eq!(route_findings(text), expected, "{text}");
}

#[test]
fn everything_is_read() {
    let more = "  when: body.paid and headers.kind == 'order'
  transform:
    set:
      headers: {region: '{{ body.region }}', fixed: 1}
      properties: {priority: 7, type: order}
    remove: {headers: ['x-*'], properties: [user_id]}
    max_hops: 3
    nsq_headers: true
";
    let folder =
        Folder::new().with("leveret.yaml", NODE).with("routes/r.yaml", publish(AMQP, more));
    let loaded = folder.load().unwrap();
    let transform = &loaded.routes[0].transform;
    let when = transform.when.as_ref().unwrap();
    assert_eq!(when.source(), "body.paid and headers.kind == 'order'");
    let headers: Vec<_> =
        transform.set_headers.iter().map(|(name, value)| (name.as_str(), value.source())).collect();
    assert_eq!(headers, [("region", "{{ body.region }}"), ("fixed", "1")]);
    let properties: Vec<_> = transform
        .set_properties
        .iter()
        .map(|(property, value)| (*property, value.source()))
        .collect();
    assert_eq!(properties, [(Property::Priority, "7"), (Property::Type, "order")]);
    assert!(transform.remove_headers[0].matches("x-a"));
    assert_eq!(transform.remove_properties, [Property::UserId]);
    assert_eq!((transform.max_hops, transform.nsq_headers), (3, true));
}

#[test]
fn an_envelope_is_for_the_way_through_nsq() {
    let json = "  transform: {envelope: json}";
    let nsq = "nsq: {topic: t}";
    let amqp = "amqp: {exchange: x, routing_key: k}";
    for text in [publish(AMQP, json), deliver(nsq, json)] {
        let folder = Folder::new().with("leveret.yaml", NODE).with("routes/r.yaml", &text);
        assert_eq!(folder.load().unwrap().routes[0].transform.envelope, Envelope::Json, "{text}");
    }
    assert_findings(
        &deliver(amqp, json),
        "6:25: routes[0].transform.envelope: properties and headers get from broker to broker as they are",
    );
    assert_findings(
        &deliver(nsq, json).replace("amqp: {queue: q}", "nsq: {topic: s}"),
        "6:25: routes[0].transform.envelope: a message of NSQ has nothing to put into an envelope or to take out of one for NSQ",
    );
}

#[test]
fn expressions_that_are_wrong_have_a_place() {
    for (more, expected) in [
        (
            "  when: 'body.n >'",
            "9:17: routes[0].when: the expression is wrong: unexpected end of input, expected expression",
        ),
        (
            "  when: bdoy.n > 1",
            "9:9: routes[0].when: the expression is wrong: unknown variable \"bdoy\"; did you mean \"body\"? expected one of attempts, body, channel, headers, id, properties, timestamp, topic",
        ),
        (
            "  when: body.a and body.b | uper",
            "9:29: routes[0].when: the expression is wrong: filter uper is unknown",
        ),
        (
            "  when: '{{ body.n }}'",
            "9:9: routes[0].when: expected an expression without braces, such as body.region == 'eu'",
        ),
        (
            "  transform: {set: {headers: {a: '{{ body.x'}}}",
            "9:43: routes[0].transform.set.headers.a: the template is wrong: unexpected end of input, expected end of variable block",
        ),
    ] {
        assert_findings(&publish(AMQP, more), expected);
    }
}

#[test]
fn changes_that_cannot_be_are_refused() {
    for (more, expected) in [
        (
            "set: {headers: {x-leveret-hops: 1}}",
            "9:47: routes[0].transform.set.headers.x-leveret-hops: headers that begin with x-leveret- are written by routes",
        ),
        (
            "set: {properties: {user_id: me}}",
            "9:43: routes[0].transform.set.properties.user_id: RabbitMQ refuses a message with another user than the connection's; use a header",
        ),
        (
            "set: {properties: {priority: high}}",
            "9:44: routes[0].transform.set.properties.priority: property priority: expected a whole number from 0 to 255, found \"high\"",
        ),
        (
            "remove: {properties: [prority]}",
            "9:37: routes[0].transform.remove.properties[0]: unknown property \"prority\"; did you mean \"priority\"? expected one of app_id, content_encoding, content_type, correlation_id, delivery_mode, expiration, message_id, priority, reply_to, timestamp, type, user_id",
        ),
        (
            "max_hops: 0",
            "9:25: routes[0].transform.max_hops: expected a whole number from 1 to 255, found \"0\"",
        ),
        (
            "drop: {}",
            "9:15: routes[0].transform.drop: unknown key \"drop\"; expected one of envelope, max_hops, nsq_headers, remove, set",
        ),
    ] {
        let more = format!("  transform: {{{more}}}");
        assert_findings(&publish(AMQP, &more), expected);
    }
    assert_findings(
        &deliver("nsq: {topic: t}", "  transform: {set: {headers: {a: b}}}"),
        "6:20: routes[0].transform.set: NSQ has no properties and headers; a route from a broker brings them there with envelope: json",
    );
    assert_findings(
        &deliver("amqp: {exchange: x, routing_key: k}", "  transform: {nsq_headers: true}"),
        "6:28: routes[0].transform.nsq_headers: the messages are not from NSQ",
    );
    assert_findings(
        &deliver(
            "amqp: {exchange: x, routing_key: k, content_type: a/b}",
            "  transform: {set: {properties: {content_type: c/d}}}",
        ),
        "6:20: routes[0].transform.set: to.amqp.content_type and transform.set.properties.content_type are both given; keep one",
    );
}

#[test]
fn a_topic_that_is_written_to_may_be_a_template() {
    let text = deliver("nsq: {topic: 'orders.{{ body.region }}'}", "");
    let folder = Folder::new().with("leveret.yaml", NODE).with("routes/r.yaml", &text);
    let loaded = folder.load().unwrap();
    let Some(Target::Topic { topic }) = loaded.routes[0].target() else { panic!("{text}") };
    assert_eq!(topic.source(), "orders.{{ body.region }}");
    for (text, place) in [
        (publish(AMQP, "").replace("topic: t", "topic: '{{ id }}'"), "4:23: routes[0].from"),
        (
            deliver("nsq: {topic: t}", "  dead_letter: {nsq: {topic: '{{ id }}'}}"),
            "6:30: routes[0].dead_letter",
        ),
    ] {
        assert_findings(
            &text,
            &format!("{place}.nsq.topic: only the topic that a route writes to may be a template"),
        );
    }
}
