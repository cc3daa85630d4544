//! What is declared, and how brokers are reached: as it comes out, and what is refused.

use std::time::Duration;

use super::*;
use crate::bridge::broker::Auth;
use crate::bridge::route::{Argument, Destination, StreamOffset, Topology};

fn topology(side: &str, text: &str) -> Result<Topology, String> {
    let (from, to) = match side {
        "from" => (
            format!("{{amqp: {{queue: q, declare: {text}}}}}"),
            "{nsq: {topic: t, channel: c}}".to_owned(),
        ),
        _ => (
            "{nsq: {topic: t}}".to_owned(),
            format!("{{amqp: {{exchange: e, routing_key: k, declare: {text}}}}}"),
        ),
    };
    let routes = format!("routes:\n- name: a\n  mode: direct\n  from: {from}\n  to: {to}\n");
    let loaded = Folder::new().with("leveret.yaml", NODE).with("routes/r.yaml", &routes).load();
    let route = loaded.map_err(|errors| errors.to_string())?.routes.remove(0);
    Ok(match route.source() {
        Some(source) => source.declare.clone(),
        None => route.amqp_targets().next().unwrap().declare.clone(),
    })
}

fn shown(topology: &Topology) -> Vec<String> {
    let exchanges = topology.exchanges.iter().map(|e| format!("exchange {}: {e}", e.name));
    let queues = topology.queues.iter().map(|q| format!("queue {}: {q}", q.name));
    exchanges.chain(queues).chain(topology.bindings.iter().map(|b| format!("bind {b}"))).collect()
}

#[test]
fn all_of_a_topology_comes_out_typed() {
    let text = "{type: quorum, delivery_limit: 3, max_length: 10, max_length_bytes: 1KiB, message_ttl: 1m, expires: 1h,
      single_active_consumer: true, overflow: reject-publish, dead_letter_exchange: '', dead_letter_routing_key: d,
      dead_letter_strategy: at-least-once, arguments: {x-n: 5, x-t: '5', x-b: true, x-l: [1, a], x-m: {k: v}},
      bindings: [{exchange: h, exchange_type: headers, arguments: {x-match: all, n: 1}}],
      exchanges: [{name: c, type: x-consistent-hash, internal: true, alternate_exchange: alt, auto_delete: true, durable: false}],
      exchange_bindings: [{from: h, to: c, routing_key: r}],
      queues: [{name: d, max_priority: 9, durable: false, bindings: [{exchange: c, routing_key: '1'}]}]}";
    let topology = topology("from", text).unwrap();
    assert_eq!(
        shown(&topology),
        [
            "exchange c: x-consistent-hash, transient, auto_delete, internal, alternate-exchange=alt",
            "exchange h: headers",
            "queue q: quorum, x-b=true, x-dead-letter-exchange=, x-dead-letter-routing-key=d, \
             x-dead-letter-strategy=at-least-once, x-delivery-limit=3, x-expires=3600000, x-l=[1 a], x-m={k=v}, \
             x-max-length=10, x-max-length-bytes=1024, x-message-ttl=60000, x-n=5, x-overflow=reject-publish, \
             x-single-active-consumer=true, x-t=5",
            "queue d: classic, transient, x-max-priority=9",
            "bind d to c by \"1\"",
            "bind c to h by \"r\"",
            "bind q to h by \"\", n=1, x-match=all",
        ]
    );
    let arguments = &topology.queues[0].arguments;
    assert_eq!(arguments["x-n"], Argument::Integer(5));
    assert_eq!(arguments["x-t"], Argument::Text("5".to_owned()));
    assert_eq!(topology.bindings[1].to, Destination::Exchange("c".to_owned()));
    assert!(!topology.passive);
}

#[test]
fn the_queues_of_a_target_are_bound_to_its_exchange() {
    for (text, expected) in [
        ("{queues: [{name: x}]}", &["queue x: classic", "bind x to e by \"k\""][..]),
        (
            "{exchange_type: topic, alternate_exchange: a, queues: [{name: x, type: stream, max_age: 1d, routing_keys: [b]}]}",
            &[
                "exchange e: topic, alternate-exchange=a",
                "queue x: stream, x-max-age=86400s",
                "bind x to e by \"b\"",
            ],
        ),
        (
            "{exchange_type: headers, queues: [{name: x, bindings: [{exchange: e, arguments: {r: eu}}]}]}",
            &["exchange e: headers", "queue x: classic", "bind x to e by \"\", r=eu"],
        ),
        ("{passive: true, exchange_type: fanout}", &["exchange e: fanout"]),
    ] {
        assert_eq!(shown(&topology("to", text).unwrap()), expected, "{text}");
    }
    assert!(topology("to", "{passive: true, exchange_type: fanout}").unwrap().passive);
}

#[test]
fn what_a_queue_cannot_have_is_refused() {
    for (side, text, expected) in [
        ("from", "{delivery_limit: 3}", "a classic queue has no delivery_limit"),
        ("from", "{type: stream, message_ttl: 1s}", "a stream queue has no message_ttl"),
        ("from", "{type: quorum, max_priority: 3}", "a quorum queue has no max_priority"),
        (
            "from",
            "{type: quorum, auto_delete: true}",
            "a quorum queue is durable and not auto_delete",
        ),
        (
            "from",
            "{type: quorum, overflow: reject-publish-dlx}",
            "a quorum queue overflows by drop-head or reject-publish",
        ),
        ("from", "{dead_letter_routing_key: k}", "dead letters need a dead_letter_exchange"),
        (
            "from",
            "{type: quorum, dead_letter_exchange: d, dead_letter_strategy: at-least-once}",
            "at-least-once works with overflow: reject-publish only",
        ),
        (
            "from",
            "{max_length: 1, arguments: {x-max-length: 2}}",
            "max_length and the argument x-max-length are the same",
        ),
        ("from", "{arguments: {x-queue-type: quorum}}", "x-queue-type is given by the key type"),
        (
            "from",
            "{arguments: {x: }}",
            "expected text, a whole number, true, false, a list or a mapping",
        ),
        (
            "from",
            "{queues: [{name: d, routing_keys: [a]}]}",
            "only the queues of to.amqp are bound to the route's exchange",
        ),
        (
            "to",
            "{alternate_exchange: a}",
            "the exchange is not declared; give its exchange_type too",
        ),
        (
            "to",
            "{exchanges: [{name: amq.x, type: topic}]}",
            "the broker keeps names that start with amq. to itself",
        ),
        ("to", "{exchanges: [{name: x}]}", "the key \"type\" is missing"),
        ("to", "{exchange_bindings: [{from: a}]}", "the key \"to\" is missing"),
    ] {
        let errors = topology(side, text).unwrap_err();
        assert!(errors.contains(expected), "{text}\n{errors}");
    }
}

#[test]
fn a_stream_is_read_from_its_offset() {
    let route = |text: &str| {
        let routes = format!(
            "routes:\n- {{name: a, mode: direct, from: {{amqp: {{queue: q, {text}}}}}, to: {{nsq: {{topic: t, channel: c}}}}}}\n"
        );
        Folder::new().with("leveret.yaml", NODE).with("routes/r.yaml", &routes).load()
    };
    let loaded = route("offset: 2h, declare: {type: stream}").unwrap();
    assert_eq!(loaded.routes[0].source().unwrap().offset, Some(StreamOffset::Ago(7200)));
    let errors = route("offset: first, declare: {}").unwrap_err().to_string();
    assert!(errors.contains("only a stream has an offset"), "{errors}");
}

#[test]
fn brokers_have_hosts_and_certificates() {
    let folder = Folder::new();
    let papers = rcgen::generate_simple_self_signed(vec!["rabbit".to_owned()]).unwrap();
    let (cert, key) = (papers.cert.pem(), papers.signing_key.serialize_pem());
    let folder = folder.with("cert.pem", &cert).with("key.pem", &key).with("pw", "secret\n");
    let text = "brokers: {default: {uri: 'amqps://u@a/v', hosts: [b, 'c:1'], password_file: pw, auth: external,
      tls: {ca_file: cert.pem, cert_file: cert.pem, key_file: key.pem, server_name: rabbit},
      management: 'https://a:15671/', heartbeat: 3s}}";
    let folder = folder.with("leveret.yaml", text);
    let loaded = folder.load().unwrap();
    let broker = &loaded.node.brokers[0];
    let hosts: Vec<_> = broker.all_hosts(&broker.uri).iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["a:5671", "b:5671", "c:1"]);
    assert_eq!((broker.auth, broker.heartbeat), (Auth::External, Duration::from_secs(3)));
    assert_eq!(broker.management.as_deref(), Some("https://a:15671"));
    assert_eq!(broker.tls.server_name.as_deref(), Some("rabbit"));
    assert_eq!(broker.current_uri().unwrap().password(), "secret");
    assert!(!format!("{broker:?}").contains("secret\""));
    std::fs::write(broker.password_file.as_ref().unwrap(), "other").unwrap();
    assert_eq!(broker.current_uri().unwrap().password(), "other");
}

#[test]
fn brokers_that_do_not_fit_are_refused() {
    for (text, expected) in [
        ("uri: 'amqp://h', hosts: [\"a b\"]", "expected a host such as rabbit-2 or rabbit-2:5672"),
        (
            "uri: 'amqp://h', tls: {server_name: x}",
            "TLS needs an address that starts with amqps://",
        ),
        ("uri: 'amqps://h', auth: external", "external logs in by a certificate"),
        ("uri: 'amqps://h', tls: {cert_file: x}", "cert_file and key_file belong together"),
        ("uri: 'amqps://h', tls: {ca_file: missing.pem}", "missing.pem"),
        ("uri: 'amqp://h', management: 'amqp://h'", "expected http:// or https://"),
        ("uri: 'amqp://h', management: 'http://u:p@h'", "without a user"),
    ] {
        let text = format!("brokers: {{default: {{{text}}}}}");
        let errors = Folder::new().with("leveret.yaml", &text).load().unwrap_err().to_string();
        assert!(errors.contains(expected), "{text}\n{errors}");
    }
}
