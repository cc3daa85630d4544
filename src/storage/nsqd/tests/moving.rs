//! Export and back, archiving, and both under power cuts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::storage::nsqd::export;
use crate::storage::nsqd::export::{Report, Writer};
use crate::storage::sim::Dice;

type Queues = Vec<(String, Queue)>;

/// Writes queues to `/out`; a queue's name tells a topic from a channel.
fn export_to(disk: &SimDisk, queues: &Queues, max_bytes: u64) -> Result<Report, StorageError> {
    let mut writer = Writer::on(disk.shared(), Path::new("/out"), max_bytes)?;
    for (name, (paused, messages)) in queues {
        let messages = messages.iter().cloned().map(Ok::<_, StorageError>);
        match name.split_once(':') {
            None => writer.topic(name, *paused, messages)?,
            Some((_, channel)) => writer.channel(channel, *paused, messages)?,
        };
    }
    writer.finish()
}

/// Two topics with three channels, and enough messages for several small files.
fn sample() -> Queues {
    let some = |first: u64, count: u64| -> Vec<Message> {
        (first..first + count).map(|number| message(number, &format!("m{number}"))).collect()
    };
    vec![
        ("a".into(), (true, some(0, 5))),
        ("a:x".into(), (false, some(10, 9))),
        ("a:y".into(), (true, Vec::new())),
        ("b".into(), (false, Vec::new())),
        ("b:x".into(), (false, some(20, 1))),
    ]
}

fn all_of(disk: &SimDisk, folder: &str) -> Queues {
    let found = import(disk, folder).unwrap().unwrap();
    assert_eq!(found.problems, []);
    found.queues
}

#[test]
fn what_is_exported_is_nsqds_to_the_byte() {
    let disk = SimDisk::new(1 << 20);
    let report = export_to(&disk, &sample(), 100).unwrap();
    assert_eq!(
        report,
        Report {
            topics: 2,
            channels: 3,
            messages: 15,
            bytes: 5 * 32 + 9 * 33 + 33,
            largest_body: 3
        }
    );
    let text =
        |name: &str| String::from_utf8(disk.bytes(&Path::new("/out").join(name)).unwrap()).unwrap();
    assert_eq!(
        text("nsqd.dat"),
        r#"{"topics":[{"name":"a","paused":true,"channels":[{"name":"x","paused":false},{"name":"y","paused":true}]},{"name":"b","paused":false,"channels":[{"name":"x","paused":false}]}],"version":"1.3.0"}"#
    );
    assert_eq!(text("a.diskqueue.meta.dat"), "5\n0,0\n1,64\n");
    assert_eq!(text("b:x.diskqueue.meta.dat"), "1\n0,0\n0,33\n");
    assert_eq!(
        disk.list(Path::new("/out")).unwrap(),
        [
            "a.diskqueue.000000.dat",
            "a.diskqueue.000001.dat",
            "a.diskqueue.meta.dat",
            "a:x.diskqueue.000000.dat",
            "a:x.diskqueue.000001.dat",
            "a:x.diskqueue.000002.dat",
            "a:x.diskqueue.meta.dat",
            "b:x.diskqueue.000000.dat",
            "b:x.diskqueue.meta.dat",
            "nsqd.dat",
        ]
    );
    assert_eq!(all_of(&disk, "/out"), sample());
}

#[test]
fn an_export_takes_an_empty_folder_and_leaves_out_what_is_ephemeral() {
    let disk = SimDisk::new(1 << 20);
    let mut writer = Writer::on(disk.shared(), Path::new("/out"), 100).unwrap();
    let one = || [Ok::<_, StorageError>(message(1, "m"))];
    writer.channel("c", false, one()).unwrap_err();
    writer.topic("../t", false, one()).unwrap_err();
    assert_eq!(writer.topic("e#ephemeral", false, one()).unwrap(), 0);
    assert_eq!(writer.channel("c", false, one()).unwrap(), 0);
    assert_eq!(writer.topic("t", false, one()).unwrap(), 1);
    assert_eq!(writer.channel("c#ephemeral", false, one()).unwrap(), 0);
    assert_eq!(writer.channel("c", false, one()).unwrap(), 1);
    assert_eq!(writer.finish().unwrap().messages, 2);
    let names: Vec<String> = all_of(&disk, "/out").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["t", "t:c"]);
    let again = Writer::on(disk.shared(), Path::new("/out"), 100).unwrap_err();
    assert!(matches!(again, StorageError::Occupied { .. }), "{again}");
}

#[test]
fn an_error_of_the_source_is_handed_on() {
    #[derive(Debug)]
    struct Stopped;
    impl From<StorageError> for Stopped {
        fn from(_: StorageError) -> Self {
            Self
        }
    }
    let folder = crate::storage::tests::folder("nsqd-export");
    let mut writer = export::Writer::new(&folder, 100).unwrap();
    let Stopped = writer.topic("t", false, [Ok(message(1, "m")), Err(Stopped)]).unwrap_err();
    assert!(!folder.join("nsqd.dat").exists());
}

#[test]
fn an_archive_keeps_everything_and_is_never_written_over() {
    let disk = channel_with(&[(0, records(0, &["m0"]))]);
    put_positions(&disk, 1, (0, 0), (0, 32));
    put(&disk, "/data/t:c.diskqueue.000009.dat.bad", b"?");
    put(&disk, "/data/leveret.other", b"!");
    let folder = Path::new("/data");
    let archive = || open_on(disk.shared(), folder).unwrap().unwrap().archive().unwrap();
    assert_eq!(archive(), folder.join("nsqd-imported"));
    assert!(open_on(disk.shared(), folder).unwrap().is_none());
    assert_eq!(disk.list(folder).unwrap(), ["leveret.other", "nsqd.dat"]);
    let first = import(&disk, "/data/nsqd-imported").unwrap().unwrap();
    assert_eq!(first.texts("t:c"), ["m0"]);
    assert!(disk.bytes(Path::new("/data/nsqd-imported/t:c.diskqueue.000009.dat.bad")).is_some());

    put(&disk, "/data/t:c.diskqueue.000000.dat", &records(1, &["m1"]));
    put_positions(&disk, 1, (0, 0), (0, 32));
    assert_eq!(archive(), folder.join("nsqd-imported.2"));
    assert_eq!(import(&disk, "/data/nsqd-imported").unwrap().unwrap(), first);
}

/// Whenever the power goes, the next start imports all of it or none of it, and the archive has what it does not.
#[test]
fn a_power_cut_never_leaves_a_part_to_be_imported() {
    let prepared = || {
        let disk = SimDisk::new(1 << 20);
        export_to(&disk, &sample(), 100).unwrap();
        disk
    };
    let run = |disk: &SimDisk| -> Result<(), StorageError> {
        let import = open_on(disk.shared(), Path::new("/out"))?.expect("there is something");
        import.visit(100, |_, _, _| Ok::<_, StorageError>(()))?;
        import.archive().map(drop)
    };
    let disk = prepared();
    let before = disk.calls();
    run(&disk).unwrap();
    let calls = disk.calls() - before;
    let mut outcomes = [0; 2];
    for cut in 0..=calls {
        for seed in 0..10 {
            let disk = prepared();
            disk.cut_power(cut);
            let is_done = run(&disk).is_ok();
            assert_eq!(is_done, cut == calls);
            let mut dice = Dice::new(cut * 1000 + seed);
            disk.crash(&mut dice);
            let again = import(&disk, "/out").unwrap();
            outcomes[usize::from(again.is_none())] += 1;
            assert!(again.is_none() || !is_done);
            let (queues, problems) = match again {
                Some(found) => (found.queues, found.problems),
                None => (all_of(&disk, "/out/nsqd-imported"), Vec::new()),
            };
            assert_eq!((queues, problems), (sample(), vec![]), "cut {cut}, seed {seed}");
        }
    }
    assert!(outcomes.iter().all(|&count| count > 50), "{outcomes:?}");
}

/// Whenever the power goes, the folder is whole or has no `nsqd.dat`.
#[test]
fn a_power_cut_never_leaves_half_an_export() {
    let disk = SimDisk::new(1 << 20);
    export_to(&disk, &sample(), 100).unwrap();
    let calls = disk.calls();
    let mut whole = 0;
    for cut in 0..=calls {
        for seed in 0..10 {
            let disk = SimDisk::new(1 << 20);
            disk.cut_power(cut);
            let is_done = export_to(&disk, &sample(), 100).is_ok();
            disk.crash(&mut Dice::new(cut * 1000 + seed));
            let is_there = disk.bytes(Path::new("/out/nsqd.dat")).is_some();
            assert!(is_there || !is_done, "cut {cut}, seed {seed}");
            if is_there {
                assert_eq!(all_of(&disk, "/out"), sample(), "cut {cut}, seed {seed}");
                whole += 1;
            }
        }
    }
    assert!(whole > 10, "{whole}");
}

#[test]
fn a_full_disk_fails_the_export() {
    let disk = SimDisk::new(300);
    let error = export_to(&disk, &sample(), 100).unwrap_err();
    let StorageError::Io { source, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    assert!(disk.bytes(Path::new("/out/nsqd.dat")).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Bodies around the size of a read, in files of any size.
    #[test]
    fn export_and_import_are_inverse(
        sizes in prop::collection::vec(prop_oneof![0_usize..50, 250_000_usize..270_000], 0..40),
        max_bytes in prop_oneof![Just(1_u64), 1_u64..2000, 200_000_u64..2_000_000],
    ) {
        let disk = SimDisk::new(1 << 30);
        let body = |(number, size): (u64, usize)| Message {
            body: vec![number.to_le_bytes()[0]; size],
            ..message(number, "")
        };
        let messages: Vec<Message> = (0..).zip(sizes).map(body).collect();
        let queues = vec![("t".to_owned(), (false, messages))];
        export_to(&disk, &queues, max_bytes).unwrap();
        let lengths: BTreeMap<String, usize> = disk
            .list(Path::new("/out"))
            .unwrap()
            .into_iter()
            .map(|name| (name.clone(), disk.bytes(&Path::new("/out").join(&name)).unwrap().len()))
            .collect();
        let largest = queues[0].1.1.iter().filter_map(diskqueue::record_length).max();
        prop_assert!(
            lengths
                .iter()
                .filter(|(name, _)| name.ends_with("0.dat") || name.ends_with("1.dat"))
                .all(|(_, &length)| length as u64 <= max_bytes.max(largest.unwrap_or_default()))
        );
        // Without messages there are no files, and so nothing to be imported.
        match import(&disk, "/out").unwrap() {
            Some(found) => prop_assert_eq!((found.queues, found.problems), (queues, vec![])),
            None => prop_assert!(queues[0].1.1.is_empty()),
        }
    }
}
