//! AUTH: who a client is, and whether a command has leave.

use serde::Serialize;

use super::{Halt, Session};
use crate::clock::Instant;
use crate::engine::AuthIdentity;
use crate::protocol::ErrorCode;
use crate::protocol::command::Command;
use crate::protocol::json::escaped;
use crate::server::auth::{Answer, AskError, Question, Verdict, Wish};

/// What the auth servers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// AUTH, which is answered with what they say.
    Auth,
    /// A command that waits for it.
    Command,
}

/// Whether a command goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// It does.
    Go,
    /// It does not, now or ever.
    Wait,
}

#[derive(Serialize)]
struct Reply<'a> {
    identity: &'a str,
    identity_url: &'a str,
    permission_count: usize,
}

impl Session {
    /// Judges a command that needs leave. What it lacks is asked for, or answered.
    pub(super) fn permit(&mut self, command: &Command<'_>, now: Instant) -> Permit {
        if self.options.secure.auth.is_none() {
            return Permit::Go;
        }
        let (command, topic, channel) = match *command {
            Command::Pub { topic, .. } => ("PUB", topic, None),
            Command::Dpub { topic, .. } => ("DPUB", topic, None),
            Command::MpubHead { topic } => ("MPUB", topic, None),
            Command::Sub { topic, channel } => ("SUB", topic, Some(channel)),
            // That of an MPUB was judged at its head.
            _ => return Permit::Go,
        };
        match self.leave.judge(Wish { command, topic, channel }, now) {
            Verdict::Allowed => {
                self.may_mpub = command == "MPUB";
                Permit::Go
            }
            Verdict::Ask => {
                self.halt = Some(Halt::Ask(Asking::Command));
                Permit::Wait
            }
            Verdict::Refused(error) => {
                self.replies.fail(&mut self.out, &error);
                Permit::Wait
            }
        }
    }

    pub(super) fn authorize(&mut self, secret: &[u8]) {
        if self.leave.is_authorized() {
            self.fail(ErrorCode::Invalid, "AUTH already set");
        } else if self.options.secure.auth.is_none() {
            self.fail(ErrorCode::AuthDisabled, "AUTH disabled");
        } else {
            self.leave.keep_secret(secret);
            self.halt = Some(Halt::Ask(Asking::Auth));
        }
    }

    /// What the auth servers are to be asked before another command is read.
    pub(in crate::server) fn question(&self) -> Option<Question> {
        let Some(Halt::Ask(_)) = self.halt else { return None };
        Some(Question {
            common_name: self.features.common_name().to_owned(),
            remote_ip: super::super::host(&self.client.remote_address).to_owned(),
            secret: self.leave.secret(),
            tls: self.features.has_tls(),
        })
    }

    /// Takes what the auth servers say, and goes on.
    pub(in crate::server) fn answered(&mut self, asked: Result<Answer, AskError>, now: Instant) {
        let Some(Halt::Ask(asking)) = self.halt.take() else { return };
        let stale = self.options.secure.auth.as_ref().map(|auth| auth.stale_if_error());
        let answer = match self.leave.answered(asked, stale.unwrap_or_default(), now) {
            Ok(answer) => answer,
            Err(error) => {
                // Clients are not told of the auth servers.
                tracing::warn!(client = self.client.remote_address, %error, "AUTH failed");
                return self.fail(ErrorCode::AuthFailed, "AUTH failed");
            }
        };
        let (identity, identity_url) = (answer.identity(), answer.identity_url());
        let permission_count = answer.permissions();
        self.client.amend(|known| {
            known.auth = Some(AuthIdentity {
                is_authorized: permission_count > 0,
                identity: identity.to_owned(),
                identity_url: identity_url.to_owned(),
            });
        });
        if asking == Asking::Command {
            return;
        }
        let reply = Reply { identity, identity_url, permission_count };
        // Strings and a number only: it cannot fail.
        let reply = escaped(&serde_json::to_string(&reply).unwrap_or_default());
        self.leave.settle();
        if permission_count == 0 {
            self.fail(ErrorCode::Unauthorized, "AUTH no authorizations found");
        } else {
            self.replies.respond(&mut self.out, reply.as_bytes());
        }
    }
}
