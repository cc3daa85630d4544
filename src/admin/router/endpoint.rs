//! What is served.

use crate::http::exchange::Logged;
use crate::http::router::{DELETE, GET, POST, PUT, Table};

/// Everything that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Ping,
    Page,
    Asset,
    Render,
    Topics,
    TopicsPost,
    Topic,
    TopicPost,
    TopicDelete,
    Channel,
    ChannelPost,
    ChannelDelete,
    Nodes,
    Node,
    NodeDelete,
    Counter,
    Graphite,
    ConfigGet,
    ConfigPut,
    Session,
    Login,
    Logout,
    Live,
    Overview,
    Relay,
}

impl Endpoint {
    /// Whether it answers before anybody has logged in. `/config` has a rule of its own.
    pub(super) const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Ping
                | Self::Page
                | Self::Asset
                | Self::Session
                | Self::Login
                | Self::ConfigGet
                | Self::ConfigPut
        )
    }

    /// What an answer is worth in the log.
    pub(super) const fn logged(self) -> Logged {
        match self {
            Self::Ping | Self::Asset => Logged::No,
            Self::Counter | Self::Live | Self::Overview | Self::Session => Logged::Quietly,
            _ => Logged::Yes,
        }
    }
}

/// nsqadmin's paths, and those that it never had.
pub(super) const TABLE: &Table<Endpoint> = &[
    (GET, "/ping", Endpoint::Ping),
    (GET, "/", Endpoint::Page),
    (GET, "/topics", Endpoint::Page),
    (GET, "/topics/:topic", Endpoint::Page),
    (GET, "/topics/:topic/:channel", Endpoint::Page),
    (GET, "/nodes", Endpoint::Page),
    (GET, "/nodes/:node", Endpoint::Page),
    (GET, "/counter", Endpoint::Page),
    (GET, "/lookup", Endpoint::Page),
    (GET, "/routes", Endpoint::Page),
    (GET, "/routes/:node/:route", Endpoint::Page),
    (GET, "/brokers", Endpoint::Page),
    (GET, "/messages", Endpoint::Page),
    (GET, "/alerts", Endpoint::Page),
    (GET, "/static/:asset", Endpoint::Asset),
    (GET, "/fonts/:asset", Endpoint::Asset),
    (GET, "/render", Endpoint::Render),
    (GET, "/api/topics", Endpoint::Topics),
    (POST, "/api/topics", Endpoint::TopicsPost),
    (GET, "/api/topics/:topic", Endpoint::Topic),
    (POST, "/api/topics/:topic", Endpoint::TopicPost),
    (DELETE, "/api/topics/:topic", Endpoint::TopicDelete),
    (GET, "/api/topics/:topic/:channel", Endpoint::Channel),
    (POST, "/api/topics/:topic/:channel", Endpoint::ChannelPost),
    (DELETE, "/api/topics/:topic/:channel", Endpoint::ChannelDelete),
    (GET, "/api/nodes", Endpoint::Nodes),
    (GET, "/api/nodes/:node", Endpoint::Node),
    (DELETE, "/api/nodes/:node", Endpoint::NodeDelete),
    (GET, "/api/counter", Endpoint::Counter),
    (GET, "/api/graphite", Endpoint::Graphite),
    (GET, "/config/:option", Endpoint::ConfigGet),
    (PUT, "/config/:option", Endpoint::ConfigPut),
    (GET, "/api/session", Endpoint::Session),
    (POST, "/api/login", Endpoint::Login),
    (POST, "/api/logout", Endpoint::Logout),
    (GET, "/api/live", Endpoint::Live),
    (GET, "/api/leveret", Endpoint::Overview),
    (GET, "/api/leveret/:node/v1/alerts", Endpoint::Relay),
    (GET, "/api/leveret/:node/v1/history", Endpoint::Relay),
    (GET, "/api/leveret/:node/topic/peek", Endpoint::Relay),
    (GET, "/api/leveret/:node/channel/peek", Endpoint::Relay),
    (GET, "/api/leveret/:node/v1/routes/:route", Endpoint::Relay),
    (PUT, "/api/leveret/:node/v1/routes/:route", Endpoint::Relay),
    (DELETE, "/api/leveret/:node/v1/routes/:route", Endpoint::Relay),
    (GET, "/api/leveret/:node/v1/routes/:route/history", Endpoint::Relay),
    (POST, "/api/leveret/:node/v1/routes/:route/pause", Endpoint::Relay),
    (POST, "/api/leveret/:node/v1/routes/:route/resume", Endpoint::Relay),
    (POST, "/api/leveret/:node/v1/routes/:route/drain", Endpoint::Relay),
    (POST, "/api/leveret/:node/v1/routes/:route/reset", Endpoint::Relay),
    (POST, "/api/leveret/:node/v1/messages/requeue", Endpoint::Relay),
    (POST, "/api/leveret/:node/v1/messages/discard", Endpoint::Relay),
    (GET, "/api/leveret/:node/v1/brokers/:broker/messages", Endpoint::Relay),
    (POST, "/api/leveret/:node/v1/brokers/:broker/messages/requeue", Endpoint::Relay),
    (POST, "/api/leveret/:node/v1/brokers/:broker/messages/discard", Endpoint::Relay),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_never_open() {
        for (method, path, endpoint) in TABLE {
            let is_open = endpoint.is_open() && *method != GET;
            assert!(!is_open || matches!(*path, "/api/login" | "/config/:option"), "{path}");
        }
    }
}
