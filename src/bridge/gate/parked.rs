//! What waits for the limit of its key: in order within a key, while other keys go on.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::bridge::message::Message;
use crate::clock::Instant;

/// See the module's description. Bounded by whoever puts messages in.
#[derive(Debug, Default)]
pub(super) struct Parked {
    lines: HashMap<Arc<str>, VecDeque<Message>>,
    /// When each line is to be looked at.
    due: BTreeSet<(Instant, Arc<str>)>,
    messages: usize,
    bytes: u64,
}

impl Parked {
    pub(super) const fn messages(&self) -> usize {
        self.messages
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether messages of `key` wait, so that others of it have to wait behind them.
    pub(super) fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// When the next line is to be looked at.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Puts a message behind those of its key; `due` counts if it is the first.
    pub(super) fn push(&mut self, key: &Arc<str>, message: Message, due: Instant) {
        self.messages += 1;
        self.bytes = self.bytes.saturating_add(message.size());
        if let Some(line) = self.lines.get_mut(key) {
            line.push_back(message);
            return;
        }
        self.due.insert((due, Arc::clone(key)));
        self.lines.insert(Arc::clone(key), VecDeque::from([message]));
    }

    /// Takes from the lines that are due at `now` what `pass` lets go; it is asked with each line's first message, and an
    /// `Err` says when to ask again. What `is_wanted` denies is forgotten.
    pub(super) fn release(
        &mut self,
        now: Instant,
        is_wanted: impl Fn(&Message) -> bool,
        mut pass: impl FnMut(&str, &mut Message) -> Result<(), Instant>,
    ) -> Vec<Message> {
        let mut released = Vec::new();
        while let Some((due, key)) = self.due.pop_first() {
            if due > now {
                self.due.insert((due, key));
                break;
            }
            let Some(line) = self.lines.get_mut(&key) else { continue };
            let next = loop {
                let Some(mut message) = line.pop_front() else { break None };
                let (size, is_wanted) = (message.size(), is_wanted(&message));
                if is_wanted && let Err(due) = pass(&key, &mut message) {
                    line.push_front(message);
                    break Some(due);
                }
                self.messages -= 1;
                self.bytes = self.bytes.saturating_sub(size);
                if is_wanted {
                    released.push(message);
                }
            };
            match next {
                Some(due) => {
                    self.due.insert((due, key));
                }
                None => drop(self.lines.remove(&key)),
            }
        }
        released
    }

    /// Has all lines looked at, since the limit has changed.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.due = self.lines.keys().map(|key| (now, Arc::clone(key))).collect();
    }
}
