//! How a bound on messages in flight is spread over connections.

use std::time::Duration;

/// A connection that gets nothing for this long gives its turn to another, where there are fewer turns than connections.
const IDLE: Duration = Duration::from_secs(2);
/// A turn is over after this long.
const TURN: Duration = Duration::from_secs(10);

/// A connection as [`shares`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The largest RDY that its nsqd takes.
    pub max_rdy: u32,
    /// How long it has had its turn, or how long it has been without one.
    pub since: Duration,
    /// Whether it has a turn.
    pub has_turn: bool,
    /// How long ago its last message came, or how long it has been there.
    pub idle: Duration,
}

/// How much of `total` each connection gets: equal parts as far as their nsqds take them. Where there are more
/// connections than messages, some get one message each, in turns.
#[must_use]
pub fn shares(total: u32, views: &[View]) -> Vec<u32> {
    let Some(count) = u32::try_from(views.len()).ok().filter(|count| *count > 0) else {
        return Vec::new();
    };
    if total < count {
        return turns(total, views);
    }
    let mut shares = vec![0; views.len()];
    let mut left = total;
    loop {
        // Those that take more get an equal part of what is left; the first ones get the remainder.
        let open = shares.iter().zip(views).filter(|(share, view)| **share < view.max_rdy).count();
        let Some(open) = u32::try_from(open).ok().filter(|open| *open > 0 && left > 0) else {
            return shares;
        };
        let (each, mut rest) = (left / open, left % open);
        for (share, view) in shares.iter_mut().zip(views) {
            let room = view.max_rdy - *share;
            if room == 0 {
                continue;
            }
            let extra = u32::from(rest > 0);
            rest -= extra;
            let more = (each + extra).min(room);
            *share += more;
            left -= more;
        }
    }
}

/// One message each for `total` of the connections. Who has a turn keeps it while it is of use and not too long; then those
/// that waited longest come.
fn turns(total: u32, views: &[View]) -> Vec<u32> {
    // A turn that has just begun has had no time to be of use.
    let keeps =
        |view: &View| view.has_turn && view.idle.min(view.since) < IDLE && view.since < TURN;
    let mut order: Vec<(usize, &View)> = views.iter().enumerate().collect();
    // Whoever has just lost its turn comes last.
    order.sort_by_key(|(_, view)| {
        let rank = if keeps(view) { 0 } else { 1 + u8::from(view.has_turn) };
        (rank, std::cmp::Reverse(if view.has_turn { Duration::ZERO } else { view.since }))
    });
    let mut shares = vec![0; views.len()];
    for (at, _) in order.into_iter().take(total as usize) {
        if let Some(share) = shares.get_mut(at) {
            *share = 1;
        }
    }
    shares
}

/// What a connection has, and what it is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The RDY that it has.
    pub rdy: u32,
    /// Messages of it that are out.
    pub held: u32,
    /// The RDY that it is to have.
    pub wanted: u32,
}

/// The RDY of each connection now, so that no more than `total` can be out together: whoever is to have less gives first,
/// and whoever is to have more gets what is free. Also says whether somebody still waits for more.
#[must_use]
pub fn settle(total: u32, claims: &[Claim]) -> (Vec<u32>, bool) {
    let occupied: u32 =
        claims.iter().map(|claim| claim.rdy.min(claim.wanted).max(claim.held)).sum();
    let mut free = total.saturating_sub(occupied);
    let mut is_short = false;
    let rdys = claims
        .iter()
        .map(|claim| {
            if claim.wanted <= claim.rdy {
                return claim.wanted;
            }
            let has = claim.rdy.max(claim.held);
            let asks = claim.wanted.saturating_sub(has);
            let gets = asks.min(free);
            free -= gets;
            is_short |= gets < asks;
            // What is out already costs nothing more.
            (has + gets).min(claim.wanted)
        })
        .collect();
    (rdys, is_short)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn view(max_rdy: u32) -> View {
        View { max_rdy, since: Duration::ZERO, has_turn: false, idle: Duration::ZERO }
    }

    #[test]
    fn parts_are_equal_and_bounded() {
        let of = |total, maxima: &[u32]| {
            shares(total, &maxima.iter().map(|max| view(*max)).collect::<Vec<_>>())
        };
        assert_eq!(of(10, &[2500, 2500, 2500]), [4, 3, 3]);
        assert_eq!(of(3, &[2500, 2500, 2500]), [1, 1, 1]);
        assert_eq!(of(100, &[10, 2500, 2500]), [10, 45, 45]);
        assert_eq!(of(100, &[10, 10]), [10, 10]);
        assert_eq!(of(0, &[10, 10]), [0, 0]);
        assert_eq!(of(5, &[]), [0; 0]);
        assert_eq!(of(2, &[9, 9, 9]).iter().sum::<u32>(), 2);
    }

    #[test]
    fn turns_go_round_where_there_are_too_few() {
        // Seconds since the turn began or ended, whether it has it, seconds without a message.
        let of = |nodes: &[(u32, bool, u32)]| {
            let views: Vec<View> = nodes
                .iter()
                .map(|(since, has_turn, idle)| View {
                    since: *since * SECOND,
                    has_turn: *has_turn,
                    idle: *idle * SECOND,
                    max_rdy: 9,
                })
                .collect();
            shares(1, &views)
        };
        assert_eq!(of(&[(1, true, 0), (9, false, 9), (5, false, 5)]), [1, 0, 0], "it is of use");
        assert_eq!(
            of(&[(1, true, 9), (9, false, 9), (5, false, 5)]),
            [1, 0, 0],
            "it has just come"
        );
        assert_eq!(of(&[(3, true, 3), (9, false, 9), (5, false, 5)]), [0, 1, 0], "it is idle");
        assert_eq!(of(&[(11, true, 0), (4, false, 9), (5, false, 5)]), [0, 0, 1], "it was long");
    }

    #[test]
    fn no_more_is_out_than_may_be() {
        let claim = |rdy, held, wanted| Claim { rdy, held, wanted };
        // A second connection comes: the first one gives, and what it has out is waited for.
        let (rdys, is_short) = settle(10, &[claim(10, 10, 5), claim(0, 0, 5)]);
        assert_eq!((rdys, is_short), (vec![5, 0], true));
        let (rdys, is_short) = settle(10, &[claim(5, 7, 5), claim(0, 0, 5)]);
        assert_eq!((rdys, is_short), (vec![5, 3], true));
        let (rdys, is_short) = settle(10, &[claim(5, 2, 5), claim(3, 3, 5)]);
        assert_eq!((rdys, is_short), (vec![5, 5], false));
        // All stop, and one goes on with one.
        assert_eq!(settle(0, &[claim(5, 5, 0), claim(5, 1, 0)]), (vec![0, 0], false));
        assert_eq!(settle(1, &[claim(0, 0, 1), claim(0, 1, 0)]), (vec![0, 0], true));
        assert_eq!(settle(1, &[claim(0, 1, 1), claim(0, 0, 0)]), (vec![1, 0], false));
    }
}
