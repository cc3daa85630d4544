//! Two moments made into rows, and which of them are shown, in which order.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ratatui::crossterm::event::KeyCode;

use super::sample::{Route, Sample};
use crate::client::nsqd_stats::ChannelStats;
use crate::clock::Instant;

/// The tables that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Table {
    #[default]
    Topics,
    Channels,
    Routes,
}

impl Table {
    pub(super) const ALL: [Self; 3] = [Self::Topics, Self::Channels, Self::Routes];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Topics => "Topics",
            Self::Channels => "Channels",
            Self::Routes => "Routes",
        }
    }

    /// The heads of its columns; the first of them are texts, the others numbers.
    pub(super) const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Topics => &["topic", "in/s", "depth", "messages", "channels"],
            Self::Channels => &[
                "topic",
                "channel",
                "in/s",
                "out/s",
                "depth",
                "in flight",
                "deferred",
                "requeues",
                "timeouts",
                "clients",
            ],
            Self::Routes => &[
                "route",
                "state",
                "in/s",
                "out/s",
                "pending",
                "lag",
                "retries/s",
                "dead",
                "throttled",
                "why",
            ],
        }
    }

    /// How many of the first columns are texts.
    pub(super) const fn texts(self) -> usize {
        match self {
            Self::Topics => 1,
            Self::Channels | Self::Routes => 2,
        }
    }
}

/// What a key led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    Leave,
}

/// A row: its cells as they are shown, and the number that it is sorted by in each column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    keys: Vec<f64>,
    /// Whether something is wrong with it.
    pub(super) is_bad: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Model {
    now: Sample,
    at: Option<Instant>,
    before: Option<(Sample, f64)>,
    pub(super) table: Table,
    /// The column that rows are sorted by.
    pub(super) sorted: usize,
    pub(super) selected: usize,
    /// What is typed behind `/`; only rows with it are shown.
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
}

impl Model {
    /// Takes what was told at this moment.
    pub(super) fn update(&mut self, sample: Sample, at: Instant) {
        if self.is_paused {
            return;
        }
        let before = std::mem::replace(&mut self.now, sample);
        self.before = self.at.map(|then| (before, (at - then).as_secs_f64()));
        self.at = Some(at);
    }

    /// Does what a key asks for.
    pub(super) fn press(&mut self, key: KeyCode) -> Step {
        if self.is_typing {
            match key {
                KeyCode::Enter => self.is_typing = false,
                KeyCode::Esc => {
                    self.is_typing = false;
                    self.filter.clear();
                }
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(letter) => self.filter.push(letter),
                _ => {}
            }
            self.selected = 0;
            return Step::Stay;
        }
        let last = self.rows().len().saturating_sub(1);
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Step::Leave,
            KeyCode::Char('1') => self.open(Table::Topics),
            KeyCode::Char('2') => self.open(Table::Channels),
            KeyCode::Char('3') => self.open(Table::Routes),
            KeyCode::Tab => self.open(match self.table {
                Table::Topics => Table::Channels,
                Table::Channels => Table::Routes,
                Table::Routes => Table::Topics,
            }),
            KeyCode::Char('s') => self.sorted = (self.sorted + 1) % self.table.columns().len(),
            KeyCode::Char('p') | KeyCode::Char(' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::PageDown => self.selected = (self.selected + 20).min(last),
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(20),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = last,
            _ => {}
        }
        Step::Stay
    }

    fn open(&mut self, table: Table) {
        self.table = table;
        self.sorted = 0;
        self.selected = 0;
    }

    /// What stands above the table: who told something, and who did not.
    pub(super) fn headline(&self) -> String {
        let mut line = format!("{} nodes", self.now.nodes);
        for (node, why) in &self.now.troubles {
            // Writing to a string cannot fail.
            write!(line, " | {node}: {why}").unwrap_or_default();
        }
        line
    }

    /// Whether everybody told something.
    pub(super) fn is_whole(&self) -> bool {
        self.now.troubles.is_empty()
    }

    /// The rows that are shown, in their order.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = match self.table {
            Table::Topics => self.topics(),
            Table::Channels => self.channels(),
            Table::Routes => self.routes(),
        };
        let texts = self.table.texts();
        rows.retain(|row| row.cells.iter().take(texts).any(|cell| cell.contains(&self.filter)));
        // Names go up, numbers go down.
        if let Some(number) = self.sorted.checked_sub(texts) {
            let key = |row: &Row| row.keys.get(number).copied().unwrap_or_default();
            rows.sort_by(|one, other| key(other).total_cmp(&key(one)));
        } else {
            rows.sort_by(|one, other| {
                one.cells.get(self.sorted).cmp(&other.cells.get(self.sorted))
            });
        }
        rows
    }

    fn topics(&self) -> Vec<Row> {
        let now = by_topic(&self.now);
        let before = self.before.as_ref().map(|(before, seconds)| (by_topic(before), *seconds));
        let rows = now.into_iter().map(|(name, topic)| {
            let then = before.as_ref().and_then(|(all, seconds)| Some((all.get(name)?, *seconds)));
            let came = then.map(|(then, seconds)| rate(topic.messages, then.messages, seconds));
            let numbers = [
                came.unwrap_or_default(),
                float(topic.depth),
                float(topic.messages),
                float(topic.channels),
            ];
            row(vec![name.to_owned()], &numbers, false)
        });
        rows.collect()
    }

    fn channels(&self) -> Vec<Row> {
        let now = by_channel(&self.now);
        let before = self.before.as_ref().map(|(before, seconds)| (by_channel(before), *seconds));
        let rows = now.into_iter().map(|(name, stats)| {
            let then =
                before.as_ref().and_then(|(all, seconds)| Some((*all.get(&name)?, *seconds)));
            let [came, went] = then.map_or([0.0; 2], |(then, seconds)| {
                let settled = |stats: ChannelStats| {
                    stats.message_count - stats.depth - stats.in_flight_count - stats.deferred_count
                };
                let came = rate(stats.message_count, then.message_count, seconds);
                [came, rate(settled(stats), settled(then), seconds)]
            });
            let numbers = [
                came,
                went,
                float(stats.depth),
                float(stats.in_flight_count),
                float(stats.deferred_count),
                float(stats.requeue_count),
                float(stats.timeout_count),
                float(stats.client_count),
            ];
            let is_bad = stats.depth > 0 && stats.client_count == 0;
            row(vec![name.0.to_owned(), name.1.to_owned()], &numbers, is_bad)
        });
        rows.collect()
    }

    fn routes(&self) -> Vec<Row> {
        let rows = self.now.routes.iter().map(|route| {
            let then = self.before.as_ref().and_then(|(before, seconds)| {
                let same = |then: &&Route| then.name == route.name && then.from == route.from;
                Some((before.routes.iter().find(same)?, *seconds))
            });
            let of = |count: fn(&Route) -> u64| {
                then.map_or(0.0, |(then, seconds)| {
                    let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
                    rate(signed(count(route)), signed(count(then)), seconds)
                })
            };
            let throttled = |route: &Route| route.limit.map_or(0.0, |l| l.throttled_seconds);
            let waited = then.map_or(0.0, |(then, seconds)| {
                ((throttled(route) - throttled(then)) / seconds.max(0.001) * 100.0)
                    .clamp(0.0, 100.0)
            });
            let unsigned = |count: u64| float(i64::try_from(count).unwrap_or(i64::MAX));
            let numbers = [
                of(|route| route.counters.received),
                of(|route| route.counters.confirmed),
                unsigned(route.pending),
                route.lag.map_or(-1.0, unsigned),
                of(|route| route.counters.retried),
                unsigned(route.counters.dead_lettered),
                waited,
            ];
            let is_bad = matches!(route.state.as_str(), "failed" | "waiting");
            let mut row = row(vec![route.name.clone(), route.state.clone()], &numbers, is_bad);
            let window = route.window.map(|window| format!("{}/{window}", route.pending));
            for (at, text) in [
                (4, window),
                (5, route.lag.is_none().then(|| "-".to_owned())),
                (8, Some(format!("{waited:.0} %"))),
            ] {
                if let (Some(cell), Some(text)) = (row.cells.get_mut(at), text) {
                    *cell = text;
                }
            }
            let why =
                route.reason.clone().unwrap_or_else(|| format!("{} → {}", route.from, route.to));
            row.cells.push(why);
            row
        });
        rows.collect()
    }

    /// All tables as text.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", self.headline());
        for table in Table::ALL {
            let one = Self {
                now: self.now.clone(),
                at: self.at,
                before: self.before.clone(),
                table,
                ..Self::default()
            };
            let rows = one.rows();
            let heads: Vec<String> =
                table.columns().iter().map(|head| (*head).to_owned()).collect();
            let widths: Vec<usize> = (0..heads.len())
                .map(|at| {
                    let cells = rows.iter().map(|row| &row.cells).chain([&heads]);
                    cells
                        .filter_map(|cells| cells.get(at))
                        .map(|c| c.chars().count())
                        .max()
                        .unwrap_or(0)
                })
                .collect();
            writeln!(text, "\n{}", table.name()).unwrap_or_default();
            for cells in [&heads].into_iter().chain(rows.iter().map(|row| &row.cells)) {
                let padded = cells.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
                    let is_text =
                        at < table.texts() || at + 1 == heads.len() && table == Table::Routes;
                    if is_text { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                });
                let line = padded.collect::<Vec<_>>().join("  ");
                writeln!(text, "{}", line.trim_end()).unwrap_or_default();
            }
        }
        text
    }
}

/// A topic over all nodes.
#[derive(Clone, Copy, Debug, Default)]
struct TopicSum {
    messages: i64,
    depth: i64,
    channels: i64,
}

fn by_topic(sample: &Sample) -> BTreeMap<&str, TopicSum> {
    let mut sums: BTreeMap<&str, TopicSum> = BTreeMap::new();
    for topic in &sample.topics {
        let sum = sums.entry(&topic.topic_name).or_default();
        sum.messages += topic.message_count;
        sum.depth += topic.depth;
        let channels = i64::try_from(topic.channels.len()).unwrap_or(i64::MAX);
        sum.channels = sum.channels.max(channels);
    }
    sums
}

fn by_channel(sample: &Sample) -> BTreeMap<(&str, &str), ChannelStats> {
    let mut sums: BTreeMap<(&str, &str), ChannelStats> = BTreeMap::new();
    for topic in &sample.topics {
        for channel in &topic.channels {
            *sums.entry((&topic.topic_name, &channel.channel_name)).or_default() += channel.stats;
        }
    }
    sums
}

/// A row of texts and numbers.
fn row(mut cells: Vec<String>, numbers: &[f64], is_bad: bool) -> Row {
    cells.extend(numbers.iter().map(|number| format!("{number:.0}")));
    Row { cells, keys: numbers.to_vec(), is_bad }
}

/// Of a count that grows; a node that was started again begins at nothing.
fn rate(now: i64, then: i64, seconds: f64) -> f64 {
    float((now - then).max(0)) / seconds.max(0.001)
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
const fn float(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
