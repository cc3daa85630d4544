//! What was published, what was promised, and what came out: held against each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::support::nsq::Message;

/// Clocks of two processes are read at two moments.
const EARLY: Duration = Duration::from_millis(20);

/// A channel by its topic's name and its own.
pub(super) type Name = (&'static str, &'static str);

#[derive(Debug)]
struct Entry {
    topic: &'static str,
    size: usize,
    /// When it was about to be sent.
    sent: Instant,
    delay: Duration,
    acked: bool,
}

/// What is known of one channel.
#[derive(Debug, Default)]
struct Reader {
    /// Messages from here on were begun when it was there.
    since: usize,
    came: HashMap<usize, u32>,
    /// Those whose FIN was sent,
    finished: BTreeSet<usize>,
    /// and those of them of which something behind the FIN was answered, so that it is written.
    firm: BTreeSet<usize>,
    /// Those that came after the last start.
    drained: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    readers: BTreeMap<Name, Reader>,
    /// Nothing is promised of what was begun before.
    promised: usize,
    /// The first message of the server's present life.
    life: usize,
    wrong: Vec<String>,
    duplicates: u64,
    is_drain: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Books(Mutex<State>);

/// What a run came to.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) published: usize,
    pub(super) acked: usize,
    pub(super) came: usize,
    pub(super) duplicates: u64,
}

/// A body that says which message it is, and is like no other from its first byte to its last.
fn body(id: usize, topic: &str, size: usize) -> Vec<u8> {
    let mut body = format!("{id:010}:{topic}:").into_bytes();
    let mut word = id as u64 ^ 0x9e37_79b9_7f4a_7c15;
    while body.len() < size {
        word = word.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        body.push((word >> 56) as u8);
    }
    body
}

impl Books {
    /// Enters a message that is about to be sent, and gives its number and body.
    pub(super) fn begin(
        &self,
        topic: &'static str,
        size: usize,
        delay: Duration,
    ) -> (usize, Vec<u8>) {
        let mut state = self.0.lock();
        let id = state.entries.len();
        state.entries.push(Entry { topic, size, sent: Instant::now(), delay, acked: false });
        drop(state);
        (id, body(id, topic, size))
    }

    /// Notes that the publish of these was answered.
    pub(super) fn acked(&self, ids: &[usize]) {
        let mut state = self.0.lock();
        for id in ids {
            state.entries[*id].acked = true;
        }
    }

    /// Notes that a channel is there for certain. The first one of a topic gets all that the topic has.
    pub(super) fn channel(&self, name: Name, is_first: bool) {
        let mut state = self.0.lock();
        let since = if is_first { 0 } else { state.entries.len() };
        state.readers.entry(name).or_default().since = since;
    }

    /// Nothing is promised of what was begun before now.
    pub(super) fn forgive(&self) {
        let mut state = self.0.lock();
        state.promised = state.entries.len();
    }

    /// From now on what comes is what was owed at the end.
    pub(super) fn begin_drain(&self) {
        self.0.lock().is_drain = true;
    }

    /// Enters a delivery, and gives the message's number if it is one of ours.
    pub(super) fn came(&self, name: Name, message: &Message) -> Option<usize> {
        let now = Instant::now();
        let mut state = self.0.lock();
        let State { entries, readers, wrong, duplicates, is_drain, .. } = &mut *state;
        let digits = message.body.get(..10).and_then(|text| std::str::from_utf8(text).ok());
        let id = digits.and_then(|text| text.parse::<usize>().ok());
        let entry = id.and_then(|id| Some((id, entries.get(id)?)));
        let known = entry.filter(|(id, entry)| {
            entry.topic == name.0 && message.body == body(*id, entry.topic, entry.size)
        });
        let Some((id, entry)) = known else {
            wrong.push(format!("{name:?} gave what was never published: {message:?}"));
            return None;
        };
        let due = entry.sent + entry.delay;
        if now + EARLY < due {
            wrong.push(format!("{name:?}: message {id} came {:?} too early", due - now));
        }
        if message.attempts == 0 {
            wrong.push(format!("{name:?}: message {id} has no attempts"));
        }
        let reader = readers.entry(name).or_default();
        *reader.came.entry(id).or_default() += 1;
        if reader.firm.contains(&id) {
            wrong.push(format!("{name:?}: message {id} came after its FIN was written"));
        } else if reader.finished.contains(&id) {
            *duplicates += 1;
        }
        if *is_drain {
            reader.drained.insert(id);
        }
        Some(id)
    }

    /// Notes that FINs are about to be sent.
    pub(super) fn finishing(&self, name: Name, id: usize) {
        let mut state = self.0.lock();
        let State { readers, is_drain, .. } = &mut *state;
        if !*is_drain {
            readers.entry(name).or_default().finished.insert(id);
        }
    }

    /// Notes that these FINs are written: something behind them was answered.
    pub(super) fn firm(&self, name: Name, ids: &mut Vec<usize>) {
        self.0.lock().readers.entry(name).or_default().firm.extend(ids.drain(..));
    }

    /// The server begins a life.
    pub(super) fn begin_life(&self) {
        let mut state = self.0.lock();
        state.life = state.entries.len();
    }

    /// How many messages were begun in this life of the server.
    pub(super) fn begun(&self) -> usize {
        let state = self.0.lock();
        state.entries.len() - state.life
    }

    pub(super) fn complain(&self, what: String) {
        self.0.lock().wrong.push(what);
    }

    /// What is wrong, at any time.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.0.lock().wrong.clone()
    }

    /// What was promised and did not come.
    pub(super) fn missing(&self) -> Vec<String> {
        let state = self.0.lock();
        let mut missing = Vec::new();
        for (name, reader) in &state.readers {
            let from = reader.since.max(state.promised);
            for (id, entry) in state.entries.iter().enumerate().skip(from) {
                let is_owed =
                    entry.acked && entry.topic == name.0 && !reader.finished.contains(&id);
                if is_owed && !reader.drained.contains(&id) {
                    let times = reader.came.get(&id).copied().unwrap_or(0);
                    missing.push(format!("{name:?}: message {id} (came {times} times before)"));
                }
            }
        }
        missing
    }

    pub(super) fn figures(&self) -> Figures {
        let state = self.0.lock();
        Figures {
            published: state.entries.len(),
            acked: state.entries.iter().filter(|entry| entry.acked).count(),
            came: state
                .readers
                .values()
                .flat_map(|reader| reader.came.values())
                .map(|n| *n as usize)
                .sum(),
            duplicates: state.duplicates,
        }
    }
}
