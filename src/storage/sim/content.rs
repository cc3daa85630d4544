//! One simulated file's bytes: as they read now, and as a crash may leave them.

use super::Dice;

/// What a disk writes whole or not at all, bytes.
const SECTOR: usize = 512;

/// How sure a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Safety {
    /// No sync yet.
    Pending,
    /// Synced, but kept apart because a doubtful one lies before it.
    Safe,
    /// A sync after it failed: it may be lost, whatever is synced later.
    Doubtful,
}

#[derive(Clone, Debug)]
struct Write {
    offset: usize,
    bytes: Vec<u8>,
    safety: Safety,
}

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    live: Vec<u8>,
    /// What is safe, and the writes since, in order.
    base: Vec<u8>,
    writes: Vec<Write>,
}

fn put(to: &mut Vec<u8>, bytes: &[u8], offset: usize) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

impl Content {
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        put(&mut self.live, bytes, offset);
        self.writes.push(Write { offset, bytes: bytes.to_vec(), safety: Safety::Pending });
    }

    pub(super) fn sync(&mut self) {
        for write in &mut self.writes {
            if write.safety == Safety::Pending {
                write.safety = Safety::Safe;
            }
        }
        let doubtful = self.writes.iter().position(|write| write.safety == Safety::Doubtful);
        for write in self.writes.drain(..doubtful.unwrap_or(self.writes.len())) {
            put(&mut self.base, &write.bytes, write.offset);
        }
    }

    pub(super) fn fail_sync(&mut self) {
        for write in &mut self.writes {
            if write.safety == Safety::Pending {
                write.safety = Safety::Doubtful;
            }
        }
    }

    /// Changes what is there; what was only written is safe from now on.
    pub(super) fn damage(&mut self, harm: impl FnOnce(&mut Vec<u8>)) {
        harm(&mut self.live);
        self.base.clone_from(&self.live);
        self.writes.clear();
    }

    /// Leaves what a crash leaves.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        for write in std::mem::take(&mut self.writes) {
            let bytes = &write.bytes;
            let cut = dice.below(bytes.len() + 1);
            match dice.below(if write.safety == Safety::Safe { 1 } else { 5 }) {
                0 => put(&mut self.base, bytes, write.offset),
                1 => {}
                2 => {
                    if cut > 0 {
                        put(&mut self.base, &bytes[..cut], write.offset);
                    }
                }
                3 => put(&mut self.base, &bytes[cut..], write.offset + cut),
                _ => self.tear(&write, dice),
            }
        }
        self.live.clone_from(&self.base);
    }

    /// Leaves some of a write's sectors, each by chance.
    fn tear(&mut self, write: &Write, dice: &mut Dice) {
        let mut at = write.offset;
        let end = write.offset + write.bytes.len();
        while at < end {
            let next = ((at / SECTOR + 1) * SECTOR).min(end);
            if dice.coin() {
                put(&mut self.base, &write.bytes[at - write.offset..next - write.offset], at);
            }
            at = next;
        }
    }
}
