//! A file system in memory that forgets what a power cut may forget. For tests of what must survive one.
//!
//! What it holds against the code under test, and the machine may do too:
//! - A write that no `sync_data` followed is, after [`SimDisk::crash`], there, gone, cut at any byte, from the front
//!   or from the back, or there in some of its sectors (pages reach the disk in any order); each on its own, so a later
//!   one may be there without an earlier one, with zeros between.
//! - A creation, rename or removal that no `sync_folder` of every folder concerned followed has happened or has not,
//!   each on its own. A synced file whose name was never synced may be gone.
//! - After a failed `sync_data` the writes before it are lost or not, and no later sync that succeeds mends that.
//! - Space ends: a write puts down what fits and then fails.
//!
//! Calls are numbered from 0, the same for the same work, so a test can count a run's calls and then break each in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};

mod content;
#[cfg(test)]
mod tests;

use content::Content;

/// Where chance comes from: a small generator (SplitMix64), so that a seed is a whole story.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (bound.max(1) as u64)).unwrap()
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// What is asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Create,
    Open,
    List,
    CreateFolder,
    Rename,
    Remove,
    SyncFolder,
    FreeBytes,
    Write,
    Read,
    Length,
    Sync,
}

/// What goes wrong, and when. Several may wait; each strikes once.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// Only calls of this kind count; `None` for all.
    call: Option<Call>,
    /// So many of them pass first.
    passes: u64,
    /// The system's error number; `None` cuts the power.
    errno: Option<i32>,
}

/// A change of names that is not safe yet.
#[derive(Clone, Debug)]
struct Change {
    what: Naming,
    /// The folders that have yet to be synced before it is.
    unsynced: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug)]
enum Naming {
    Folder(PathBuf),
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// The names: files by path (a number into the contents) and folders.
#[derive(Clone, Debug)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
}

impl Names {
    /// Whether a name can be put there: the folder is there.
    fn has_folder_of(&self, path: &Path) -> bool {
        self.folders.contains(folder_of(path))
    }

    /// Makes the change, if what it builds on is there.
    fn apply(&mut self, naming: &Naming) {
        match naming {
            Naming::Folder(path) if self.has_folder_of(path) => {
                self.folders.insert(path.clone());
            }
            Naming::Create(path, file) if self.has_folder_of(path) => {
                self.files.insert(path.clone(), *file);
            }
            Naming::Rename(from, to) if self.has_folder_of(to) => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            Naming::Remove(path) => {
                self.files.remove(path);
            }
            Naming::Folder(_) | Naming::Create(..) | Naming::Rename(..) => {}
        }
    }
}

#[derive(Debug)]
struct State {
    /// By number; a file that has lost its name stays for its handles.
    contents: Vec<Content>,
    names: Names,
    /// The names that a crash leaves for certain, and the changes since, in order.
    safe_names: Names,
    changes: Vec<Change>,
    capacity: u64,
    calls: u64,
    faults: Vec<Fault>,
    /// The power is off: nothing works until [`SimDisk::crash`].
    is_off: bool,
    /// Handles of an earlier life are dead.
    life: u64,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk that holds `capacity` bytes of file content, with the folder `/` (and `""`, for bare names).
    pub(crate) fn new(capacity: u64) -> Self {
        let names = Names {
            files: BTreeMap::new(),
            folders: ["/", ""].into_iter().map(PathBuf::from).collect(),
        };
        Self(Arc::new(Mutex::new(State {
            contents: Vec::new(),
            safe_names: names.clone(),
            names,
            changes: Vec::new(),
            capacity,
            calls: 0,
            faults: Vec::new(),
            is_off: false,
            life: 0,
        })))
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// Changes how much fits. Less than what is there already means: nothing more.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = bytes;
    }

    /// After `passes` more calls (of one kind, or of any), one fails with the system's error number. A write that fails
    /// puts half of its bytes down.
    pub(crate) fn fail(&self, call: Option<Call>, passes: u64, errno: rustix::io::Errno) {
        self.0.lock().faults.push(Fault { call, passes, errno: Some(errno.raw_os_error()) });
    }

    /// After `passes` more calls the power goes, in the midst of the next: that one and all after it fail until
    /// [`SimDisk::crash`]. A write or change of names that is struck may have happened or not.
    pub(crate) fn cut_power(&self, passes: u64) {
        self.0.lock().faults.push(Fault { call: None, passes, errno: None });
    }

    /// Whether the power has gone.
    pub(crate) fn is_off(&self) -> bool {
        self.0.lock().is_off
    }

    /// The machine stops and starts again: what was not safe meets its fate, handles are dead, and faults forgotten.
    pub(crate) fn crash(&self, dice: &mut Dice) {
        let state = &mut *self.0.lock();
        let mut names = state.safe_names.clone();
        for change in state.changes.drain(..) {
            if dice.coin() {
                names.apply(&change.what);
            }
        }
        for content in &mut state.contents {
            content.crash(dice);
        }
        state.safe_names = names.clone();
        state.names = names;
        state.faults.clear();
        state.is_off = false;
        state.life += 1;
    }

    /// Forgets the faults that have not struck yet.
    pub(crate) fn calm(&self) {
        self.0.lock().faults.clear();
    }

    /// Changes a file's bytes behind everybody's back, for good.
    pub(crate) fn damage(&self, path: &Path, harm: impl FnOnce(&mut Vec<u8>)) {
        let state = &mut *self.0.lock();
        if let Some(&file) = state.names.files.get(path) {
            state.contents[file].damage(harm);
        }
    }

    /// The bytes of a file as they are now, however safe; for a test's own eyes: no call, no fault.
    pub(crate) fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        let &file = state.names.files.get(path)?;
        Some(state.contents[file].live().to_vec())
    }
}

/// What becomes of a call.
enum Verdict {
    /// It is done.
    Pass,
    /// It is done by half, or not, and fails so.
    Struck(io::Error),
}

fn off() -> io::Error {
    io::Error::other("the simulated machine has no power")
}

impl State {
    /// Counts a call and looks whether a fault strikes it.
    fn enter(&mut self, call: Call) -> io::Result<Verdict> {
        if self.is_off {
            return Err(off());
        }
        self.calls += 1;
        let mut struck = None;
        self.faults.retain_mut(|fault| {
            if fault.call.is_some_and(|only| only != call) {
                return true;
            }
            if fault.passes > 0 || struck.is_some() {
                fault.passes = fault.passes.saturating_sub(1);
                return true;
            }
            struck = Some(*fault);
            false
        });
        let Some(fault) = struck else {
            return Ok(Verdict::Pass);
        };
        self.is_off = fault.errno.is_none();
        Ok(Verdict::Struck(fault.errno.map_or_else(off, io::Error::from_raw_os_error)))
    }

    /// As [`State::enter`], for calls that change nothing when they are struck.
    fn enter_plain(&mut self, call: Call) -> io::Result<()> {
        match self.enter(call)? {
            Verdict::Pass => Ok(()),
            Verdict::Struck(error) => Err(error),
        }
    }

    /// Makes a change of names. Struck by a power cut it may have happened; by an error it has not.
    fn change(&mut self, call: Call, what: Naming, folders: &[&Path]) -> io::Result<()> {
        let verdict = self.enter(call)?;
        if !self.is_off && matches!(verdict, Verdict::Struck(_)) {
            return verdict.done();
        }
        self.names.apply(&what);
        let unsynced = folders.iter().map(|folder| folder.to_path_buf()).collect();
        self.changes.push(Change { what, unsynced });
        verdict.done()
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names.files.get(path).copied().ok_or_else(not_found)
    }

    fn used(&self) -> u64 {
        self.names.files.values().map(|&file| self.contents[file].live().len() as u64).sum()
    }

    fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used())
    }
}

impl Verdict {
    fn done(self) -> io::Result<()> {
        match self {
            Self::Pass => Ok(()),
            Self::Struck(error) => Err(error),
        }
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = &mut *self.0.lock();
        if state.names.files.contains_key(path) || state.names.folders.contains(path) {
            state.enter_plain(Call::Create)?;
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.names.has_folder_of(path) {
            state.enter_plain(Call::Create)?;
            return Err(not_found());
        }
        let file = state.contents.len();
        state.contents.push(Content::default());
        state.change(Call::Create, Naming::Create(path.into(), file), &[folder_of(path)])?;
        Ok(Box::new(SimFile { disk: self.clone(), file, life: state.life }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.enter_plain(Call::Open)?;
        let file = state.file(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), file, life: state.life }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut state = self.0.lock();
        state.enter_plain(Call::List)?;
        if !state.names.folders.contains(folder) {
            return Err(not_found());
        }
        let within = state.names.files.keys().filter(|path| folder_of(path) == folder);
        Ok(within.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        state.enter_plain(Call::CreateFolder)?;
        let mut missing: Vec<&Path> =
            folder.ancestors().take_while(|above| !state.names.folders.contains(*above)).collect();
        while let Some(path) = missing.pop() {
            let what = Naming::Folder(path.into());
            state.names.apply(&what);
            let unsynced = BTreeSet::from([folder_of(path).to_path_buf()]);
            state.changes.push(Change { what, unsynced });
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        if !state.names.files.contains_key(from) || !state.names.has_folder_of(to) {
            state.enter_plain(Call::Rename)?;
            return Err(not_found());
        }
        let what = Naming::Rename(from.into(), to.into());
        state.change(Call::Rename, what, &[folder_of(from), folder_of(to)])
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        if !state.names.files.contains_key(path) {
            state.enter_plain(Call::Remove)?;
            return Err(not_found());
        }
        state.change(Call::Remove, Naming::Remove(path.into()), &[folder_of(path)])
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let state = &mut *self.0.lock();
        state.enter_plain(Call::SyncFolder)?;
        if !state.names.folders.contains(folder) {
            return Err(not_found());
        }
        for change in &mut state.changes {
            change.unsynced.remove(folder);
        }
        // A change stays in the list while an earlier one is open: they are replayed in order.
        while state.changes.first().is_some_and(|change| change.unsynced.is_empty()) {
            let change = state.changes.remove(0);
            state.safe_names.apply(&change.what);
        }
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let mut state = self.0.lock();
        state.enter_plain(Call::FreeBytes)?;
        Ok(state.free())
    }
}

/// A handle on a simulated file.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: usize,
    life: u64,
}

impl SimFile {
    fn with<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut State, Verdict) -> io::Result<T>,
    ) -> io::Result<T> {
        let state = &mut *self.disk.0.lock();
        if state.life != self.life {
            return Err(io::Error::other("this handle is from before the crash"));
        }
        let verdict = state.enter(call)?;
        act(state, verdict)
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(Call::Write, |state, verdict| {
            let offset = usize::try_from(offset).unwrap();
            let room = usize::try_from(state.free()).unwrap_or(usize::MAX);
            let content = &mut state.contents[self.file];
            let end = content.live().len().saturating_add(room);
            let mut fits = bytes.len().min(end.saturating_sub(offset));
            if matches!(verdict, Verdict::Struck(_)) && !state.is_off {
                fits = fits.min(bytes.len() / 2);
            }
            content.write(&bytes[..fits], offset);
            verdict.done()?;
            if fits < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(Call::Read, |state, verdict| {
            verdict.done()?;
            let live = state.contents[self.file].live();
            let from = usize::try_from(offset).unwrap().min(live.len());
            let count = buffer.len().min(live.len() - from);
            buffer[..count].copy_from_slice(&live[from..from + count]);
            Ok(count)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(Call::Length, |state, verdict| {
            verdict.done()?;
            Ok(state.contents[self.file].live().len() as u64)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(Call::Sync, |state, verdict| {
            let content = &mut state.contents[self.file];
            match verdict {
                Verdict::Pass => content.sync(),
                Verdict::Struck(_) => content.fail_sync(),
            }
            verdict.done()
        })
    }
}
