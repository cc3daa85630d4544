//! A set of sequence numbers, kept as the ranges that it consists of.
//!
//! What a channel owes is mostly one long run with a few holes: a tree of ranges costs by the hole, not by the message.

use std::collections::BTreeMap;
use std::ops::Range;

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers it holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.iter().map(|range| range.end - range.start).sum()
    }

    /// The smallest number.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.0.first_key_value().map(|(start, _)| *start)
    }

    /// One past the largest number.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, end)| *end)
    }

    /// Whether `seq` is in it.
    #[must_use]
    pub fn contains(&self, seq: u64) -> bool {
        self.0.range(..=seq).next_back().is_some_and(|(_, end)| seq < *end)
    }

    /// Its ranges, in order; no two touch.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(start, end)| *start..*end)
    }

    /// The parts of `range` that are in it, in order.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.0.range(..range.start).next_back().map_or(range.start, |(at, _)| *at);
        self.0
            .range(first..range.end.max(first))
            .map(move |(start, end)| (*start).max(range.start)..(*end).min(range.end))
            .filter(|part| !part.is_empty())
    }

    /// Adds `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        // Whatever overlaps or touches it becomes one with it. At most one range starts before it.
        if let Some((&before, &its_end)) = self.0.range(..start).next_back()
            && its_end >= start
        {
            start = before;
            end = end.max(its_end);
        }
        while let Some((&next, &its_end)) = self.0.range(start..=end).next() {
            end = end.max(its_end);
            self.0.remove(&next);
        }
        self.0.insert(start, end);
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Self) {
        for range in other.iter() {
            self.insert(range);
        }
    }

    /// Takes `range` out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if let Some((&before, &its_end)) = self.0.range(..range.start).next_back()
            && its_end > range.start
        {
            self.0.insert(before, range.start);
            if its_end > range.end {
                self.0.insert(range.end, its_end);
                return;
            }
        }
        while let Some((&next, &its_end)) = self.0.range(range.start..range.end).next() {
            self.0.remove(&next);
            if its_end > range.end {
                self.0.insert(range.end, its_end);
                return;
            }
        }
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_numbers(ops in prop::collection::vec((any::<bool>(), 0_u64..64, 0_u64..12), 0..80)) {
            let (mut ranges, mut model) = (RangeSet::new(), BTreeSet::new());
            for (adds, start, length) in ops {
                let range = start..start + length;
                if adds {
                    ranges.insert(range.clone());
                    model.extend(range);
                } else {
                    ranges.remove(range.clone());
                    model.retain(|seq| !range.contains(seq));
                }
                prop_assert_eq!(ranges.iter().flatten().collect::<BTreeSet<_>>(), model.clone());
                prop_assert_eq!(ranges.len(), model.len() as u64);
                prop_assert_eq!(ranges.first(), model.first().copied());
                prop_assert_eq!(ranges.contains(start), model.contains(&start));
                let inside: Vec<u64> = ranges.within(10..40).flatten().collect();
                prop_assert_eq!(inside, model.range(10..40).copied().collect::<Vec<_>>());
                let parts: Vec<_> = ranges.iter().collect();
                prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
