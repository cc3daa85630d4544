//! One simulated file's bytes: as they read now, and as a crash may leave them.

use super::Dice;

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

    /// Leaves what a crash leaves.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        for write in std::mem::take(&mut self.writes) {
            let bytes = &write.bytes;
            let cut = dice.below(bytes.len() + 1);
            match dice.below(if write.safety == Safety::Safe { 1 } else { 4 }) {
                0 => put(&mut self.base, bytes, write.offset),
                1 => {}
                2 => {
                    if cut > 0 {
                        put(&mut self.base, &bytes[..cut], write.offset);
                    }
                }
                _ => put(&mut self.base, &bytes[cut..], write.offset + cut),
            }
        }
        self.live.clone_from(&self.base);
    }
}
