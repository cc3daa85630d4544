//! Looks at the figures every few seconds, judges each rule, tells what begins and what ends, and keeps what it has told,
//! so that a restart tells nothing twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::expression::{LabelSet, Vector};
use super::history::History;
use super::state::{Complaints, Notice, Phase, judge};
use super::{AlertOptions, Rule, webhook};
use crate::client::HttpClient;
use crate::clock;
use crate::storage;
use crate::task::{spawn, stopped};
use crate::telemetry::samples::Samples;

/// The file, in the data folder.
const FILE: &str = "leveret.alerts.json";

/// What a rule complains of, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertShown {
    /// The rule's name.
    pub name: String,
    /// `pending` or `firing`.
    pub state: Phase,
    /// How urgent it is.
    pub severity: &'static str,
    /// The series' labels and the rule's.
    pub labels: LabelSet,
    /// What it says.
    pub message: String,
    /// The last value.
    pub value: f64,
    /// Since when, Unix seconds.
    pub since: i64,
}

/// All rules and what they complain of, for `/v1/alerts`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AlertsView {
    /// What there is to complain of.
    pub alerts: Vec<AlertShown>,
    /// All rules: names and what they say.
    pub rules: BTreeMap<String, String>,
}

/// A notice as a webhook gets it.
#[derive(Serialize)]
struct Told<'a> {
    version: u8,
    id: &'a str,
    node: &'a str,
    alert: &'a str,
    state: &'static str,
    severity: &'static str,
    labels: &'a LabelSet,
    value: f64,
    message: &'a str,
    since: i64,
    at: i64,
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// By the rule's name.
    rules: BTreeMap<String, Vec<(LabelSet, super::state::Complaint)>>,
}

/// See the module's description.
pub struct Runner {
    options: AlertOptions,
    node: String,
    figures: Arc<dyn Fn() -> Samples + Send + Sync>,
    /// The data folder, if there is one.
    folder: Option<PathBuf>,
    complaints: Mutex<BTreeMap<String, Complaints>>,
    webhooks: Vec<mpsc::Sender<(String, Vec<u8>)>>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Runner {
    /// One that speaks as `node` of `figures`, and goes on from what `folder` has kept. Called inside the runtime; may
    /// block.
    #[must_use]
    pub fn start(
        options: AlertOptions,
        node: String,
        figures: Arc<dyn Fn() -> Samples + Send + Sync>,
        folder: Option<PathBuf>,
        http: &HttpClient,
        stop: &watch::Receiver<bool>,
    ) -> Arc<Self> {
        let complaints = folder.as_deref().map(load).unwrap_or_default();
        let webhooks = options.webhooks.iter().map(|webhook| {
            let (notices, waiting) = mpsc::channel(webhook::WAITING_MAX);
            spawn("webhook", webhook::tell(webhook.clone(), http.clone(), waiting, stop.clone()));
            notices
        });
        let webhooks = webhooks.collect();
        Arc::new(Self {
            options,
            node,
            figures,
            folder,
            complaints: Mutex::new(complaints),
            webhooks,
        })
    }

    /// Judges the rules until `stop`.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut history = History::default();
        let rules = &self.options.rules;
        let span = rules.iter().map(|rule| rule.when.span()).max().unwrap_or_default();
        let mut rated: Vec<String> = rules.iter().flat_map(|rule| rule.when.rated()).collect();
        rated.sort();
        rated.dedup();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = sleep(self.options.interval) => {}
            }
            history.take((self.figures)(), clock::now(), &rated, span);
            self.look(&history).await;
        }
    }

    async fn look(&self, history: &History) {
        let now = clock::unix_seconds();
        let mut told = false;
        for rule in &self.options.rules {
            // Unknown is neither good nor bad: what was said stays.
            let Some(holds) = rule.when.evaluate(history) else { continue };
            let (notices, has_changed) = self.judge(rule, &holds, now);
            told |= has_changed;
            notices.iter().for_each(|notice| self.tell(rule, notice, now));
        }
        if told {
            self.keep().await;
        }
    }

    /// What is to be told of a rule, and whether anything of it has changed.
    fn judge(&self, rule: &Rule, holds: &Vector, now: i64) -> (Vec<Notice>, bool) {
        let mut all = self.complaints.lock();
        let complaints = all.entry(rule.name.clone()).or_default();
        let before = complaints.len();
        let notices = judge(rule, complaints, holds, now);
        let has_changed = !notices.is_empty() || before != complaints.len();
        (notices, has_changed)
    }

    fn tell(&self, rule: &Rule, notice: &Notice, now: i64) {
        let labels = all_labels(rule, &notice.labels);
        let message = rule.say(&labels, notice.value);
        let (alert, severity) = (rule.name.as_str(), rule.severity.as_str());
        if notice.is_firing {
            tracing::warn!(alert, severity, ?labels, value = notice.value, "{message}");
        } else {
            tracing::info!(alert, severity, ?labels, "resolved: {message}");
        }
        let state = if notice.is_firing { "firing" } else { "resolved" };
        let series: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let id = format!("{}/{alert}/{}/{}/{state}", self.node, series.join(","), notice.since);
        let told = Told {
            version: 1,
            id: &id,
            node: &self.node,
            alert,
            state,
            severity,
            labels: &labels,
            value: notice.value,
            message: &message,
            since: notice.since,
            at: now,
        };
        let Ok(body) = serde_json::to_vec(&told) else { return };
        for webhook in &self.webhooks {
            if webhook.try_send((id.clone(), body.clone())).is_err() {
                tracing::error!(alert, "an alert is not told: {} wait", webhook::WAITING_MAX);
            }
        }
    }

    /// What was said, as it is written down.
    fn kept(&self) -> Kept {
        let listed = |complaints: &Complaints| {
            complaints.iter().map(|(labels, one)| (labels.clone(), one.clone())).collect()
        };
        let all = self.complaints.lock();
        let rules = all.iter().filter(|(_, complaints)| !complaints.is_empty());
        Kept { rules: rules.map(|(name, of)| (name.clone(), listed(of))).collect() }
    }

    /// Writes down what was said.
    async fn keep(&self) {
        let Some(folder) = self.folder.clone() else { return };
        let kept = self.kept();
        let writing = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_string(&kept).unwrap_or_default();
            storage::replace_text(&folder.join(FILE), &text)
        });
        match writing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "alerts are not kept over a restart"),
            Err(error) => tracing::warn!(%error, "alerts are not kept over a restart"),
        }
    }

    /// All that is pending or firing.
    #[must_use]
    pub fn view(&self) -> AlertsView {
        let all = self.complaints.lock();
        let mut view = AlertsView::default();
        for rule in &self.options.rules {
            view.rules.insert(rule.name.clone(), rule.when.to_string());
            for (labels, complaint) in all.get(&rule.name).into_iter().flatten() {
                let labels = all_labels(rule, labels);
                view.alerts.push(AlertShown {
                    name: rule.name.clone(),
                    state: complaint.phase,
                    severity: rule.severity.as_str(),
                    message: rule.say(&labels, complaint.value),
                    labels,
                    value: complaint.value,
                    since: complaint.since,
                });
            }
        }
        view
    }
}

fn all_labels(rule: &Rule, labels: &LabelSet) -> LabelSet {
    let own = rule.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
    labels.clone().into_iter().chain(own).collect()
}

/// What was said before; nothing if that is not known any more.
fn load(folder: &Path) -> BTreeMap<String, Complaints> {
    let path = folder.join(FILE);
    let read = storage::read_file(&path).ok().flatten().unwrap_or_default();
    if read.is_empty() {
        return BTreeMap::new();
    }
    match serde_json::from_slice::<Kept>(&read) {
        Ok(kept) => {
            let rules = kept.rules.into_iter();
            rules.map(|(name, listed)| (name, listed.into_iter().collect())).collect()
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what alerts had said is not known any more");
            BTreeMap::new()
        }
    }
}
