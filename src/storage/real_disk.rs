//! The machine's own disk behind the seam.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::disk::{Disk, DiskFile};
use super::io::{self as files, File};

/// See the module's description.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(files::create_new(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(files::open_file(path)?)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        files::list(folder)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        files::create_all(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        files::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        files::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let space = rustix::fs::statvfs(folder)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
