//! A connection's loop: bytes in, bytes out, and the deadlines of both.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::Options;
use super::session::{Burst, Session};
use crate::clock::{self, Instant};
use crate::engine::{Client, Engine, Identity, Signal};
use crate::protocol::encode::MAGIC_V2;
use crate::protocol::frame;
use crate::protocol::{ErrorCode, ProtocolError};
use crate::task::stopped;

/// What a read asks for at least, and at most. A declared size is never allocated before it has arrived: the buffer
/// doubles as it fills.
const READ_MIN: usize = 16 * 1024;
const READ_MAX: usize = 1024 * 1024;
/// How long a client may take to send its magic. nsqd waits for ever.
const MAGIC_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take to read its last answers.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// A buffer beyond this is given back once it is empty: one large message must not cost its connection's memory for ever.
const KEEP: usize = 64 * 1024;

/// Serves one client until it goes, is thrown out, or the node stops.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin + Send>(
    mut stream: S,
    peer: String,
    engine: Arc<Engine>,
    options: Arc<Options>,
    mut stop: watch::Receiver<bool>,
) {
    let magic = tokio::select! {
        magic = timeout(MAGIC_TIMEOUT, read_magic(&mut stream)) => magic,
        () = stopped(&mut stop) => return,
    };
    match magic {
        Ok(Ok(magic)) if magic == *MAGIC_V2 => {}
        Ok(Ok(_)) => {
            let mut out = Vec::new();
            frame::push_error(&mut out, &ProtocolError::new(ErrorCode::BadProtocol, "").to_bytes());
            finish(stream, &out).await;
            return;
        }
        Ok(Err(error)) => return tracing::debug!(peer, %error, "no magic"),
        Err(_) => return tracing::debug!(peer, "no magic in time"),
    }
    let host =
        peer.rsplit_once(':').map_or("", |(host, _)| host.trim_matches(['[', ']'])).to_owned();
    let identity = Identity { client_id: host.clone(), hostname: host, ..Identity::default() };
    let client = Arc::new(Client::new(peer.clone(), clock::unix_seconds(), identity));
    let listed = engine.clients().enter(Arc::clone(&client));
    let signal = Arc::<Signal>::default();
    let session = Session::new(engine, Arc::clone(&options), client, Arc::clone(&signal));
    let mut conn = Conn {
        stream,
        session,
        signal,
        input: BytesMut::new(),
        written: 0,
        heard: clock::now(),
        wrote: clock::now(),
        beat: None,
        stop_at: None,
    };
    let end = conn.serve(&mut stop, options.shutdown_timeout).await;
    tracing::debug!(peer, reason = end, "client gone");
    let Conn { stream, session, written, .. } = conn;
    finish(stream, session.out.get(written..).unwrap_or_default()).await;
    drop(session);
    drop(listed);
}

async fn read_magic(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; 4]> {
    let mut magic = [0; 4];
    stream.read_exact(&mut magic).await?;
    Ok(magic)
}

/// Writes what is left and closes, as far as the client lets us.
async fn finish(mut stream: impl AsyncRead + AsyncWrite + Unpin, out: &[u8]) {
    let writing = async {
        stream.write_all(out).await?;
        stream.shutdown().await?;
        if !out.is_empty() {
            // What the client has still under way would otherwise reset the connection before it has read the answer.
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
        }
        io::Result::Ok(())
    };
    // A client that does not read its last answer does not get it.
    if let Ok(Err(error)) = timeout(FLUSH_TIMEOUT, writing).await {
        tracing::debug!(%error, "closed without saying so");
    }
}

struct Conn<S> {
    stream: S,
    session: Session,
    signal: Arc<Signal>,
    input: BytesMut,
    /// How much of the session's output is written.
    written: usize,
    /// When the last command was complete.
    heard: Instant,
    /// When something was last written, or there was nothing to write.
    wrote: Instant,
    /// When the last heartbeat was due, and the interval then.
    beat: Option<(Instant, Duration)>,
    /// Until when open publishes may be answered, once the node stops.
    stop_at: Option<Instant>,
}

/// What woke the loop.
enum Event {
    Read(usize),
    Wrote(usize),
    Woken,
    Time,
    Stop,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    /// Runs until the connection is to be closed, and says why.
    async fn serve(
        &mut self,
        stop: &mut watch::Receiver<bool>,
        shutdown: Duration,
    ) -> &'static str {
        let mut burst = Burst::Done;
        loop {
            let now = clock::now();
            self.session.replies.advance(&mut self.session.out);
            if burst != Burst::Last {
                burst = self.handle(now);
            }
            let has_more = self.session.pull(now);
            if (burst == Burst::Last || self.stop_at.is_some()) && self.session.replies.is_empty() {
                return "done";
            }
            if self.signal.is_closed() {
                return "channel closed";
            }
            if let Some(reason) = self.overdue(now) {
                return reason;
            }
            self.session.replies.watch(&self.signal);
            match self.wait(burst, stop).await {
                Ok(Event::Read(0)) => {
                    self.session.end(&self.input);
                    return "closed by client";
                }
                Ok(Event::Read(_)) => {}
                Ok(Event::Wrote(bytes)) => self.wrote(bytes),
                Ok(Event::Woken) => {
                    // A publisher that wakes a consumer usually has more to publish: let it, once.
                    if !has_more {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(Event::Time) => {}
                Ok(Event::Stop) => self.stop_at = Some(clock::now() + shutdown),
                Err(error) => {
                    tracing::debug!(%error, "connection failed");
                    return "connection failed";
                }
            }
        }
    }

    fn handle(&mut self, now: Instant) -> Burst {
        // A publish that failed late is the last answer, whether or not the client says more.
        if self.session.replies.is_last() {
            return Burst::Last;
        }
        if self.input.is_empty() || self.stop_at.is_some() {
            return Burst::Done;
        }
        let (burst, commands) = self.session.handle(&mut self.input, now);
        if self.input.is_empty() && self.input.capacity() > KEEP {
            self.input = BytesMut::new();
        }
        if commands > 0 {
            self.heard = now;
        }
        burst
    }

    fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        self.wrote = clock::now();
        if self.written == self.session.out.len() {
            self.written = 0;
            self.session.out.clear();
            if self.session.out.capacity() > KEEP {
                self.session.out.shrink_to(KEEP);
            }
        }
    }

    fn has_output(&self) -> bool {
        self.written < self.session.out.len()
    }

    /// Sends a heartbeat if one is due, and says what deadline has passed.
    fn overdue(&mut self, now: Instant) -> Option<&'static str> {
        if self.stop_at.is_some_and(|at| at <= now) {
            return Some("node stops");
        }
        // Before the heartbeat, which is output of this moment.
        if !self.has_output() {
            self.wrote = now;
        }
        let interval = self.session.heartbeat();
        match (interval, self.beat) {
            (None, _) => self.beat = None,
            (Some(interval), Some((at, before))) if before == interval => {
                if at + interval <= now {
                    self.beat = Some((at + interval, interval));
                    frame::push_response(&mut self.session.out, frame::HEARTBEAT);
                }
            }
            (Some(interval), _) => self.beat = Some((now, interval)),
        }
        if self.has_output() && interval.is_some_and(|interval| self.wrote + interval <= now) {
            return Some("client does not read");
        }
        let silence = self.session.silence_max()?;
        (self.heard + silence <= now).then_some("client is silent")
    }

    /// The next moment at which [`Conn::overdue`] has something to do.
    fn next_deadline(&self) -> Option<Instant> {
        let beat = self.beat.map(|(at, interval)| at + interval);
        let silence = self.session.silence_max().map(|silence| self.heard + silence);
        let write =
            self.has_output().then(|| Some(self.wrote + self.session.heartbeat()?)).flatten();
        [beat, silence, write, self.stop_at].into_iter().flatten().min()
    }

    async fn wait(&mut self, burst: Burst, stop: &mut watch::Receiver<bool>) -> io::Result<Event> {
        let deadline = self.next_deadline();
        let wants_read = burst == Burst::Done && self.stop_at.is_none();
        let is_stopping = self.stop_at.is_some();
        let signal = Arc::clone(&self.signal);
        let transfer = Transfer {
            stream: &mut self.stream,
            input: wants_read.then_some(&mut self.input),
            output: self.session.out.get(self.written..).unwrap_or_default(),
        };
        tokio::select! {
            biased;
            event = transfer => event,
            () = signal.woken() => Ok(Event::Woken),
            () = sleep_until(deadline.unwrap_or_else(clock::now)), if deadline.is_some() => Ok(Event::Time),
            () = stopped(stop), if !is_stopping => Ok(Event::Stop),
        }
    }
}

/// Reads and writes at once, whichever can be done first. Writing comes first, so that answers do not wait for questions.
struct Transfer<'a, S> {
    stream: &'a mut S,
    input: Option<&'a mut BytesMut>,
    output: &'a [u8],
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Transfer<'_, S> {
    type Output = io::Result<Event>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<Event>> {
        let this = &mut *self;
        if !this.output.is_empty() {
            match Pin::new(&mut *this.stream).poll_write(context, this.output) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => return Poll::Ready(written.map(Event::Wrote)),
                Poll::Pending => {}
            }
        }
        let Some(input) = this.input.as_deref_mut() else {
            return Poll::Pending;
        };
        poll_read(Pin::new(&mut *this.stream), input, context)
    }
}

fn poll_read(
    mut stream: Pin<&mut (impl AsyncRead + Unpin)>,
    input: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<Event>> {
    input.reserve(input.len().clamp(READ_MIN, READ_MAX));
    // It keeps nothing from poll to poll, so it can be made anew each time.
    let reading = std::pin::pin!(stream.read_buf(input));
    reading.poll(context).map_ok(Event::Read)
}
