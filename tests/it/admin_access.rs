//! nsqadmin within a node: logins, roles, what other sites' pages may not do, and what Leveret's nodes alone have.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::http::{self, Response};
use crate::support::leveret::Leveret;
use crate::support::wait::until_true;

/// A node with its own nsqadmin; `admin` is the rest of that section.
fn node(admin: &str) -> String {
    format!(
        "nsqd: {{ tcp_address: 127.0.0.1:0, http_address: 127.0.0.1:0, data_path: \"{{dir}}/data\", broadcast_address: 127.0.0.1 }}\n\
         bridges: bridges\nadmin:\n  listen: 127.0.0.1:0\n{admin}"
    )
}

const ROUTE: &str = "routes:\n  - name: copy\n    from: { nsq: { topic: orders, channel: copy } }\n    to: { nsq: { topic: copies } }\n    mode: queued\n";

fn started(admin: &str) -> Leveret {
    let server = Leveret::serve(&node(admin)).file("bridges/copy.yaml", ROUTE).start();
    server.await_log("(nsqadmin)");
    server
}

/// The hash of a password, as the program makes it.
fn hash(password: &str) -> String {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .arg("password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn with_users() -> Leveret {
    let users = format!(
        "  users:\n    - {{ name: ann, password_hash: '{}', role: operate }}\n    - {{ name: bob, password_hash: '{}' }}\n",
        hash("ann's"),
        hash("bob's")
    );
    started(&users)
}

/// Somebody who is logged in.
struct Login<'a> {
    server: &'a Leveret,
    cookie: String,
    token: String,
}

impl<'a> Login<'a> {
    fn of(server: &'a Leveret, user: &str, password: &str) -> Self {
        let answer = log_in(server, user, password);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        Self { server, cookie, token }
    }

    fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Response {
        let mut headers = vec![("Cookie", self.cookie.as_str())];
        headers.extend(token.map(|token| ("X-CSRF-Token", token)));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::request(self.server.admin(), method, path, &headers, body.as_bytes())
    }

    fn act(&self, method: &str, path: &str, body: &Value) -> Response {
        self.ask(method, path, Some(&self.token), body)
    }
}

fn log_in(server: &Leveret, user: &str, password: &str) -> Response {
    let body = json!({"user": user, "password": password}).to_string();
    http::post(server.admin(), "/api/login", body.as_bytes())
}

#[test]
fn nobody_sees_anything_before_a_login_and_roles_hold() {
    let server = with_users();
    http::done(server.http(), "/topic/create?topic=orders");
    let open = |path: &str| http::get(server.admin(), path);
    for path in ["/api/topics", "/api/nodes", "/api/leveret", "/api/live?of=topics", "/api/counter"]
    {
        let answer = open(path);
        assert_eq!(
            (answer.status, answer.json()["message"].as_str()),
            (401, Some("LOGIN_REQUIRED")),
            "{path}"
        );
    }
    assert_eq!(
        open("/api/session").json(),
        json!({"login": true, "user": null, "role": null, "token": null})
    );
    let page = open("/topics");
    assert!(page.status == 200 && !page.text().contains(&server.http().port().to_string()));
    assert_eq!(log_in(&server, "ann", "bob's").status, 401);
    assert_eq!(log_in(&server, "nobody", "x").status, 401);

    let bob = Login::of(&server, "bob", "bob's");
    assert_eq!(
        bob.ask("GET", "/api/topics", None, &Value::Null).json()["topics"],
        json!(["orders"])
    );
    let pause = json!({"action": "pause"});
    let refused = bob.act("POST", "/api/topics/orders", &pause);
    assert_eq!((refused.status, refused.json()["message"].as_str()), (403, Some("FORBIDDEN")));
    let node = format!("127.0.0.1:{}", server.http().port());
    let route = format!("/api/leveret/{node}/v1/routes/copy");
    assert_eq!(bob.act("POST", &format!("{route}/pause"), &Value::Null).status, 403);
    assert_eq!(bob.ask("GET", &route, None, &Value::Null).json()["name"], "copy");

    let ann = Login::of(&server, "ann", "ann's");
    let without = ann.ask("POST", "/api/topics/orders", None, &pause);
    assert_eq!(
        (without.status, without.json()["message"].as_str()),
        (403, Some("INVALID_CSRF_TOKEN"))
    );
    let foreign = ann.ask("POST", "/api/topics/orders", Some(&bob.token), &pause);
    assert_eq!(foreign.status, 403, "another session's token");
    assert_eq!(ann.act("POST", "/api/topics/orders", &pause).status, 200);
    server.await_log("action=\"pause_topic\"");
    assert!(server.log().contains("user=\"ann\""), "{}", server.log());
    assert_eq!(ann.act("POST", "/api/logout", &Value::Null).status, 200);
    assert_eq!(ann.ask("GET", "/api/topics", None, &Value::Null).status, 401, "it is over");
}

#[test]
fn whoever_guesses_has_to_wait() {
    let server = with_users();
    let tries: Vec<u16> = (0..11).map(|_| log_in(&server, "ann", "guess").status).collect();
    assert_eq!((tries[9], tries[10]), (401, 429));
    assert_eq!(log_in(&server, "ann", "ann's").status, 429, "the right one as well");
}

#[test]
fn other_sites_change_nothing_and_pages_run_no_foreign_script() {
    let server = started("");
    let pause = |headers: &[(&str, &str)]| {
        let body = br#"{"action":"pause"}"#;
        http::request(server.admin(), "POST", "/api/topics/orders", headers, body)
    };
    until_true("the topic", || http::get(server.admin(), "/api/topics/orders").status == 200);
    let foreign = pause(&[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]);
    assert_eq!((foreign.status, foreign.json()["message"].as_str()), (403, Some("FOREIGN_ORIGIN")));
    assert_eq!(pause(&[("Origin", "http://here")]).status, 200, "its own page");
    assert_eq!(pause(&[]).status, 200, "a script");
    let page = http::get(server.admin(), "/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let script = http::get(server.admin(), "/static/app.js");
    let etag = script.header("etag").unwrap();
    let again =
        http::request(server.admin(), "GET", "/static/app.js", &[("If-None-Match", etag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(http::get(server.admin(), "/static/../../etc/passwd").status, 404);
}

#[test]
fn an_open_address_needs_somebody_who_asks_for_names() {
    let configuration = node("").replace("  listen: 127.0.0.1:0", "  listen: 0.0.0.0:0");
    let (code, said) = Leveret::serve(&configuration).file("bridges/copy.yaml", ROUTE).run();
    assert_eq!(code, Some(2));
    assert!(said.contains("give users or a proxy"), "{said}");
    let (code, said) = Leveret::serve(&node("  users: [ { name: ann, password_hash: secret } ]\n"))
        .file("bridges/copy.yaml", ROUTE)
        .run();
    assert_eq!(code, Some(2));
    assert!(said.contains("leveret password") && !said.contains("secret"), "{said}");
}

#[test]
fn routes_are_shown_and_changed_through_it() {
    let server = started("");
    let node = format!("127.0.0.1:{}", server.http().port());
    let overview = || http::get(server.admin(), "/api/leveret").json();
    until_true("the route runs", || overview()["nodes"][0]["routes"][0]["state"] == "running");
    assert_eq!(overview()["nodes"][0]["node"], node);
    let route = format!("/api/leveret/{node}/v1/routes/copy");
    let post = |what: &str| http::post(server.admin(), &format!("{route}/{what}"), b"");
    assert_eq!(post("pause").json()["state"], "paused");
    assert_eq!(post("resume").status, 200);
    let history = http::get(server.admin(), &format!("{route}/history")).json();
    assert_eq!(history["step"], 10);
    let bad = ROUTE.replace("queued", "sideways");
    let refused =
        http::request(server.admin(), "PUT", &format!("{route}?dry_run=true"), &[], bad.as_bytes());
    assert_eq!(refused.status, 400);
    assert!(refused.json()["detail"].as_str().unwrap().contains("mode"), "{}", refused.text());
    let limited =
        ROUTE.replace("    mode: queued\n", "    mode: queued\n    limit: { messages: 5/s }\n");
    let changed = http::request(server.admin(), "PUT", &route, &[], limited.as_bytes());
    assert_eq!(changed.status, 200, "{}", changed.text());
    until_true("the limit", || {
        overview()["nodes"][0]["routes"][0]["limit"]["messages_per_second"] == 5.0
    });
    let elsewhere = http::get(server.admin(), "/api/leveret/127.0.0.1:1/v1/routes/copy");
    assert_eq!(elsewhere.status, 404, "nobody is asked who is not a node");
    assert_eq!(http::get(server.admin(), &format!("/api/leveret/{node}/debug/pprof/")).status, 404);
    assert!(http::post(server.http(), "/pub?topic=orders", b"x").status == 200);
    until_true("the copy", || {
        let peek = format!("/api/leveret/{node}/topic/peek?topic=copies");
        http::get(server.admin(), &peek).json()[0]["body"] == "x"
    });
}

#[test]
fn figures_are_sent_as_they_change_and_streams_end_with_the_node() {
    let mut server = started("");
    http::done(server.http(), "/topic/create?topic=live");
    let mut stream = TcpStream::connect(server.admin()).unwrap();
    stream.write_all(b"GET /api/live?of=topics HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = || loop {
        let line = lines.next().expect("a line").unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str::<Value>(data).unwrap();
        }
    };
    assert_eq!(next()["topics"]["live"]["messages"], 0);
    http::post(server.http(), "/pub?topic=live", b"x");
    until_true("the message in the figures", || next()["topics"]["live"]["messages"] == 1);
    let begun = std::time::Instant::now();
    assert!(server.stop().success());
    assert!(begun.elapsed().as_secs() < 5, "an open page does not hold the exit up");
}
