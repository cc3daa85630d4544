//! The thread that writes: swap, seal, write, sync, begin anew.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::files::{Current, Header};
use super::trouble::Trouble;
use super::writer::Shared;
use super::{Level, Lsn, frame};

/// How long a lazy record may wait for company.
const LAZY_WAIT: Duration = Duration::from_millis(100);
/// How long to wait before a write is tried again that found no space.
const RETRY_WAIT: Duration = Duration::from_millis(100);
/// A buffer larger than this is given back to the allocator.
const BUFFER_KEPT: usize = 16 << 20;
/// Bytes after which the disk's free space is looked at again, at most, so that a reserve is not overrun in a second.
const LOOK_BYTES: u64 = 4 << 20;
/// Files that may wait to be released before no more is written.
const FILES_MAX: usize = 12;

/// The writing thread.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) current: Current,
    /// Bytes written since the disk's free space was looked at.
    pub(super) unlooked: u64,
}

impl Writer {
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; frame::HEADER];
        while let Some((level, first)) = self.take(&mut buffer) {
            let end = first + (buffer.len() - frame::HEADER) as u64;
            let written = end == first || self.write(&mut buffer, first, end);
            buffer.truncate(frame::HEADER);
            if buffer.capacity() > BUFFER_KEPT {
                buffer.shrink_to(BUFFER_KEPT);
            }
            if !written {
                break;
            }
            self.shared.written.fetch_max(end, Ordering::AcqRel);
            self.shared.wake_waiters();
            if level == Level::Synced && !self.shared.sync() {
                break;
            }
        }
        self.shared.sync();
    }

    /// Waits for something to write and swaps it into `buffer`. Nothing once the log is closing and all is written.
    fn take(&self, buffer: &mut Vec<u8>) -> Option<(Level, Lsn)> {
        let shared = &*self.shared;
        let mut pending = shared.pending.lock();
        loop {
            if pending.level > Level::Lazy || pending.closing {
                break;
            }
            pending.sleeps = true;
            if pending.is_empty() {
                shared.wake.wait(&mut pending);
            } else if shared.wake.wait_for(&mut pending, LAZY_WAIT).timed_out() {
                break;
            }
        }
        pending.sleeps = false;
        if pending.is_empty() && pending.level == Level::Lazy {
            return None;
        }
        std::mem::swap(&mut pending.bytes, buffer);
        let first = pending.base;
        pending.base += (buffer.len() - frame::HEADER) as u64;
        shared.queued.store(0, Ordering::Relaxed);
        Some((std::mem::replace(&mut pending.level, Level::Lazy), first))
    }

    /// Writes a frame, however long it takes for the disk to have space. `false` if the log is poisoned or closed before.
    fn write(&mut self, frame: &mut [u8], first: Lsn, end: Lsn) -> bool {
        loop {
            let wrote = self.turn_over(first).and_then(|()| {
                frame::seal(frame, first, self.current.number);
                self.current.file.write_at(frame, self.current.at)
            });
            match wrote {
                Ok(()) => {
                    self.current.at += frame.len() as u64;
                    self.unlooked += frame.len() as u64;
                    if self.unlooked > LOOK_BYTES.min(self.shared.options.reserve_bytes / 4) {
                        self.unlooked = 0;
                        self.shared.look_at_space();
                    }
                    if self.shared.failed.load(Ordering::Acquire) > 0 {
                        self.recovered();
                    }
                    return true;
                }
                Err(error) => match Trouble::passing(&error, &self.shared.options.folder) {
                    Some(trouble) => {
                        self.shared.set_trouble(Some(trouble));
                        // Those that came since are not to wait for space either.
                        let all = self.shared.pending.lock().end();
                        self.shared.failed.store(all.max(end), Ordering::Release);
                        self.shared.wake_waiters();
                        if self.pause() {
                            return false;
                        }
                    }
                    None => {
                        self.shared.poison(&error);
                        return false;
                    }
                },
            }
        }
    }

    fn recovered(&self) {
        self.shared.failed.store(0, Ordering::Release);
        self.shared.set_trouble(None);
        self.shared.look_at_space();
    }

    /// Waits before another try. `true` if the log is closing: what it could not write is given up.
    fn pause(&self) -> bool {
        let mut pending = self.shared.pending.lock();
        if !pending.closing {
            self.shared.wake.wait_for(&mut pending, RETRY_WAIT);
        }
        pending.closing
    }

    /// Begins a new file if this one is full.
    fn turn_over(&mut self, first: Lsn) -> io::Result<()> {
        if self.current.at < self.shared.options.file_bytes {
            return Ok(());
        }
        // What the files hold is in memory until it is in segments: do not run away from whoever writes those. Many starts
        // leave many short files of which nobody has been told.
        if self.shared.files.count() >= FILES_MAX {
            (self.shared.turned)(first);
        }
        let mut pending = self.shared.pending.lock();
        // Whoever lets files go may need what is queued here on the disk first.
        let goes_on = || self.shared.hurried.load(Ordering::Acquire) > 0;
        while self.shared.files.count() >= FILES_MAX && !pending.closing && !goes_on() {
            self.shared.wake.wait_for(&mut pending, RETRY_WAIT);
        }
        drop(pending);
        let number = self.current.number + 1;
        let next = self.shared.files.create(Header { number, first, previous_end: first })?;
        let mut unsynced = self.shared.unsynced.lock();
        let full = std::mem::replace(&mut unsynced.current, Arc::clone(&next.file));
        unsynced.before.push(full);
        drop(unsynced);
        self.current = next;
        (self.shared.turned)(first);
        Ok(())
    }
}
