//! Nodes that share routes through a real etcd: registered, pushed to, killed, cut off, and without it.

use std::time::{Duration, Instant};

use crate::support::etcd::Etcd;
use crate::support::fleet::{
    Witness, await_each_once, counts, json, local, name, names, node, node_of, node_with,
    push_singles, running,
};
use crate::support::http;
use crate::support::leveret::Leveret;
use crate::support::nsq::Client;
use crate::support::nsqds::{collect, make, publish};
use crate::support::proxy::Proxy;
use crate::support::secure::Papers;
use crate::support::wait::{self, until_true};

/// After so long at most a route has moved away from a node that is gone.
const MOVED: Duration = Duration::from_secs(10);
/// What is done at once takes no longer, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(6);

#[test]
fn a_node_is_registered_for_as_long_as_it_lives() {
    let etcd = Etcd::start();
    let mut first = node_with(&etcd.url(), "  topology_region: eu\n  topology_zone: eu-1\n", None);
    let mut second = node(&etcd.url());
    let key = |node: &Leveret| format!("/leveret/nodes/{}", name(node));
    let (first_key, second_key) = (key(&first), key(&second));
    let record = wait::eventually("the node's key", || json(&etcd, &first_key));
    assert_eq!((&record["host"], &record["zone"]), (&"127.0.0.1".into(), &"eu-1".into()));
    assert_eq!(record["tcp_port"], first.tcp().port());
    assert_eq!(record["http_port"], first.http().port());
    assert_eq!((&record["region"], &record["version"]), (&"eu".into(), &"0.1.0".into()));
    assert!(record["load"]["routes"].is_u64(), "{record}");
    let status = http::get(first.http(), "/v1/registry").json();
    assert_eq!((&status["state"], &status["endpoint"]), (&"up".into(), &etcd.url().into()));
    assert_eq!(status["node"], name(&first));
    until_true("the other node's key", || etcd.get(&second_key).is_some());

    assert!(first.stop().success());
    assert_eq!(etcd.get(&first_key), None, "it has left");
    let killed = Instant::now();
    second.kill();
    until_true("the key is gone", || etcd.get(&second_key).is_none());
    let took = killed.elapsed();
    assert!(took < MOVED, "{took:?}");
}

#[test]
fn a_shared_route_runs_on_every_node_and_a_bad_one_leaves_the_last_good_one() {
    let etcd = Etcd::start();
    let own = "routes:\n- { name: own, from: { nsq: { topic: own } }, to: { nsq: { topic: own.out } }, mode: queued }\n";
    let nodes = [node(&etcd.url()), node_with(&etcd.url(), "", Some(own))];
    etcd.put("/leveret/routes/a", &local("a", "queued"));
    for node in &nodes {
        until_true("the route runs", || running(node).contains(&"a".to_owned()));
        let key = format!("/leveret/status/a/{}", name(node));
        until_true("and says so", || json(&etcd, &key).is_some_and(|s| s["state"] == "applied"));
        Client::connect(node.tcp()).publish("a", b"body");
        let mut consumer = Client::subscribed(node.tcp(), "a.out", "c", 1);
        assert_eq!(consumer.message().text(), "body");
    }
    let shown = http::get(nodes[0].http(), "/v1/routes/a").json();
    assert_eq!(shown["definition"]["file"], "etcd:/leveret/routes/a", "{shown}");

    let bad = etcd.put("/leveret/routes/a", &local("a", "qeued"));
    etcd.put("/leveret/routes/b", &local("other", "queued"));
    // Right by itself, and on one node there is a file with this name.
    etcd.put("/leveret/routes/own", &local("own", "queued"));
    etcd.put("/leveret/routes/c", &local("c", "queued"));
    let status = |route: &str, node: &Leveret| {
        json(&etcd, &format!("/leveret/status/{route}/{}", name(node))).unwrap_or_default()
    };
    for node in &nodes {
        until_true("the good one runs", || running(node).contains(&"c".to_owned()));
        until_true("the bad one is refused", || status("a", node)["revision"] == bad);
        let said = status("a", node);
        assert_eq!(said["state"], "refused");
        let error = said["errors"][0].as_str().unwrap().to_owned();
        assert!(error.starts_with("etcd:/leveret/routes/a:4:7: "), "{error}");
        assert!(error.contains("did you mean"), "{error}");
        until_true("the other one too", || status("b", node)["state"] == "refused");
        assert!(status("b", node)["errors"][0].as_str().unwrap().contains("found [\"other\"]"));
        assert!(running(node).contains(&"a".to_owned()), "the last good one goes on");
    }
    until_true("the name is free here", || status("own", &nodes[0])["state"] == "applied");
    let said = status("own", &nodes[1]);
    assert_eq!(said["state"], "refused", "{said}");

    etcd.put("/leveret/routes/a", &local("a", "queued"));
    etcd.delete("/leveret/routes/c");
    for node in &nodes {
        until_true("it is right again", || status("a", node)["state"] == "applied");
        until_true("one is gone", || !running(node).contains(&"c".to_owned()));
        until_true("with its status", || status("c", node).is_null());
    }
    // The file goes, and the shared route takes its place.
    std::fs::write(nodes[1].dir().join("bridges/routes.yaml"), "routes: []\n").unwrap();
    until_true("it is taken over", || status("own", &nodes[1])["state"] == "applied");
    assert!(running(&nodes[1]).contains(&"own".to_owned()));
}

#[test]
fn a_route_moves_from_a_node_that_is_killed_and_at_once_from_one_that_ends() {
    let etcd = Etcd::start();
    let (from, to) = (Leveret::nsqd().start(), Leveret::nsqd().start());
    make(&to, "out", "c");
    push_singles(&etcd, 30, &from, &to);
    let mut nodes: Vec<Leveret> = (0..3).map(|_| node(&etcd.url())).collect();
    let witness = Witness::of(&nodes.iter().collect::<Vec<_>>());
    await_each_once(&nodes.iter().collect::<Vec<_>>(), 30);
    until_true("each node has a share", || nodes.iter().all(|node| !running(node).is_empty()));

    for (number, name) in names(30).iter().enumerate() {
        publish(from.tcp(), name, &format!("first-{number}"), 100);
    }
    let mut killed = nodes.pop().unwrap();
    killed.kill();
    let took = await_each_once(&nodes.iter().collect::<Vec<_>>(), 30);
    assert!(took < MOVED, "a crash: {took:?}");
    for (number, name) in names(30).iter().enumerate() {
        publish(from.tcp(), name, &format!("then-{number}"), 100);
    }
    let mut ended = nodes.pop().unwrap();
    ended.signal("TERM");
    let took = await_each_once(&[&nodes[0]], 30);
    assert!(ended.end().success());
    assert!(took < AT_ONCE, "a clean exit: {took:?}");
    witness.end();

    let mut consumer = Client::subscribed(to.tcp(), "out", "c", 500);
    let came = collect(&mut consumer, 6000);
    assert_eq!(came.len(), 6000, "nothing is lost");
    // One that comes back takes its share again.
    let back = node(&etcd.url());
    let witness = Witness::of(&[&nodes[0], &back]);
    until_true("it has a share", || !running(&back).is_empty());
    await_each_once(&[&nodes[0], &back], 30);
    witness.end();
    println!("moved {} twice", came.values().filter(|times| **times > 1).count());
}

#[test]
fn without_etcd_all_goes_on_but_what_another_node_may_take() {
    let mut etcd = Etcd::start();
    let (from, to) = (Leveret::nsqd().start(), Leveret::nsqd().start());
    make(&to, "out", "c");
    push_singles(&etcd, 2, &from, &to);
    etcd.put("/leveret/routes/a", &local("a", "queued"));
    let mut node = node(&etcd.url());
    until_true("all run", || running(&node).len() == 3);
    etcd.kill();
    let killed = Instant::now();
    node.await_log("etcd is lost: all goes on as it last was");
    until_true("those of which there is one stop", || running(&node) == ["a"]);
    assert!(killed.elapsed() < LEASE, "{:?}", killed.elapsed());
    let status = http::get(node.http(), "/v1/registry").json();
    assert_eq!((&status["state"], &status["owned"]), (&"down".into(), &serde_json::json!([])));
    assert!(status["error"].as_str().unwrap().starts_with("etcd at http://127"), "{status}");
    let metrics = http::get(node.http(), "/metrics").text();
    assert!(
        metrics.contains("leveret_registry_up 0\nleveret")
            || metrics.contains("leveret_registry_up 0\n#")
    );
    Client::connect(node.tcp()).publish("a", b"body");
    let mut consumer = Client::subscribed(node.tcp(), "a.out", "c", 1);
    assert_eq!(consumer.message().text(), "body");

    etcd.restart();
    until_true("all run again", || running(&node).len() == 3);
    publish(from.tcp(), "one-0", "x", 10);
    let mut consumer = Client::subscribed(to.tcp(), "out", "c", 10);
    assert_eq!(collect(&mut consumer, 10).len(), 10);

    // One that has lost all it held does not take the routes with it.
    etcd.wipe();
    etcd.restart();
    node.await_log("etcd has lost all routes");
    assert!(running(&node).contains(&"a".to_owned()));
    etcd.put("/leveret/routes/b", &local("b", "queued"));
    until_true("it is listened to again", || running(&node) == ["b"]);

    // A node that starts without it has its files, and the rest when it comes.
    etcd.kill();
    node.restart();
    node.await_log("etcd cannot be reached");
    assert!(running(&node).is_empty());
    etcd.restart();
    until_true("it has the routes", || running(&node) == ["b"]);
}

#[test]
fn a_node_that_is_cut_off_stops_before_another_one_starts() {
    let etcd = Etcd::start();
    let (from, to) = (Leveret::nsqd().start(), Leveret::nsqd().start());
    make(&to, "out", "c");
    push_singles(&etcd, 16, &from, &to);
    let proxy = Proxy::to(&etcd.address());
    let cut_off = node(&format!("http://{}", proxy.address()));
    await_each_once(&[&cut_off], 16);
    let other = node(&etcd.url());
    let witness = Witness::of(&[&cut_off, &other]);
    until_true("both have a share", || {
        !running(&other).is_empty() && !running(&cut_off).is_empty()
    });
    await_each_once(&[&cut_off, &other], 16);

    proxy.silence();
    let cut = Instant::now();
    until_true("it has stopped", || running(&cut_off).is_empty());
    assert!(cut.elapsed() < LEASE, "{:?}", cut.elapsed());
    until_true("the other one has all", || running(&other).len() == 16);
    assert!(cut.elapsed() < MOVED, "{:?}", cut.elapsed());
    for name in names(16) {
        publish(from.tcp(), &name, &name, 50);
    }
    let mut consumer = Client::subscribed(to.tcp(), "out", "c", 100);
    assert_eq!(collect(&mut consumer, 800).len(), 800);

    // What was to be watched is thrown away meanwhile: a listing takes its place.
    etcd.put("/leveret/routes/late", &local("late", "queued"));
    let revision = etcd.put("/leveret/other", "x");
    etcd.compact(revision);
    proxy.open();
    until_true("it has what it missed", || running(&cut_off).contains(&"late".to_owned()));
    etcd.delete("/leveret/routes/late");
    until_true("and its share", || running(&cut_off).iter().any(|name| name != "late"));
    until_true("and what is removed", || !counts(&[&cut_off, &other]).contains_key("late"));
    await_each_once(&[&cut_off, &other], 16);
    witness.end();
}

#[test]
fn routes_are_pushed_pulled_compared_and_removed_by_hand() {
    let etcd = Etcd::start();
    let server = node(&etcd.url());
    let command = |words: &[&str], files: &[(&str, &str)]| {
        let mut plan = Leveret::bare().arg("routes");
        for word in words {
            plan = plan.arg(word);
        }
        for (name, text) in files {
            plan = plan.file(name, text);
        }
        plan.arg("--etcd").arg(&etcd.url()).run()
    };
    let text = "routes:\n- name: a # why\n  from: { nsq: { topic: a } }\n  to: { nsq: { topic: b } }\n  mode: queued\n\
                - { name: b, from: { nsq: { topic: c } }, to: { nsq: { topic: d } }, mode: queued }\n";
    let (code, said) = command(&["push", "{dir}/r.yaml", "--dry-run"], &[("r.yaml", text)]);
    assert_eq!((code, etcd.list("/leveret/routes/").len()), (Some(0), 0), "{said}");
    let (code, said) = command(&["push", "{dir}/r.yaml"], &[("r.yaml", text)]);
    assert!(code == Some(0) && said.contains("a: new, revision "), "{said}");
    until_true("they run", || running(&server) == ["a", "b"]);
    let kept = etcd.get("/leveret/routes/a").unwrap();
    assert!(kept.starts_with("name: a # why\nfrom:"), "{kept}");

    let changed = text.replace("topic: b", "topic: e");
    let (code, said) = command(&["diff", "{dir}/r.yaml"], &[("r.yaml", &changed)]);
    assert_eq!(code, Some(1));
    assert!(said.contains("~ a\n") && said.contains("  + to: { nsq: { topic: e } }"), "{said}");
    let bad = changed.replace("topic: e", "topci: e");
    let (code, said) = command(&["push", "{dir}/r.yaml"], &[("r.yaml", &bad)]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("r.yaml:") && said.contains("did you mean"), "{said}");
    let alone = changed.lines().take(5).collect::<Vec<_>>().join("\n");
    let (code, said) = command(&["push", "--prune", "{dir}/f"], &[("f/r.yaml", &alone)]);
    assert!(
        code == Some(0) && said.contains("a: changed") && said.contains("b: removed"),
        "{said}"
    );
    until_true("one is left", || running(&server) == ["a"]);

    let (code, said) = command(&["pull"], &[]);
    assert!(code == Some(0) && said.contains("topic: e"), "{said}");
    let (code, said) = command(&["pull", "{dir}/out"], &[("out/x", "")]);
    assert!(code == Some(0) && said.contains("1 routes written"), "{said}");
    let (code, said) = command(&["list"], &[]);
    assert_eq!(code, Some(0));
    until_true("the list has it", || {
        let (_, said) = command(&["list"], &[]);
        said.contains("applied by 1 of 1 nodes, refused by 0")
    });
    assert!(said.contains(&format!("node   {}: version", name(&server))), "{said}");
    let (code, said) = command(&["rm", "a", "none"], &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a: removed") && said.contains("none: there is no such route"), "{said}");
    until_true("none is left", || running(&server).is_empty());
}

#[test]
fn etcd_is_reached_in_tls_by_those_who_are_known_to_it() {
    let papers = Papers::new();
    let etcd = Etcd::start_secure(&papers);
    etcd.put("/leveret/routes/a", &local("a", "queued"));
    let file = |name: &str| papers.file(name).display().to_string();
    let tls = |cert: &str| {
        node_of(&format!(
            "    endpoints: [ \"{}\" ]\n    tls: {{ ca_file: \"{}\", cert_file: \"{}.pem\", key_file: \"{}-key.pem\" }}\n",
            etcd.secure_url(),
            file("ca.pem"),
            file(cert),
            file(cert)
        ))
    };
    let known = tls("client");
    until_true("it has the route", || running(&known) == ["a"]);
    let stranger = tls("stranger");
    stranger.await_log("etcd cannot be reached");
    assert!(running(&stranger).is_empty());

    etcd.lock("let me in");
    let user = |password: &str| {
        node_of(&format!(
            "    endpoints: [ \"http://127.0.0.1:1\", \"{}\" ]\n    auth: {{ username: root, password: \"{password}\" }}\n",
            etcd.url()
        ))
    };
    // The first member that is named does not exist.
    let right = user("let me in");
    until_true("it has the route", || running(&right) == ["a"]);
    let wrong = user("let me out");
    let error = wait::eventually("the refusal", || {
        let status = http::get(wrong.http(), "/v1/registry").json();
        let error = status["error"].as_str()?.to_owned();
        error.contains("does not let us").then_some(error)
    });
    assert!(error.contains("authentication failed"), "{error}");
    assert!(!wrong.log().contains("let me out"), "passwords are not logged");
    // One without a user cannot go on, and keeps what it had.
    known.await_log("etcd is lost");
    assert_eq!(running(&known), ["a"]);
}

#[test]
fn nothing_is_lost_while_nodes_come_and_go_under_load() {
    const MESSAGES: usize = 4000;
    let mut etcd = Etcd::start();
    let (from, to) = (Leveret::nsqd().start(), Leveret::nsqd().start());
    make(&to, "out", "c");
    push_singles(&etcd, 8, &from, &to);
    let proxy = Proxy::to(&etcd.address());
    let cut_off = node(&format!("http://{}", proxy.address()));
    let mut others: Vec<Leveret> = (0..2).map(|_| node(&etcd.url())).collect();
    let mut all = vec![&cut_off];
    all.extend(&others);
    await_each_once(&all, 8);
    let witness = Witness::of(&all);
    let at = from.tcp();
    let producer = std::thread::spawn(move || {
        let mut client = Client::connect(at);
        for number in 0..MESSAGES {
            client.publish(&format!("one-{}", number % 8), number.to_string().as_bytes());
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    proxy.silence();
    until_true("the others have all", || {
        others.iter().map(|node| running(node).len()).sum::<usize>() == 8
    });
    proxy.open();
    until_true("it has a share again", || !running(&cut_off).is_empty());
    let mut killed = others.remove(0);
    killed.kill();
    await_each_once(&[&cut_off, &others[0]], 8);
    etcd.kill();
    etcd.restart();
    await_each_once(&[&cut_off, &others[0]], 8);
    producer.join().expect("the producer is answered");
    let mut consumer = Client::subscribed(to.tcp(), "out", "c", 500);
    let came = collect(&mut consumer, MESSAGES);
    let twice = came.values().filter(|times| **times > 1).count();
    println!("{twice} of {MESSAGES} came more than once");
    await_each_once(&[&cut_off, &others[0]], 8);
    witness.end();
}
