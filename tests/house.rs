//! The house rules as a test: who may know whom, what may be used where, and how a file looks.
//!
//! The rules are tables in `house/tables.rs`; `house/checks.rs` reads the tables, `house/fixtures.rs` breaks each
//! rule once and expects to be told. Nothing here compiles anything: it reads the text of `src/` and `docs/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test's own report of its failure is a panic"
)]

mod house {
    pub(crate) mod checks;
    pub(crate) mod fixtures;
    pub(crate) mod lexer;
    pub(crate) mod paths;
    pub(crate) mod tables;
    pub(crate) mod tree;
}

use house::checks;
use house::tree::Tree;

#[test]
fn the_house_is_in_order() {
    let tree = Tree::load(env!("CARGO_MANIFEST_DIR").as_ref());
    assert!(tree.get("src/lib.rs").is_some(), "the tree was read");
    let findings = checks::all(&tree);
    assert!(findings.is_empty(), "{} broken house rules:\n{}", findings.len(), findings.join("\n"));
}
