//! The threads that serve connections: one for each processor, each with a runtime of its own.
//!
//! A connection stays on the thread that it was given to. With one runtime over all threads, a client that waits for each
//! answer costs a hand-over from thread to thread again and again: the one that waits for the sockets wakes another one to
//! wait for them in its place, and what a task has in the caches stays behind. Here a thread waits for its own sockets and
//! for nothing else.
//!
//! Half of the threads, the *front*, take new connections: producers and consumers that exchange single messages disturb
//! each other least when they share a thread, and the system needs processors for its own part of the work. A connection
//! that has much to do each time it is woken is *heavy*; heavy connections are shared out over all threads (see
//! [`super::rider`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::linger;

/// The threads; they end when this and every connection's [`Seat`] are dropped.
#[derive(Debug)]
pub struct Workers {
    each: Arc<[Worker]>,
    /// How many of them take new connections.
    front: usize,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// Connections that came to it.
    guests: AtomicUsize,
    /// Heavy connections that are served by it.
    heavy: AtomicUsize,
    /// Dropped to end the thread.
    _end: oneshot::Sender<()>,
}

/// A connection's place on a thread, which it gives up when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    each: Arc<[Worker]>,
    /// Where it came to, and where its socket is waited for.
    home: usize,
    /// Where it is served if it is heavy.
    away: Option<usize>,
}

impl Workers {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// The system has no threads or descriptors left.
    pub fn start(count: usize) -> io::Result<Self> {
        let each = (0..count.max(1)).map(Worker::start).collect::<io::Result<_>>()?;
        Ok(Self { each, front: count.div_ceil(2).max(1) })
    }

    /// As many as there are processors.
    ///
    /// # Errors
    /// As [`Workers::start`].
    pub fn for_this_machine() -> io::Result<Self> {
        Self::start(thread::available_parallelism().map_or(1, usize::from))
    }

    /// A place on the thread of the front with the fewest connections.
    pub(super) fn seat(&self) -> Seat {
        let front = self.each.iter().take(self.front);
        let home = least(front.map(|worker| &worker.guests));
        let seat = Seat { each: Arc::clone(&self.each), home, away: None };
        if let Some(worker) = self.each.get(home) {
            worker.guests.fetch_add(1, Ordering::Relaxed);
        }
        seat
    }
}

/// The place of the smallest number; the last of equal ones, which is the farthest from the front.
fn least<'a>(numbers: impl Iterator<Item = &'a AtomicUsize>) -> usize {
    let numbers = numbers.map(|number| number.load(Ordering::Relaxed)).enumerate();
    numbers.min_by_key(|&(at, number)| (number, usize::MAX - at)).map_or(0, |(at, _)| at)
}

impl Seat {
    fn worker(&self) -> Option<&Worker> {
        self.each.get(self.away.unwrap_or(self.home))
    }

    /// The runtime that the connection is to be served on; none if there are no threads, which cannot be.
    pub(super) fn handle(&self) -> Option<&Handle> {
        self.worker().map(|worker| &worker.handle)
    }

    /// The connection has become heavy, or no longer is. `true` if it is to go on on another thread.
    pub(super) fn set_heavy(&mut self, heavy: bool) -> bool {
        let before = self.away.unwrap_or(self.home);
        match (heavy, self.away) {
            (true, None) => {
                let away = least(self.each.iter().map(|worker| &worker.heavy));
                self.away = Some(away);
                if let Some(worker) = self.worker() {
                    worker.heavy.fetch_add(1, Ordering::Relaxed);
                }
            }
            (false, Some(_)) => self.come_home(),
            _ => {}
        }
        self.away.unwrap_or(self.home) != before
    }

    fn come_home(&mut self) {
        if self.away.is_some()
            && let Some(worker) = self.worker()
        {
            worker.heavy.fetch_sub(1, Ordering::Relaxed);
        }
        self.away = None;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.come_home();
        if let Some(worker) = self.worker() {
            worker.guests.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        thread::Builder::new().name(format!("tcp-{number}")).spawn(move || {
            drop(runtime.spawn(linger::run()));
            // Nothing is ever sent: the sender's end is the signal.
            drop(runtime.block_on(ended));
        })?;
        let [guests, heavy] = [AtomicUsize::new(0), AtomicUsize::new(0)];
        Ok(Self { handle, guests, heavy, _end: end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_come_to_the_front_and_go_to_the_thread_with_the_fewest() {
        let workers = Workers::start(4).unwrap();
        let guests = || {
            let guests = workers.each.iter().map(|worker| worker.guests.load(Ordering::Relaxed));
            guests.collect::<Vec<_>>()
        };
        let seats: Vec<Seat> = (0..4).map(|_| workers.seat()).collect();
        assert_eq!(guests(), [2, 2, 0, 0]);
        drop(seats);
        assert_eq!(guests(), [0; 4]);
    }

    #[test]
    fn heavy_connections_are_shared_out_over_all_threads() {
        let workers = Workers::start(2).unwrap();
        let heavy = || {
            let heavy = workers.each.iter().map(|worker| worker.heavy.load(Ordering::Relaxed));
            heavy.collect::<Vec<_>>()
        };
        let [mut first, mut second] = [workers.seat(), workers.seat()];
        assert!(first.set_heavy(true) && !first.set_heavy(true));
        assert!(!second.set_heavy(true), "it stays where it is, and is counted there");
        assert_eq!(heavy(), [1, 1]);
        assert!(first.set_heavy(false) && !first.set_heavy(false));
        assert_eq!(heavy(), [1, 0]);
        drop(second);
        assert_eq!(heavy(), [0, 0]);
    }

    #[test]
    fn a_task_runs_on_its_thread() {
        let workers = Workers::start(1).unwrap();
        let seat = workers.seat();
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        drop(seat.handle().unwrap().spawn(async move {
            send.send(thread::current().name().map(str::to_owned)).unwrap();
        }));
        assert_eq!(receive.recv().unwrap().as_deref(), Some("tcp-0"));
    }
}
