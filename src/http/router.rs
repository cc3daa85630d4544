//! Which endpoint a method and a path mean, and what NSQ's daemons say to those that mean none.
//!
//! nsqd repairs a path only towards one that its method has, and knows a path by any method before it says "wrong method".
//! A segment that begins with `:` stands for any one.

use super::debug::Profile;
use super::route_control::Act;

/// Everything that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Ping,
    Info,
    Stats,
    Publish,
    PublishMany,
    TopicCreate,
    TopicDelete,
    TopicEmpty,
    TopicPause,
    TopicUnpause,
    ChannelCreate,
    ChannelDelete,
    ChannelEmpty,
    ChannelPause,
    ChannelUnpause,
    TopicPeek,
    ChannelPeek,
    MessagesRequeue,
    MessagesDiscard,
    QueueMessages,
    QueueRequeue,
    QueueDiscard,
    DrainState,
    Drain,
    Draining,
    DrainConfig,
    ConfigGet,
    ConfigPut,
    Profile(Profile),
    SetBlockRate,
    FreeMemory,
    Registry,
    Routes,
    Route,
    RouteHistory,
    RoutePut,
    RouteDelete,
    RoutesReload,
    RouteAct(Act),
    Alerts,
    Metrics,
    Live,
    Ready,
}

pub(crate) const GET: &str = "GET";
pub(crate) const POST: &str = "POST";
pub(crate) const PUT: &str = "PUT";
pub(crate) const DELETE: &str = "DELETE";

/// What is served: a method, a path, and what they mean.
pub(crate) type Table<E> = [(&'static str, &'static str, E)];

/// A node's.
pub(super) const NODE: &Table<Endpoint> = &[
    (GET, "/ping", Endpoint::Ping),
    (GET, "/info", Endpoint::Info),
    (GET, "/stats", Endpoint::Stats),
    (POST, "/pub", Endpoint::Publish),
    (POST, "/mpub", Endpoint::PublishMany),
    (POST, "/topic/create", Endpoint::TopicCreate),
    (POST, "/topic/delete", Endpoint::TopicDelete),
    (POST, "/topic/empty", Endpoint::TopicEmpty),
    (POST, "/topic/pause", Endpoint::TopicPause),
    (POST, "/topic/unpause", Endpoint::TopicUnpause),
    (POST, "/channel/create", Endpoint::ChannelCreate),
    (POST, "/channel/delete", Endpoint::ChannelDelete),
    (POST, "/channel/empty", Endpoint::ChannelEmpty),
    (POST, "/channel/pause", Endpoint::ChannelPause),
    (POST, "/channel/unpause", Endpoint::ChannelUnpause),
    (GET, "/topic/peek", Endpoint::TopicPeek),
    (GET, "/channel/peek", Endpoint::ChannelPeek),
    (POST, "/v1/messages/requeue", Endpoint::MessagesRequeue),
    (POST, "/v1/messages/discard", Endpoint::MessagesDiscard),
    (GET, "/v1/brokers/:broker/messages", Endpoint::QueueMessages),
    (POST, "/v1/brokers/:broker/messages/requeue", Endpoint::QueueRequeue),
    (POST, "/v1/brokers/:broker/messages/discard", Endpoint::QueueDiscard),
    (GET, "/v1/drain", Endpoint::DrainState),
    (POST, "/v1/drain", Endpoint::Drain),
    (GET, "/config/drain", Endpoint::Draining),
    (PUT, "/config/drain", Endpoint::DrainConfig),
    (GET, "/config/:option", Endpoint::ConfigGet),
    (PUT, "/config/:option", Endpoint::ConfigPut),
    (GET, "/debug/pprof/", Endpoint::Profile(Profile::Index)),
    (GET, "/debug/pprof/cmdline", Endpoint::Profile(Profile::Cmdline)),
    (GET, "/debug/pprof/symbol", Endpoint::Profile(Profile::Symbol)),
    (POST, "/debug/pprof/symbol", Endpoint::Profile(Profile::Symbol)),
    (GET, "/debug/pprof/profile", Endpoint::Profile(Profile::Cpu)),
    (GET, "/debug/pprof/heap", Endpoint::Profile(Profile::Heap)),
    (GET, "/debug/pprof/goroutine", Endpoint::Profile(Profile::Goroutine)),
    (GET, "/debug/pprof/block", Endpoint::Profile(Profile::Block)),
    (GET, "/debug/pprof/threadcreate", Endpoint::Profile(Profile::ThreadCreate)),
    (PUT, "/debug/setblockrate", Endpoint::SetBlockRate),
    (POST, "/debug/freememory", Endpoint::FreeMemory),
    (GET, "/v1/registry", Endpoint::Registry),
    (GET, "/v1/routes", Endpoint::Routes),
    (POST, "/v1/routes/reload", Endpoint::RoutesReload),
    (GET, "/v1/routes/:name", Endpoint::Route),
    (GET, "/v1/routes/:name/history", Endpoint::RouteHistory),
    (PUT, "/v1/routes/:name", Endpoint::RoutePut),
    (DELETE, "/v1/routes/:name", Endpoint::RouteDelete),
    (POST, "/v1/routes/:name/pause", Endpoint::RouteAct(Act::Pause)),
    (POST, "/v1/routes/:name/resume", Endpoint::RouteAct(Act::Resume)),
    (POST, "/v1/routes/:name/drain", Endpoint::RouteAct(Act::Drain)),
    (POST, "/v1/routes/:name/reset", Endpoint::RouteAct(Act::Reset)),
    (GET, "/v1/alerts", Endpoint::Alerts),
    (GET, "/metrics", Endpoint::Metrics),
    (GET, "/health/live", Endpoint::Live),
    (GET, "/health/ready", Endpoint::Ready),
];

/// What a method and a path mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolved<E> {
    Endpoint(E),
    /// The path that was meant.
    Elsewhere(String),
    /// OPTIONS of a path that there is, and the methods that it has.
    Options(String),
    /// A path that there is, and the methods that it has.
    WrongMethod(String),
    Unknown,
}

/// What `method` and the decoded `path` mean by `table`.
pub(crate) fn resolve<E: Copy>(table: &Table<E>, method: &str, path: &str) -> Resolved<E> {
    let same_method = || table.iter().filter(|(other, _, _)| *other == method);
    if let Some((_, _, endpoint)) = same_method().find(|(_, known, _)| is_at(known, path)) {
        return Resolved::Endpoint(*endpoint);
    }
    let meant = clean(path);
    if let Some(known) = same_method().find_map(|(_, known, _)| spelled(known, &meant)) {
        return Resolved::Elsewhere(known);
    }
    let allowed = allowed(table, path);
    match (method, allowed.is_empty()) {
        (_, true) => Resolved::Unknown,
        ("OPTIONS", false) => Resolved::Options(allowed),
        (_, false) => Resolved::WrongMethod(allowed),
    }
}

/// Whether `path` is `known`, segment by segment.
fn is_at(known: &str, path: &str) -> bool {
    if !known.contains(':') {
        return known == path;
    }
    known.split('/').count() == path.split('/').count()
        && known.split('/').zip(path.split('/')).all(|(known, segment)| {
            if known.starts_with(':') { !segment.is_empty() } else { known == segment }
        })
}

/// `known` with what its open segments stand for, if `meant`, which is clean, is that but for its case.
fn spelled(known: &str, meant: &str) -> Option<String> {
    let stem = known.strip_suffix('/').unwrap_or(known);
    if stem.split('/').count() != meant.split('/').count() {
        return None;
    }
    let mut path = Vec::new();
    for (known, segment) in stem.split('/').zip(meant.split('/')) {
        let is_open = known.starts_with(':');
        if !is_open && !known.eq_ignore_ascii_case(segment) {
            return None;
        }
        path.push(if is_open { segment } else { known });
    }
    let end = if known.ends_with('/') { "/" } else { "" };
    Some(path.join("/") + end)
}

/// The methods of `path`, OPTIONS among them, sorted; empty for an unknown path. For `*`, those of the whole server.
fn allowed<E>(table: &Table<E>, path: &str) -> String {
    let on_path = table.iter().filter(|(_, known, _)| path == "*" || is_at(known, path));
    let mut methods: Vec<&str> = on_path.map(|(method, _, _)| *method).collect();
    if methods.is_empty() {
        return String::new();
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}

/// `path` without empty and `.` segments, `..` and what it undoes, and trailing slashes.
fn clean(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    segments.iter().flat_map(|segment| ["/", segment]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(method: &str, path: &str) -> Resolved<Endpoint> {
        super::resolve(NODE, method, path)
    }

    #[test]
    fn each_path_has_its_endpoint() {
        for (method, path, endpoint) in NODE {
            let path =
                path.replace(":option", "any").replace(":name", "any").replace(":broker", "any");
            assert_eq!(resolve(method, &path), Resolved::Endpoint(*endpoint));
        }
    }

    #[test]
    fn a_path_is_repaired_towards_one_of_its_method() {
        for path in ["/ping/", "//ping", "/PING", "/a/../ping", "/./ping", "/../ping//"] {
            assert_eq!(resolve("GET", path), Resolved::Elsewhere("/ping".into()), "{path}");
        }
        assert_eq!(resolve("POST", "/Pub"), Resolved::Elsewhere("/pub".into()));
        for path in ["/debug/pprof", "/Debug//pprof///"] {
            assert_eq!(resolve("GET", path), Resolved::Elsewhere("/debug/pprof/".into()), "{path}");
        }
        for path in ["/CONFIG/Any", "/config/Any/", "//config//Any"] {
            assert_eq!(resolve("PUT", path), Resolved::Elsewhere("/config/Any".into()), "{path}");
        }
        assert_eq!(resolve("GET", "/pub/"), Resolved::Unknown);
        assert_eq!(resolve("HEAD", "/ping/"), Resolved::Unknown);
        assert_eq!(resolve("GET", "/ping/x"), Resolved::Unknown);
        assert_eq!(resolve("GET", "/"), Resolved::Unknown);
        assert_eq!(resolve("GET", ""), Resolved::Unknown);
    }

    #[test]
    fn a_wrong_method_learns_the_right_ones() {
        let wrong = Resolved::WrongMethod("GET, OPTIONS".into());
        assert_eq!(resolve("HEAD", "/ping"), wrong);
        assert_eq!(resolve("POST", "/stats"), wrong);
        assert_eq!(resolve("GET", "/pub"), Resolved::WrongMethod("OPTIONS, POST".into()));
        assert_eq!(resolve("OPTIONS", "/pub"), Resolved::Options("OPTIONS, POST".into()));
        assert_eq!(
            resolve("OPTIONS", "*"),
            Resolved::Options("DELETE, GET, OPTIONS, POST, PUT".into())
        );
        assert_eq!(resolve("OPTIONS", "/nowhere"), Resolved::Unknown);
    }

    #[test]
    fn what_nsqd_does_not_route_is_unknown() {
        let paths = ["/config", "/config/", "/config/a/b", "/debug/pprof/mutex", "/delete_topic"];
        for path in paths {
            assert_eq!(resolve("GET", path), Resolved::Unknown);
        }
    }
}
