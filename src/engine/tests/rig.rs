//! An engine in a folder of its own, that can be stopped cleanly or dropped as a crash would.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::ProptestConfig;

use crate::clock;
use crate::engine::policy::Durability;
use crate::engine::{
    Accepted, Client, Consumer, Engine, Identity, Journal, Options, Outcome, PullLimit, Signal,
    Subscriber, Topic,
};
use crate::storage::wal::writer::WalOptions;

pub(super) struct Rig {
    pub(super) folder: PathBuf,
    pub(super) options: Options,
    pub(super) file_bytes: u64,
}

impl Rig {
    pub(super) fn new(name: &str, durability: Option<Durability>) -> Self {
        let folder = std::env::temp_dir().join(format!("leveret-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&folder).unwrap_or_default();
        let options = Options { durability, ..Options::default() };
        Self { folder, options, file_bytes: 64 << 20 }
    }

    pub(super) fn start(&self) -> Arc<Engine> {
        let wal = WalOptions {
            folder: self.folder.clone(),
            file_bytes: self.file_bytes,
            sync_interval: Duration::from_secs(60),
            reserve_bytes: 0,
        };
        Engine::open(self.options.clone(), wal).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}

/// Ends the engine without a word to its store but what was written before.
#[track_caller]
pub(super) fn crash(engine: Arc<Engine>) {
    let journal = Arc::clone(engine.journal().unwrap());
    drop(engine);
    // The files are closed with the last of its threads.
    wait_for(|| Arc::strong_count(&journal) == 1);
}

pub(super) fn stop(engine: Arc<Engine>) {
    engine.save().unwrap();
    engine.close();
    crash(engine);
}

#[track_caller]
pub(super) fn wait_for(mut is_so: impl FnMut() -> bool) {
    let start = clock::now();
    while !is_so() {
        assert!(clock::since(start) < Duration::from_secs(20), "waited in vain");
        std::thread::yield_now();
    }
}

/// Publishes, and waits until it is as safe as was asked for.
pub(super) fn publish(engine: &Engine, topic: &str, bodies: &[&str]) {
    let topic = engine.topic(topic).unwrap();
    let accepted = topic.publish(bodies.iter().map(|body| body.as_bytes()), &Arc::default());
    settle(engine.journal().unwrap(), &accepted.unwrap());
}

pub(super) fn publish_deferred(engine: &Engine, topic: &str, body: &str, delay: Duration) {
    let topic = engine.topic(topic).unwrap();
    let accepted = topic.publish_deferred(body.as_bytes(), delay, &Arc::default());
    settle(engine.journal().unwrap(), &accepted.unwrap());
}

fn settle(journal: &Journal, accepted: &Accepted) {
    match accepted {
        Accepted::Now => {}
        Accepted::Logged(mark) => wait_for(|| match journal.outcome(*mark) {
            Outcome::Pending => false,
            Outcome::Done => true,
            Outcome::Failed(trouble) => panic!("{trouble}"),
        }),
        Accepted::Pending(_) => panic!("not routed"),
    }
}

pub(super) fn subscribe(topic: &Arc<Topic>, channel: &str) -> Consumer {
    subscribe_with(topic, channel, Arc::default())
}

pub(super) fn subscribe_with(topic: &Arc<Topic>, channel: &str, signal: Arc<Signal>) -> Consumer {
    let subscriber = Subscriber {
        client: Arc::new(Client::new("@".into(), 0, Identity::default())),
        signal,
        msg_timeout: Duration::from_secs(60),
        touch_timeout: Duration::from_secs(60),
        sample_rate: 0,
    };
    let consumer = topic.channel(channel).unwrap().subscribe(subscriber, 0).unwrap();
    consumer.set_ready(u64::MAX);
    consumer
}

/// A delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) id: [u8; 16],
    pub(super) attempts: u16,
    pub(super) body: String,
}

/// Whatever is there now, at most `max`.
pub(super) fn pull(consumer: &Consumer, max: u64) -> Vec<Got> {
    let mut got = Vec::new();
    let limit = PullLimit { messages: max, bytes: usize::MAX };
    consumer.pull(limit, clock::now(), |delivery| {
        let body = String::from_utf8(delivery.body.to_vec()).unwrap();
        got.push(Got { id: delivery.id.to_hex(), attempts: delivery.attempts, body });
    });
    got
}

/// Exactly so many, waiting for what has to be read back.
pub(super) fn pull_all(consumer: &Consumer, count: usize) -> Vec<Got> {
    let mut got = Vec::new();
    wait_for(|| {
        got.extend(pull(consumer, (count - got.len()) as u64));
        got.len() == count
    });
    got
}

pub(super) fn finish(consumer: &Consumer, got: &[Got]) {
    let mut settling = consumer.settle(clock::now());
    for message in got {
        settling.finish(&message.id).unwrap();
    }
}

pub(super) fn bodies(got: &[Got]) -> Vec<&str> {
    got.iter().map(|message| message.body.as_str()).collect()
}

/// How many cases a property is tried with: `PROPTEST_CASES`, or as many as all tests together have time for.
pub(super) fn cases(few: u32) -> u32 {
    let (asked, usual) = (ProptestConfig::default().cases, 256);
    if asked == usual { few } else { asked }
}
