//! YAML and the environment → typed, validated configuration.
//!
//! [`load`] reads the node's file and every route file in the folder that it names, and returns either everything or
//! all errors at once. The way through: `tree` makes a document whose every key and value knows its place;
//! `section` takes it apart key by key, so that unknown keys, wrong types, units and words are reported where they
//! stand; `keys` says which keys there are, and `node_file`, `brokers_file`, `route_file`, `route_options`, `split_file`,
//! `endpoints`, `declare` and `arguments` read them; `validate` and `loops`
//! check what only shows when all routes are seen together.
//!
//! What is not supported is an unknown key, never silently accepted. Nobody below this module reads it: it fills the
//! plain types of `bridge` and `limit`, and [`NodeConfig`] for the rest. The environment is read here and nowhere else.

mod admin;
mod admin_file;
mod alerts_file;
mod arguments;
mod brokers_file;
mod check;
mod declare;
mod endpoints;
mod error;
mod folder;
mod interpolate;
mod keys;
mod limit_file;
mod log_file;
mod lookupd;
mod lookupd_file;
mod loops;
mod metrics_file;
mod node;
mod node_file;
mod registry_file;
mod remote_nsq;
mod route_file;
mod route_options;
mod schema;
mod section;
mod secure;
mod secure_file;
mod shared;
mod split_file;
mod stores_file;
mod suggest;
mod topics_file;
mod transform_file;
mod tree;
mod units;
mod validate;

use std::io;
use std::path::{Component, Path, PathBuf};

pub use admin::AdminConfig;
pub use check::describe;
pub use error::{ConfigErrors, Finding, Place};
pub use folder::{FolderState, route_paths, route_text, write_route};
pub use interpolate::{Env, process_env};
pub use lookupd::LookupdConfig;
pub use node::{LogConfig, LogFormat, LogLevel, NodeConfig, NsqdConfig, TOPOLOGY_AWARE};
pub use schema::{SchemaOf, schema};
pub use secure::{AuthConfig, HttpMethod, SecureError, TlsConfig, TlsRequired, TlsVersion};
pub use shared::{SharedText, split as split_routes};
pub use units::duration as parse_duration;

use crate::bridge::route::Route;
pub use crate::clock::moment as parse_moment;
pub use crate::engine::LatencyTracking;
pub use crate::engine::policy::Durability;
use error::{Report, Spot};
use node_file::NodeFile;
use route_file::PlacedRoute;
use section::Field;
use tree::Node;

/// A configuration that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The node.
    pub node: NodeConfig,
    /// The routes of all files, in the order of the files' names and within each file as written.
    pub routes: Vec<Route>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Finding>,
}

/// Loads the node's file at `path` and the route files in the folder that it names.
///
/// Paths inside a file are relative to that file. Nothing is connected, created or changed.
///
/// # Errors
/// All errors of all files, sorted; nothing is returned in part.
pub fn load(path: &Path, env: Env<'_>) -> Result<Loaded, ConfigErrors> {
    let mut report = Report::default();
    let file = read_node(path, env, &mut report);
    let node_is_right = !report.has_errors();
    let routes = read_routes(&file, env, &mut report);
    // With a broken node file the rules would complain of brokers that are there and were not understood.
    if node_is_right {
        validate::check(&routes, &file.node, &mut report);
    }
    let warnings = report.finish()?;
    Ok(Loaded {
        node: file.node,
        routes: routes.into_iter().map(|placed| placed.route).collect(),
        warnings,
    })
}

fn read_node(path: &Path, env: Env<'_>, report: &mut Report) -> NodeFile {
    let spot = Spot::file(&path.display().to_string());
    let Some(text) = read_text(path, &spot, report) else {
        return NodeFile::default();
    };
    let Some(node) = tree::parse(&text, &spot, env, report) else {
        if !report.has_errors() {
            report.warn(&spot, "the file is empty: every option has its default");
        }
        return NodeFile::default();
    };
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    node_file::read(&root(&node, &spot), base, report)
}

fn read_routes(file: &NodeFile, env: Env<'_>, report: &mut Report) -> Vec<PlacedRoute> {
    let (Some(folder), Some(spot)) = (&file.node.bridges, &file.bridges) else {
        return Vec::new();
    };
    read_folder(folder, spot, None, env, report)
}

/// A change of one file of the folder that is not made yet.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The file's name within the folder.
    pub file: &'a str,
    /// What it is to hold; `None` if it is to go.
    pub text: Option<&'a str>,
}

/// The routes of a folder, and what is odd about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSet {
    /// Each with the path of the file that it stands in, or its origin if it is a shared one.
    pub routes: Vec<(Route, PathBuf)>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Finding>,
}

/// Reads the route files of a running node once more, as they would be with `draft`, and the routes that it shares with
/// others. The node's own file is not read.
///
/// # Errors
/// All errors of all files; nothing is returned in part.
pub fn load_routes(
    node: &NodeConfig,
    env: Env<'_>,
    draft: Option<Draft<'_>>,
    shared: &[SharedText],
) -> Result<RouteSet, ConfigErrors> {
    let mut report = Report::default();
    let mut routes = Vec::new();
    if let Some(folder) = &node.bridges {
        let spot = Spot::file(&folder.display().to_string());
        routes = read_folder(folder, &spot, draft, env, &mut report);
    }
    routes.extend(shared::read(shared, env, &mut report));
    validate::check(&routes, node, &mut report);
    let warnings = report.finish()?;
    let routes = routes
        .into_iter()
        .map(|placed| (placed.route, PathBuf::from(placed.name.file_name())))
        .collect();
    Ok(RouteSet { routes, warnings })
}

fn read_folder(
    folder: &Path,
    spot: &Spot,
    draft: Option<Draft<'_>>,
    env: Env<'_>,
    report: &mut Report,
) -> Vec<PlacedRoute> {
    let mut paths = match route_files(&tidy(folder)) {
        Ok(paths) => paths,
        Err(error) => {
            let message = format!("the folder {} cannot be read: {error}", folder.display());
            report.error(spot, message);
            return Vec::new();
        }
    };
    let drafted = draft.map(|draft| (tidy(folder).join(draft.file), draft.text));
    if let Some((path, text)) = &drafted {
        paths.retain(|other| other != path);
        paths.extend(text.map(|_| path.clone()));
        paths.sort();
    }
    let mut routes = Vec::new();
    for path in paths {
        let spot = Spot::file(&path.display().to_string());
        let text = match &drafted {
            Some((drafted, text)) if *drafted == path => text.map(str::to_owned),
            _ => read_text(&path, &spot, report),
        };
        let Some(text) = text else {
            continue;
        };
        let mut own = Report::default();
        match tree::parse(&text, &spot, env, &mut own) {
            Some(node) => routes.extend(route_file::read(&root(&node, &spot), &mut own)),
            None if !own.has_errors() => own.warn(&spot, "there are no routes in this file"),
            None => {}
        }
        report.append(own);
    }
    routes
}

fn root<'t>(node: &'t Node, spot: &Spot) -> Field<'t> {
    Field { spot: spot.at(node.place), node }
}

/// The same folder without `x/..` in its name, for messages; unchanged where a symbolic link makes that another folder.
fn tidy(folder: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in folder.components() {
        let is_name = matches!(short.components().next_back(), Some(Component::Normal(_)));
        if part == Component::ParentDir && is_name {
            short.pop();
        } else {
            short.push(part);
        }
    }
    match (std::fs::canonicalize(&short), std::fs::canonicalize(folder)) {
        (Ok(one), Ok(other)) if one == other => short,
        _ => folder.to_owned(),
    }
}

/// The `.yaml` and `.yml` files in `folder`, sorted by name; hidden ones are left alone, as editors leave them behind.
fn route_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_yaml =
            path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_yaml && !is_hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_text(path: &Path, spot: &Spot, report: &mut Report) -> Option<String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            report.error(spot, format!("cannot be read: {error}"));
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..valid).unwrap_or_default();
            report.error(&spot.at(place_after(before)), "not UTF-8 text from here on");
            None
        }
    }
}

/// The place behind `text`, which is UTF-8.
fn place_after(text: &[u8]) -> Place {
    let text = String::from_utf8_lossy(text);
    let last = text.rsplit('\n').next().unwrap_or_default();
    Place { line: text.matches('\n').count() + 1, column: last.chars().count() + 1 }
}

#[cfg(test)]
mod tests;
