//! `leveret routes push|pull|diff|rm|list`: the routes that nodes share, as they stand in etcd.

mod difference;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};

use super::{EXIT_CONFIG, load, say, say_error};
use crate::config::{self, NodeConfig, SharedText, process_env};
use crate::registry::mirror::SharedRoute;
use crate::registry::records::Verdict;
use crate::registry::{Desk, EtcdOptions, EtcdTls, Listing, PREFIX, RegistryError};

/// A person waits longer than a node that has other members to try.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest text that etcd takes, with room for its key, bytes.
const TEXT_MAX: usize = 1 << 20;

/// What is asked for.
#[derive(ClapArgs, Clone, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    /// The node's file: its registry, and the brokers that routes may name
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A member of etcd, instead of the file's; may be given several times
    #[arg(long, global = true, value_name = "URL")]
    etcd: Vec<String>,
    /// What all keys begin with, instead of the file's
    #[arg(long, global = true, value_name = "PREFIX")]
    prefix: Option<String>,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Write the routes of files into etcd, for all nodes to take over
    Push {
        /// Files of routes, or folders of them
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Do not check the routes before
        #[arg(long)]
        no_check: bool,
        /// Remove routes from etcd that the files do not have
        #[arg(long)]
        prune: bool,
        /// Say what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Write the routes of etcd into files, one each; or print them
    Pull {
        /// The folder for the files
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Say how files differ from etcd; the exit code is 1 if they do
    Diff {
        /// Files of routes, or folders of them
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Remove routes from etcd, and so from all nodes
    Rm {
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Say which routes there are, and what the nodes make of them
    List,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(String),
    #[error("leveret: {0}")]
    Registry(#[from] RegistryError),
    #[error("leveret: {0}")]
    Other(String),
}

/// Runs the command.
pub(super) fn run(args: Args) -> ExitCode {
    let node = match load(args.config) {
        Ok(loaded) => loaded.node,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say_error(&format!("leveret: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let work = carry_out(args.command, node, args.etcd, args.prefix);
    match runtime.block_on(Box::pin(work)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            say_error(&failure.to_string());
            let is_config = matches!(failure, Failure::Config(_));
            ExitCode::from(if is_config { EXIT_CONFIG } else { 1 })
        }
    }
}

/// The registry that is meant.
fn options(
    node: &NodeConfig,
    etcd: Vec<String>,
    prefix: Option<String>,
) -> Result<EtcdOptions, Failure> {
    let mut options = match (&node.registry, etcd.is_empty()) {
        (Some(options), _) => options.clone(),
        (None, false) => EtcdOptions {
            endpoints: Vec::new(),
            prefix: PREFIX.to_owned(),
            tls: EtcdTls::default(),
            auth: None,
            lease: PATIENCE,
        },
        (None, true) => {
            let message = "leveret: no registry: the node's file has no registry.etcd (--config), and there is no --etcd";
            return Err(Failure::Config(message.to_owned()));
        }
    };
    if !etcd.is_empty() {
        options.endpoints = etcd;
    }
    if let Some(prefix) = prefix {
        options.prefix = prefix.trim_end_matches('/').to_owned();
    }
    options.lease = PATIENCE;
    Ok(options)
}

/// Does it; tells whether all is as it should be.
async fn carry_out(
    command: Command,
    mut node: NodeConfig,
    etcd: Vec<String>,
    prefix: Option<String>,
) -> Result<bool, Failure> {
    let options = options(&node, etcd, prefix)?;
    node.registry = Some(options.clone());
    let files = match &command {
        Command::Push { files, .. } | Command::Diff { files } => read_all(files)?,
        Command::Pull { .. } | Command::Rm { .. } | Command::List => Vec::new(),
    };
    let desk = Desk::open(&options).await?;
    match command {
        Command::Push { no_check, prune, dry_run, .. } => {
            let how = Push { is_checked: !no_check, prune, dry_run };
            Box::pin(push(&desk, node, files, how)).await
        }
        Command::Pull { folder } => pull(&desk.routes().await?, folder.as_deref()),
        Command::Diff { .. } => {
            let (text, is_same) = difference::of(&desk.routes().await?, &files);
            say(if is_same { "no difference" } else { &text });
            Ok(is_same)
        }
        Command::Rm { names } => remove(&desk, &names).await,
        Command::List => {
            say(&listed(&desk.list().await?));
            Ok(true)
        }
    }
}

/// The routes of files and of the files in folders.
fn read_all(paths: &[PathBuf]) -> Result<Vec<SharedText>, Failure> {
    let mut found: Vec<SharedText> = Vec::new();
    for path in paths {
        let files = config::route_paths(path)
            .map_err(|error| Failure::Config(format!("{}: {error}", path.display())))?;
        for file in files {
            let routes = config::split_routes(&file, &as_written);
            found.extend(routes.map_err(|errors| Failure::Config(errors.to_string()))?);
        }
    }
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for SharedText { name, origin, text } in &found {
        if let Some(first) = names.insert(name, origin) {
            let message = format!("{origin}: the route \"{name}\" is in {first} too");
            return Err(Failure::Config(message));
        }
        if text.len() > TEXT_MAX {
            let message = format!("{origin}: the route \"{name}\" is larger than {TEXT_MAX} bytes");
            return Err(Failure::Config(message));
        }
    }
    Ok(found)
}

/// What `${NAME}` stands for is the nodes' matter; here it is only to be there.
fn as_written(name: &str) -> Option<OsString> {
    Some(process_env(name).unwrap_or_else(|| name.into()))
}

#[derive(Clone, Copy)]
struct Push {
    is_checked: bool,
    prune: bool,
    dry_run: bool,
}

async fn push(
    desk: &Desk,
    node: NodeConfig,
    files: Vec<SharedText>,
    how: Push,
) -> Result<bool, Failure> {
    let held = desk.routes().await?;
    let is_gone = |name: &String| files.iter().all(|file| file.name != *name);
    let gone: Vec<String> =
        held.keys().filter(|name| how.prune && is_gone(name)).cloned().collect();
    if how.is_checked {
        check(node, &held, &gone, &files)?;
    }
    let mut unchanged = 0;
    for SharedText { name, text, .. } in &files {
        let word = match held.get(name) {
            Some(route) if route.text == *text => {
                unchanged += 1;
                continue;
            }
            Some(_) => "changed",
            None => "new",
        };
        if how.dry_run {
            say(&format!("{name}: {word}, not written"));
        } else {
            let revision = desk.put(name, text).await?;
            say(&format!("{name}: {word}, revision {revision}"));
        }
    }
    for name in gone {
        if how.dry_run {
            say(&format!("{name}: would be removed"));
        } else {
            desk.remove(&name).await?;
            say(&format!("{name}: removed"));
        }
    }
    say(&format!("{unchanged} unchanged"));
    Ok(true)
}

/// Checks what is to be pushed, beside what is there. What is wrong there already is not this command's matter.
fn check(
    node: NodeConfig,
    held: &BTreeMap<String, SharedRoute>,
    gone: &[String],
    files: &[SharedText],
) -> Result<(), Failure> {
    // The nodes' own files are theirs.
    let node = NodeConfig { bridges: None, ..node };
    let is_other =
        |name: &String| !gone.contains(name) && files.iter().all(|file| file.name != *name);
    let others = held.iter().filter(|(name, _)| is_other(name)).map(|(name, route)| SharedText {
        name: name.clone(),
        origin: format!("etcd:{name}"),
        text: route.text.clone(),
    });
    let all: Vec<SharedText> = others.chain(files.iter().cloned()).collect();
    let Err(errors) = config::load_routes(&node, &process_env, None, &all) else { return Ok(()) };
    let is_ours = |file: &str| files.iter().any(|shared| shared.origin == file);
    let ours: Vec<String> =
        errors.errors.iter().filter(|e| is_ours(&e.file)).map(ToString::to_string).collect();
    if ours.is_empty() { Ok(()) } else { Err(Failure::Config(ours.join("\n"))) }
}

fn pull(held: &BTreeMap<String, SharedRoute>, folder: Option<&Path>) -> Result<bool, Failure> {
    let Some(folder) = folder else {
        let texts: Vec<&str> = held.values().map(|route| route.text.trim_end()).collect();
        if !texts.is_empty() {
            say(&texts.join("\n---\n"));
        }
        return Ok(true);
    };
    for (name, route) in held {
        let path = folder.join(format!("{name}.yaml"));
        config::write_route(&path, &route.text)
            .map_err(|error| Failure::Other(format!("{}: {error}", path.display())))?;
    }
    say(&format!("{} routes written to {}", held.len(), folder.display()));
    Ok(true)
}

async fn remove(desk: &Desk, names: &[String]) -> Result<bool, Failure> {
    let mut were_there = true;
    for name in names {
        let was_there = desk.remove(name).await?;
        were_there &= was_there;
        say(&format!("{name}: {}", if was_there { "removed" } else { "there is no such route" }));
    }
    Ok(were_there)
}

/// Nodes and routes, and what the ones make of the others.
fn listed(listing: &Listing) -> String {
    let mut lines = Vec::new();
    for (name, node) in &listing.nodes {
        let zone =
            if node.zone.is_empty() { String::new() } else { format!(", zone {}", node.zone) };
        lines.push(format!(
            "node   {name}: version {}{zone}, {} routes, {} messages",
            node.version, node.load.routes, node.load.messages
        ));
    }
    let mut names: Vec<&String> = listing.routes.keys().chain(listing.owners.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let revision = listing.routes.get(name).map_or(0, |route| route.revision);
        let owner = listing.owners.get(name).map(|owner| format!(", run by {}", owner.node));
        let statuses = listing.statuses.get(name);
        let of = |state| {
            let is = |status: &&_| {
                let status: &crate::registry::records::StatusRecord = status;
                status.state == state && status.revision == revision
            };
            statuses.map_or(0, |statuses| statuses.values().filter(is).count())
        };
        lines.push(format!(
            "route  {name}: revision {revision}, applied by {} of {} nodes, refused by {}{}",
            of(Verdict::Applied),
            listing.nodes.len(),
            of(Verdict::Refused),
            owner.unwrap_or_default()
        ));
        for (node, status) in statuses.into_iter().flatten() {
            lines.extend(status.errors.iter().map(|error| format!("       {node}: {error}")));
        }
    }
    if listing.routes.is_empty() {
        lines.push("route  none".to_owned());
    }
    lines.join("\n")
}
