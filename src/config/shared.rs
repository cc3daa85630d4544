//! Routes that stand in a registry instead of a file: one under each name.

use std::path::Path;

use super::error::{ConfigErrors, Report, Spot};
use super::interpolate::Env;
use super::route_file::{self, PlacedRoute};
use super::section::{Field, Section};
use super::tree::{self, Kind};
use super::{read_text, root};

/// A route as it stands in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedText {
    /// The name under which it stands.
    pub name: String,
    /// Where, for messages.
    pub origin: String,
    /// The route in YAML: its keys alone, or a file of this one route.
    pub text: String,
}

/// Reads them all; each is to be the one route that its name says.
pub(super) fn read(shared: &[SharedText], env: Env<'_>, report: &mut Report) -> Vec<PlacedRoute> {
    shared.iter().flat_map(|shared| read_one(shared, env, report)).collect()
}

fn read_one(shared: &SharedText, env: Env<'_>, report: &mut Report) -> Vec<PlacedRoute> {
    let spot = Spot::file(&shared.origin);
    let mut own = Report::default();
    let mut routes = Vec::new();
    if let Some(node) = tree::parse(&shared.text, &spot, env, &mut own) {
        routes = route_file::read_any(&root(&node, &spot), &mut own);
    }
    if !own.has_errors() {
        let secondary = format!("{}.secondary", shared.name);
        let names: Vec<&str> = routes.iter().map(|placed| placed.route.name.as_str()).collect();
        let is_right = |name: &&str| *name == shared.name || *name == secondary;
        if !names.contains(&shared.name.as_str()) || !names.iter().all(is_right) {
            let name = &shared.name;
            let message = format!("expected one route, with the name \"{name}\", found {names:?}");
            own.error(&spot, message);
        }
    }
    report.append(own);
    routes
}

/// The routes of a file, each as a text of its own with its comments, as it can stand in a registry. What `${NAME}` stands
/// for is left to the nodes.
///
/// # Errors
/// What is wrong with the file, or why a route of it has no text of its own.
pub fn split(path: &Path, env: Env<'_>) -> Result<Vec<SharedText>, ConfigErrors> {
    let mut report = Report::default();
    let origin = path.display().to_string();
    let spot = Spot::file(&origin);
    let mut shared = Vec::new();
    if let Some(text) = read_text(path, &spot, &mut report)
        && let Some(node) = tree::parse(&text, &spot, env, &mut report)
    {
        shared = split_text(&text, &root(&node, &spot), &origin, &mut report);
    }
    report.finish()?;
    Ok(shared)
}

fn split_text(text: &str, root: &Field<'_>, origin: &str, report: &mut Report) -> Vec<SharedText> {
    let Some(section) = Section::open_any(root, report) else { return Vec::new() };
    let Some(list) = section.get("routes") else {
        let name = name_of(root, report);
        let text = text.to_owned();
        return name
            .map(|name| SharedText { name, origin: origin.to_owned(), text })
            .into_iter()
            .collect();
    };
    let fields = list.list("a list of routes", report).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let starts: Vec<usize> = fields.iter().map(|field| field.node.place.line).collect();
    let mut shared = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let start = field.node.place.line;
        let end = starts.get(index + 1).map_or(lines.len() + 1, |next| *next);
        let Some(name) = name_of(field, report) else { continue };
        if end <= start {
            let message = "each route that is shared begins on a line of its own";
            report.error(&field.spot, message);
            continue;
        }
        let own = lines.get(start - 1..end - 1).unwrap_or_default();
        let text = dedented(own, field.node.place.column.saturating_sub(1));
        shared.push(SharedText { name, origin: origin.to_owned(), text });
    }
    shared
}

fn name_of(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let section = Section::open_any(field, report)?;
    let name = section.require("name", "orders-to-rabbitmq", report)?;
    match &name.node.kind {
        Kind::Scalar(scalar) => Some(scalar.text.clone()),
        _ => name.text(report),
    }
}

/// The lines without the first `indent` characters of each: spaces, or the dash before the first one.
fn dedented(lines: &[&str], indent: usize) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let spaces = line.chars().take_while(|c| *c == ' ').count();
        let cut = if index == 0 { indent } else { indent.min(spaces) };
        let rest: String = line.chars().skip(cut).collect();
        // The dash of the next one.
        if rest.trim() != "-" {
            text.push_str(rest.trim_end());
            text.push('\n');
        }
    }
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut report = Report::default();
        let spot = Spot::file("f");
        let env = |_: &str| None;
        let node = tree::parse(text, &spot, &env, &mut report).unwrap();
        let shared = split_text(text, &root(&node, &spot), "f", &mut report);
        report.finish().map_err(|errors| errors.to_string())?;
        Ok(shared.into_iter().map(|shared| (shared.name, shared.text)).collect())
    }

    #[test]
    fn a_file_comes_apart_into_its_routes() {
        let text = "# all\nroutes:\n  - name: a\n    mode: queued # why\n\n    from: {}\n  # of b\n  -\n    name: b\n    x: |\n      text\n  - { name: c,\n      mode: direct }\n";
        let found = texts(text).unwrap();
        let expected = [
            ("a", "name: a\nmode: queued # why\n\nfrom: {}\n# of b\n"),
            ("b", "name: b\nx: |\n  text\n"),
            ("c", "{ name: c,\n  mode: direct }\n"),
        ];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
        assert_eq!(
            texts("name: a\nmode: x\n").unwrap(),
            [("a".into(), "name: a\nmode: x\n".into())]
        );
        assert!(
            texts("routes: [ { name: a }, { name: b } ]").unwrap_err().contains("line of its own")
        );
        assert!(texts("routes:\n- mode: x\n").unwrap_err().contains("name"));
    }

    #[test]
    fn a_shared_route_is_the_one_that_its_name_says() {
        let route = |name: &str| {
            format!(
                "name: {name}\nfrom: {{ nsq: {{ topic: t }} }}\nto: {{ nsq: {{ topic: u }} }}\nmode: queued\n"
            )
        };
        let errors = |name: &str, text: String| {
            let mut report = Report::default();
            let shared =
                SharedText { name: name.into(), origin: "etcd:/leveret/routes/a".into(), text };
            let count = read(&[shared], &|_: &str| None, &mut report).len();
            (count, report.finish().err().map(|errors| errors.to_string()).unwrap_or_default())
        };
        assert_eq!(errors("a", route("a")), (1, String::new()));
        let file = format!("routes:\n-\n  {}", route("a").replace('\n', "\n  "));
        assert_eq!(errors("a", file), (1, String::new()));
        let (_, other) = errors("a", route("b"));
        assert_eq!(
            other,
            "etcd:/leveret/routes/a: expected one route, with the name \"a\", found [\"b\"]"
        );
        let (_, wrong) = errors("a", route("a").replace("queued", "qeued"));
        assert!(wrong.starts_with("etcd:/leveret/routes/a:4:"), "{wrong}");
        assert_ne!(errors("a", String::new()).1, "");
    }
}
