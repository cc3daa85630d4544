//! Rules between routes.

use super::{Folder, NODE, route_findings};

fn routes(list: &[&str]) -> String {
    format!("routes:\n- {}\n", list.join("\n- "))
}

const A: &str =
    "{name: a, mode: direct, from: {nsq: {topic: t}}, to: {amqp: {exchange: x, routing_key: k}}}";

#[test]
fn names_and_topics_belong_to_one_route() {
    for (list, expected) in [
        (
            [
                A,
                "{name: a, mode: direct, from: {nsq: {topic: u}}, to: {amqp: {exchange: x, routing_key: k}}}",
            ],
            "3:10: routes[1].name: the name \"a\" is taken by the route at routes/r.yaml:2:10",
        ),
        (
            [
                A,
                "{name: b, mode: direct, from: {nsq: {topic: t}}, to: {amqp: {exchange: x, routing_key: k}}}",
            ],
            "3:33: routes[1].from: the topic \"t\" is handed straight to the broker by the route \"a\" at routes/r.yaml:2:33; one direct route a topic",
        ),
        (
            [
                A,
                "{name: b, mode: queued, from: {nsq: {topic: t}}, to: {amqp: {exchange: x, routing_key: k}}}",
            ],
            "3:33: routes[1].from: the topic \"t\" keeps no messages here: the direct route \"a\" at routes/r.yaml:2:33 hands them to the broker",
        ),
        (
            [A, "{name: b, mode: queued, from: {amqp: {queue: q}}, to: {nsq: {topic: t}}}"],
            "3:57: routes[1].to: the topic \"t\" keeps no messages here: the direct route \"a\" at routes/r.yaml:2:33 hands them to the broker",
        ),
        (
            [
                A,
                "{name: b, mode: direct, from: {amqp: {queue: q}}, to: {nsq: {topic: t, channel: c}}}",
            ],
            "",
        ),
        (
            [
                "{name: a, mode: queued, from: {nsq: {topic: t, channel: c}}, to: {amqp: {exchange: x, routing_key: k}}}",
                "{name: c, mode: queued, from: {nsq: {topic: t}}, to: {amqp: {exchange: y, routing_key: k}}}",
            ],
            "3:33: routes[1].from: the channel \"t/c\" belongs to the route \"a\" at routes/r.yaml:2:33; each would get a part of the messages",
        ),
        (
            [
                "{name: a, mode: direct, from: {amqp: {queue: q}}, to: {nsq: {topic: t, channel: c}}}",
                "{name: b, mode: direct, from: {amqp: {queue: q}}, to: {nsq: {topic: t, channel: d}}}",
            ],
            "3:33: routes[1].from: the queue \"q\" is consumed by the route \"a\" at routes/r.yaml:2:33 too; each gets a part of the messages",
        ),
        (
            [
                "{name: a, mode: direct, from: {amqp: {queue: q, declare: {type: quorum}}}, to: {nsq: {topic: t, channel: c}}}",
                "{name: b, mode: direct, from: {nsq: {topic: t}}, to: {amqp: {exchange: '', routing_key: q, declare: {queues: [{name: q}]}}}}",
            ],
            "3:56: routes[1].to: the queue \"q\" is declared as classic here and as quorum at routes/r.yaml:2:33",
        ),
    ] {
        let found = route_findings(&routes(&list));
        let expected = match expected {
            "" => String::new(),
            expected => format!("routes/r.yaml:{expected}"),
        };
        assert_eq!(found, expected, "{list:?}");
    }
}

#[test]
fn the_first_of_two_names_may_stand_in_another_file() {
    let folder = Folder::new()
        .with("leveret.yaml", NODE)
        .with("routes/1.yaml", routes(&[A]))
        .with("routes/2.yaml", routes(&[&A.replace("topic: t", "topic: u")]));
    let findings = folder.findings();
    assert!(
        findings.starts_with(
            "routes/2.yaml:2:10: routes[0].name: the name \"a\" is taken by the route at "
        ),
        "{findings}"
    );
    assert!(findings.ends_with("1.yaml:2:10"), "{findings}");
}

#[test]
fn a_node_without_brokers_says_so() {
    let folder =
        Folder::new().with("leveret.yaml", "bridges: routes\n").with("routes/r.yaml", routes(&[A]));
    assert_eq!(
        folder.findings(),
        "routes/r.yaml:2:63: routes[0].to.amqp: unknown broker \"default\"; the node's file has no brokers"
    );
}

#[test]
fn small_brokers_are_warned_of() {
    let node = "brokers: {default: {uri: amqp://h, max_message_size: 64KiB}}\nbridges: routes\n";
    let folder = Folder::new().with("leveret.yaml", node).with("routes/r.yaml", routes(&[A]));
    assert_eq!(
        folder.findings(),
        "routes/r.yaml:2:56: routes[0].to: the broker \"default\" takes messages up to 64KiB, nsqd.max_msg_size is 1MiB: larger ones are refused"
    );
}

#[test]
fn routes_to_themselves() {
    for (route, expected) in [
        (
            "{name: a, mode: direct, from: {nsq: {topic: t}}, to: {nsq: {topic: t}}}",
            "the route leads from the topic \"t\" to itself",
        ),
        (
            "{name: a, mode: queued, from: {nsq: {topic: t}}, to: {nsq: {topic: t}}}",
            "the route leads from the topic \"t\" to itself",
        ),
        (
            "{name: a, mode: direct, from: {amqp: {queue: q}}, to: {amqp: {exchange: '', routing_key: q}}}",
            "the route leads from the queue \"q\" to itself",
        ),
        (
            "{name: a, mode: direct, from: {amqp: {queue: q}}, to: {amqp: {exchange: x, routing_key: k, declare: {queues: [{name: q}]}}}}",
            "the route leads from the queue \"q\" to itself",
        ),
    ] {
        let found = route_findings(&routes(&[route]));
        assert!(found.contains("routes[0].to") && found.ends_with(expected), "{route}\n{found}");
    }
}

#[test]
fn any_pair_of_ends_makes_a_route() {
    let ends = ["{nsq: {topic: t}}", "{amqp: {queue: q}}"];
    let to = ["{nsq: {topic: u}}", "{amqp: {broker: backup, exchange: '', routing_key: q}}"];
    for mode in ["direct", "queued"] {
        for (from, to) in ends.iter().flat_map(|from| to.map(|to| (from, to))) {
            let route = format!("{{name: a, mode: {mode}, from: {from}, to: {to}}}");
            let found = route_findings(&routes(&[&route]));
            let needs_channel = mode == "direct" && from.contains("amqp") && to.contains("nsq");
            assert_eq!(found.contains("the key \"channel\" is missing"), needs_channel, "{found}");
            assert!(needs_channel || found.is_empty(), "{route}\n{found}");
        }
    }
}

fn out(topic: &str, amqp: &str) -> String {
    let from = format!("from: {{nsq: {{topic: {topic}}}}}");
    format!("{{name: out-{topic}, mode: queued, {from}, to: {{amqp: {{{amqp}}}}}}}")
}

fn back(amqp: &str, topic: &str) -> String {
    let to = format!("to: {{nsq: {{topic: {topic}}}}}");
    format!("{{name: back-{topic}, mode: queued, from: {{amqp: {{{amqp}}}}}, {to}}}")
}

fn assert_circle(list: &[String], verdict: Option<&str>) {
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let found = route_findings(&routes(&list));
    match verdict {
        Some(word) => {
            let words = format!("].to: messages {word} go round for ever: \"");
            assert!(found.contains(&words), "{list:?}\n{found}");
        }
        None => assert_eq!(found, "", "{list:?}"),
    }
}

#[test]
fn circles_of_topics_alone_and_of_queues_alone() {
    let topics = |from, to| {
        format!(
            "{{name: {from}-{to}, mode: direct, from: {{nsq: {{topic: {from}}}}}, to: {{nsq: {{topic: {to}}}}}}}"
        )
    };
    assert_circle(&[topics("t", "u"), topics("u", "v")], None);
    assert_circle(&[topics("t", "u"), topics("u", "v"), topics("v", "t")], Some("would"));
    let queues = |from, to| {
        format!(
            "{{name: {from}-{to}, mode: queued, from: {{amqp: {{queue: {from}}}}}, to: {{amqp: {{exchange: '', routing_key: {to}}}}}}}"
        )
    };
    assert_circle(&[queues("p", "q")], None);
    assert_circle(&[queues("p", "q"), queues("q", "p")], Some("would"));
}

#[test]
fn circles_over_the_default_exchange() {
    let named = "exchange: '', routing_key: q";
    assert_circle(&[out("t", named), back("queue: q", "t")], Some("would"));
    assert_circle(&[out("t", named), back("queue: q", "u")], None);
    let template = "exchange: '', routing_key: '{{ body.x }}'";
    assert_circle(&[out("t", template), back("queue: q", "t")], Some("may"));
    let elsewhere = "broker: backup, exchange: '', routing_key: q";
    assert_circle(&[out("t", elsewhere), back("queue: q", "t")], None);
    let long = [
        out("t", named),
        back("queue: q", "u"),
        out("u", "exchange: '', routing_key: p"),
        back("queue: p", "t"),
    ];
    assert_circle(&long, Some("would"));
}

#[test]
fn circles_over_declared_bindings() {
    let declare = "declare: {exchange_type: topic, queues: [{name: q, routing_keys: ['k.*']}]}";
    for (key, verdict) in [("k.1", Some("would")), ("j.1", None), ("'{{ id }}'", Some("may"))] {
        let amqp = format!("exchange: x, routing_key: {key}, {declare}");
        assert_circle(&[out("t", &amqp), back("queue: q", "t")], verdict);
    }
    let amqp = "exchange: x, routing_key: j";
    for (binding, verdict) in [
        ("{exchange: x, exchange_type: fanout}", Some("would")),
        ("{exchange: x}", Some("may")),
        ("{exchange: y}", None),
    ] {
        let queue = format!("queue: q, declare: {{bindings: [{binding}]}}");
        assert_circle(&[out("t", amqp), back(&queue, "t")], verdict);
    }
}

#[test]
fn what_has_no_effect_is_refused() {
    let route = |mode: &str, to: &str, option: &str| {
        let ends =
            format!("mode: {mode}, from: {{amqp: {{queue: q}}}}, to: {{nsq: {{topic: t{to}}}}}");
        route_findings(&routes(&[&format!("{{name: a, {ends}, {option}}}")]))
    };
    for option in ["retry: {max_attempts: 2}", "dead_letter: drop", "ordered: true"] {
        assert_eq!(route("queued", "", option), "", "{option}");
        let found = route("direct", ", channel: c", option);
        assert!(found.contains("only queued routes have it"), "{found}");
    }
    for option in ["window: {messages: 2}", "publish_timeout: 1s"] {
        let found = route("direct", ", channel: c", option);
        assert!(found.contains("nothing waits for confirms here"), "{found}");
    }
}

#[test]
fn a_queue_is_not_emptied_into_a_node_that_keeps_nothing() {
    let node = "brokers: { default: { uri: amqp://h } }\nbridges: routes\n";
    let route = "{name: a, mode: queued, from: {amqp: {queue: q}}, to: {nsq: {topic: t}}}";
    let folder = Folder::new().with("leveret.yaml", node).with("routes/r.yaml", routes(&[route]));
    assert!(folder.findings().contains("needs nsqd.data_path"), "{}", folder.findings());
}
