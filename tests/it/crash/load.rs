//! Publishers, consumers and an operator who go on, over every restart, until they are told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::books::{Books, Name};
use super::wire::{Link, command, post};
use crate::support::dice::Dice;
use crate::support::nsq::mpub_body;

/// Where publishes go.
pub(super) const TOPICS: [&str; 3] = ["orders", "events", "late"];
/// Its publishes say that everything sent before them is written.
pub(super) const MARKS: Name = ("marks", "m");
/// The channel that the operator pauses and unpauses.
pub(super) const PAUSED: Name = ("orders", "bill");
/// Publishers rest when the server has had so many messages in one life.
const LIFE_MAX: usize = 8000;
/// Settled messages of a consumer between two marks.
const MARK_EVERY: usize = 40;

/// Where the server takes NSQ and HTTP.
pub(super) type Doors = (SocketAddr, SocketAddr);

/// What all of them share.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) books: Books,
    /// Nothing while the server is down.
    pub(super) doors: Mutex<Option<Doors>>,
    pub(super) stop: AtomicBool,
    /// Whether what is answered is written: not in memory.
    pub(super) is_durable: bool,
    /// Whether the paused channel is, as was answered last, and what was asked for since.
    pub(super) pause: Mutex<(bool, Option<bool>)>,
    /// Channels whose deletion was answered.
    pub(super) deleted: Mutex<Vec<String>>,
}

impl World {
    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Has `session` go on with every life of the server.
    pub(super) fn go_on(&self, mut session: impl FnMut(Doors) -> io::Result<()>) {
        while !self.is_over() {
            let doors = *self.doors.lock();
            if doors.is_none_or(|doors| session(doors).is_err()) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Publishes what nobody defers, and gives the numbers.
    pub(super) fn publish(
        &self,
        link: &mut Link,
        topic: &'static str,
        sizes: &[usize],
    ) -> io::Result<()> {
        let (ids, bodies): (Vec<_>, Vec<_>) =
            sizes.iter().map(|size| self.books.begin(topic, *size, Duration::ZERO)).unzip();
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        link.send(&command(&format!("MPUB {topic}"), &mpub_body(&bodies)))?;
        link.ok()?;
        self.books.acked(&ids);
        Ok(())
    }
}

fn size(dice: &mut Dice) -> usize {
    let size = match dice.below(100) {
        0 => dice.below(64 << 10),
        1..10 => dice.below(8 << 10),
        _ => dice.below(300),
    };
    size as usize
}

/// PUB, MPUB, DPUB, and the same by HTTP.
pub(super) fn publisher(world: &Arc<World>, mut dice: Dice) {
    world.go_on(|(tcp, http)| {
        let mut link = Link::connect(tcp)?;
        while !world.is_over() {
            let topic = TOPICS[dice.below(3) as usize];
            match dice.below(20) {
                0..9 => burst(world, &mut link, &mut dice, topic)?,
                9..15 => {
                    let sizes: Vec<usize> = (0..=dice.below(20)).map(|_| size(&mut dice)).collect();
                    world.publish(&mut link, topic, &sizes)?;
                }
                15..18 => {
                    let delay = Duration::from_millis(50 + dice.below(800));
                    let (id, body) = world.books.begin(topic, size(&mut dice), delay);
                    link.send(&command(&format!("DPUB {topic} {}", delay.as_millis()), &body))?;
                    link.ok()?;
                    world.books.acked(&[id]);
                }
                18 => {
                    let (id, body) = world.books.begin(topic, size(&mut dice), Duration::ZERO);
                    if post(http, &format!("/pub?topic={topic}"), &body)? {
                        world.books.acked(&[id]);
                    }
                }
                _ => {
                    let delay = Duration::from_millis(50 + dice.below(800));
                    let (id, body) = world.books.begin(topic, size(&mut dice), delay);
                    let path = format!("/pub?topic={topic}&defer={}", delay.as_millis());
                    if post(http, &path, &body)? {
                        world.books.acked(&[id]);
                    }
                }
            }
            while world.books.begun() > LIFE_MAX && !world.is_over() {
                std::thread::sleep(Duration::from_millis(10));
                world.doors.lock().ok_or(io::ErrorKind::NotConnected)?;
            }
        }
        Ok(())
    });
}

/// Several PUBs in one write, answered one by one.
fn burst(world: &World, link: &mut Link, dice: &mut Dice, topic: &'static str) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..=dice.below(8) {
        let (id, body) = world.books.begin(topic, size(dice), Duration::ZERO);
        bytes.extend(command(&format!("PUB {topic}"), &body));
        ids.push(id);
    }
    link.send(&bytes)?;
    for id in ids {
        link.ok()?;
        world.books.acked(&[id]);
    }
    Ok(())
}

/// Finishes most of what it gets, gives some back, and holds some until the server goes.
pub(super) fn consumer(world: &Arc<World>, name: Name, mut dice: Dice) {
    world.go_on(|(tcp, _)| {
        let mut link = Link::subscribed(tcp, name.0, name.1, 100)?;
        let mut finished = Vec::new();
        while !world.is_over() {
            let Some(message) = link.message(Duration::from_millis(50))? else { continue };
            let Some(id) = world.books.came(name, &message) else { continue };
            match dice.below(20) {
                0 => {}
                1 | 2 => {
                    link.send(format!("REQ {} {}\n", message.id, dice.below(100)).as_bytes())?;
                }
                _ => {
                    world.books.finishing(name, id);
                    link.send(format!("FIN {}\n", message.id).as_bytes())?;
                    finished.push(id);
                }
            }
            if world.is_durable && finished.len() >= MARK_EVERY && name != MARKS {
                // Behind the FINs on their own connection: once it is answered, they are written too.
                world.publish(&mut link, MARKS.0, &[40])?;
                world.books.firm(name, &mut finished);
            }
        }
        Ok(())
    });
}

/// Pauses and unpauses a channel, makes others and deletes them.
pub(super) fn operator(world: &Arc<World>, mut dice: Dice) {
    let mut made = 0_u32;
    world.go_on(|(_, http)| {
        while !world.is_over() {
            std::thread::sleep(Duration::from_millis(20 + dice.below(60)));
            if dice.below(2) == 0 {
                let wanted = !world.pause.lock().0;
                world.pause.lock().1 = Some(wanted);
                let verb = if wanted { "pause" } else { "unpause" };
                let path = format!("/channel/{verb}?topic={}&channel={}", PAUSED.0, PAUSED.1);
                if post(http, &path, b"")? {
                    *world.pause.lock() = (wanted, None);
                }
            } else {
                made += 1;
                let of = format!("?topic=events&channel=passing{made}");
                post(http, &format!("/channel/create{of}"), b"")?;
                std::thread::sleep(Duration::from_millis(dice.below(30)));
                if post(http, &format!("/channel/delete{of}"), b"")? {
                    world.deleted.lock().push(format!("passing{made}"));
                }
            }
        }
        Ok(())
    });
}
