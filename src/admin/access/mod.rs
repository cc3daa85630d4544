//! Who may do what.
//!
//! Without logins, nsqadmin's rule holds: with `admin_users`, whoever a proxy's header names among them may operate, and
//! everybody else looks; without, everybody may. With logins nobody sees anything before one, unless a trusted proxy says
//! who is there. Whoever may operate is asked for more before anything changes: with a session its token, which no other
//! site can know, and without one that the request does not come from another site's page.

pub mod network;
pub mod password;
mod sessions;

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};

use super::options::{AdminOptions, Role, User};
use crate::http::reply::Refusal;
use network::Network;
pub(super) use sessions::{Opened, Sessions};

/// The header in which a session's pages send its token.
pub(super) const TOKEN_HEADER: &str = "x-csrf-token";
/// The cookie of a session.
pub(super) const COOKIE_NAME: &str = "leveret-session";

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Actor {
    /// The name, if one is known.
    pub(super) name: Option<String>,
    pub(super) role: Role,
    /// The session's own token, if it is one.
    pub(super) token: Option<String>,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Access {
    header: String,
    admins: Vec<String>,
    proxies: Vec<Network>,
    users: Vec<User>,
    config_from: Option<Network>,
    pub(super) sessions: Sessions,
}

impl Access {
    pub(super) fn new(options: &AdminOptions) -> Self {
        Self {
            header: options.acl_http_header.clone(),
            admins: options.admin_users.clone(),
            proxies: options.trusted_proxies.clone(),
            users: options.users.clone(),
            config_from: options.allow_config_from,
            sessions: Sessions::new(options.session_timeout),
        }
    }

    /// Whether there are logins.
    pub(super) const fn has_login(&self) -> bool {
        !self.users.is_empty()
    }

    pub(super) fn users(&self) -> &[User] {
        &self.users
    }

    /// Who makes a request; `None` if that is to be found out by a login.
    pub(super) fn actor(&self, headers: &HeaderMap, remote: &str) -> Option<Actor> {
        let said = self.said(headers, remote);
        if !self.has_login() {
            let may = self.admins.is_empty()
                || said.as_ref().is_some_and(|name| self.admins.contains(name));
            let role = if may { Role::Operate } else { Role::View };
            return Some(Actor { name: said, role, token: None });
        }
        if let Some(session) = cookie(headers).and_then(|id| self.sessions.find(id)) {
            let Opened { user, role, token } = session;
            return Some(Actor { name: Some(user), role, token: Some(token) });
        }
        // A header counts beside logins only where somebody has said whose.
        let name = said.filter(|_| !self.proxies.is_empty())?;
        let role = if self.admins.contains(&name) { Role::Operate } else { Role::View };
        Some(Actor { name: Some(name), role, token: None })
    }

    /// Who is there by a proxy's word.
    fn said(&self, headers: &HeaderMap, remote: &str) -> Option<String> {
        let is_trusted =
            self.proxies.is_empty() || self.proxies.iter().any(|network| network.has(remote));
        let name = headers.get(&self.header)?.to_str().ok()?;
        (is_trusted && !name.is_empty()).then(|| name.to_owned())
    }

    /// Whether a request may change something.
    pub(super) fn may_operate(
        &self,
        actor: Option<&Actor>,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let Some(actor) = actor else {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "LOGIN_REQUIRED"));
        };
        if actor.role < Role::Operate {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "FORBIDDEN"));
        }
        self.comes_from_here(actor, headers)
    }

    /// Whether a request comes from a page of ours, or from no page at all.
    pub(super) fn comes_from_here(
        &self,
        actor: &Actor,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(token) = &actor.token {
            if text(TOKEN_HEADER) == Some(token) {
                return Ok(());
            }
            return Err(Refusal::new(StatusCode::FORBIDDEN, "INVALID_CSRF_TOKEN"));
        }
        let is_foreign = matches!(text("sec-fetch-site"), Some("cross-site" | "same-site"))
            || text(ORIGIN.as_str()).is_some_and(|origin| !is_origin_of(origin, headers));
        if is_foreign {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "FOREIGN_ORIGIN"));
        }
        Ok(())
    }

    /// Whether a peer may use `/config`.
    pub(super) fn may_configure(&self, remote: &str) -> Result<(), Refusal> {
        match &self.config_from {
            Some(network) if !network.has(remote) => {
                Err(Refusal::new(StatusCode::FORBIDDEN, "FORBIDDEN"))
            }
            _ => Ok(()),
        }
    }
}

/// The id of the session that a browser shows.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}

/// Whether a page of `origin` is one of this server, whatever stands before it.
fn is_origin_of(origin: &str, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    [text("x-forwarded-host"), text(HOST.as_str())].contains(&Some(host))
}

#[cfg(test)]
mod tests;
