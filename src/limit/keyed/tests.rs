//! Keys on simulated time: each its own rate, and never more by changing keys or limits.

use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;
use crate::limit::{Allowance, Colour, LimitOptions, Rate};

const SECOND: Duration = Duration::from_secs(1);

fn rate(amount: u64, burst: u64) -> LimitOptions {
    let rate = Rate::new(NonZeroU64::new(amount).unwrap(), SECOND).unwrap();
    LimitOptions { messages: Some(Allowance { rate, burst }), bytes: None }
}

fn options(amount: u64, burst: u64) -> MeterOptions {
    MeterOptions { committed: rate(amount, burst), excess: None }
}

/// What passes of `key` if it is tried every millisecond for `span`, and in which colour.
async fn flood(keyed: &mut Keyed, key: &str, span: Duration) -> (u64, u64) {
    let start = clock::now();
    let (mut committed, mut excess) = (0, 0);
    while clock::since(start) < span {
        match keyed.meter(key).try_acquire(1, 0) {
            Ok(Colour::Committed) => committed += 1,
            Ok(Colour::Excess) => excess += 1,
            Err(_) => {}
        }
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    (committed, excess)
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_rate_within_two_per_cent() {
    let mut keyed = Keyed::new(options(100, 10), 10);
    let mut passed = [0_u64; 3];
    let start = clock::now();
    while clock::since(start) < 10 * SECOND {
        for (count, key) in passed.iter_mut().zip(["a", "b", "c"]) {
            *count += u64::from(keyed.meter(key).try_acquire(1, 0).is_ok());
        }
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    for count in passed {
        assert!((990..=1010).contains(&count), "{count}");
    }
    assert_eq!(keyed.keys(), 3);
}

#[tokio::test(start_paused = true)]
async fn keys_beyond_the_bound_share_one_meter_until_there_is_room() {
    let mut keyed = Keyed::new(options(1, 5), 2);
    let burst = |keyed: &mut Keyed, key: &str| {
        (0..20).filter(|_| keyed.meter(key).try_acquire(1, 0).is_ok()).count()
    };
    assert_eq!((burst(&mut keyed, "a"), burst(&mut keyed, "b")), (5, 5));
    // A thousand more keys get one burst together.
    let shared: usize = (0..1000).map(|n| burst(&mut keyed, &format!("k{n}"))).sum();
    assert_eq!((shared, keyed.keys()), (5, 2));
    // Who comes back finds what it left.
    assert_eq!(burst(&mut keyed, "a"), 0);
    tokio::time::advance(5 * SECOND).await;
    assert_eq!((burst(&mut keyed, "c"), burst(&mut keyed, "d")), (5, 5));
    assert_eq!(keyed.keys(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_above_the_committed_rate_is_marked_up_to_the_excess_rate() {
    let both = MeterOptions { committed: rate(100, 10), excess: Some(rate(50, 20)) };
    let mut keyed = Keyed::new(both, 1);
    let (committed, excess) = flood(&mut keyed, "k", 10 * SECOND).await;
    assert!((990..=1010).contains(&committed), "{committed}");
    assert!((510..=520).contains(&excess), "{excess}");
    // Within the committed rate nothing is marked.
    tokio::time::advance(SECOND).await;
    for _ in 0..100 {
        assert_eq!(keyed.meter("k").try_acquire(1, 0), Ok(Colour::Committed));
        tokio::time::advance(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_message_takes_whichever_bucket_has_room_first() {
    let both = MeterOptions { committed: rate(1, 1), excess: Some(rate(4, 1)) };
    let mut meter = Meter::new(&both);
    assert_eq!(meter.try_turn(1, 0), Ok(Colour::Committed));
    assert_eq!(meter.try_turn(1, 0), Ok(Colour::Excess));
    let due = meter.try_turn(1, 0).unwrap_err();
    assert_eq!(due.saturating_duration_since(clock::now()), SECOND / 4);
    tokio::time::advance(SECOND / 4).await;
    assert_eq!(meter.try_turn(1, 0), Ok(Colour::Excess));
}

proptest! {
    /// However often the limit is changed: between two changes no more than rate × time passes beyond what the largest
    /// burst so far allowed at once, summed up over the whole.
    #[test]
    fn no_change_grants_a_burst(
        changes in prop::collection::vec((1_u64..200, 1_u64..50, 1_u64..3000), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let first = changes[0];
            let mut keyed = Keyed::new(options(first.0, first.1), 4);
            // The bursts of a key are paid once: with the first limit.
            let mut allowed = first.1 as f64;
            let mut passed = 0;
            for (amount, burst, millis) in changes {
                keyed.retune(options(amount, burst), 4);
                let span = Duration::from_millis(millis);
                passed += flood(&mut keyed, "k", span).await.0;
                allowed += amount as f64 * span.as_secs_f64();
                assert!(passed as f64 <= allowed + 1e-6, "{passed} of {allowed}");
            }
        });
    }
}
