//! The rules tested: a small house in order, and each rule broken once in it.

use super::checks::all;
use super::tables::{ARROWS, LEVELS, LINES_MAX, SIDEWAYS};
use super::tree::Tree;

/// A house in order that makes use of what is allowed.
const HOUSE: &[(&str, &str)] = &[
    (
        "src/lib.rs",
        "//! Root.\npub mod bridge;\npub mod clock;\npub mod config;\npub mod engine;\npub mod http;\n\
               pub mod limit;\npub mod names;\npub mod protocol;\npub mod registry;\npub mod storage;\npub mod task;\n",
    ),
    ("src/main.rs", "//! Program.\nfn main() { leveret::config::load(); }\n"),
    ("src/clock.rs", "//! Time.\npub fn now() { std::time::Instant::now(); }\n"),
    ("src/names.rs", "//! Names.\n// lapin and axum are only words in a comment.\n"),
    ("src/task.rs", "//! Tasks.\npub fn spawn() { tokio::spawn(async {}); }\n"),
    ("src/limit.rs", "//! Limits.\nuse governor::Quota;\nuse crate::clock;\n"),
    ("src/protocol/mod.rs", "//! Wire.\nmod frame;\n"),
    ("src/protocol/frame.rs", "//! Frames.\nuse crate::names::is_valid_name;\n"),
    ("src/storage/mod.rs", "//! Log.\npub mod io;\nuse crate::{clock, names};\n"),
    ("src/storage/io.rs", "//! Seam.\nuse std::{fs::File, io};\n"),
    ("src/engine/mod.rs", "//! Engine.\nuse crate::storage::io;\n#[cfg(test)]\nmod tests;\n"),
    ("src/engine/tests.rs", "//! Tests.\nuse std::fs;\nuse crate::storage;\n"),
    ("src/bridge/mod.rs", "//! Bridge.\npub mod amqp;\npub mod route;\npub mod runner;\n"),
    ("src/bridge/route.rs", "//! Plain route.\npub struct Route;\n"),
    ("src/bridge/runner.rs", "//! Runner.\nuse super::route::Route;\nuse crate::engine::Topic;\n"),
    ("src/bridge/amqp/mod.rs", "//! AMQP.\nuse lapin::Connection;\n"),
    (
        "src/registry.rs",
        "//! Registry.\nuse etcd_client::Client;\nuse crate::bridge::route::Route;\n",
    ),
    ("src/config.rs", "//! Settings.\nuse std::fs;\nuse crate::bridge::route;\n"),
    (
        "src/http.rs",
        "//! HTTP.\nuse axum::Router;\nconst UP: &str = \"# TYPE leveret_up gauge\";\n",
    ),
    ("docs/metrics.md", "`leveret_up`: whether it runs\n"),
];

fn house() -> Tree {
    let files = HOUSE.iter();
    files.fold(Tree::default(), |tree, (path, text)| tree.with(path, text))
}

#[test]
fn a_house_in_order_passes() {
    assert_eq!(all(&house()), Vec::<String>::new());
}

/// A file to put into the house, and a part of what the house test must then say of it.
const BROKEN: &[(&str, &str, &str)] = &[
    (
        "src/engine/mod.rs",
        "//! E.\nuse crate::protocol::Frame;\n",
        "src/engine/mod.rs:2: `engine` may not use `protocol::Frame`",
    ),
    (
        "src/engine/mod.rs",
        "//! E.\nuse crate::{names, http::Router};\n",
        "may not use `http::Router`",
    ),
    (
        "src/bridge/runner.rs",
        "//! R.\nuse super::super::config::Node;\n",
        "may not use `config::Node`",
    ),
    ("src/names.rs", "//! N.\nmod tests { use super::super::engine; }\n", "may not use `engine`"),
    (
        "src/limit.rs",
        "//! L.\nfn f() { crate::config::load(); }\n",
        "`limit` may not use `config::load`",
    ),
    ("src/http.rs", "//! H.\nuse crate::config;\n", "`http` may not use `config`"),
    (
        "src/registry.rs",
        "//! R.\nuse crate::bridge::{route, runner};\n",
        "may not use `bridge::runner`",
    ),
    ("src/registry.rs", "//! R.\nuse crate::bridge;\n", "may not use `bridge`"),
    ("src/bridge/runner.rs", "//! R.\nuse crate::server::Conn;\n", "may not use `server::Conn`"),
    (
        "src/names.rs",
        "//! N.\nuse crate::Shortcut;\n",
        "`crate::Shortcut` is no module of the tables",
    ),
    ("src/extra.rs", "//! E.\n", "module `extra` has no level"),
    ("src/bridge/runner.rs", "//! R.\nuse lapin::Channel;\n", "`lapin` does not belong here"),
    (
        "src/bridge/runner.rs",
        "//! R.\nfn f() -> ::axum::Router {}\n",
        "`axum` does not belong here",
    ),
    ("src/engine/mod.rs", "//! E.\nuse governor as pace;\n", "`governor` does not belong here"),
    (
        "src/bridge/runner.rs",
        "//! R.\nuse etcd_client::Client;\n",
        "`etcd_client` does not belong here",
    ),
    (
        "src/bridge/runner.rs",
        "//! R.\nuse minijinja::Environment;\n",
        "`minijinja` does not belong here",
    ),
    ("src/engine/mod.rs", "//! E.\nuse std::{io, fs};\n", "`std::fs` does not belong here"),
    (
        "src/http.rs",
        "//! H.\nasync fn f() { tokio::fs::read(\"x\").await; }\n",
        "`tokio::fs` does not belong here",
    ),
    (
        "src/engine/mod.rs",
        "//! E.\nfn f() { Instant::now(); }\n",
        "`Instant::now` does not belong here",
    ),
    (
        "src/engine/mod.rs",
        "//! E.\nfn f() { std::time::SystemTime::now(); }\n",
        "`SystemTime::now` does not belong here",
    ),
    (
        "src/http.rs",
        "//! H.\nfn f() { tokio::spawn(g()); }\n",
        "`tokio::spawn` does not belong here",
    ),
    (
        "src/http.rs",
        "//! H.\nuse tokio::task::{self, spawn};\n",
        "`tokio::task::spawn` does not belong here",
    ),
    ("src/names.rs", "//! N.\nfn f() { unsafe { g() } }\n", "`unsafe` does not belong here"),
    ("src/protocol/frame.rs", "//! F.\nuse tokio::io;\n", "`tokio` does not belong here"),
    (
        "src/protocol/frame.rs",
        "//! F.\n#[cfg(test)]\nmod tests { use std::net::TcpStream; }\n",
        "`std::net` does not belong here",
    ),
    ("src/storage/io.rs", "//! I.\nuse tokio::sync::watch;\n", "`tokio` does not belong here"),
    ("src/storage/io.rs", "//! I.\npub async fn f() {}\n", "`async` does not belong here"),
    ("src/engine/mod.rs", "//! E.\nuse serde::Serialize;\n", "`serde` does not belong here"),
    ("src/names.rs", "//! N.\nfn f() { todo!() }\n", "src/names.rs:2: `todo!`"),
    ("src/names.rs", "//! N.\nfn f() { std::unimplemented!() }\n", "`unimplemented!`"),
    ("src/names.rs", "//! N.\n// FIXME later\n", "src/names.rs:2: `FIXME`"),
    ("src/names.rs", "// Names.\n", "src/names.rs:1: a file begins with `//!`"),
    ("tests/it/main.rs", "fn main() {}\n", "tests/it/main.rs:1: a file begins with `//!`"),
    ("src/engine/utils.rs", "//! U.\n", "`utils` says nothing"),
    ("src/engine/common/mod.rs", "//! C.\n", "`common` says nothing"),
    ("src/engine/lost.rs", "//! L.\n", "src/engine/lost.rs:1: no `mod` line leads here"),
    (
        "src/http.rs",
        "//! H.\nconst N: &str = \"leveret_down\";\n",
        "metric `leveret_down` is not in docs/metrics.md",
    ),
    ("docs/metrics.md", "`leveret_uptime`\n", "metric `leveret_up` is not in docs/metrics.md"),
];

#[test]
fn each_broken_rule_is_reported() {
    for (path, text, expected) in BROKEN {
        let findings = all(&house().with(path, text));
        assert!(
            findings.iter().any(|finding| finding.contains(expected)),
            "{path} with {text:?} was to give {expected:?}, and gave {findings:#?}"
        );
    }
}

#[test]
fn a_file_that_is_too_long_is_reported() {
    let lines = |count: usize| format!("//! N.\n{}", "// x\n".repeat(count - 1));
    assert!(all(&house().with("src/names.rs", &lines(LINES_MAX))).is_empty());
    let findings = all(&house().with("src/names.rs", &lines(LINES_MAX + 1)));
    assert_eq!(findings.len(), 1, "{findings:?}");
}

#[test]
fn test_code_may_use_files_and_words_in_text_are_free() {
    let text = "//! N.\n//! Not `lapin`, not todo!().\nconst T: &str = \"std::fs unsafe tokio\";\n\
                #[cfg(test)]\nmod tests { use std::fs; fn f() { Instant::now(); } }\n";
    assert_eq!(all(&house().with("src/names.rs", text)), Vec::<String>::new());
}

#[test]
fn the_tables_agree_with_each_other() {
    let level = |module: &str| {
        let top = module.split("::").next().unwrap();
        LEVELS
            .iter()
            .position(|level| level.contains(&top))
            .unwrap_or_else(|| panic!("`{module}` has no level"))
    };
    for (from, targets) in ARROWS {
        for to in *targets {
            let top = |module: &'static str| module.split("::").next().unwrap();
            let sideways = SIDEWAYS.contains(&(top(from), top(to)));
            assert!(
                level(to) < level(from) || (level(to) == level(from) && sideways),
                "{from} → {to} points up"
            );
        }
    }
    for (from, to) in SIDEWAYS {
        assert_eq!(level(from), level(to), "{from} → {to} is no exception");
        assert!(!SIDEWAYS.contains(&(to, from)), "{from} and {to} know each other");
    }
    for module in LEVELS.iter().copied().flatten() {
        assert!(ARROWS.iter().any(|(from, _)| from == module), "{module} has no row");
    }
}
