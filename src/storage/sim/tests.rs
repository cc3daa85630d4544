//! That the simulated disk loses what it may, keeps what it must, and fails when it is told to.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use rustix::io::Errno;

use super::*;

const ROOM: u64 = 1 << 20;

/// Everything that a file or its absence can look like after a crash that follows `work`.
fn outcomes(work: impl Fn(&SimDisk), path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let after = |seed| {
        let disk = SimDisk::new(ROOM);
        work(&disk);
        disk.crash(&mut Dice::new(seed));
        disk.bytes(Path::new(path))
    };
    (0..500).map(after).collect()
}

fn some(texts: &[&[u8]]) -> BTreeSet<Option<Vec<u8>>> {
    texts.iter().map(|text| Some(text.to_vec())).collect()
}

/// Makes a file with synced bytes and a synced name.
fn safe(disk: &SimDisk, path: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let path = Path::new(path);
    let file = disk.create(path).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_folder(folder_of(path)).unwrap();
    file
}

#[test]
fn what_is_synced_stays_and_what_is_not_may_be_torn_at_any_byte() {
    let synced = outcomes(|disk| drop(safe(disk, "/f", b"ab")), "/f");
    assert_eq!(synced, some(&[b"ab"]));
    let torn = outcomes(|disk| safe(disk, "/f", b"ab").write_at(b"cd", 2).unwrap(), "/f");
    assert_eq!(torn, some(&[b"ab", b"abc", b"abcd", b"ab\0d", b"ab\0\0"]));
    let gap = |disk: &SimDisk| {
        let file = safe(disk, "/f", b"");
        file.write_at(b"a", 0).unwrap();
        file.write_at(b"b", 1).unwrap();
    };
    assert_eq!(outcomes(gap, "/f"), some(&[b"", b"a", b"ab", b"\0", b"\0b", b"a\0", b"\0\0"]));
}

#[test]
fn names_need_their_folder_synced() {
    let unnamed = |disk: &SimDisk| {
        let file = disk.create(Path::new("/f")).unwrap();
        file.write_at(b"a", 0).unwrap();
        file.sync_data().unwrap();
    };
    let mut either = some(&[b"a"]);
    either.insert(None);
    assert_eq!(outcomes(unnamed, "/f"), either);
    let removed = |disk: &SimDisk| {
        drop(safe(disk, "/f", b"a"));
        disk.remove(Path::new("/f")).unwrap();
    };
    assert_eq!(outcomes(removed, "/f"), either);
    let replaced = |disk: &SimDisk| {
        drop((safe(disk, "/f", b"old"), safe(disk, "/g", b"new")));
        disk.rename(Path::new("/g"), Path::new("/f")).unwrap();
    };
    assert_eq!(outcomes(replaced, "/f"), some(&[b"old", b"new"]));
    let settled = |disk: &SimDisk| {
        replaced(disk);
        disk.sync_folder(Path::new("/")).unwrap();
    };
    assert_eq!(outcomes(settled, "/f"), some(&[b"new"]));
}

#[test]
fn a_folder_that_is_lost_takes_its_files_along() {
    let work = |disk: &SimDisk| {
        disk.create_folder(Path::new("/d")).unwrap();
        drop(safe(disk, "/d/f", b"a"));
    };
    let mut either = some(&[b"a"]);
    either.insert(None);
    assert_eq!(outcomes(work, "/d/f"), either);
    let moved = |disk: &SimDisk| {
        work(disk);
        disk.sync_folder(Path::new("/")).unwrap();
        disk.rename(Path::new("/d/f"), Path::new("/f")).unwrap();
        disk.sync_folder(Path::new("/d")).unwrap();
    };
    assert_eq!(outcomes(moved, "/f"), either, "both folders of a rename need a sync");
}

#[test]
fn a_sync_that_failed_is_not_mended_by_the_next() {
    let work = |disk: &SimDisk| {
        let file = safe(disk, "/f", b"");
        file.write_at(b"a", 0).unwrap();
        disk.fail(Some(Call::Sync), 0, Errno::IO);
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
        file.write_at(b"b", 1).unwrap();
        file.sync_data().unwrap();
    };
    assert_eq!(outcomes(work, "/f"), some(&[b"ab", b"\0b"]));
}

#[test]
fn space_ends_in_the_midst_of_a_write() {
    let disk = SimDisk::new(5);
    let file = disk.create(Path::new("/f")).unwrap();
    file.write_at(b"abc", 0).unwrap();
    assert_eq!(disk.free_bytes(Path::new("/")).unwrap(), 2);
    let full = file.write_at(b"xyz", 3).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.bytes(Path::new("/f")).unwrap(), b"abcxy");
    file.write_at(b"AB", 0).unwrap();
    disk.set_capacity(4);
    assert_eq!(file.write_at(b"x", 5).unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.remove(Path::new("/f")).unwrap();
    assert_eq!(disk.free_bytes(Path::new("/")).unwrap(), 4);
}

#[test]
fn faults_strike_the_call_that_was_meant_and_once() {
    let disk = SimDisk::new(ROOM);
    let file = disk.create(Path::new("/f")).unwrap();
    disk.fail(Some(Call::Write), 1, Errno::IO);
    disk.fail(None, 3, Errno::MFILE);
    file.write_at(b"ab", 0).unwrap();
    assert_eq!(file.write_at(b"cdef", 2).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(disk.bytes(Path::new("/f")).unwrap(), b"abcd", "half of it is there");
    file.sync_data().unwrap();
    assert_eq!(disk.open(Path::new("/f")).unwrap_err().raw_os_error(), Some(24));
    drop(disk.open(Path::new("/f")).unwrap());
    assert_eq!(disk.calls(), 6);
}

#[test]
fn without_power_nothing_works_and_old_handles_stay_dead() {
    let disk = SimDisk::new(ROOM);
    let file = safe(&disk, "/f", b"a");
    disk.cut_power(1);
    assert_eq!(file.len().unwrap(), 1);
    file.write_at(b"b", 1).unwrap_err();
    assert!(disk.is_off());
    disk.list(Path::new("/")).unwrap_err();
    disk.crash(&mut Dice::new(1));
    file.len().unwrap_err();
    assert_eq!(disk.list(Path::new("/")).unwrap(), ["f"]);
    let struck = outcomes(
        |disk| {
            let file = safe(disk, "/f", b"");
            disk.cut_power(0);
            file.write_at(b"b", 0).unwrap_err();
        },
        "/f",
    );
    assert_eq!(struck, some(&[b"", b"b", b"\0"]), "the write that was struck may have happened");
}

proptest! {
    /// Writes in any order with syncs between: up to the last sync nothing is lost, whatever comes after.
    #[test]
    fn the_bytes_before_the_last_sync_are_safe(
        before in prop::collection::vec((0_u64..64, prop::collection::vec(any::<u8>(), 1..16)), 0..12),
        after in prop::collection::vec((64_u64..128, prop::collection::vec(any::<u8>(), 1..16)), 0..12),
        seed in any::<u64>(),
    ) {
        let disk = SimDisk::new(ROOM);
        let file = safe(&disk, "/f", b"");
        for (offset, bytes) in &before {
            file.write_at(bytes, *offset).unwrap();
        }
        file.sync_data().unwrap();
        let held = disk.bytes(Path::new("/f")).unwrap();
        let held = &held[..held.len().min(64)];
        for (offset, bytes) in &after {
            file.write_at(bytes, *offset).unwrap();
        }
        disk.crash(&mut Dice::new(seed));
        let left = disk.bytes(Path::new("/f")).unwrap();
        prop_assert!(left.len() >= held.len());
        prop_assert_eq!(&left[..held.len()], held);
    }
}
