//! An auth server that a test owns: it answers what the test says, and notes what it was asked.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Lines, in lower case.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

#[derive(Debug)]
struct State {
    answer: Mutex<(u16, String)>,
    asked: Mutex<Vec<Asked>>,
    ends: AtomicBool,
}

/// See the module's description. It ends with the test.
#[derive(Debug)]
pub(crate) struct Authd {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Authd {
    /// Answers every question with this JSON.
    pub(crate) fn start(answer: &str) -> Self {
        Self::start_with(None, answer)
    }

    /// The same over HTTPS.
    pub(crate) fn start_tls(tls: Arc<ServerConfig>, answer: &str) -> Self {
        Self::start_with(Some(tls), answer)
    }

    fn start_with(tls: Option<Arc<ServerConfig>>, answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            answer: Mutex::new((200, answer.to_owned())),
            asked: Mutex::default(),
            ends: AtomicBool::new(false),
        });
        let serving = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.ends.load(Ordering::SeqCst) {
                    return;
                }
                // A client that does not like the certificate just goes.
                drop(match &tls {
                    None => answer_one(stream, &serving),
                    Some(tls) => {
                        let session = ServerConnection::new(Arc::clone(tls)).expect("a session");
                        answer_one(StreamOwned::new(session, stream), &serving)
                    }
                });
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    /// Answers otherwise from now on.
    pub(crate) fn answers(&self, status: u16, body: &str) {
        *locked(&self.state.answer) = (status, body.to_owned());
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked until now.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        locked(&self.state.asked).clone()
    }
}

impl Drop for Authd {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::SeqCst);
        // Wakes it.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn answer_one(stream: impl Read + Write, state: &State) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim() {
            "" => break,
            header => headers.push(header.to_lowercase()),
        }
    }
    let length = headers.iter().find_map(|header| header.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    locked(&state.asked).push(Asked { method, target, headers, body });
    let (status, answer) = locked(&state.answer).clone();
    let head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(answer.as_bytes())?;
    stream.flush()
}
