//! Which keys there are under the prefix, and what each is called.
//!
//! | key | holds | lives |
//! | --- | --- | --- |
//! | `nodes/<node>` | who a node is, see [`super::records::NodeRecord`] | as long as the node's lease |
//! | `routes/<route>` | a route in YAML | until somebody removes it |
//! | `owners/<route>` | the node that runs a route of which there is one | as long as that node's lease |
//! | `status/<route>/<node>` | what a node makes of a route, see [`super::records::StatusRecord`] | as long as the node's lease |

use crate::names;

/// The longest name of a node, bytes.
const NODE_MAX: usize = 255;

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A node.
    Node(String),
    /// A route's definition.
    Route(String),
    /// Who runs a route of which there is one.
    Owner(String),
    /// What a node makes of a route.
    Status {
        /// The route.
        route: String,
        /// The node.
        node: String,
    },
}

/// The keys of one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Ends with a slash.
    prefix: String,
}

impl Layout {
    /// All keys begin with `prefix`, with a slash behind it.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: format!("{}/", prefix.trim_end_matches('/')) }
    }

    /// What all keys begin with; ends with a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What all keys of routes begin with.
    #[must_use]
    pub fn routes(&self) -> String {
        format!("{}routes/", self.prefix)
    }

    /// The key as etcd knows it.
    #[must_use]
    pub fn name(&self, key: &Key) -> String {
        let prefix = &self.prefix;
        match key {
            Key::Node(node) => format!("{prefix}nodes/{node}"),
            Key::Route(route) => format!("{prefix}routes/{route}"),
            Key::Owner(route) => format!("{prefix}owners/{route}"),
            Key::Status { route, node } => format!("{prefix}status/{route}/{node}"),
        }
    }

    /// What etcd's key is about; `None` if it is none of ours.
    #[must_use]
    pub fn parse(&self, name: &[u8]) -> Option<Key> {
        let rest = std::str::from_utf8(name).ok()?.strip_prefix(&self.prefix)?;
        let (kind, rest) = rest.split_once('/')?;
        match kind {
            "nodes" => is_node(rest).then(|| Key::Node(rest.to_owned())),
            "routes" => is_route(rest).then(|| Key::Route(rest.to_owned())),
            "owners" => is_route(rest).then(|| Key::Owner(rest.to_owned())),
            "status" => {
                let (route, node) = rest.split_once('/')?;
                let is_ours = is_route(route) && is_node(node);
                is_ours.then(|| Key::Status { route: route.to_owned(), node: node.to_owned() })
            }
            _ => None,
        }
    }
}

/// Whether a route may have this name.
#[must_use]
pub fn is_route(name: &str) -> bool {
    names::is_valid_name(name.as_bytes()) && !names::is_ephemeral(name)
}

/// Whether a node may have this name: 1 to 255 visible ASCII characters without a slash.
#[must_use]
pub fn is_node(name: &str) -> bool {
    (1..=NODE_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_as_it_was_written() {
        for prefix in ["/leveret", "/leveret/", "a/b"] {
            let layout = Layout::new(prefix);
            assert!(layout.prefix().ends_with('/') && !layout.prefix().ends_with("//"));
            for key in [
                Key::Node("host-1:4150".into()),
                Key::Node("[::1]:4150".into()),
                Key::Route("orders".into()),
                Key::Owner("orders.eu".into()),
                Key::Status { route: "orders".into(), node: "host:1".into() },
            ] {
                assert_eq!(layout.parse(layout.name(&key).as_bytes()), Some(key));
            }
        }
    }

    #[test]
    fn what_others_keep_there_is_left_alone() {
        let layout = Layout::new("/leveret");
        for name in [
            "/leveret/",
            "/leveret/routes/",
            "/leveret/routes/a b",
            "/leveret/routes/a/b",
            "/leveret/routes/a#ephemeral",
            "/leveret/nodes/",
            "/leveret/nodes/a/b",
            "/leveret/status/a",
            "/leveret/status/a/",
            "/leveret/other/a",
            "/leverets/routes/a",
            "/leveret",
        ] {
            assert_eq!(layout.parse(name.as_bytes()), None, "{name}");
        }
        assert_eq!(layout.parse(b"/leveret/routes/\xff"), None);
    }
}
