//! A connection's task, which can go on on another thread: heavy ones are shared out, and come home when they are light.
//!
//! What it waits for is registered with the runtime of a thread: see [`Rehome`].

use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use super::linger;
use super::workers::Seat;
use crate::clock;

/// Something that waits for events of a runtime and can wait for those of the current one instead.
pub(super) trait Rehome {
    /// Turns to the current runtime.
    ///
    /// # Errors
    /// The system has no descriptors left. It goes on as before then.
    fn rehome(&mut self) -> io::Result<()>;
}

impl Rehome for TcpStream {
    fn rehome(&mut self) -> io::Result<()> {
        // A socket leaves its runtime with its descriptor; another descriptor of it is registered here.
        let again = self.as_fd().try_clone_to_owned()?;
        *self = Self::from_std(again.into())?;
        Ok(())
    }
}

impl Rehome for UnixStream {
    fn rehome(&mut self) -> io::Result<()> {
        let again = self.as_fd().try_clone_to_owned()?;
        *self = Self::from_std(again.into())?;
        Ok(())
    }
}

/// A pipe inside the process, which needs no runtime.
#[cfg(test)]
impl Rehome for tokio::io::DuplexStream {
    fn rehome(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection is heavy above this time each time it is woken, on average...
const HEAVY: Duration = Duration::from_micros(45);
/// ... and light below this.
const LIGHT: Duration = Duration::from_micros(20);
/// A longer time counts as this: the thread has most likely been kept waiting for a processor.
const TIME_MAX: Duration = Duration::from_micros(200);
/// A new time counts by this part of the average.
const SHARE: u32 = 8;

/// What a connection does each time it is woken, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Effort {
    average: Duration,
}

impl Effort {
    /// Notes one more time; says whether the connection is heavy now, unless it is in between.
    fn note(&mut self, time: Duration) -> Option<bool> {
        let time = time.min(TIME_MAX);
        self.average = self.average - self.average / SHARE + time / SHARE;
        if self.average > HEAVY {
            Some(true)
        } else if self.average < LIGHT {
            Some(false)
        } else {
            None
        }
    }
}

/// A connection's future and its place. It is done when the connection is, or when it is to go on elsewhere: then it is
/// to be spawned there.
pub(super) struct Rider {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    seat: Seat,
    effort: Effort,
}

impl Rider {
    pub(super) fn new(future: Pin<Box<dyn Future<Output = ()> + Send>>, seat: Seat) -> Self {
        Self { future, seat, effort: Effort::default() }
    }

    pub(super) const fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Serves the connection for as long as it stays on this thread.
    pub(super) fn ride(self) -> Ride {
        Ride { rider: Some(self) }
    }
}

/// One stay on one thread; see [`Rider`].
pub(super) struct Ride {
    rider: Option<Rider>,
}

impl Future for Ride {
    type Output = Option<Rider>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Rider>> {
        let Some(rider) = &mut self.rider else {
            return Poll::Ready(None);
        };
        let began = clock::now();
        if rider.future.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        let ended = clock::now();
        linger::worked(began, ended);
        let heavy = rider.effort.note(ended.saturating_duration_since(began));
        if heavy.is_some_and(|heavy| rider.seat.set_heavy(heavy)) {
            return Poll::Ready(self.rider.take());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::super::workers::Workers;
    use super::*;

    #[test]
    fn a_connection_is_heavy_after_some_long_times_and_light_after_some_short_ones() {
        let mut effort = Effort::default();
        assert_eq!(effort.note(Duration::from_micros(3)), Some(false));
        // One long wait for a processor makes nobody heavy.
        assert_ne!(effort.note(Duration::from_millis(100)), Some(true));
        let long = Duration::from_micros(200);
        assert!((0..20).any(|_| effort.note(long) == Some(true)));
        let short = Duration::from_micros(5);
        assert!((0..40).any(|_| effort.note(short) == Some(false)));
    }

    #[tokio::test]
    async fn a_future_goes_on_on_another_thread_where_it_was() {
        let workers = Workers::start(2).unwrap();
        let (send, mut receive) = tokio::sync::mpsc::channel(100);
        let future = Box::pin(async move {
            loop {
                let name = std::thread::current().name().map(str::to_owned);
                if send.send(name).await.is_err() {
                    return;
                }
                // Work for the thread, as long as it takes to be heavy.
                let began = clock::now();
                while clock::since(began) < 2 * HEAVY {}
                tokio::task::yield_now().await;
            }
        });
        let spawn = |rider: Rider| {
            let handle = rider.seat().handle().unwrap().clone();
            handle.spawn(rider.ride())
        };
        let first = spawn(Rider::new(future, workers.seat()));
        let rider = first.await.unwrap().expect("it is heavy");
        let second = spawn(rider);
        let mut names = Vec::new();
        while names.last() != Some(&Some("tcp-1".to_owned())) {
            names.push(receive.recv().await.unwrap());
        }
        assert_eq!(names.first(), Some(&Some("tcp-0".to_owned())));
        drop(receive);
        assert!(second.await.unwrap().is_none());
    }
}
