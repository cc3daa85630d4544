//! A TCP relay in the way of a connection: to cut it in the middle of things, or to let it fall silent.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What the relay does with bytes and newcomers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Bytes pass.
    Open,
    /// Connections stay, and nothing passes: as a network that drops packets.
    Silent,
    /// Every piece of bytes waits so long: as a network that is far or full.
    Slow(Duration),
    /// Newcomers are closed at once: as a server that is down.
    Closed,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    streams: Vec<TcpStream>,
}

#[derive(Debug)]
struct Relay {
    state: Mutex<State>,
    changed: Condvar,
}

/// A relay to one address; its threads end with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    relay: Arc<Relay>,
}

impl Proxy {
    /// Listens on a free port for connections to `target`.
    pub(crate) fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback is free");
        let address = listener.local_addr().expect("a listener has an address");
        let relay = Arc::new(Relay {
            state: Mutex::new(State { mood: Mood::Open, streams: Vec::new() }),
            changed: Condvar::new(),
        });
        let (target, of_listener) = (target.to_owned(), Arc::clone(&relay));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                of_listener.connect(&near, &target);
            }
        });
        Self { address, relay }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, wherever it is in its bytes. New ones are taken.
    pub(crate) fn cut(&self) {
        self.relay.turn(Mood::Open, true);
    }

    /// Ends every connection and refuses new ones, until [`Proxy::open`].
    pub(crate) fn close(&self) {
        self.relay.turn(Mood::Closed, true);
    }

    /// Lets connections be and no byte through, until [`Proxy::open`].
    pub(crate) fn silence(&self) {
        self.relay.turn(Mood::Silent, false);
    }

    /// Has every piece of bytes wait so long, until [`Proxy::open`].
    pub(crate) fn slow(&self, delay: Duration) {
        self.relay.turn(Mood::Slow(delay), false);
    }

    /// Lets bytes and newcomers through again.
    pub(crate) fn open(&self) {
        self.relay.turn(Mood::Open, false);
    }
}

impl Relay {
    fn turn(&self, mood: Mood, cut: bool) {
        let mut state = self.state.lock().expect("no thread panics with the lock");
        state.mood = mood;
        if cut {
            for stream in state.streams.drain(..) {
                // An error says that it has ended by itself.
                drop(stream.shutdown(Shutdown::Both));
            }
        }
        self.changed.notify_all();
    }

    fn connect(self: &Arc<Self>, near: &TcpStream, target: &str) {
        let Ok(far) = TcpStream::connect(target) else {
            return;
        };
        let again = |stream: &TcpStream| stream.try_clone().expect("a socket can be doubled");
        if !self.keep([again(near), again(&far)]) {
            return;
        }
        for (from, to) in [(near, &far), (&far, near)] {
            let (from, to) = (again(from), again(to));
            let relay = Arc::clone(self);
            std::thread::spawn(move || relay.pass(from, to));
        }
    }

    /// Keeps a connection's two ends for a later cut. Where newcomers are refused, the ends are dropped instead,
    /// and that closes them.
    fn keep(&self, ends: [TcpStream; 2]) -> bool {
        let mut state = self.state.lock().expect("no thread panics with the lock");
        let welcome = state.mood != Mood::Closed;
        if welcome {
            state.streams.extend(ends);
        }
        welcome
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let state = self.state.lock().expect("no thread panics with the lock");
            let quiet = |state: &mut State| state.mood == Mood::Silent;
            let state = self.changed.wait_while(state, quiet).expect("no thread panics with it");
            let mood = state.mood;
            drop(state);
            if let Mood::Slow(delay) = mood {
                std::thread::sleep(delay);
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
        drop(from.shutdown(Shutdown::Both));
    }
}

#[test]
fn bytes_pass_fall_silent_and_are_cut() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(&server.local_addr().unwrap().to_string());
    let mut near = TcpStream::connect(proxy.address()).unwrap();
    let (mut far, _) = server.accept().unwrap();
    let mut one = [0; 1];
    near.write_all(b"a").unwrap();
    far.read_exact(&mut one).unwrap();
    assert_eq!(&one, b"a");

    proxy.silence();
    near.write_all(b"b").unwrap();
    far.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(far.read(&mut one).is_err(), "nothing passes");
    proxy.open();
    far.set_read_timeout(None).unwrap();
    far.read_exact(&mut one).unwrap();
    assert_eq!(&one, b"b");

    proxy.close();
    assert_eq!(far.read(&mut one).unwrap(), 0, "the connection is cut");
    let mut refused = TcpStream::connect(proxy.address()).unwrap();
    assert!(matches!(refused.read(&mut one), Ok(0) | Err(_)));
    proxy.open();
    let _near = TcpStream::connect(proxy.address()).unwrap();
    server.accept().unwrap();
}
