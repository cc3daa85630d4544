//! A utility as a process: with an input of its own, and its output kept.
//!
//! `NSQ_BIN` may name a folder with NSQ's own utilities, which are then run instead.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::wait::{self, eventually};
use super::{Scratch, signal};

/// What was written so far.
type Text = Arc<Mutex<Vec<u8>>>;

/// A utility that runs.
#[derive(Debug)]
pub(crate) struct Utility {
    child: Child,
    out: Text,
    err: Text,
    ends: Receiver<()>,
    scratch: Scratch,
}

/// How one ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Whether NSQ's own utilities are run.
pub(crate) fn is_original() -> bool {
    std::env::var_os("NSQ_BIN").is_some()
}

impl Utility {
    /// Starts the utility of this name; `{dir}` in an argument stands for a folder of its own.
    pub(crate) fn start(name: &str, arguments: &[&str], input: &[u8]) -> Self {
        let scratch = Scratch::new("utility");
        let program = match std::env::var_os("NSQ_BIN") {
            Some(folder) => PathBuf::from(folder).join(name),
            None => {
                let link = scratch.path().join(name);
                std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_leveret"), &link).unwrap();
                link
            }
        };
        let folder = scratch.path().display().to_string();
        let mut child = Command::new(&program)
            .args(arguments.iter().map(|argument| argument.replace("{dir}", &folder)))
            .current_dir(scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} starts: {error}", program.display()));
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // It may end before it has read everything.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
        let (end, ends) = channel();
        let (out, err) = (Text::default(), Text::default());
        keep(child.stdout.take().unwrap(), Arc::clone(&out), end.clone());
        keep(child.stderr.take().unwrap(), Arc::clone(&err), end);
        Self { child, out, err, ends, scratch }
    }

    /// Runs it to its end.
    pub(crate) fn run(name: &str, arguments: &[&str], input: &[u8]) -> Ended {
        Self::start(name, arguments, input).end()
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// What it has written to its standard output.
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.out.lock()).into_owned()
    }

    /// What it has written to its standard error.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.err.lock()).into_owned()
    }

    /// Awaits so many lines of output.
    pub(crate) fn await_lines(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} lines of output"), || {
            let out = self.out();
            let lines: Vec<String> = out.lines().map(str::to_owned).collect();
            (lines.len() >= count && out.ends_with('\n')).then_some(lines)
        })
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.end()
    }

    /// Its end, awaited.
    pub(crate) fn end(mut self) -> Ended {
        let status: ExitStatus = wait::until(wait::PATIENCE, || self.child.try_wait().unwrap())
            .unwrap_or_else(|| panic!("it does not end:\n{}", self.err()));
        for _ in 0..2 {
            self.ends.recv_timeout(wait::PATIENCE).unwrap();
        }
        Ended { code: status.code(), out: self.out(), err: self.err() }
    }
}

impl Drop for Utility {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- a utility's last words\n{}\n{}", self.out(), self.err());
        }
    }
}

fn keep(
    mut from: impl std::io::Read + Send + 'static,
    to: Text,
    end: std::sync::mpsc::Sender<()>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            to.lock().extend_from_slice(&buffer[..read]);
        }
        end.send(()).unwrap_or_default();
    })
}
