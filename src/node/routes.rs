//! The routes of a running node: read again when a signal, the folder or somebody at the API asks for it.
//!
//! One change at a time. A change that would make the configuration wrong changes nothing and says why; one that is right
//! touches only the routes that differ. Routes of the registry stand beside those of the files; of those of which there is
//! one, the node runs what it owns.

mod following;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::shared::{SharedRoutes, to_run};
use crate::bridge::route::Route;
use crate::bridge::{Applied, Bridge, UnknownRoute};
use crate::clock;
use crate::config::{self, ConfigErrors, Draft, FolderState, NodeConfig, RouteSet, process_env};
use crate::http::{Changes, ControlError, Definition, Pending, RouteControl};
use crate::registry::Registry;
use crate::registry::mirror::SharedRoute;
use crate::storage::{self, pauses};
use crate::task::{spawn, stopped};

/// How often the folder is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How often a drain looks whether everything is settled.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// See the module's description.
pub(super) struct RouteKeeper {
    bridge: Arc<Bridge>,
    config: NodeConfig,
    /// Held by whoever changes files or routes.
    turn: Semaphore,
    registry: Option<Arc<Registry>>,
    /// Held by whoever stops what is not this node's any more: the others wait for it to be at rest.
    letting_go: Semaphore,
    known: Mutex<Known>,
}

/// What is in force, whether it runs here or on another node.
struct Known {
    /// All routes.
    routes: Vec<Route>,
    /// Those of the registry.
    shared: SharedRoutes,
    /// What the registry held when it was last judged.
    held: Arc<BTreeMap<String, SharedRoute>>,
    /// The generation of the registry's view that was last taken over.
    seen: u64,
}

impl RouteKeeper {
    /// `routes` are those of the files, as they were at start.
    pub(super) fn new(
        bridge: Arc<Bridge>,
        config: NodeConfig,
        routes: Vec<Route>,
        registry: Option<Arc<Registry>>,
    ) -> Arc<Self> {
        let known =
            Known { routes, shared: SharedRoutes::default(), held: Arc::default(), seen: 0 };
        let known = Mutex::new(known);
        let (turn, letting_go) = (Semaphore::new(1), Semaphore::new(1));
        Arc::new(Self { bridge, config, turn, registry, letting_go, known })
    }

    /// Reads the files again, as they would be with `draft`: its file's name and text.
    async fn read(
        &self,
        draft: Option<(String, Option<String>)>,
    ) -> Result<RouteSet, ControlError> {
        let config = self.config.clone();
        let shared = self.known.lock().shared.texts();
        let reading = tokio::task::spawn_blocking(move || {
            let draft = draft.as_ref().map(|(file, text)| Draft { file, text: text.as_deref() });
            config::load_routes(&config, &process_env, draft, &shared)
        });
        let read = reading.await.map_err(|error| ControlError::Storage(error.to_string()))?;
        read.map_err(|errors| invalid(&errors))
    }

    async fn apply(&self, set: RouteSet) -> Changes {
        let routes: Vec<Route> = set.routes.into_iter().map(|(route, _)| route).collect();
        self.known.lock().routes = routes;
        let applied = self.run().await;
        Changes {
            started: applied.started,
            retuned: applied.retuned,
            changed: applied.changed,
            stopped: applied.stopped,
            unchanged: applied.unchanged,
            warnings: set.warnings.iter().map(ToString::to_string).collect(),
        }
    }

    /// Has the routes run that are in force and this node's.
    async fn run(&self) -> Applied {
        // What is not this node's any more has less time to settle than other changes give.
        let owned = self.let_go().await;
        let routes = to_run(&self.known.lock().routes, &owned);
        self.make_way(&routes).await;
        let applied = self.bridge.apply(&routes, self.config.shutdown_timeout).await;
        // What was taken away meanwhile may have been started since.
        self.let_go().await;
        self.report();
        applied
    }

    /// Reads the route files again and takes over what differs.
    pub(super) async fn reload(&self) -> Result<Changes, ControlError> {
        let _turn = self.turn.acquire().await;
        let result = match self.read(None).await {
            Ok(set) => {
                let changes = self.apply(set).await;
                self.judge_again().await;
                Ok(changes)
            }
            Err(error) => Err(error),
        };
        match &result {
            Ok(changes) => {
                for warning in &changes.warnings {
                    tracing::warn!("{warning}");
                }
                let Changes { started, retuned, changed, stopped, unchanged, .. } = changes;
                if [started, retuned, changed, stopped].iter().all(|names| names.is_empty()) {
                    tracing::debug!(unchanged, "routes read again: nothing has changed");
                    return result;
                }
                tracing::info!(
                    ?started,
                    ?retuned,
                    ?changed,
                    ?stopped,
                    unchanged,
                    "routes reloaded"
                );
            }
            Err(ControlError::Invalid(findings)) => {
                for finding in findings {
                    tracing::error!("{finding}");
                }
                tracing::error!("routes not reloaded: they go on as they were");
            }
            Err(error) => tracing::error!(%error, "routes not reloaded: they go on as they were"),
        }
        result
    }

    /// Whether there is anything to read routes from.
    pub(super) const fn has_files(&self) -> bool {
        self.config.bridges.is_some() || self.registry.is_some()
    }

    fn folder(&self) -> Result<&Path, ControlError> {
        self.config.bridges.as_deref().ok_or_else(|| {
            ControlError::Conflict("the node has no folder of route files: see bridges".to_owned())
        })
    }

    /// The file of its own that a route has or may have; an error if it stands somewhere else.
    async fn own_file(&self, name: &str) -> Result<(PathBuf, bool), ControlError> {
        let path = self.folder()?.join(file_name(name));
        let set = self.read(None).await?;
        let Some((_, file)) = set.routes.iter().find(|(route, _)| route.name == name) else {
            if path.exists() {
                let path = path.display();
                return Err(ControlError::Conflict(format!("{path} holds other routes")));
            }
            return Ok((path, false));
        };
        let others = set.routes.iter().filter(|(_, other)| other == file).count() - 1;
        if others > 0 || file.file_name() != path.file_name() {
            let file = file.display();
            return Err(ControlError::Conflict(format!(
                "the route \"{name}\" stands in {file}; only one in a file of its own, {}, is changed here",
                file_name(name)
            )));
        }
        Ok((path, true))
    }

    /// Changes one file, if all is right with it, and takes over what differs.
    async fn change(
        &self,
        path: PathBuf,
        text: Option<String>,
        is_dry: bool,
        name: &str,
    ) -> Result<Changes, ControlError> {
        let file = path.file_name().map(|file| file.to_string_lossy().into_owned());
        let set = self.read(file.map(|file| (file, text.clone()))).await?;
        let in_file: Vec<&str> = set
            .routes
            .iter()
            .filter(|(_, file)| file.file_name() == path.file_name())
            .map(|(route, _)| route.name.as_str())
            .collect();
        let is_right = |found: &&str| *found == name || *found == format!("{name}.secondary");
        if text.is_some() && !(in_file.contains(&name) && in_file.iter().all(is_right)) {
            let message =
                format!("expected one route, with the name \"{name}\", found {in_file:?}");
            return Err(ControlError::Invalid(vec![message]));
        }
        if is_dry {
            return Ok(self.would_change(&set));
        }
        let writing = tokio::task::spawn_blocking(move || match text {
            Some(text) => storage::replace_text(&path, &text),
            None => storage::remove_file(&path),
        });
        match writing.await {
            Ok(Ok(())) => Ok(self.apply(set).await),
            Ok(Err(error)) => Err(ControlError::Storage(error.to_string())),
            Err(error) => Err(ControlError::Storage(error.to_string())),
        }
    }

    fn would_change(&self, set: &RouteSet) -> Changes {
        // Those that run on other nodes are there too.
        let running = self.known.lock().routes.clone();
        let mut changes = Changes::default();
        for (route, _) in &set.routes {
            match running.iter().find(|running| running.name == route.name) {
                Some(running) if running == route => changes.unchanged += 1,
                Some(_) => changes.changed.push(route.name.clone()),
                None => changes.started.push(route.name.clone()),
            }
        }
        let is_gone = |name: &str| set.routes.iter().all(|(route, _)| route.name != name);
        let names = running.into_iter().map(|running| running.name);
        changes.stopped = names.filter(|name| is_gone(name)).collect();
        changes.warnings = set.warnings.iter().map(ToString::to_string).collect();
        changes
    }

    /// Has a route take nothing more, or go on, and keeps that for the next start.
    async fn pause(&self, name: &str, is_paused: bool) -> Result<(), ControlError> {
        let _turn = self.turn.acquire().await;
        let done = if is_paused { self.bridge.pause(name) } else { self.bridge.resume(name) };
        done.map_err(unknown)?;
        self.keep_pauses().await
    }

    /// Has a route start anew.
    async fn reset(&self, name: &str) -> Result<(), ControlError> {
        let _turn = self.turn.acquire().await;
        self.bridge.reset(name, self.config.shutdown_timeout).await.map_err(unknown)?;
        self.keep_pauses().await
    }

    async fn keep_pauses(&self) -> Result<(), ControlError> {
        let Some(folder) = self.config.nsqd.data_path.clone() else { return Ok(()) };
        let paused = self.bridge.paused();
        match tokio::task::spawn_blocking(move || pauses::save(&folder, paused)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ControlError::Storage(error.to_string())),
            Err(error) => Err(ControlError::Storage(error.to_string())),
        }
    }

    /// Pauses a route and waits until all that it has taken is settled.
    async fn drain(&self, name: &str, timeout: Duration) -> Result<(), ControlError> {
        self.pause(name, true).await?;
        let deadline = clock::now() + timeout;
        loop {
            let pending = self.bridge.pending(name).map_err(unknown)?;
            if pending == 0 {
                return Ok(());
            }
            if clock::now() >= deadline {
                return Err(ControlError::Late(format!(
                    "{pending} messages of the route \"{name}\" are not settled yet; it stays paused"
                )));
            }
            sleep(DRAIN_LOOK).await;
        }
    }

    /// Reloads when the folder has changed, and has settled since. For as long as it is polled.
    pub(super) async fn watch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let Some(folder) = self.config.bridges.clone().filter(|_| self.config.watch_bridges) else {
            return;
        };
        // What was read at start is older than any look: a change in between must not be taken for what was read.
        let mut known = FolderState::default();
        let mut last = FolderState::of(&folder);
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = sleep(WATCH_INTERVAL) => {}
            }
            let now = FolderState::of(&folder);
            // Whoever writes may not be done yet.
            if now != known && now == last {
                known.clone_from(&now);
                // It has said why it failed; the next change is another try.
                self.reload().await.map(drop).unwrap_or_default();
            }
            last = now;
        }
    }
}

/// The name of a route's own file.
fn file_name(route: &str) -> String {
    format!("{route}.yaml")
}

/// The text as a file of routes: a route alone is put into a list.
fn as_file(text: String) -> String {
    let is_file =
        text.lines().any(|line| line.starts_with("routes:") || line.starts_with("\"routes\""));
    let trimmed = text.trim_start();
    if is_file || trimmed.starts_with("{\"routes\"") {
        return text;
    }
    if trimmed.starts_with('{') {
        return format!("routes:\n- {}\n", trimmed.trim_end().replace('\n', "\n  "));
    }
    let indented: Vec<String> = text.trim_end().lines().map(|line| format!("  {line}")).collect();
    format!("routes:\n-\n{}\n", indented.join("\n"))
}

fn invalid(errors: &ConfigErrors) -> ControlError {
    ControlError::Invalid(lines(errors))
}

fn lines(errors: &ConfigErrors) -> Vec<String> {
    errors.errors.iter().map(ToString::to_string).collect()
}

/// The keeper as the API reaches it.
pub(super) struct Control(pub(super) Arc<RouteKeeper>);

/// Does what is asked to the end, whether somebody still waits for the answer or not: a change that is left half-way would
/// leave routes stopped.
fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, ControlError>> + Send + 'static,
) -> Pending<T> {
    let task = spawn("routes", work);
    Box::pin(async move {
        task.await.unwrap_or_else(|error| Err(ControlError::Storage(error.to_string())))
    })
}

fn unknown(unknown: UnknownRoute) -> ControlError {
    ControlError::Unknown(unknown.0)
}

impl RouteControl for Control {
    fn reload(&self) -> Pending<Changes> {
        let keeper = Arc::clone(&self.0);
        detached(async move { keeper.reload().await })
    }

    fn definition(&self, name: &str) -> Pending<Definition> {
        let (keeper, name) = (Arc::clone(&self.0), name.to_owned());
        detached(async move {
            let set = keeper.read(None).await?;
            let found = set.routes.into_iter().find(|(route, _)| route.name == name);
            let (_, path) = found.ok_or(ControlError::Unknown(name))?;
            let file = path.display().to_string();
            let shared = keeper.known.lock().shared.text_at(&file);
            if let Some(text) = shared {
                return Ok(Definition { file, text });
            }
            let reading = tokio::task::spawn_blocking(move || config::route_text(&path));
            match reading.await {
                Ok(Ok(text)) => Ok(Definition { file, text }),
                Ok(Err(error)) => Err(ControlError::Storage(error.to_string())),
                Err(error) => Err(ControlError::Storage(error.to_string())),
            }
        })
    }

    fn put(&self, name: &str, text: String, is_dry: bool) -> Pending<Changes> {
        let (keeper, name) = (Arc::clone(&self.0), name.to_owned());
        detached(async move {
            let _turn = keeper.turn.acquire().await;
            let (path, _) = keeper.own_file(&name).await?;
            keeper.change(path, Some(as_file(text)), is_dry, &name).await
        })
    }

    fn remove(&self, name: &str, is_dry: bool) -> Pending<Changes> {
        let (keeper, name) = (Arc::clone(&self.0), name.to_owned());
        detached(async move {
            let _turn = keeper.turn.acquire().await;
            let (path, is_there) = keeper.own_file(&name).await?;
            if !is_there {
                return Err(ControlError::Unknown(name));
            }
            keeper.change(path, None, is_dry, &name).await
        })
    }

    fn pause(&self, name: &str, is_paused: bool) -> Pending<()> {
        let (keeper, name) = (Arc::clone(&self.0), name.to_owned());
        detached(async move { keeper.pause(&name, is_paused).await })
    }

    fn drain(&self, name: &str, timeout: Duration) -> Pending<()> {
        let (keeper, name) = (Arc::clone(&self.0), name.to_owned());
        Box::pin(async move { keeper.drain(&name, timeout).await })
    }

    fn reset(&self, name: &str) -> Pending<()> {
        let (keeper, name) = (Arc::clone(&self.0), name.to_owned());
        detached(async move { keeper.reset(&name).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_alone_becomes_a_file() {
        let file = "routes:\n- name: a\n".to_owned();
        assert_eq!(as_file(file.clone()), file);
        assert_eq!(
            as_file("name: a\nmode: direct\n".into()),
            "routes:\n-\n  name: a\n  mode: direct\n"
        );
        let json = r#"{"name": "a"}"#;
        assert_eq!(as_file(json.into()), "routes:\n- {\"name\": \"a\"}\n");
        let json = r#"{"routes": []}"#;
        assert_eq!(as_file(json.into()), json);
    }
}
