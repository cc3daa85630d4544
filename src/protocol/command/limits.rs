//! What a client may send, and what it is told when that is too much.

use std::time::Duration;

/// The bounds of what a client may send. Sizes are an int32 on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `--max-msg-size`, bytes of one message's body.
    pub max_msg_size: i64,
    /// `--max-body-size`, bytes of the body of IDENTIFY, AUTH and MPUB.
    pub max_body_size: i64,
    /// `--max-rdy-count`.
    pub max_rdy_count: i64,
    /// `--max-req-timeout`: bounds DPUB, clamps REQ.
    pub max_req_timeout: Duration,
    /// `--max-defer-time`: the longest delay of DPUB, if that is not to be `max_req_timeout`.
    pub max_defer_time: Option<Duration>,
    /// `--explain-errors`: errors about a limit name its flag, which nsqd's texts do not.
    pub explain_errors: bool,
}

impl Limits {
    /// The error about a size that is above a limit, which `flag` sets.
    pub(super) fn too_big(&self, what: &str, size: i64, max: i64, flag: &str) -> String {
        if self.explain_errors {
            format!("{what} too big {size} > {max}: see --{flag}")
        } else {
            format!("{what} too big {size} > {max}")
        }
    }
}
