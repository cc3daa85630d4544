//! Where a live message's details are: sequence number → slot, without a hash and without growing with history.
//!
//! Pages of consecutive numbers hold one `u32` a message; a page without a live message is freed, so neither a message
//! that is stuck for days nor a gap in the numbering costs memory for what lies in between.

use std::collections::BTreeMap;

const PAGE_BITS: u32 = 9;
const PAGE: usize = 1 << PAGE_BITS;
/// Marks a number without a slot.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Page {
    live: usize,
    slots: [u32; PAGE],
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Window {
    pages: BTreeMap<u64, Box<Page>>,
    spare: Option<Box<Page>>,
}

const fn split(seq: u64) -> (u64, usize) {
    // The mask keeps the value below PAGE, so the cast loses nothing.
    #[allow(clippy::cast_possible_truncation, reason = "masked to PAGE_BITS bits")]
    let at = (seq & (PAGE as u64 - 1)) as usize;
    (seq >> PAGE_BITS, at)
}

impl Window {
    /// The slot of `seq`, if that message is live.
    pub(super) fn get(&self, seq: u64) -> Option<u32> {
        let (page, at) = split(seq);
        let slot = *self.pages.get(&page)?.slots.get(at)?;
        (slot != NONE).then_some(slot)
    }

    /// Notes that `seq` lives in `slot`.
    pub(super) fn insert(&mut self, seq: u64, slot: u32) {
        let (page, at) = split(seq);
        let Self { pages, spare } = self;
        let page = pages.entry(page).or_insert_with(|| {
            spare.take().unwrap_or_else(|| Box::new(Page { live: 0, slots: [NONE; PAGE] }))
        });
        if let Some(place) = page.slots.get_mut(at) {
            if *place == NONE {
                page.live += 1;
            }
            *place = slot;
        }
    }

    /// Forgets `seq` and returns the slot that it had.
    pub(super) fn remove(&mut self, seq: u64) -> Option<u32> {
        let (number, at) = split(seq);
        let page = self.pages.get_mut(&number)?;
        let place = page.slots.get_mut(at)?;
        let slot = std::mem::replace(place, NONE);
        if slot == NONE {
            return None;
        }
        page.live -= 1;
        if page.live == 0 {
            self.spare = self.pages.remove(&number);
        }
        Some(slot)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.pages.clear();
    }

    /// The slots of the live messages from `from` up to but not including `end`, in order.
    pub(super) fn range(&self, from: u64, end: u64) -> impl Iterator<Item = u32> {
        let last = end.saturating_sub(1) >> PAGE_BITS;
        self.pages.range(from >> PAGE_BITS..=last.max(from >> PAGE_BITS)).flat_map(
            move |(number, page)| {
                let base = number << PAGE_BITS;
                (base..).zip(page.slots).filter_map(move |(seq, slot)| {
                    (slot != NONE && (from..end).contains(&seq)).then_some(slot)
                })
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_in_and_frees_pages() {
        let mut window = Window::default();
        for seq in 0..5000_u64 {
            window.insert(seq * 3, u32::try_from(seq).unwrap());
        }
        assert_eq!(window.get(3 * 4999), Some(4999));
        assert_eq!(window.get(1), None);
        assert_eq!(window.range(3, 10).collect::<Vec<_>>(), [1, 2, 3]);
        for seq in 0..5000_u64 {
            assert_eq!(window.remove(seq * 3), Some(u32::try_from(seq).unwrap()));
            assert_eq!(window.remove(seq * 3), None);
        }
        assert!(window.pages.is_empty());
    }

    #[test]
    fn far_apart_numbers_cost_a_page_each() {
        let mut window = Window::default();
        window.insert(1, 1);
        window.insert(1 << 50, 2);
        assert_eq!(window.pages.len(), 2);
        assert_eq!(window.range(0, u64::MAX).collect::<Vec<_>>(), [1, 2]);
    }
}
