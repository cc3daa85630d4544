//! The limiter on simulated time: accuracy, the upper bound, oversized batches, both dimensions.

use std::num::NonZeroU64;

use super::*;
use crate::limit::rate::{Allowance, Rate};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const SECOND: Duration = Duration::from_secs(1);

fn allowance(amount: u64, per: Duration, burst: u64) -> Option<Allowance> {
    let rate = Rate::new(NonZeroU64::new(amount).unwrap(), per).unwrap();
    Some(Allowance { rate, burst })
}

fn messages(amount: u64, burst: u64) -> LimitOptions {
    LimitOptions { messages: allowance(amount, SECOND, burst), bytes: None }
}

fn bytes(amount: u64, burst: u64) -> LimitOptions {
    LimitOptions { messages: None, bytes: allowance(amount, SECOND, burst) }
}

/// Sends batches for `span` of simulated time and asserts after each one that no dimension is above rate × time +
/// burst. Returns messages and bytes passed.
async fn flood(options: LimitOptions, span: Duration, batch: u64, size: u64) -> (u64, u64) {
    let mut limiter = Limiter::new(&options);
    let start = clock::now();
    let (mut sent_messages, mut sent_bytes) = (0_u64, 0_u64);
    loop {
        limiter.acquire(batch, batch * size).await;
        let passed = clock::since(start);
        if passed > span {
            return (sent_messages, sent_bytes);
        }
        sent_messages += batch;
        sent_bytes += batch * size;
        for (sent, allowed) in [(sent_messages, options.messages), (sent_bytes, options.bytes)] {
            let Some(allowance) = allowed else { continue };
            let per = allowance.rate.per().as_secs_f64();
            let bound = allowance.rate.amount() as f64 * passed.as_secs_f64() / per;
            assert!(
                sent as f64 <= bound + allowance.burst as f64 + 1e-3,
                "{sent} after {passed:?} is above {options:?}"
            );
        }
    }
}

fn assert_close(sent: u64, rate: u64, seconds: u64, burst: u64) {
    let earned = sent.saturating_sub(burst) as f64;
    let due = (rate * seconds) as f64;
    assert!((earned - due).abs() <= due * 0.02, "{earned} beyond the burst, {due} due");
}

#[tokio::test(start_paused = true)]
async fn message_rates_hold_within_two_per_cent() {
    for (rate, burst, batch) in [
        (10, 1, 1),
        (300, 10, 1),
        (5000, 10_000, 1),
        (5000, 1, 1),
        (5000, 20, 7),
        (30_000, 300, 256),
        (1_000_000, 10_000, 500),
        (9_700_000, 1_000_000, 5_000),
    ] {
        let (sent, _) = flood(messages(rate, burst), 10 * SECOND, batch, 0).await;
        assert_close(sent, rate, 10, burst);
    }
}

#[tokio::test(start_paused = true)]
async fn byte_rates_hold_within_two_per_cent() {
    for (rate, burst, batch, size) in [
        (10 * KIB, 2 * KIB, 1, 100),
        (64_000, 64 * KIB, 1, 333),
        (20 * MIB, 20 * MIB, 100, 200),
        (300_000_000, MIB, 256, 1000),
        (600_000_000, 4 * MIB, 256, 1000),
        (GIB, 16 * MIB, 256, 4096),
        (10 * GIB, GIB, 256, 64 * KIB),
    ] {
        let (_, sent) = flood(bytes(rate, burst), 10 * SECOND, batch, size).await;
        assert_close(sent, rate, 10, burst);
    }
}

#[tokio::test(start_paused = true)]
async fn rates_below_one_a_second_hold() {
    let options = LimitOptions { messages: allowance(30, 60 * SECOND, 1), bytes: None };
    let (sent, _) = flood(options, Duration::from_secs(600), 1, 0).await;
    assert_eq!(sent, 301);
}

#[tokio::test(start_paused = true)]
async fn both_dimensions_hold_together() {
    let options = LimitOptions {
        messages: allowance(1000, SECOND, 100),
        bytes: allowance(100 * KIB, SECOND, 50 * KIB),
    };
    let (sent, _) = flood(options, 10 * SECOND, 10, 10).await;
    assert_close(sent, 1000, 10, 100);
    let (_, sent) = flood(options, 10 * SECOND, 10, 1000).await;
    assert_close(sent, 100 * KIB, 10, 50 * KIB);
}

#[tokio::test(start_paused = true)]
async fn an_oversized_batch_is_delayed_and_passes() {
    let mut limiter = Limiter::new(&bytes(MIB, 100 * KIB));
    let start = clock::now();
    limiter.acquire(1, 5 * MIB).await;
    let took = clock::since(start).as_secs_f64();
    let due = (5.0 * 1024.0 - 100.0) / 1024.0;
    assert!((took - due).abs() < 0.01, "{took} s instead of {due} s");
    assert!(limiter.throttle().waited() >= Duration::from_secs_f64(due - 0.01));
}

#[tokio::test(start_paused = true)]
async fn time_lost_by_late_timers_is_made_good_but_idle_time_is_not() {
    let mut limiter = Limiter::new(&messages(1000, 1));
    limiter.acquire(1, 0).await;
    tokio::time::advance(60 * SECOND).await;
    let start = clock::now();
    for _ in 0..1001 {
        limiter.acquire(1, 0).await;
    }
    let took = clock::since(start);
    assert!(took >= SECOND, "a minute of silence earned more than the burst: {took:?}");
    assert!(took < Duration::from_millis(1020), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_keeps_what_it_charged() {
    let mut limiter = Limiter::new(&messages(10, 10));
    let half = Duration::from_millis(4_500);
    assert!(tokio::time::timeout(half, limiter.acquire(100, 0)).await.is_err());
    let start = clock::now();
    limiter.acquire(50, 0).await;
    assert_eq!(clock::since(start), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn try_acquire_refuses_and_says_how_long() {
    let mut limiter = Limiter::new(&messages(10, 5));
    for _ in 0..5 {
        limiter.try_acquire(1, 0).unwrap();
    }
    let refused = limiter.try_acquire(1, 0).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_millis(100));
    assert_eq!(limiter.throttle().rejected(), 1);
    tokio::time::advance(refused.retry_after).await;
    limiter.try_acquire(1, 0).unwrap();
}

#[tokio::test(start_paused = true)]
async fn try_acquire_lets_an_oversized_batch_through_a_full_bucket_and_collects_the_rest() {
    let mut limiter = Limiter::new(&messages(10, 5));
    limiter.try_acquire(12, 0).unwrap();
    assert!(limiter.try_acquire(1, 0).is_err());
    tokio::time::advance(Duration::from_millis(799)).await;
    // 7 are owed still: 5 of them and the message itself do not fit into 799 ms.
    assert!(limiter.try_acquire(1, 0).is_err() || limiter.try_acquire(1, 0).is_err());
    let mut passed = 0;
    for _ in 0..100 {
        tokio::time::advance(Duration::from_millis(100)).await;
        passed += u64::from(limiter.try_acquire(1, 0).is_ok());
    }
    assert!((94..=106).contains(&passed), "{passed}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_bytes_does_not_cost_messages() {
    let mut limiter = Limiter::new(&LimitOptions {
        messages: allowance(1, SECOND, 10),
        bytes: allowance(KIB, SECOND, 10 * KIB),
    });
    limiter.try_acquire(1, 10 * KIB).unwrap();
    for _ in 0..50 {
        assert!(limiter.try_acquire(1, KIB).is_err());
    }
    tokio::time::advance(SECOND).await;
    limiter.try_acquire(1, KIB).unwrap();
    tokio::time::advance(8 * SECOND).await;
    limiter.try_acquire(8, 8 * KIB).unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_limit_never_waits() {
    let mut limiter = Limiter::new(&LimitOptions::default());
    let start = clock::now();
    for _ in 0..1000 {
        limiter.acquire(u64::MAX, u64::MAX).await;
        limiter.try_acquire(u64::MAX, u64::MAX).unwrap();
    }
    assert_eq!(clock::since(start), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_projected_wait_is_seen_from_outside() {
    let mut limiter = Limiter::new(&messages(1, 1));
    let throttle = limiter.throttle();
    limiter.acquire(1, 0).await;
    assert_eq!(throttle.projected_wait(), Duration::ZERO);
    let timeout = Duration::from_millis(250);
    assert!(tokio::time::timeout(timeout, limiter.acquire(1, 0)).await.is_err());
    assert_eq!(throttle.projected_wait(), Duration::from_millis(750));
}

#[test]
fn a_limiter_may_live_in_any_task() {
    fn is_send<T: Send + Sync>() {}
    is_send::<Limiter>();
}
