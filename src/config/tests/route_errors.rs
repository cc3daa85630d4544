//! Every error within one route.

use super::{AMQP, publish, route_findings};

fn deliver(amqp: &str, nsq: &str, more: &str) -> String {
    format!(
        "routes:\n- name: r\n  from: {{amqp: {{{amqp}}}}}\n  to: {{nsq: {{{nsq}}}}}\n  {more}\n"
    )
}

fn assert_findings(text: &str, expected: &str) {
    let expected = format!("routes/r.yaml:{expected}");
    assert_eq!(route_findings(text), expected, "{text}");
}

const ROUTE: &[(&str, &str)] = &[
    (
        "  filter: x",
        "9:3: routes[0].filter: unknown key \"filter\"; expected one of dead_letter, defer, from, instances, limit, max_hold, mode, name, ordered, publish_timeout, retry, to, transform, when, window",
    ),
    (
        "  limits: {}",
        "9:3: routes[0].limits: unknown key \"limits\"; did you mean \"limit\"? expected one of dead_letter, defer, from, instances, limit, max_hold, mode, name, ordered, publish_timeout, retry, to, transform, when, window",
    ),
    (
        "  publish_timeout: 1ms",
        "9:20: routes[0].publish_timeout: expected 10ms to 10m, found \"1ms\"",
    ),
    (
        "  window: {messages: 0}",
        "9:22: routes[0].window.messages: expected a whole number from 1 to 100000, found \"0\"",
    ),
    ("  window: {bytes: 1}", "9:19: routes[0].window.bytes: expected 1KiB to 1GiB, found \"1\""),
    (
        "  retry: {}",
        "9:10: routes[0].retry: only queued routes have it: on a direct one the producer gets the error and tries again",
    ),
    (
        "  dead_letter: drop",
        "9:16: routes[0].dead_letter: only queued routes have it: on a direct one the producer gets the error and tries again",
    ),
    (
        "  limit: {}",
        "9:10: routes[0].limit: expected a limit in messages, bytes or both, such as messages: 5000/s",
    ),
    (
        "  limit: {messages: 5000}",
        "9:21: routes[0].limit.messages: expected messages in a span of time such as 5000/s, 300/m or 10/h, found \"5000\" without a span of time",
    ),
    (
        "  limit: {messages: 20MiB/s}",
        "9:21: routes[0].limit.messages: expected messages in a span of time such as 5000/s, 300/m or 10/h, found \"20MiB/s\"; a limit in bytes is written with the key \"bytes\"",
    ),
    (
        "  limit: {messages: 0/s}",
        "9:21: routes[0].limit.messages: a limit of zero lets nothing pass; take the route out to stop it",
    ),
    (
        "  limit: {messages: 20000000/s}",
        "9:21: routes[0].limit.messages: a limit is at most 10000000/s",
    ),
    ("  limit: {bytes: 20GiB/s}", "9:18: routes[0].limit.bytes: a limit is at most 10GiB/s"),
    (
        "  limit: {messages: 1/s, burst: 0}",
        "9:33: routes[0].limit.burst: expected a whole number from 1 to 4294967295, found \"0\"",
    ),
    (
        "  limit: {bytes: 1MiB/s, burst: 5}",
        "9:33: routes[0].limit.burst: a burst without a rate: the key \"messages\" is missing",
    ),
    (
        "  limit: {messages: 1/s, burst_bytes: 5MiB}",
        "9:39: routes[0].limit.burst_bytes: a burst without a rate: the key \"bytes\" is missing",
    ),
    (
        "  limit: {bytes: 1MiB/s, burst_bytes: 100}",
        "9:39: routes[0].limit.burst_bytes: expected 1KiB to 1TiB, found \"100\"",
    ),
    (
        "  limit: {messages: 1/s, on_exceed: hold}",
        "9:37: routes[0].limit.on_exceed: expected wait, reject, dead_letter or drop, found \"hold\"",
    ),
    (
        "  limit: {messages: 1/s, on_exceed: rejct}",
        "9:37: routes[0].limit.on_exceed: expected wait, reject, dead_letter or drop, found \"rejct\"; did you mean \"reject\"?",
    ),
    (
        "  limit: {messages: 1/s, max_keys: 5}",
        "9:36: routes[0].limit.max_keys: there are no keys: the key \"per\" is missing",
    ),
    (
        "  limit: {messages: 1/s, per: tenant}",
        "9:31: routes[0].limit.per: the same for every message; expected a template such as {{ body.tenant }}",
    ),
    (
        "  limit: {messages: 1/s, on_exceed: dead_letter}",
        "9:37: routes[0].limit.on_exceed: only queued routes and amqp → amqp have dead letters; use on_exceed: wait",
    ),
    (
        "  limit: {bytes: 1MiB/s, burst_bytes: 64KiB}",
        "9:39: routes[0].limit.burst_bytes: smaller than nsqd.max_msg_size (1MiB): a larger message waits for several fillings of the bucket",
    ),
];

#[test]
fn keys_and_values_of_a_route() {
    for (more, expected) in ROUTE {
        assert_findings(&publish(AMQP, more), expected);
    }
}

const TARGET: &[(&str, &str)] = &[
    (
        "      exchnage: x\n      routing_key: k",
        "7:7: routes[0].to.amqp: the key \"exchange\" is missing, such as exchange: shop\nroutes/r.yaml:7:7: routes[0].to.amqp.exchnage: unknown key \"exchnage\"; did you mean \"exchange\"? expected one of broker, content_type, declare, exchange, persistent, routing_key",
    ),
    (
        "      exchange: x",
        "7:7: routes[0].to.amqp: the key \"routing_key\" is missing, such as routing_key: \"orders.{{ body.region }}\"",
    ),
    (
        "      exchange: x\n      routing_key: 'a.{{ body.b'",
        "8:31: routes[0].to.amqp.routing_key: the template is wrong: unexpected end of input, expected end of variable block",
    ),
    (
        "      exchange: x\n      routing_key: \"ü.{{ bdoy.b }}\"",
        "8:26: routes[0].to.amqp.routing_key: the template is wrong: unknown variable \"bdoy\"; did you mean \"body\"? expected one of attempts, body, channel, headers, id, properties, timestamp, topic",
    ),
    (
        "      exchange: x\n      routing_key: '{{ id | uper }}'",
        "8:29: routes[0].to.amqp.routing_key: the template is wrong: filter uper is unknown",
    ),
    (
        "      exchange: x\n      routing_key: k\n      persistent: yes",
        "9:19: routes[0].to.amqp.persistent: expected true or false, found \"yes\"",
    ),
    (
        "      exchange: x\n      routing_key: k\n      broker: bakup",
        "9:15: routes[0].to.amqp.broker: unknown broker \"bakup\"; did you mean \"backup\"? expected one of default, backup",
    ),
    (
        "      exchange: x\n      routing_key: k\n      broker: third",
        "9:15: routes[0].to.amqp.broker: unknown broker \"third\"; expected one of default, backup",
    ),
    (
        "      exchange: '{{ topic }}'\n      routing_key: k\n      declare: {exchange_type: topic}",
        "9:16: routes[0].to.amqp.declare: an exchange whose name is a template cannot be declared; declare each on the broker",
    ),
    (
        "      exchange: x\n      routing_key: k\n      declare: {exchange_type: topci}",
        "9:32: routes[0].to.amqp.declare.exchange_type: expected direct, fanout, topic or headers or a plugin's type, which starts with x-, found \"topci\"; did you mean \"topic\"?",
    ),
    (
        "      exchange: amq.topic\n      routing_key: k\n      declare: {exchange_type: topic}",
        "9:32: routes[0].to.amqp.declare.exchange_type: the broker keeps names that start with amq. to itself; the exchange \"amq.topic\" cannot be declared",
    ),
    (
        "      exchange: ''\n      routing_key: k\n      declare: {exchange_type: topic}",
        "9:32: routes[0].to.amqp.declare.exchange_type: the default exchange exists always and cannot be declared",
    ),
    (
        "      exchange: ''\n      routing_key: k\n      declare: {queues: [{name: q, routing_keys: [a]}]}",
        "9:50: routes[0].to.amqp.declare.queues[0].routing_keys: the default exchange has no bindings: every queue gets what is sent to its name",
    ),
    (
        "      exchange: x\n      routing_key: '{{ id }}'\n      declare: {queues: [{name: q}]}",
        "9:26: routes[0].to.amqp.declare.queues[0]: the key \"routing_keys\" is missing, such as routing_keys: [\"orders.#\"]",
    ),
    (
        "      exchange: x\n      routing_key: k\n      declare: {queues: {name: q}}",
        "9:25: routes[0].to.amqp.declare.queues: expected a list of queues, found a mapping",
    ),
    (
        "      exchange: x\n      routing_key: k\n      declare: {queues: [{name: q, type: mirrored}]}",
        "9:42: routes[0].to.amqp.declare.queues[0].type: expected classic, quorum or stream, found \"mirrored\"",
    ),
];

#[test]
fn keys_and_values_of_a_target() {
    for (amqp, expected) in TARGET {
        assert_findings(&publish(amqp, ""), expected);
    }
    let long = format!("      exchange: x\n      routing_key: {}", "k".repeat(256));
    assert_findings(
        &publish(&long, ""),
        "8:20: routes[0].to.amqp.routing_key: 256 bytes are more than the 255 that AMQP allows",
    );
}

#[test]
fn keys_and_values_of_a_source() {
    for (amqp, expected) in [
        (
            "queue: q, prefetch: 0",
            "3:37: routes[0].from.amqp.prefetch: expected a whole number from 1 to 65535, found \"0\"",
        ),
        (
            "queue: q, prefetch: 65536",
            "3:37: routes[0].from.amqp.prefetch: expected a whole number from 1 to 65535, found \"65536\"",
        ),
        ("queue: ''", "3:24: routes[0].from.amqp.queue: expected 1 to 255 bytes of text, found 0"),
        (
            "prefetch: 1",
            "3:16: routes[0].from.amqp: the key \"queue\" is missing, such as queue: invoices",
        ),
        (
            "queue: amq.q, declare: {}",
            "3:40: routes[0].from.amqp.declare: the broker keeps names that start with amq. to itself; the queue \"amq.q\" cannot be declared",
        ),
        (
            "queue: q, declare: {bindings: [{}]}",
            "3:48: routes[0].from.amqp.declare.bindings[0]: the key \"exchange\" is missing, such as exchange: shop",
        ),
        (
            "queue: q, arguments: {}",
            "3:27: routes[0].from.amqp.arguments: unknown key \"arguments\"; expected one of broker, consumer_tag, declare, offset, prefetch, queue",
        ),
    ] {
        assert_findings(&deliver(amqp, "topic: t, channel: c", "mode: direct"), expected);
    }
}

#[test]
fn modes_from_a_broker() {
    for (text, expected) in [
        (
            deliver("queue: q", "topic: t", "mode: direct"),
            "4:13: routes[0].to.nsq: the key \"channel\" is missing: a direct route appears as a channel of the topic",
        ),
        (
            deliver("queue: q", "topic: t, channel: c", "mode: queued"),
            "4:33: routes[0].to.nsq.channel: a topic is written to, and with it all its channels; leave the channel out, or bring a queue to it with mode: direct",
        ),
        (
            deliver("queue: q", "topic: 'a b', channel: c", "mode: direct"),
            "4:21: routes[0].to.nsq.topic: \"a b\" is not a topic name: 1 to 64 of the characters . a-z A-Z 0-9 _ -, and #ephemeral at the end if wanted",
        ),
        (
            deliver("queue: q", "topic: t, channel: 'c/d'", "mode: direct"),
            "4:33: routes[0].to.nsq.channel: \"c/d\" is not a channel name: 1 to 64 of the characters . a-z A-Z 0-9 _ -, and #ephemeral at the end if wanted",
        ),
        (
            deliver("queue: q", "topic: t, channel: c", "mode: dirct"),
            "5:9: routes[0].mode: expected direct or queued, found \"dirct\"; did you mean \"direct\"?",
        ),
        (
            deliver("queue: q", "topic: t, channel: c", "mode: direct\n  retry: {}"),
            "6:10: routes[0].retry: only queued routes have it: on a direct one the consumers decide what to requeue and what to give up",
        ),
        (
            deliver("queue: q", "topic: t, channel: c", "mode: direct\n  window: {}"),
            "6:11: routes[0].window: nothing waits for confirms here; what is in flight is bounded by from.amqp.prefetch",
        ),
        (
            deliver(
                "queue: q",
                "topic: t",
                "mode: queued\n  limit: {messages: 1/s, on_exceed: reject}",
            ),
            "6:37: routes[0].limit.on_exceed: only a direct route from nsq has a producer to tell; use on_exceed: wait",
        ),
        (
            deliver(
                "queue: q",
                "topic: t, channel: c",
                "mode: direct\n  limit: {messages: 1/s, on_exceed: drop}",
            ),
            "6:37: routes[0].limit.on_exceed: what appears as a channel is finished by its consumers; use on_exceed: wait",
        ),
        (
            deliver(
                "queue: q",
                "topic: t",
                "mode: queued\n  limit: {messages: 1/s, excess: {messages: 1/s}}",
            ),
            "6:34: routes[0].limit.excess: only a message on its way to an exchange can be marked",
        ),
        (
            deliver("queue: q", "topic: 't#ephemeral'", "mode: queued"),
            "4:13: routes[0].to.nsq: an #ephemeral topic keeps its messages in memory only and drops what it cannot hold; a route must not",
        ),
    ] {
        assert_findings(&text, expected);
    }
}

#[test]
fn modes_and_directions_from_nsq() {
    for (text, expected) in [
        (
            publish(AMQP, "").replace("topic: t", "topic: t, channel: c"),
            "4:35: routes[0].from.nsq.channel: a direct route takes what producers send to the topic, before any channel; leave it out, or use mode: queued",
        ),
        (
            publish(AMQP, "")
                .replace("topic: t", "topic: t, channel: 'c#ephemeral'")
                .replace("direct", "queued"),
            "4:35: routes[0].from.nsq.channel: an #ephemeral channel drops what it cannot hold; a queued route must not",
        ),
        (
            publish(AMQP, "").replace("name: r", "name: 'r#ephemeral'"),
            "2:9: routes[0].name: \"r#ephemeral\" is not a route's name: 1 to 64 of the characters . a-z A-Z 0-9 _ -",
        ),
        (
            publish(AMQP, "").replace("{nsq: {topic: t}}", "{}"),
            "4:9: routes[0].from: expected one of the keys nsq and amqp",
        ),
        (
            publish(AMQP, "").replace("{nsq: {topic: t}}", "{nsq: {topic: t}, amqp: {queue: q}}"),
            "4:33: routes[0].from.amqp: nsq and amqp are both given; keep one",
        ),
        (
            publish(AMQP, "").replace("nsq: {topic: t}", "kafka: {}"),
            "4:9: routes[0].from: expected one of the keys nsq and amqp\nroutes/r.yaml:4:10: routes[0].from.kafka: unknown key \"kafka\"; expected one of amqp, nsq",
        ),
    ] {
        assert_findings(&text, expected);
    }
}

#[test]
fn retries_and_dead_letters() {
    for (more, expected) in [
        (
            "  retry: {max_attempts: 0}",
            "9:25: routes[0].retry.max_attempts: expected a whole number from 1 to 65535, found \"0\"",
        ),
        (
            "  retry: {backoff: {initial: 1m, max: 1s}}",
            "9:20: routes[0].retry.backoff: initial is above max",
        ),
        (
            "  retry: {backoff: {initial: 0}}",
            "9:30: routes[0].retry.backoff.initial: expected 1ms to 1h, found \"0\"",
        ),
        (
            "  dead_letter: dorp",
            "9:16: routes[0].dead_letter: expected stop, drop, or a mapping with amqp or nsq, found \"dorp\"; did you mean \"drop\"?",
        ),
        (
            "  dead_letter: [drop]",
            "9:16: routes[0].dead_letter: expected a mapping with keys, found a list",
        ),
        (
            "  dead_letter: {nsq: {topic: t}}",
            "9:16: routes[0].dead_letter: dead letters would come back to this route for ever",
        ),
        (
            "  dead_letter: {nsq: {topic: d, channel: c}}",
            "9:42: routes[0].dead_letter.nsq.channel: dead letters go to a topic; leave the channel out",
        ),
        (
            "  dead_letter: {amqp: {exchange: x, routing_key: '{{ id }}'}}",
            "9:16: routes[0].dead_letter: the place for dead letters is a constant: a template may be why a message is dead",
        ),
        (
            "  dead_letter: {amqp: {broker: none, exchange: x, routing_key: k}}",
            "9:32: routes[0].dead_letter.amqp.broker: unknown broker \"none\"; expected one of default, backup",
        ),
    ] {
        let text = publish(AMQP, more).replace("direct", "queued");
        assert_findings(&text, expected);
    }
    let dead = "mode: queued\n  dead_letter: {amqp: {exchange: '', routing_key: q}}";
    assert_findings(
        &deliver("queue: q", "topic: t", dead),
        "6:16: routes[0].dead_letter: dead letters would come back to this route for ever",
    );
}
