//! Alerts: rules over the node's figures, and whom they are told to.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`expression`] | what a rule says: read and worked out, pure |
//! | [`history`] | what figures were a while ago, for rates |
//! | [`rule`] | a rule, and the rules that there are without being asked for |
//! | [`state`] | pending, firing, resolved: pure |
//! | `webhook` | tells an HTTP server, signed, until it has heard |
//! | [`runner`] | looks at the figures every few seconds |

pub mod expression;
pub mod history;
pub mod rule;
pub mod runner;
pub mod state;
mod webhook;

pub use rule::{Rule, Severity};
pub use runner::{AlertsView, Runner};
pub use webhook::Webhook;

use std::time::Duration;

/// What is asked of alerts.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertOptions {
    /// All rules.
    pub rules: Vec<Rule>,
    /// Whom they are told to, beside the log.
    pub webhooks: Vec<Webhook>,
    /// How often figures are looked at.
    pub interval: Duration,
}
