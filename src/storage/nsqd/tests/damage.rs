//! Queues that nsqd left in a bad state, or that the disk spoiled: each made here, byte by byte.

use rustix::io::Errno;

use super::*;
use crate::storage::nsqd::Damage;
use crate::storage::sim::Call;

fn imported(disk: &SimDisk) -> Imported {
    import(disk, "/data").unwrap().unwrap()
}

fn path(number: u64) -> std::path::PathBuf {
    Path::new("/data").join(diskqueue::data_file("t:c", number))
}

/// Bytes that a record with a body of two bytes takes.
const RECORD: u64 = 32;

/// nsq#1514 and nsq#1491, as they are on most disks: the reader had caught up when the file was rolled. nsqd reads on at
/// the file's end, and takes it for damaged; nothing is.
#[test]
fn a_read_position_at_the_end_of_a_rolled_file_is_no_damage() {
    let disk = channel_with(&[(0, records(0, &["m0", "m1"])), (1, records(2, &["m2"]))]);
    put_positions(&disk, 1, (0, 2 * RECORD), (1, RECORD));
    let found = imported(&disk);
    assert_eq!((found.texts("t:c"), &found.problems[..]), (vec!["m2"], &[][..]));
    assert_eq!(found.messages("t:c"), [message(2, "m2")]);
}

/// nsq#1514 as reported: the read position lies between the bounds of messages. nsqd loses the whole file.
#[test]
fn a_read_position_in_mid_record_goes_back_to_the_record() {
    let disk = channel_with(&[(0, records(0, &["m0", "m1", "m2"])), (1, records(3, &["m3"]))]);
    let position = RECORD + 7;
    put_positions(&disk, 3, (0, position), (1, RECORD));
    let found = imported(&disk);
    assert_eq!(found.texts("t:c"), ["m1", "m2", "m3"]);
    assert_eq!(found.problems, [Problem::MidRecord { path: path(0), position, resumed: RECORD }]);
}

/// go-diskqueue#28: the positions are older than the data. Some of it was read before; none is lost.
#[test]
fn data_behind_the_write_position_is_read_to_its_end() {
    let disk = channel_with(&[(3, records(0, &["m0", "m1", "m2", "m3"]))]);
    put_positions(&disk, 1, (3, RECORD), (3, 2 * RECORD));
    let found = imported(&disk);
    assert_eq!((found.texts("t:c"), &found.problems[..]), (vec!["m1", "m2", "m3"], &[][..]));
}

#[test]
fn without_positions_all_files_are_read_from_their_start() {
    let disk = channel_with(&[(4, records(0, &["m0", "m1"])), (5, records(2, &["m2"]))]);
    let file = "t:c.diskqueue.meta.dat".to_owned();
    let problem = Problem::NoPositions { queue: "t:c".into(), file };
    let found = imported(&disk);
    assert_eq!(found.texts("t:c"), ["m0", "m1", "m2"]);
    assert_eq!(found.problems, std::slice::from_ref(&problem));
    put(&disk, "/data/t:c.diskqueue.meta.dat", b"2\n0,0\n");
    assert_eq!(imported(&disk), found, "positions cut short are none");
}

#[test]
fn damage_gives_up_the_rest_of_its_file_and_no_more() {
    let good = records(0, &["m0", "m1", "m2"]);
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        bad
    };
    let second = usize::try_from(RECORD).unwrap();
    for (first, damage) in [
        (with(second, &25_i32.to_be_bytes()), Damage::Length(25)),
        (with(second, &(-1_i32).to_be_bytes()), Damage::Length(-1)),
        (with(second, &0_i32.to_be_bytes()), Damage::Length(0)),
        (with(second, &i32::MAX.to_be_bytes()), Damage::CutShort),
        (with(second, &33_i32.to_be_bytes()), Damage::CutShort),
        (with(second + 14, b"\0"), Damage::NoMessage),
        (good[..second + 20].to_vec(), Damage::CutShort),
        (good[..second + 3].to_vec(), Damage::CutShort),
    ] {
        let first = match damage {
            // A length that leads beyond the second message to nothing that is one.
            Damage::CutShort if first.len() == good.len() => first[..second + 36].to_vec(),
            _ => first,
        };
        let given_up = first.len() as u64 - RECORD;
        let disk = channel_with(&[(0, first), (1, records(3, &["m3"]))]);
        put_positions(&disk, 4, (0, 0), (1, RECORD));
        let found = imported(&disk);
        assert_eq!(found.texts("t:c"), ["m0", "m3"], "{damage}");
        let problem = Problem::Damaged { path: path(0), offset: RECORD, given_up, damage };
        assert_eq!(found.problems, [problem]);
    }
}

#[test]
fn damage_before_the_read_position_harms_nothing() {
    let mut bytes = records(0, &["m0", "m1", "m2"]);
    bytes[0] = 0xff;
    let disk = channel_with(&[(0, bytes)]);
    put_positions(&disk, 1, (0, 2 * RECORD), (0, 3 * RECORD));
    let found = imported(&disk);
    assert_eq!((found.texts("t:c"), &found.problems[..]), (vec!["m2"], &[][..]));
}

#[test]
fn files_that_are_missing_or_short_are_told() {
    let disk = channel_with(&[(1, records(1, &["m1"]))]);
    put_positions(&disk, 3, (0, 0), (1, 2 * RECORD));
    let found = imported(&disk);
    assert_eq!(found.texts("t:c"), ["m1"]);
    let missing = Problem::Missing { queue: "t:c".into(), first: 0, last: 0 };
    let (length, position) = (RECORD, 2 * RECORD);
    let short = Problem::Short { path: path(1), length, position };
    assert_eq!(found.problems, [missing, short]);
}

#[test]
fn what_nsqd_dat_does_not_name_is_told_and_left() {
    let disk = channel_with(&[]);
    put(&disk, "/data/gone:c.diskqueue.000000.dat", &records(0, &["m0"]));
    put(&disk, "/data/gone.diskqueue.meta.dat", b"0\n0,0\n0,0\n");
    let found = imported(&disk);
    assert_eq!(found.texts("t:c"), [""; 0]);
    assert_eq!(found.problems, [Problem::Unlisted { queue: "gone:c".into(), files: 1 }]);
    let names = ["t:c", "t"].map(|queue| found.messages(queue).len());
    assert_eq!((names, found.queues.len()), ([0, 0], 2));

    let disk = SimDisk::new(1 << 20);
    put(&disk, "/data/nsqd.dat", br#"{"topics":[{"name":"a b"}]}"#);
    put(&disk, "/data/t.diskqueue.meta.dat", b"0\n0,0\n0,0\n");
    assert_eq!(imported(&disk).problems, [Problem::InvalidName { name: "a b".into() }]);
    disk.remove(Path::new("/data/nsqd.dat")).unwrap();
    put(&disk, "/data/nsqd.dat", b"{");
    let error = import(&disk, "/data").unwrap_err();
    assert!(matches!(error, StorageError::Metadata { .. }), "{error}");
}

#[test]
fn a_folder_made_on_windows_is_read() {
    let disk = channel_with(&[]);
    put(&disk, "/data/t;c.diskqueue.000000.dat", &records(0, &["m0"]));
    put(&disk, "/data/t;c.diskqueue.meta.dat", b"1\n0,0\n0,32\n");
    let found = imported(&disk);
    assert_eq!((found.texts("t:c"), &found.problems[..]), (vec!["m0"], &[][..]));
}

/// go-diskqueue#1: nsqd takes a want of file descriptors for damage and puts good files aside.
#[test]
fn an_error_of_the_system_ends_the_import_and_harms_nothing() {
    let disk = channel_with(&[(0, records(0, &["m0", "m1"])), (1, records(2, &["m2"]))]);
    put_positions(&disk, 3, (0, 0), (1, RECORD));
    let whole = imported(&disk);
    assert_eq!(whole.texts("t:c"), ["m0", "m1", "m2"]);
    for errno in [Errno::MFILE, Errno::NFILE, Errno::IO, Errno::ACCESS] {
        for call in [Call::List, Call::Open, Call::Read, Call::Length] {
            let mut failures = 0;
            loop {
                disk.fail(Some(call), failures, errno);
                let Err(error) = import(&disk, "/data") else {
                    break;
                };
                let StorageError::Io { source, .. } = &error else {
                    panic!("{error}");
                };
                assert_eq!(source.raw_os_error(), Some(errno.raw_os_error()), "{error}");
                failures += 1;
            }
            disk.crash(&mut crate::storage::sim::Dice::new(0));
            assert!(failures > 0, "{call:?} was never struck");
            assert_eq!(imported(&disk), whole);
        }
    }
}
