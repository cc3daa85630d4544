//! Reads the tables against a tree; each check gives its findings as `file:line: what is wrong`.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{Named, Reading, read};
use super::tables::{
    ARROWS, EMPTY_NAMES, LEVELS, LINES_MAX, LONG_FILES, METRIC_PAGE, METRIC_PREFIX, NEVER, ONLY,
    UNDONE_MACROS, UNDONE_WORDS,
};
use super::tree::{Tree, module_of};

/// A source file, read once for all checks.
struct Source<'a> {
    path: &'a str,
    text: &'a str,
    module: Vec<String>,
    reading: Reading,
    /// Only tests compile this file.
    in_tests: bool,
}

impl Source<'_> {
    fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// What the file names outside of tests.
    fn shipped<'s>(&'s self, named: &'s [Named]) -> impl Iterator<Item = &'s Named> {
        named.iter().filter(|named| !named.in_tests && !self.in_tests)
    }
}

/// Every finding of every rule, in the order of files.
pub(crate) fn all(tree: &Tree) -> Vec<String> {
    let (reached, mut findings) = reachable(tree);
    let sources: Vec<Source<'_>> = tree
        .under("src/")
        .map(|(path, text)| {
            let module = module_of(path);
            let reading = read(text, &module);
            let in_tests = reached.get(path).copied().unwrap_or(false);
            Source { path, text, module, reading, in_tests }
        })
        .collect();
    for source in &sources {
        findings.extend(arrows(source));
        findings.extend(placed(source));
        findings.extend(undone(source));
    }
    for (path, text) in tree.under("") {
        findings.extend(looks(path, text));
    }
    findings.extend(long_files_exist(tree));
    findings.extend(metrics(tree, &sources));
    findings.sort();
    findings.dedup();
    findings
}

/// The files that the compiler sees, each with whether only tests do, and findings about those it does not.
fn reachable(tree: &Tree) -> (BTreeMap<String, bool>, Vec<String>) {
    let mut reached: BTreeMap<String, bool> = BTreeMap::new();
    let mut waiting = vec![("src/lib.rs".to_owned(), false), ("src/main.rs".to_owned(), false)];
    while let Some((path, in_tests)) = waiting.pop() {
        let Some(text) = tree.get(&path) else {
            continue;
        };
        // Shipped code outweighs tests where both lead to a file.
        match reached.get(&path) {
            Some(false) => continue,
            Some(true) if in_tests => continue,
            _ => reached.insert(path.clone(), in_tests),
        };
        for child in read(text, &module_of(&path)).children {
            let inner = child.path.join("/");
            let stem = format!("{}/{inner}", folder_of(&path));
            let in_tests = in_tests || child.in_tests;
            waiting.push((format!("{stem}.rs"), in_tests));
            waiting.push((format!("{stem}/mod.rs"), in_tests));
        }
    }
    let lost = tree
        .under("src/")
        .filter(|(path, _)| !reached.contains_key(*path))
        .map(|(path, _)| format!("{path}:1: no `mod` line leads here, so nothing compiles it"))
        .collect();
    (reached, lost)
}

/// Where a file's child modules live.
fn folder_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder,
        _ => path.trim_end_matches(".rs"),
    }
}

fn level_of(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

/// What `module` may use by [`ARROWS`]: its own row and those of its parents.
fn allowed(module: &[String]) -> Vec<&'static str> {
    let rows = ARROWS.iter().filter(|(from, _)| begins(module, from));
    rows.flat_map(|(_, to)| to.iter().copied()).collect()
}

/// Whether `path` is, or lies within, the `a::b` that `part` spells.
fn begins(path: &[String], part: &str) -> bool {
    let mut words = path.iter();
    part.split("::").all(|word| words.next().is_some_and(|next| next == word))
}

fn arrows(source: &Source<'_>) -> Vec<String> {
    let mut findings = Vec::new();
    let Some(own) = source.module.first() else {
        return findings;
    };
    if level_of(own).is_none() {
        findings.push(source.at(1, &format!("module `{own}` has no level in the house's tables")));
        return findings;
    }
    let allowed = allowed(&source.module);
    for named in &source.reading.names {
        let target = match named.path.first().map(String::as_str) {
            Some("crate") => &named.path[1..],
            Some("leveret") if own == "main" => &named.path[1..],
            _ => continue,
        };
        let Some(first) = target.first().filter(|&first| first != own && first != "self") else {
            continue;
        };
        let what = target.join("::");
        if level_of(first).is_none() {
            findings.push(source.at(
                named.line,
                &format!("`crate::{what}` is no module of the tables; the crate's root holds `mod` lines only"),
            ));
        } else if !allowed.iter().any(|part| begins(target, part)) {
            findings.push(
                source.at(
                    named.line,
                    &format!("`{}` may not use `{what}`", source.module.join("::")),
                ),
            );
        }
    }
    findings
}

/// Whether the words of `part` follow each other anywhere in `path`.
fn contains(path: &[String], part: &str) -> bool {
    let words: Vec<&str> = part.split("::").collect();
    path.windows(words.len()).any(|window| window.iter().eq(words.iter()))
}

fn within(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
}

fn placed(source: &Source<'_>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut look = |named: &Named, paths: &[&str], why: &str| {
        if let Some(path) = paths.iter().find(|path| contains(&named.path, path)) {
            findings.push(source.at(named.line, &format!("`{path}` does not belong here: {why}")));
        }
    };
    for rule in ONLY.iter().filter(|rule| !within(source.path, rule.within)) {
        for named in source.shipped(&source.reading.names) {
            look(named, rule.paths, rule.why);
        }
    }
    for rule in NEVER.iter().filter(|rule| within(source.path, rule.under)) {
        for named in &source.reading.names {
            look(named, rule.paths, rule.why);
        }
    }
    findings
}

fn undone(source: &Source<'_>) -> Vec<String> {
    let macros = source.reading.macros.iter().filter_map(|named| {
        let name = named.path.last()?;
        UNDONE_MACROS.contains(&name.as_str()).then(|| {
            source.at(named.line, &format!("`{name}!`: what is here is done, or not here"))
        })
    });
    let words = source.text.lines().enumerate().flat_map(|(at, line)| {
        UNDONE_WORDS
            .iter()
            .filter(move |word| line.contains(**word))
            .map(move |word| source.at(at + 1, &format!("`{word}`: make it an issue")))
    });
    macros.chain(words).collect()
}

fn looks(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !path.ends_with(".rs") {
        return findings;
    }
    if !text.starts_with("//!") {
        findings.push(format!("{path}:1: a file begins with `//!` and says what it is for"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX && !LONG_FILES.iter().any(|(long, _)| *long == path) {
        findings.push(format!(
            "{path}:{lines}: more than {LINES_MAX} lines: find the second thing in it"
        ));
    }
    let mut words = path.trim_end_matches(".rs").split('/');
    if let Some(word) = words.rfind(|word| EMPTY_NAMES.contains(word)) {
        findings.push(format!("{path}:1: `{word}` says nothing about what is inside"));
    }
    findings
}

/// An exception that is no longer needed is a lie about the house.
fn long_files_exist(tree: &Tree) -> Vec<String> {
    LONG_FILES
        .iter()
        .filter(|(path, _)| tree.get(path).is_none_or(|text| text.lines().count() <= LINES_MAX))
        .map(|(path, _)| format!("{path}:1: is in the list of long files and is none"))
        .collect()
}

/// The names of metrics in a string: every word of it that begins as they do.
fn metric_names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|next: char| !next.is_ascii_alphanumeric() && next != '_')
        .filter(|word| word.len() > METRIC_PREFIX.len() && word.starts_with(METRIC_PREFIX))
}

fn metrics(tree: &Tree, sources: &[Source<'_>]) -> Vec<String> {
    let page = tree.get(METRIC_PAGE).unwrap_or_default();
    let described: BTreeSet<&str> = metric_names(page).collect();
    let mut findings = Vec::new();
    for source in sources {
        for named in source.shipped(&source.reading.texts) {
            for name in metric_names(&named.path[0]).filter(|name| !described.contains(name)) {
                findings.push(
                    source.at(named.line, &format!("metric `{name}` is not in {METRIC_PAGE}")),
                );
            }
        }
    }
    findings
}
