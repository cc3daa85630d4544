//! Files of a folder of the test's own.

use std::collections::BTreeMap;
use std::fs;

use flate2::read::MultiGzDecoder;

use super::super::naming::Parts;
use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("leveret-to-file-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(path.join("out")).unwrap();
        fs::create_dir_all(path.join("work")).unwrap();
        Self(path)
    }

    fn writer(&self, format: &str, change: impl FnOnce(&mut WriterOptions)) -> Writer {
        let mut options = WriterOptions {
            output_dir: self.0.join("out"),
            work_dir: self.0.join("out"),
            gzip: None,
            rotate_size: 0,
            rotate_interval: Duration::ZERO,
        };
        change(&mut options);
        let parts = Parts { topic: "t", host_identifier: "h", hostname: "h", pid: 1 };
        let has_revisions = format.contains("<REV>");
        let is_gzip = options.gzip.is_some();
        let naming = Naming::new(format, "%H%M", &parts, is_gzip, has_revisions).unwrap();
        Writer::new(naming, options)
    }

    /// The files of a sub-folder, unpacked where they are packed.
    fn files(&self, of: &str) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.0.join(of)).unwrap();
        let read = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            let mut text = String::new();
            let mut file = File::open(entry.path()).unwrap();
            if name.ends_with(".gz") {
                MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
            } else {
                file.read_to_string(&mut text).unwrap();
            }
            (name, text)
        };
        entries.map(|entry| read(entry.unwrap())).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn time(minute: u32) -> ZonedDateTime {
    format!("2026-03-04T15:{minute:02}:00+00:00[+00:00]").parse().unwrap()
}

fn named(names: &[(&str, &str)]) -> BTreeMap<String, String> {
    names.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_restart_appends_behind_a_whole_line() {
    let folder = Folder::new("append");
    for (body, torn) in [("one", ""), ("two", "tor"), ("three", "")] {
        let mut writer = folder.writer("<TOPIC>.<DATETIME>", |_| {});
        writer.write(body.as_bytes(), &time(1)).unwrap();
        writer.close().unwrap();
        let mut file = File::options().append(true).open(folder.0.join("out/t.1501")).unwrap();
        file.write_all(torn.as_bytes()).unwrap();
    }
    assert_eq!(folder.files("out"), named(&[("t.1501", "one\ntwo\ntor\nthree\n")]));
}

#[test]
fn another_time_is_another_file() {
    let folder = Folder::new("time");
    let mut writer = folder.writer("<DATETIME>", |_| {});
    for (minute, body) in [(1, "a"), (1, "b"), (2, "c")] {
        assert_eq!(writer.needs_rotation(&time(minute)), body != "b");
        writer.write(body.as_bytes(), &time(minute)).unwrap();
    }
    writer.close().unwrap();
    assert_eq!(folder.files("out"), named(&[("1501", "a\nb\n"), ("1502", "c\n")]));
}

#[test]
fn files_are_turned_over_by_size_and_full_ones_left_alone() {
    let folder = Folder::new("size");
    for _ in 0..2 {
        let mut writer = folder.writer("<TOPIC><REV>", |options| options.rotate_size = 3);
        for body in ["aa", "bb", "cc"] {
            writer.write(body.as_bytes(), &time(1)).unwrap();
        }
        writer.close().unwrap();
    }
    // Two lines are more than three bytes: each pair fills a file, and the next run goes on in the third one.
    assert_eq!(
        folder.files("out"),
        named(&[("t-000000", "aa\nbb\n"), ("t-000001", "cc\naa\n"), ("t-000002", "bb\ncc\n")])
    );
}

#[test]
fn packed_files_are_new_ones_and_whole_after_each_sync() {
    let folder = Folder::new("gzip");
    for run in 0..2 {
        let mut writer = folder.writer("<TOPIC><REV>.gz", |options| options.gzip = Some(6));
        writer.write(b"one", &time(1)).unwrap();
        writer.sync().unwrap();
        let name = format!("t-00000{run}.gz");
        assert_eq!(folder.files("out")[&name], "one\n");
        writer.write(b"two", &time(1)).unwrap();
        writer.close().unwrap();
        assert_eq!(folder.files("out")[&name], "one\ntwo\n");
    }
}

#[test]
fn edge_157_a_file_is_moved_and_the_next_message_begins_another() {
    let folder = Folder::new("work");
    let work = folder.0.join("work");
    let mut writer = folder.writer("<TOPIC><REV>", |options| options.work_dir = work);
    fs::write(folder.0.join("out/t-000000"), "somebody else's").unwrap();
    writer.write(b"one", &time(1)).unwrap();
    assert_eq!(folder.files("work").keys().collect::<Vec<_>>(), ["t-000001"]);
    // Meanwhile somebody takes that name too.
    fs::write(folder.0.join("out/t-000001"), "another's").unwrap();
    writer.close().unwrap();
    assert!(!writer.is_open() && folder.files("work").is_empty());
    writer.write(b"two", &time(1)).unwrap();
    writer.close().unwrap();
    assert_eq!(
        folder.files("out"),
        named(&[
            ("t-000000", "somebody else's"),
            ("t-000001", "another's"),
            ("t-000002", "one\n"),
            ("t-000003", "two\n")
        ])
    );
}

#[test]
fn a_name_may_have_folders() {
    let folder = Folder::new("folders");
    let mut writer = folder.writer("<TOPIC>/<DATETIME>", |_| {});
    writer.write(b"one", &time(1)).unwrap();
    writer.close().unwrap();
    assert_eq!(fs::read_to_string(folder.0.join("out/t/1501")).unwrap(), "one\n");
}
