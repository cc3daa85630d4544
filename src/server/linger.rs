//! When a thread looks for more work for a moment before it sleeps.
//!
//! A producer that waits for each OK comes back at once, and a thread that has gone to sleep in between takes longer to
//! wake up than the publish takes. A thread whose work came in quick succession of late therefore *lingers*: it asks the
//! system again and again, for a few dozen microseconds at most, and sleeps after that. Where that was in vain it is given
//! up soon, so that a thread with little to do sleeps and one that others need the processor of does not keep it from them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::clock::{self, Instant};

/// How long a thread lingers at most.
const WINDOW: Duration = Duration::from_micros(30);
/// A pause between two turns of work is short up to this...
const SHORT: Duration = Duration::from_micros(100);
/// ... and no pause at all below this.
const NONE: Duration = Duration::from_micros(2);
/// Short pauses in a row from which on lingering is tried.
const TRY_AFTER: u32 = 16;
/// Trust in lingering when it is tried, and at most; it is tried no more at 0.
const TRUST_FIRST: u32 = 4;
const TRUST_MAX: u32 = 16;
/// What one vain wait costs of it; one that was not in vain gives 1.
const TRUST_LOST: u32 = 4;

/// Whether lingering pays, as far as the thread's own past tells.
#[derive(Debug, Default)]
struct Habit {
    /// Short pauses in a row.
    short: u32,
    trust: u32,
    /// When the last turn of work ended.
    ended: Option<Instant>,
}

impl Habit {
    /// A turn of work began and ended. Whether the thread is to linger now.
    fn worked(&mut self, began: Instant, ended: Instant) -> bool {
        let pause = self.ended.map(|ended| began.saturating_duration_since(ended));
        self.ended = Some(ended);
        match pause {
            Some(pause) if pause < NONE => {}
            Some(pause) if pause <= SHORT => {
                self.short += 1;
                if self.trust == 0 && self.short >= TRY_AFTER {
                    self.trust = TRUST_FIRST;
                }
            }
            _ => (self.short, self.trust) = (0, 0),
        }
        self.trust > 0
    }

    /// Work came while the thread lingered.
    fn paid(&mut self) {
        self.trust = (self.trust + 1).min(TRUST_MAX);
    }

    /// None came.
    fn was_vain(&mut self) {
        self.short = 0;
        self.trust = self.trust.saturating_sub(TRUST_LOST);
    }
}

#[derive(Debug, Default)]
struct State {
    habit: Habit,
    /// Turns of work so far.
    turns: u64,
    /// The task that lingers, while it sleeps.
    asleep: Option<Waker>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// A connection of this thread was woken and has done what there was to do.
pub(super) fn worked(began: Instant, ended: Instant) {
    let waker = STATE.with_borrow_mut(|state| {
        state.turns = state.turns.wrapping_add(1);
        let lingers = state.habit.worked(began, ended);
        if lingers { state.asleep.take() } else { None }
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Keeps the thread from sleeping when that pays. Each thread that serves connections runs this once, for ever.
pub(super) async fn run() {
    loop {
        let mut seen = slept().await;
        let mut since = clock::now();
        loop {
            // The sockets are asked before it goes on.
            tokio::task::yield_now().await;
            let now = clock::now();
            let turns = STATE.with_borrow(|state| state.turns);
            if turns != seen {
                if now.saturating_duration_since(since) > NONE {
                    STATE.with_borrow_mut(|state| state.habit.paid());
                }
                (seen, since) = (turns, now);
            } else if now.saturating_duration_since(since) > WINDOW {
                STATE.with_borrow_mut(|state| state.habit.was_vain());
                break;
            }
        }
    }
}

/// Waits until the thread is to linger, and says how many turns there were.
async fn slept() -> u64 {
    let mut began = false;
    poll_fn(|context| {
        STATE.with_borrow_mut(|state| {
            if std::mem::replace(&mut began, true) && state.asleep.is_none() {
                return Poll::Ready(state.turns);
            }
            state.asleep = Some(context.waker().clone());
            Poll::Pending
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    const PUBLISH: Duration = Duration::from_micros(10);

    /// Turns of work with this pause between them; whether the thread lingers after the last.
    fn work(habit: &mut Habit, turns: u32, pause: Duration) -> bool {
        let mut lingers = false;
        for _ in 0..turns {
            let began = habit.ended.unwrap_or_else(clock::now) + pause;
            lingers = habit.worked(began, began + PUBLISH);
        }
        lingers
    }

    #[test]
    fn a_thread_lingers_once_its_work_comes_in_quick_succession() {
        let mut habit = Habit::default();
        assert!(!work(&mut habit, TRY_AFTER, SHORT / 2), "the first turn has no pause before it");
        assert!(work(&mut habit, 1, SHORT / 2));
        assert!(!work(&mut habit, 1, 2 * SHORT), "who comes rarely is not waited for");
        assert!(!work(&mut habit, 1000, 2 * SHORT));
        assert!(!work(&mut habit, 1000, Duration::ZERO), "a crowd that comes at once is no habit");
    }

    #[test]
    fn lingering_in_vain_is_given_up_and_tried_again_later() {
        let mut habit = Habit::default();
        assert!(work(&mut habit, TRY_AFTER + 1, SHORT));
        habit.was_vain();
        assert!(!work(&mut habit, TRY_AFTER - 1, SHORT));
        assert!(work(&mut habit, 1, SHORT));
        (0..TRUST_MAX).for_each(|_| habit.paid());
        habit.was_vain();
        assert!(work(&mut habit, 1, SHORT), "one vain wait among many that paid is none");
        (0..TRUST_MAX / TRUST_LOST).for_each(|_| habit.was_vain());
        assert!(!work(&mut habit, 1, SHORT));
    }

    #[test]
    fn it_sleeps_until_there_is_a_habit_and_again_when_nothing_comes() {
        let mut lingering = pin!(run());
        let mut context = Context::from_waker(Waker::noop());
        let sleeps = || STATE.with_borrow(|state| state.asleep.is_some());
        assert!(lingering.as_mut().poll(&mut context).is_pending() && sleeps());
        let mut at = clock::now();
        for _ in 0..=TRY_AFTER {
            assert!(sleeps());
            worked(at, at + PUBLISH);
            at += PUBLISH + SHORT / 2;
        }
        assert!(!sleeps(), "it was woken");
        let mut polls = 0;
        while !sleeps() {
            assert!(lingering.as_mut().poll(&mut context).is_pending());
            polls += 1;
        }
        assert!(polls > 1);
    }
}
