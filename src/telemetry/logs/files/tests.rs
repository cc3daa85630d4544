//! Tests of rolling and keeping.

use super::*;

fn options() -> FileOptions {
    FileOptions {
        path: "app.log".into(),
        max_size: 100,
        max_age: Duration::from_secs(60),
        keep: 3,
        keep_for: Duration::ZERO,
        keep_bytes: 0,
        gzip: false,
    }
}

#[test]
fn a_file_is_rolled_by_size_or_age_and_never_empty() {
    let options = options();
    assert!(!is_due(&options, 90, 10, 59));
    assert!(is_due(&options, 90, 11, 0));
    assert!(is_due(&options, 1, 1, 60));
    assert!(!is_due(&options, 0, 1000, 1000), "an empty file is begun by any line");
    let never = FileOptions { max_size: 0, max_age: Duration::ZERO, ..options };
    assert!(!is_due(&never, u64::MAX / 2, 1, u64::MAX));
}

#[test]
fn the_newest_are_kept_as_far_as_each_bound_allows() {
    let file = |age: u64| Old { name: format!("app.log.{age}"), size: 10, age };
    let old = || vec![file(30), file(10), file(40), file(20)];
    assert_eq!(surplus(old(), &options()), ["app.log.40"]);
    let by_age = FileOptions { keep: 9, keep_for: Duration::from_secs(25), ..options() };
    assert_eq!(surplus(old(), &by_age), ["app.log.30", "app.log.40"]);
    let by_bytes = FileOptions { keep: 9, keep_bytes: 25, ..options() };
    assert_eq!(surplus(old(), &by_bytes), ["app.log.30", "app.log.40"]);
    assert_eq!(surplus(old(), &FileOptions { keep: 0, ..options() }).len(), 4);
}

#[test]
fn names_tell_when_a_file_was_rolled() {
    let name = stamp(1_700_000_000);
    assert_eq!(name, "20231114T221320Z");
    for end in [name.clone(), format!("{name}.gz"), format!("{name}-0002.gz")] {
        assert_eq!(rolled_at(&end), Some(1_700_000_000), "{end}");
    }
    for end in ["1", "gz", "old", "20231314T221320Z"] {
        assert_eq!(rolled_at(end), None, "{end}");
    }
}

#[test]
fn lines_are_whole_over_all_files_and_what_was_cut_off_is_packed_at_the_start() {
    let folder = std::env::temp_dir().join(format!("leveret-logs-{}", std::process::id()));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("app.log");
    fs::write(folder.join("app.log.20200101T000000Z"), "cut off\n").unwrap();
    fs::write(folder.join("app.log.20200101T000000Z.gz.tmp"), "half").unwrap();
    fs::write(folder.join("app.log.notes"), "not ours").unwrap();
    let options = FileOptions { path, max_size: 64, gzip: true, keep: 100, ..options() };
    let mut file = RollingFile::open(options.clone()).unwrap();
    for n in 0..40 {
        file.write(format!("line {n:04}\n").as_bytes()).unwrap();
    }
    // One at a time, beside the threads that it has started.
    let turn = file.tidying.lock();
    tidy(&options).unwrap();
    let names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut lines = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(".gz")) {
        let mut text = String::new();
        let packed = File::open(folder.join(name)).unwrap();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut text).unwrap();
        lines.extend(text.lines().map(str::to_owned).collect::<Vec<_>>());
    }
    lines.extend(fs::read_to_string(&options.path).unwrap().lines().map(str::to_owned));
    lines.sort();
    let mut wanted: Vec<String> = (0..40).map(|n| format!("line {n:04}")).collect();
    wanted.insert(0, "cut off".into());
    assert_eq!(lines, wanted);
    assert!(names.contains(&"app.log.notes".to_owned()), "{names:?}");
    drop(turn);
    fs::remove_dir_all(&folder).unwrap();
}
