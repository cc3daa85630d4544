//! The queue of records, the thread that writes them, and the marks that say how far it is.
//!
//! One buffer fills while the other is written. A commit is one write, and one sync if a record in it is to be
//! [`Level::Synced`]; nobody waits for a timer. What is only [`Level::Written`] is synced by a second thread every now
//! and then, beside the writing.
//!
//! Failure. A disk without space (or a process without descriptors) is not damage: publishes that were waiting are told,
//! the frame is kept and tried again until there is space, and the log goes on as if nothing had happened. Anything else
//! that a write or a sync reports *poisons* the log: nothing is written to it any more, since a sync that is tried again
//! after a failure reports success for data that is gone.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::super::disk::Disk;
use super::files::{Files, Header};
use super::frame;
use super::reader::Scan;
use super::thread::Writer;
pub use super::trouble::{Outcome, Trouble};
use super::{Level, Lsn};

/// How often the free space is looked at.
const SPACE_WAIT: Duration = Duration::from_secs(1);
/// Unwritten bytes at which publishers should hold back.
const CONGESTED_BYTES: usize = 16 << 20;

/// Settings of the log.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// The folder of the files.
    pub folder: PathBuf,
    /// A file is turned over once it has this many bytes.
    pub file_bytes: u64,
    /// How often what is only written is synced.
    pub sync_interval: Duration,
    /// Publishes are refused while the disk has less free space than this, bytes; 0 for no reserve.
    pub reserve_bytes: u64,
}

/// Whoever waits for a mark.
pub trait Waker: Send + Sync {
    /// The mark has passed, or never will: look again.
    fn wake(&self);
}

struct Waiter {
    lsn: Lsn,
    level: Level,
    waker: Arc<dyn Waker>,
}

#[derive(Debug)]
pub(super) struct Pending {
    /// A frame in the making: room for its header, then records.
    pub(super) bytes: Vec<u8>,
    /// The position of the first record in `bytes`.
    pub(super) base: Lsn,
    pub(super) level: Level,
    /// Whether the writer waits and nobody has woken it.
    pub(super) sleeps: bool,
    pub(super) closing: bool,
}

impl Pending {
    pub(super) fn end(&self) -> Lsn {
        self.base + (self.bytes.len() - frame::HEADER) as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() <= frame::HEADER
    }
}

/// What has been written but not synced.
#[derive(Debug)]
pub(super) struct Unsynced {
    /// Files that were turned over since the last sync.
    pub(super) before: Vec<Arc<dyn super::super::disk::DiskFile>>,
    pub(super) current: Arc<dyn super::super::disk::DiskFile>,
    pub(super) closing: bool,
}

pub(super) struct Shared {
    pub(super) options: WalOptions,
    pub(super) files: Files,
    pub(super) pending: Mutex<Pending>,
    pub(super) wake: Condvar,
    pub(super) queued: AtomicUsize,
    pub(super) written: AtomicU64,
    pub(super) synced: AtomicU64,
    /// Publishes up to here were told that they failed, unless a mark has passed them since.
    pub(super) failed: AtomicU64,
    pub(super) trouble: Mutex<Option<Trouble>>,
    pub(super) is_troubled: AtomicBool,
    pub(super) is_poisoned: AtomicBool,
    waiters: Mutex<Vec<Waiter>>,
    pub(super) unsynced: Mutex<Unsynced>,
    pub(super) sync_wake: Condvar,
    /// How many wait for a sync without which no file can go.
    pub(super) hurried: AtomicUsize,
    /// Held by whoever syncs: a sync that fails is seen by one thread alone, and the other must not go on as if its own
    /// had said something of the same bytes.
    syncing: Mutex<()>,
    pub(super) turned: Arc<dyn Fn(Lsn) + Send + Sync>,
}

/// The node's log, open for writing.
pub struct Wal {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Wal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wal").field("folder", &self.shared.options.folder).finish_non_exhaustive()
    }
}

impl Wal {
    /// Goes on behind what `scan` found, at `first` at least, in a new file. `turned` is called with the position of a new
    /// file's first record whenever a file is full.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: WalOptions,
        scan: &Scan,
        first: Lsn,
        turned: Arc<dyn Fn(Lsn) + Send + Sync>,
    ) -> io::Result<Self> {
        let (held, damaged) = (scan.files.clone(), scan.damaged_files());
        let files = Files::new(disk, options.folder.clone(), held, damaged)?;
        files.sync_all()?;
        let first = first.max(scan.end);
        let header = Header { number: scan.next_file, first, previous_end: scan.end };
        let current = files.create(header)?;
        let bytes = vec![0; frame::HEADER];
        let shared = Arc::new(Shared {
            files,
            pending: Mutex::new(Pending {
                bytes,
                base: first,
                level: Level::Lazy,
                sleeps: false,
                closing: false,
            }),
            wake: Condvar::new(),
            queued: AtomicUsize::new(0),
            written: AtomicU64::new(first),
            synced: AtomicU64::new(first),
            failed: AtomicU64::new(0),
            trouble: Mutex::new(None),
            is_troubled: AtomicBool::new(false),
            is_poisoned: AtomicBool::new(false),
            waiters: Mutex::default(),
            unsynced: Mutex::new(Unsynced {
                before: Vec::new(),
                current: Arc::clone(&current.file),
                closing: false,
            }),
            sync_wake: Condvar::new(),
            hurried: AtomicUsize::new(0),
            syncing: Mutex::new(()),
            turned,
            options,
        });
        let writing = Writer { shared: Arc::clone(&shared), current, unlooked: 0 };
        let syncing = Arc::clone(&shared);
        let threads = vec![
            std::thread::Builder::new().name("log".into()).spawn(move || writing.run())?,
            std::thread::Builder::new()
                .name("log-sync".into())
                .spawn(move || syncing.sync_loop())?,
        ];
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Appends what `write` writes and returns the position behind it: the mark that `level` asks for must reach it.
    pub(crate) fn append(&self, level: Level, write: impl FnOnce(&mut Vec<u8>)) -> Lsn {
        let shared = &*self.shared;
        let mut pending = shared.pending.lock();
        write(&mut pending.bytes);
        let end = pending.end();
        if shared.is_poisoned.load(Ordering::Acquire) {
            pending.bytes.truncate(frame::HEADER);
            pending.base = end;
            return end;
        }
        pending.level = pending.level.max(level);
        shared.queued.store(pending.bytes.len(), Ordering::Relaxed);
        let wakes = level > Level::Lazy && std::mem::take(&mut pending.sleeps);
        drop(pending);
        if wakes {
            shared.wake.notify_one();
        }
        end
    }

    /// The position behind the last record.
    pub(crate) fn end(&self) -> Lsn {
        self.shared.pending.lock().end()
    }

    /// How many files there are.
    pub(crate) fn files(&self) -> usize {
        self.shared.files.count()
    }

    /// Whether a publish would be taken.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Trouble> {
        if !self.shared.is_troubled.load(Ordering::Acquire) {
            return Ok(());
        }
        self.shared.trouble.lock().clone().map_or(Ok(()), Err)
    }

    /// Bytes of free space that are not for publishes; see [`WalOptions::reserve_bytes`].
    pub(crate) fn reserve(&self) -> u64 {
        self.shared.options.reserve_bytes
    }

    /// Whether publishers should hold back until what is queued is written.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) > CONGESTED_BYTES
    }

    /// What became of the record before `lsn`.
    #[must_use]
    pub fn outcome(&self, lsn: Lsn, level: Level) -> Outcome {
        self.shared.outcome(lsn, level)
    }

    /// Wakes `waker` once the outcome of `lsn` is known. To be asked again then.
    pub fn wake_at(&self, lsn: Lsn, level: Level, waker: Arc<dyn Waker>) {
        let mut waiters = self.shared.waiters.lock();
        if self.shared.outcome(lsn, level) == Outcome::Pending {
            waiters.push(Waiter { lsn, level, waker });
            return;
        }
        drop(waiters);
        waker.wake();
    }

    /// Waits until the record before `lsn` is on the disk.
    ///
    /// # Errors
    /// It cannot be.
    pub(crate) fn sync_to(&self, lsn: Lsn) -> Result<(), Trouble> {
        self.shared.hurried.fetch_add(1, Ordering::AcqRel);
        self.append(Level::Synced, |_| {});
        let synced = self.wait(lsn, Level::Synced);
        self.shared.hurried.fetch_sub(1, Ordering::AcqRel);
        synced
    }

    /// Waits until the record before `lsn` is as safe as `level` says.
    ///
    /// # Errors
    /// It cannot be.
    pub(crate) fn wait(&self, lsn: Lsn, level: Level) -> Result<(), Trouble> {
        #[derive(Default)]
        struct Bell(Mutex<bool>, Condvar);
        impl Waker for Bell {
            fn wake(&self) {
                *self.0.lock() = true;
                self.1.notify_one();
            }
        }
        let bell = Arc::new(Bell::default());
        loop {
            match self.outcome(lsn, level) {
                Outcome::Done => return Ok(()),
                Outcome::Failed(trouble) => return Err(trouble),
                Outcome::Pending => {}
            }
            *bell.0.lock() = false;
            self.wake_at(lsn, level, Arc::clone(&bell) as Arc<dyn Waker>);
            let mut rung = bell.0.lock();
            while !*rung {
                bell.1.wait(&mut rung);
            }
        }
    }

    /// Lets go of files that hold nothing at or behind `needed`.
    pub(crate) fn release_before(&self, needed: Lsn) -> io::Result<()> {
        let released = self.shared.files.release_before(needed);
        self.shared.wake.notify_one();
        released
    }

    /// Writes and syncs what is left, and ends the threads.
    pub(crate) fn close(&self) {
        self.shared.pending.lock().closing = true;
        self.shared.wake.notify_one();
        self.shared.unsynced.lock().closing = true;
        self.shared.sync_wake.notify_one();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log failed");
            }
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn outcome(&self, lsn: Lsn, level: Level) -> Outcome {
        let mark = match level {
            Level::Lazy => return Outcome::Done,
            Level::Written => &self.written,
            Level::Synced => &self.synced,
        };
        if mark.load(Ordering::Acquire) >= lsn {
            return Outcome::Done;
        }
        let has_failed =
            self.is_poisoned.load(Ordering::Acquire) || self.failed.load(Ordering::Acquire) >= lsn;
        let trouble = if has_failed { self.trouble.lock().clone() } else { None };
        trouble.map_or(Outcome::Pending, Outcome::Failed)
    }

    pub(super) fn set_trouble(&self, trouble: Option<Trouble>) {
        let mut place = self.trouble.lock();
        if matches!(&*place, Some(Trouble::Failed { .. })) {
            return;
        }
        let is_news = place.as_ref().map(std::mem::discriminant)
            != trouble.as_ref().map(std::mem::discriminant);
        match &trouble {
            Some(trouble) if is_news => tracing::error!(%trouble, "the log takes no publishes"),
            None if is_news => tracing::info!("the log takes publishes again"),
            _ => {}
        }
        self.is_troubled.store(trouble.is_some(), Ordering::Release);
        *place = trouble;
    }

    pub(super) fn poison(&self, error: &io::Error) {
        let folder = self.options.folder.clone();
        self.set_trouble(Some(Trouble::Failed { folder, reason: error.to_string().into() }));
        self.is_poisoned.store(true, Ordering::Release);
        self.wake_waiters();
    }

    /// Wakes those whose outcome is known.
    pub(super) fn wake_waiters(&self) {
        let mut woken = Vec::new();
        let mut waiters = self.waiters.lock();
        waiters.retain(|waiter| {
            let is_open = self.outcome(waiter.lsn, waiter.level) == Outcome::Pending;
            if !is_open {
                woken.push(Arc::clone(&waiter.waker));
            }
            is_open
        });
        drop(waiters);
        for waker in woken {
            waker.wake();
        }
    }

    /// Syncs everything that is written now. `false` if the log is poisoned.
    pub(super) fn sync(&self) -> bool {
        let _only = self.syncing.lock();
        if self.is_poisoned.load(Ordering::Acquire) {
            return false;
        }
        let written = self.written.load(Ordering::Acquire);
        if self.synced.load(Ordering::Acquire) >= written {
            return true;
        }
        let mut unsynced = self.unsynced.lock();
        let mut files = std::mem::take(&mut unsynced.before);
        files.push(Arc::clone(&unsynced.current));
        drop(unsynced);
        for file in files {
            if let Err(error) = file.sync_data() {
                self.poison(&error);
                return false;
            }
        }
        self.synced.fetch_max(written, Ordering::AcqRel);
        self.wake_waiters();
        true
    }

    /// Looks whether the disk has space for publishes.
    pub(super) fn look_at_space(&self) {
        let reserve = self.options.reserve_bytes;
        if reserve == 0 {
            return;
        }
        let folder = self.options.folder.clone();
        let trouble = match self.files.free_bytes() {
            Ok(free) if free < reserve => Some(Trouble::Reserve { folder, free, reserve }),
            Ok(_) => None,
            Err(error) => return tracing::warn!(%error, "the free space of the disk is not known"),
        };
        let current = self.trouble.lock().clone();
        if matches!(current, None | Some(Trouble::Reserve { .. })) {
            self.set_trouble(trouble);
        }
    }

    /// Has everything given up that is not needed, while there is too little space.
    fn make_room(&self) {
        if matches!(&*self.trouble.lock(), Some(Trouble::Reserve { .. } | Trouble::NoSpace { .. }))
        {
            self.files.drop_spares();
            if let Some(first) = self.files.newest() {
                (self.turned)(first);
            }
        }
    }

    fn sync_loop(&self) {
        let step = self.options.sync_interval.clamp(Duration::from_millis(1), SPACE_WAIT);
        let (mut since_sync, mut since_look) = (Duration::ZERO, Duration::ZERO);
        self.look_at_space();
        loop {
            let mut unsynced = self.unsynced.lock();
            if unsynced.closing {
                return;
            }
            self.sync_wake.wait_for(&mut unsynced, step);
            drop(unsynced);
            self.look_at_space();
            since_look += step;
            if since_look >= SPACE_WAIT {
                since_look = Duration::ZERO;
                self.make_room();
            }
            since_sync += step;
            if since_sync >= self.options.sync_interval {
                since_sync = Duration::ZERO;
                if !self.sync() {
                    return;
                }
            }
        }
    }
}
