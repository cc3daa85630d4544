//! The binary under test as a process: started on free ports, its log kept, ended with the test.
//!
//! Where a test asks for nsqd's behaviour alone, `NSQD` may name another nsqd's binary: the same test then
//! tells whether it asks for the right thing.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::{Scratch, signal, tail, wait};

/// Before the address in the log, as nsqd writes it.
const TCP_LINE: &str = "TCP: listening on ";
const HTTP_LINE: &str = "HTTP: listening on ";
const HTTPS_LINE: &str = "HTTPS: listening on ";

/// What to start; [`Plan::start`] does.
#[derive(Debug)]
pub(crate) struct Plan {
    program: PathBuf,
    arguments: Vec<String>,
    scratch: Scratch,
    environment: Vec<(String, String)>,
}

impl Plan {
    /// Adds an argument; `{dir}` stands for the scratch folder.
    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(self.filled(argument));
        self
    }

    /// Sets an environment variable; `{dir}` stands for the scratch folder.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        let value = self.filled(value);
        self.environment.push((name.to_owned(), value));
        self
    }

    /// Writes a file of the configuration, such as `bridges/orders.yaml`; `{dir}` stands for the scratch folder.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        self.scratch.write(name, &self.filled(text));
        self
    }

    /// The scratch folder.
    pub(crate) fn dir(&self) -> &Path {
        self.scratch.path()
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{dir}", &self.scratch.path().display().to_string())
    }

    /// Starts it and awaits that it listens for both NSQ and HTTP.
    pub(crate) fn start(self) -> Leveret {
        let log = self.scratch.path().join("log");
        let child = self.spawn(&log);
        let mut leveret = Leveret {
            plan: self,
            log,
            child: Some(child),
            tcp: ([127, 0, 0, 1], 0).into(),
            http: ([127, 0, 0, 1], 0).into(),
        };
        leveret.await_addresses();
        leveret
    }

    /// Starts it and awaits that it listens for NSQ, wherever that is.
    pub(crate) fn start_anywhere(self) -> Leveret {
        self.start_until(TCP_LINE)
    }

    /// Starts it and awaits a text in its log.
    pub(crate) fn start_until(self, text: &str) -> Leveret {
        let log = self.scratch.path().join("log");
        let nowhere = ([127, 0, 0, 1], 0).into();
        let child = Some(self.spawn(&log));
        let leveret = Leveret { plan: self, log, child, tcp: nowhere, http: nowhere };
        leveret.await_log(text);
        leveret
    }

    /// Runs it to its end, for a configuration that is to be refused; gives the exit code and what it wrote.
    pub(crate) fn run(self) -> (Option<i32>, String) {
        let log = self.scratch.path().join("log");
        let mut child = self.spawn(&log);
        let status = end_of(&mut child).unwrap_or_else(|| {
            kill_and_reap(&mut child);
            panic!("it was to end by itself, and did not:\n{}", tail(&log, 40))
        });
        (status.code(), fs::read_to_string(&log).unwrap_or_default())
    }

    fn spawn(&self, log: &Path) -> Child {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log file can be opened");
        let again = out.try_clone().expect("a file handle can be doubled");
        Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.scratch.path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(again)
            .spawn()
            .unwrap_or_else(|error| panic!("{} starts: {error}", self.program.display()))
    }
}

/// A server that runs, or ran until [`Leveret::kill`] or [`Leveret::stop`].
#[derive(Debug)]
pub(crate) struct Leveret {
    plan: Plan,
    log: PathBuf,
    child: Option<Child>,
    tcp: SocketAddr,
    http: SocketAddr,
}

impl Leveret {
    /// `leveret nsqd` on free ports with its data in the scratch folder; or, if `NSQD` is set, that binary.
    pub(crate) fn nsqd() -> Plan {
        let other = other();
        let own = other.is_none();
        let plan = Self::plan(other.unwrap_or_else(binary));
        let plan = if own { plan.arg("nsqd") } else { plan };
        plan.arg("--tcp-address=127.0.0.1:0")
            .arg("--http-address=127.0.0.1:0")
            .arg("--data-path={dir}")
    }

    /// `leveret serve` with this text as `leveret.yaml`. The text asks for ports 0 of 127.0.0.1 and keeps its
    /// data under `{dir}`.
    pub(crate) fn serve(configuration: &str) -> Plan {
        Self::plan(binary())
            .file("leveret.yaml", configuration)
            .arg("serve")
            .arg("--config={dir}/leveret.yaml")
    }

    /// `leveret` with only the arguments that the test adds.
    pub(crate) fn bare() -> Plan {
        Self::plan(binary())
    }

    /// Another program, with only the arguments that the test adds.
    pub(crate) fn program(program: PathBuf) -> Plan {
        Self::plan(program)
    }

    /// The binary under another name, by way of a link in the scratch folder, with only the arguments that the test adds.
    pub(crate) fn named(name: &str) -> Plan {
        let mut plan = Self::plan(PathBuf::new());
        plan.program = plan.scratch.path().join(name);
        std::os::unix::fs::symlink(binary(), &plan.program).expect("a link can be made");
        plan
    }

    fn plan(program: PathBuf) -> Plan {
        Plan {
            program,
            arguments: Vec::new(),
            scratch: Scratch::new("leveret"),
            environment: Vec::new(),
        }
    }

    /// Where it takes NSQ clients.
    pub(crate) fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where it answers HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it answers HTTPS.
    pub(crate) fn https(&self) -> SocketAddr {
        wait::eventually("an address of HTTPS", || address(&self.log(), HTTPS_LINE))
    }

    /// Where nsqadmin answers: a program of its own, or one within a node.
    pub(crate) fn admin(&self) -> SocketAddr {
        wait::eventually("an address of nsqadmin", || {
            let log = self.log();
            let mut lines = log.lines().filter(|line| line.contains(HTTP_LINE));
            let line = lines.next_back()?;
            address(&format!("{line}\n"), HTTP_LINE)
        })
    }

    /// The scratch folder: configuration, log and data.
    pub(crate) fn dir(&self) -> &Path {
        self.plan.scratch.path()
    }

    /// All that it has logged, over restarts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Awaits a text in the log.
    pub(crate) fn await_log(&self, text: &str) {
        wait::until_true(&format!("{text:?} in the log"), || self.log().contains(text));
    }

    /// The process id, for signals and `/proc`.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Sends a signal by name, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// SIGTERM, and its end awaited.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.end()
    }

    /// Its end, by itself, awaited.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        end_of(&mut child).unwrap_or_else(|| {
            kill_and_reap(&mut child);
            panic!("it did not end")
        })
    }

    /// Whether it runs still.
    pub(crate) fn is_running(&mut self) -> bool {
        let child = self.child.as_mut().expect("the server was not stopped");
        child.try_wait().expect("a child can be waited for").is_none()
    }

    /// SIGKILL, as a crash.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_and_reap(&mut child);
        }
    }

    /// Starts it again with the same arguments and data. Its ports may be others.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let seen = self.log().len();
        self.child = Some(self.plan.spawn(&self.log));
        self.await_addresses_after(seen);
    }

    /// Adds an argument for the next start; of a flag that is given twice, the last one counts.
    pub(crate) fn add_arg(&mut self, argument: &str) {
        let argument = self.plan.filled(argument);
        self.plan.arguments.push(argument);
    }

    /// The same for one that was started by [`Plan::start_anywhere`].
    pub(crate) fn restart_anywhere(&mut self) {
        self.kill();
        let seen = self.log().len();
        self.child = Some(self.plan.spawn(&self.log));
        wait::until_true("it listens again", || self.log()[seen..].contains(TCP_LINE));
    }

    fn await_addresses(&mut self) {
        self.await_addresses_after(0);
    }

    fn await_addresses_after(&mut self, seen: usize) {
        let found = wait::until(wait::PATIENCE, || {
            let ended = match self.child.as_mut().map(Child::try_wait) {
                Some(Ok(status)) => status,
                _ => None,
            };
            let log = self.log();
            let new = log.get(seen..).unwrap_or_default();
            match (address(new, TCP_LINE), address(new, HTTP_LINE), ended) {
                (Some(tcp), Some(http), _) => Some(Ok((tcp, http))),
                (_, _, Some(status)) => Some(Err(status)),
                _ => None,
            }
        });
        match found {
            Some(Ok((tcp, http))) => (self.tcp, self.http) = (tcp, http),
            Some(Err(status)) => panic!("it ended at the start: {status}"),
            None => panic!("it does not say where it listens"),
        }
    }
}

impl Drop for Leveret {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // Whoever awaits a count asks for it many times.
            let log = self.log();
            let said: Vec<&str> =
                log.lines().filter(|line| !line.contains(" 200 GET /stats")).collect();
            let last = &said[said.len().saturating_sub(100)..];
            eprintln!("--- the server's last words\n{}", last.join("\n"));
        }
    }
}

/// The binary of another nsqd that is asked instead.
fn other() -> Option<PathBuf> {
    std::env::var_os("NSQD").map(PathBuf::from)
}

/// Whether [`Leveret::nsqd`] is not Leveret: for the few cases in which Leveret does better on purpose.
pub(crate) fn is_nsqd() -> bool {
    other().is_some()
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_leveret"))
}

/// The address behind `line` in a log; whole lines only, the last may be half written.
fn address(log: &str, line: &str) -> Option<SocketAddr> {
    let whole = &log[..=log.rfind('\n')?];
    // Every "HTTP: listening on" must not pass for the shorter name in it, nor "HTTPS:" for "HTTP:".
    let word = |text: &str| text.chars().last().is_none_or(|c| !c.is_alphanumeric());
    whole.lines().find_map(|text| {
        let at = text.find(line)?;
        let rest = &text[at + line.len()..];
        let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
        word(&text[..at]).then(|| rest[..end].parse().ok())?
    })
}

fn end_of(child: &mut Child) -> Option<ExitStatus> {
    wait::until(wait::PATIENCE, || child.try_wait().expect("a child can be waited for"))
}

fn kill_and_reap(child: &mut Child) {
    // An error says that it has ended already, which is what is wanted.
    drop(child.kill());
    drop(child.wait());
}

#[test]
fn addresses_are_read_from_whole_log_lines() {
    let log = "[nsqd] 2024/01/02 INFO: TCP: listening on 127.0.0.1:4150\n\
               [nsqd] 2024/01/02 INFO: HTTP: listening on 127.0.0.1:4151\n\
               {\"message\":\"HTTPS: listening on [::1]:4152\"}\nTCP: listening on 127.0.0.1:9";
    assert_eq!(address(log, TCP_LINE), "127.0.0.1:4150".parse().ok());
    assert_eq!(address(log, HTTP_LINE), "127.0.0.1:4151".parse().ok());
    assert_eq!(address(log, "HTTPS: listening on "), "[::1]:4152".parse().ok());
    assert_eq!(address("TCP: listening on 127.0.0.1:9", TCP_LINE), None);
}
