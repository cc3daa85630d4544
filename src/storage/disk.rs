//! The seam under everything that must survive a crash: what the storage asks of a file system, and the real one.
//!
//! Tests put `storage/sim.rs` in its place, which loses what a power cut may lose. So the trait has no call whose
//! durability is implied: a file's bytes are safe after [`DiskFile::sync_data`], its name after [`Disk::sync_folder`].

use std::fmt::Debug;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::io::File;

/// A file system. Every error is the system's own, so that its kind can be told apart.
pub(crate) trait Disk: Send + Sync + Debug {
    /// Makes a new file, readable by its owner alone; fails if there is one of that name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file that is there, to read and write.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// The names of the files in a folder, sorted; no folders, and no names that are not UTF-8.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Makes a folder and those above it; one that is there already is no error.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Gives a file another name, in place of the file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a file's name away; its handles stay good.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder safe: creations, renames and removals up to now.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Bytes that this process may still write to the file system of `folder`.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

/// An open file. Positions are explicit, so a handle may be shared.
pub(crate) trait DiskFile: Send + Sync + Debug {
    /// Writes all of `bytes` from `offset` on; a gap before it reads as zeros. After an error, some may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Fills `buffer` from `offset` on; fewer bytes than asked for mean the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Makes the file's bytes and length safe. After an error nobody knows which writes are: do not try again.
    fn sync_data(&self) -> io::Result<()>;
}

/// All of a file.
pub(crate) fn read_whole(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    let filled = file.read_at(&mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path);
        Ok(Box::new(RealFile(file?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(File::options().read(true).write(true).open(path)?)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[allow(clippy::disallowed_methods, reason = "the caller syncs the folder, once for many")]
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(here(folder))?.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        free_bytes(folder)
    }
}

/// Free space of the disk that `folder` is on, for users that are not root.
///
/// # Errors
/// The system's.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let room = rustix::fs::statvfs(here(folder))?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

/// The parent of a bare file name is an empty path; the system wants it spelt.
fn here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0_usize;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::storage::sim::SimDisk;

    fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
        result.err().expect("an error").kind()
    }

    /// What both file systems do alike, so that a test on the simulated one says something of the real one.
    fn behaves(disk: &dyn Disk, folder: &Path) {
        let path = |name: &str| folder.join(name);
        let below = path("a/b");
        disk.create_folder(&below).unwrap();
        disk.create_folder(&below).unwrap();
        assert_eq!(kind(disk.open(&path("x"))), io::ErrorKind::NotFound);
        assert_eq!(kind(disk.create(&path("none/x"))), io::ErrorKind::NotFound);
        let file = disk.create(&path("x")).unwrap();
        assert_eq!(kind(disk.create(&path("x"))), io::ErrorKind::AlreadyExists);
        assert_eq!(file.len().unwrap(), 0);
        file.write_at(b"hello", 3).unwrap();
        file.write_at(b"J", 3).unwrap();
        let mut buffer = [9; 10];
        assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 7);
        assert_eq!(&buffer, b"\0\0Jello\x09\x09\x09");
        assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 0);
        assert_eq!(file.read_at(&mut buffer, 80).unwrap(), 0);
        assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
        assert_eq!((file.len().unwrap(), disk.open(&path("x")).unwrap().len().unwrap()), (8, 8));
        file.sync_data().unwrap();

        disk.create(&path("b")).unwrap().write_at(b"old", 0).unwrap();
        assert_eq!(disk.list(folder).unwrap(), ["b", "x"]);
        disk.rename(&path("x"), &path("b")).unwrap();
        assert_eq!(disk.list(folder).unwrap(), ["b"]);
        assert_eq!(disk.open(&path("b")).unwrap().len().unwrap(), 8);
        disk.rename(&path("b"), &below.join("c")).unwrap();
        assert_eq!(disk.list(&below).unwrap(), ["c"]);
        assert_eq!(kind(disk.rename(&path("b"), &path("c"))), io::ErrorKind::NotFound);
        assert_eq!(kind(disk.rename(&below.join("c"), &path("none/c"))), io::ErrorKind::NotFound);
        disk.remove(&below.join("c")).unwrap();
        assert_eq!(kind(disk.remove(&below.join("c"))), io::ErrorKind::NotFound);
        assert_eq!(file.read_at(&mut buffer, 4).unwrap(), 4, "a handle outlives the name");
        disk.sync_folder(folder).unwrap();
        assert_eq!(kind(disk.sync_folder(&path("none"))), io::ErrorKind::NotFound);
        assert_eq!(kind(disk.list(&path("none"))), io::ErrorKind::NotFound);
        assert!(disk.free_bytes(folder).unwrap() > 0);
    }

    #[test]
    fn the_real_and_the_simulated_disk_behave_alike() {
        let folder = crate::storage::tests::folder("disk");
        behaves(&RealDisk, &folder);
        behaves(&SimDisk::new(1 << 20), Path::new("/"));
    }
}
