//! A connection's loop: bytes in, bytes out, and the deadlines of both.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until, timeout};

use super::buffers::{Input, give_output, take_output};
use super::rider::Rehome;
use super::session::{Burst, Heard, Session, Upgrade};
use super::stream::{HandshakeError, Stream};
use super::{Options, host};
use crate::clock::{self, Instant};
use crate::engine::{Client, Engine, Identity, Signal};
use crate::protocol::encode::MAGIC_V2;
use crate::protocol::frame;
use crate::protocol::{ErrorCode, ProtocolError};
use crate::task::stopped;

/// How long a client may take to send its magic. nsqd waits for ever.
const MAGIC_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take, as with nsqd.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to read its last answers.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that a connection may read and write before others on its thread get their turn.
const TURN: usize = 256 * 1024;

/// What a connection needs of its node.
pub(super) struct Host {
    pub(super) engine: Arc<Engine>,
    pub(super) options: Arc<Options>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Serves one client until it goes, is thrown out, or the node stops: then `signal` is to be woken.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Rehome + Unpin + Send>(
    mut socket: S,
    peer: String,
    node: Host,
    signal: Arc<Signal>,
) {
    let Host { engine, options, mut stop } = node;
    let magic = tokio::select! {
        magic = timeout(MAGIC_TIMEOUT, read_magic(&mut socket)) => magic,
        () = stopped(&mut stop) => return,
    };
    match magic {
        Ok(Ok(magic)) if magic == *MAGIC_V2 => {}
        Ok(Ok(_)) => {
            let mut out = Vec::new();
            frame::push_error(&mut out, &ProtocolError::new(ErrorCode::BadProtocol, "").to_bytes());
            Box::pin(finish(socket.into(), &out)).await;
            return;
        }
        Ok(Err(error)) => return tracing::debug!(peer, %error, "no magic"),
        Err(_) => return tracing::debug!(peer, "no magic in time"),
    }
    let host = host(&peer).to_owned();
    let identity = Identity { client_id: host.clone(), hostname: host, ..Identity::default() };
    let client = Arc::new(Client::new(peer.clone(), clock::unix_seconds(), identity));
    let listed = engine.clients().enter(Arc::clone(&client));
    let session = Session::new(engine, Arc::clone(&options), client, Arc::clone(&signal));
    let mut conn = Conn {
        stream: Stream::from(socket),
        session,
        signal,
        input: Input::default(),
        written: 0,
        heard: clock::now(),
        wrote: clock::now(),
        beat: None,
        asking: None,
        stop_at: None,
        timer: Box::pin(sleep_until(clock::now())),
        thread: thread::current().id(),
    };
    let end = loop {
        match conn.serve(&stop, &options).await {
            End::Closed(reason) => break reason,
            End::Upgrade(upgrade) => {
                // Apart, as it is large and over soon.
                let upgrading = Box::pin(conn.upgraded(upgrade, &options));
                conn = tokio::select! {
                    conn = upgrading => conn,
                    () = stopped(&mut stop) => return tracing::debug!(peer, "node stops"),
                };
            }
        }
    };
    tracing::debug!(peer, reason = end, "client gone");
    let Conn { stream, session, written, .. } = conn;
    Box::pin(finish(stream, session.out.get(written..).unwrap_or_default())).await;
    drop(session);
    drop(listed);
}

async fn read_magic(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; 4]> {
    let mut magic = [0; 4];
    stream.read_exact(&mut magic).await?;
    Ok(magic)
}

/// Writes what is left and closes, as far as the client lets us.
async fn finish(mut stream: Stream<impl AsyncRead + AsyncWrite + Unpin>, out: &[u8]) {
    let writing = async {
        stream.write_all(out).await?;
        stream.close().await?;
        if !out.is_empty() {
            // What the client has still under way would otherwise reset the connection before it has read the answer.
            stream.drain().await?;
        }
        io::Result::Ok(())
    };
    // A client that does not read its last answer does not get it.
    if let Ok(Err(error)) = timeout(FLUSH_TIMEOUT, writing).await {
        tracing::debug!(%error, "closed without saying so");
    }
}

/// Something that the session waits for, under way.
type Asking = Pin<Box<dyn Future<Output = Heard> + Send>>;

struct Conn<S> {
    stream: Stream<S>,
    session: Session,
    signal: Arc<Signal>,
    input: Input,
    /// How much of the session's output is written.
    written: usize,
    /// When the last command was complete.
    heard: Instant,
    /// When something was last written, or there was nothing to write.
    wrote: Instant,
    /// When the last heartbeat was due, and the interval then.
    beat: Option<(Instant, Duration)>,
    /// What the session waits for.
    asking: Option<Asking>,
    /// Until when open publishes may be answered, once the node stops.
    stop_at: Option<Instant>,
    /// Set to a deadline or earlier: most deadlines only ever move away, and setting it anew each time costs more than
    /// being woken in vain once.
    timer: Pin<Box<Sleep>>,
    /// Where what it waits for is registered.
    thread: ThreadId,
}

/// Why a connection is no longer served as it is.
enum End {
    Closed(&'static str),
    /// Everything is written, and this comes before anything else is read.
    Upgrade(Upgrade),
}

/// What woke the loop.
enum Event {
    Read(usize),
    Wrote(usize),
    Woken,
    Heard(Heard),
    Time,
}

impl<S: AsyncRead + AsyncWrite + Rehome + Unpin> Conn<S> {
    /// Runs until the connection is to be closed or upgraded.
    async fn serve(&mut self, stop: &watch::Receiver<bool>, options: &Options) -> End {
        let mut burst = Burst::Done;
        let mut moved = 0;
        loop {
            let now = clock::now();
            self.rehome(now);
            if self.session.out.capacity() == 0 {
                self.session.out = take_output();
            }
            self.session.replies.advance(&mut self.session.out);
            if burst != Burst::Last {
                burst = self.handle(now);
            }
            let has_more = self.session.pull(now);
            let is_answered = self.session.replies.is_empty();
            if (burst == Burst::Last || self.stop_at.is_some()) && is_answered {
                return End::Closed("done");
            }
            if is_answered
                && !self.has_output()
                && let Some(upgrade) = self.session.upgrade()
            {
                self.input.tidy();
                return End::Upgrade(upgrade);
            }
            self.ask(options);
            if self.signal.is_closed() {
                return End::Closed("channel closed");
            }
            if let Some(reason) = self.overdue(now) {
                return End::Closed(reason);
            }
            self.session.replies.watch(&self.signal);
            self.input.tidy();
            if moved >= TURN {
                moved = 0;
                tokio::task::yield_now().await;
            }
            let waiting = poll_fn(|context| self.poll_event(burst == Burst::Done, context));
            match waiting.await {
                Ok(Event::Read(0)) => {
                    self.session.end(&self.input.bytes);
                    return End::Closed("closed by client");
                }
                Ok(Event::Read(bytes)) => moved += bytes,
                Ok(Event::Wrote(bytes)) => {
                    moved += bytes;
                    self.wrote(bytes);
                }
                Ok(Event::Time) => {}
                Ok(Event::Woken) => {
                    if self.stop_at.is_none() && *stop.borrow() {
                        self.stop_at = Some(clock::now() + options.shutdown_timeout);
                    }
                    // A publisher that wakes a consumer usually has more to publish: let it, once.
                    if !has_more && self.session.held_until().is_none() {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(Event::Heard(heard)) => {
                    self.asking = None;
                    self.heard = clock::now();
                    self.session.hear(heard, self.heard);
                }
                Err(error) => {
                    tracing::debug!(%error, "connection failed");
                    return End::Closed("connection failed");
                }
            }
        }
    }

    /// Waits on this thread from now on, if it has come from another one.
    fn rehome(&mut self, now: Instant) {
        let here = thread::current().id();
        if here == self.thread {
            return;
        }
        self.thread = here;
        self.timer = Box::pin(sleep_until(now));
        if let Err(error) = self.stream.rehome() {
            tracing::debug!(%error, "the socket is waited for on another thread");
        }
    }

    /// Puts over the connection what was agreed on. If that fails the client is told, and the connection ends.
    async fn upgraded(mut self, upgrade: Upgrade, options: &Options) -> Self {
        if let (true, Some(tls)) = (upgrade.tls, &options.secure.tls) {
            // What came too early is part of the handshake, or nothing.
            let early = std::mem::take(&mut self.input.bytes);
            match self.stream.secure(early, tls, HANDSHAKE_TIMEOUT).await {
                Ok((stream, peer)) => {
                    self.stream = stream;
                    self.session.secured(peer);
                }
                Err((stream, error)) => {
                    self.stream = stream;
                    return self.not_upgraded(&error);
                }
            }
            if upgrade.packing.is_some() {
                let mut ok = Vec::new();
                frame::push_response(&mut ok, frame::OK);
                let written = timeout(HANDSHAKE_TIMEOUT, self.stream.write_all(&ok)).await;
                if let Err(error) = written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                {
                    return self.not_upgraded(&error.into());
                }
            }
        }
        if let Some(kind) = upgrade.packing {
            self.stream.pack(kind, std::mem::take(&mut self.input.bytes));
            self.session.packed(kind);
        }
        self.session.upgraded();
        (self.heard, self.wrote) = (clock::now(), clock::now());
        self
    }

    fn not_upgraded(mut self, error: &HandshakeError) -> Self {
        self.session.fail(ErrorCode::IdentifyFailed, format!("IDENTIFY failed {error}"));
        self
    }

    /// Begins to wait for what the session waits for: an answer of the auth servers, or that what it has subscribed to is
    /// there.
    fn ask(&mut self, options: &Options) {
        if self.asking.is_some() {
            return;
        }
        if let Some(preparing) = self.session.preparing() {
            self.asking = Some(Box::pin(async move { Heard::Prepared(preparing.await) }));
        } else if let Some(question) = self.session.question()
            && let Some(auth) = options.secure.auth.clone()
        {
            self.asking = Some(Box::pin(async move { Heard::Leave(auth.ask(&question).await) }));
        }
    }

    fn handle(&mut self, now: Instant) -> Burst {
        // A publish that failed late is the last answer, whether or not the client says more.
        if self.session.replies.is_last() {
            return Burst::Last;
        }
        if self.stop_at.is_some() || (self.input.bytes.is_empty() && !self.session.is_halted()) {
            return Burst::Done;
        }
        let (burst, commands) = self.session.handle(&mut self.input.bytes, now);
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
        }
    }

    fn has_output(&self) -> bool {
        self.written < self.session.out.len() || self.stream.has_unflushed()
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
        let silence = self.silence_max()?;
        (self.heard + silence <= now).then_some("client is silent")
    }

    /// How long the client may be silent; as long as it likes while it is not listened to.
    fn silence_max(&self) -> Option<Duration> {
        self.session.silence_max().filter(|_| self.asking.is_none())
    }

    /// The next moment at which [`Conn::overdue`] has something to do.
    fn next_deadline(&self) -> Option<Instant> {
        let beat = self.beat.map(|(at, interval)| at + interval);
        let silence = self.silence_max().map(|silence| self.heard + silence);
        let write =
            self.has_output().then(|| Some(self.wrote + self.session.heartbeat()?)).flatten();
        let held = self.session.held_until();
        [beat, silence, write, held, self.stop_at].into_iter().flatten().min()
    }

    /// Writes, is answered, reads, is woken, or a deadline passes, whichever comes first. Writing comes before reading, so
    /// that answers do not wait for questions.
    fn poll_event(
        &mut self,
        wants_read: bool,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Event>> {
        if self.written < self.session.out.len() {
            let output = self.session.out.get(self.written..).unwrap_or_default();
            match self.stream.poll_write(context, output) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => return Poll::Ready(written.map(Event::Wrote)),
                Poll::Pending => {}
            }
        } else {
            give_output(std::mem::take(&mut self.session.out));
            if self.stream.has_unflushed()
                && let Poll::Ready(flushed) = self.stream.poll_flush(context)
            {
                return Poll::Ready(flushed.map(|()| Event::Wrote(0)));
            }
        }
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(heard) = asking.as_mut().poll(context)
        {
            return Poll::Ready(Ok(Event::Heard(heard)));
        }
        if wants_read && self.stop_at.is_none() {
            let read = self.input.poll_read(&mut self.stream, context);
            if read.is_ready() {
                return read.map_ok(Event::Read);
            }
        }
        if self.signal.poll_woken(context).is_ready() {
            return Poll::Ready(Ok(Event::Woken));
        }
        self.poll_timer(context)
    }

    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Event>> {
        let Some(deadline) = self.next_deadline() else {
            return Poll::Pending;
        };
        if deadline < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(context).map(|()| Ok(Event::Time))
    }
}
