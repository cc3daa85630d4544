//! What is done to an engine until its end, by chance.

use proptest::prelude::*;

use crate::storage::sim::Call;

pub(super) const TOPICS: [&str; 2] = ["one", "two"];
pub(super) const CHANNELS: [&str; 2] = ["a", "b"];

/// A topic and a channel of it.
pub(super) type Place = (usize, usize);

#[derive(Clone, Debug)]
pub(super) enum Op {
    Publish {
        topic: usize,
        count: usize,
        size: usize,
    },
    Defer {
        topic: usize,
    },
    Pull(Place, u64),
    Finish(Place, usize),
    Requeue(Place, bool),
    Leave(Place),
    Create(Place),
    Delete(Place),
    Empty(Place),
    EmptyTopic(usize),
    DeleteTopic(usize),
    Pause(usize, bool),
    PauseChannel(Place, bool),
    Sync,
    /// A call fails, and the log with it.
    Fail {
        call: Call,
        passes: u64,
    },
    Full,
    Space,
    /// The power goes after so many calls.
    Cut(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Power(u64),
    Killed,
    Stopped,
}

fn op() -> impl Strategy<Value = Op> {
    let topic = || 0..TOPICS.len();
    let place = || (0..TOPICS.len(), 0..CHANNELS.len());
    let call = prop_oneof![Just(Call::Write), Just(Call::Sync)];
    prop_oneof![
        12 => (topic(), 1..5_usize, 0..900_usize)
            .prop_map(|(topic, count, size)| Op::Publish { topic, count, size }),
        2 => topic().prop_map(|topic| Op::Defer { topic }),
        6 => (place(), 1..9_u64).prop_map(|(place, count)| Op::Pull(place, count)),
        6 => (place(), 1..9_usize).prop_map(|(place, count)| Op::Finish(place, count)),
        2 => (place(), any::<bool>()).prop_map(|(place, later)| Op::Requeue(place, later)),
        1 => place().prop_map(Op::Leave),
        4 => place().prop_map(Op::Create),
        1 => place().prop_map(Op::Delete),
        1 => place().prop_map(Op::Empty),
        1 => topic().prop_map(Op::EmptyTopic),
        1 => topic().prop_map(Op::DeleteTopic),
        1 => (topic(), any::<bool>()).prop_map(|(topic, paused)| Op::Pause(topic, paused)),
        1 => (place(), any::<bool>()).prop_map(|(place, paused)| Op::PauseChannel(place, paused)),
        2 => Just(Op::Sync),
        1 => (call, 0..8_u64).prop_map(|(call, passes)| Op::Fail { call, passes }),
        1 => Just(Op::Full),
        2 => Just(Op::Space),
        1 => (0..40_u64).prop_map(Op::Cut),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => any::<u64>().prop_map(End::Power),
        1 => Just(End::Killed),
        1 => Just(End::Stopped)
    ]
}

/// What happens in each life, and how it ends.
pub(super) fn lives() -> impl Strategy<Value = Vec<(Vec<Op>, End)>> {
    prop::collection::vec((prop::collection::vec(op(), 1..40), end()), 1..4)
}
