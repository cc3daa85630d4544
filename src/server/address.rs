//! Where a server listens: a host and port, or the path of a unix socket.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{FileType, Stat, lstat, unlink};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// What a client of a unix socket is called.
pub const UNIX_PEER: &str = "@";

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `host:port`; an empty host is every address of this machine.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// Reads an address as nsqd does: what does not split into host and port is a path.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let Some((host, port)) = text.rsplit_once(':') else { return Self::Unix(text.into()) };
        let is_host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').is_some_and(|host| !host.contains(['[', ']'])),
            None => !host.contains([':', '[', ']']),
        };
        if !is_host || port.contains(['[', ']']) {
            return Self::Unix(text.into());
        }
        Self::Tcp(if host.is_empty() { format!("0.0.0.0:{port}") } else { text.to_owned() })
    }
}

/// A server's listening socket. That of a path takes its file away when it goes.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A path.
    Unix(UnixListener, SocketFile),
}

/// A client that has come.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl Listener {
    /// Listens at `address`. The file of a unix socket that nobody serves any more is taken away first.
    ///
    /// # Errors
    /// The system's, such as an address in use.
    pub async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Address::Unix(path) => {
                let listener = match UnixListener::bind(path) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        remove_stale(path, error).await?;
                        UnixListener::bind(path)?
                    }
                    bound => bound?,
                };
                Ok(Self::Unix(listener, SocketFile::at(path)?))
            }
        }
    }

    /// Awaits a client; gives its address as well, [`UNIX_PEER`] for a unix socket's.
    ///
    /// # Errors
    /// The system's, such as too many open files.
    pub async fn accept(&self) -> io::Result<(Accepted, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "no TCP_NODELAY");
                }
                Ok((Accepted::Tcp(stream), peer.to_string()))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Accepted::Unix(stream), UNIX_PEER.to_owned()))
            }
        }
    }

    /// The port that it really has; -1 for a unix socket.
    ///
    /// # Errors
    /// The system's.
    pub fn port(&self) -> io::Result<i32> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.port().into()),
            Self::Unix(..) => Ok(-1),
        }
    }

    /// Where it really listens, as it is written in an address.
    ///
    /// # Errors
    /// The system's.
    pub fn local_address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Self::Unix(_, file) => Ok(file.to_string()),
        }
    }
}

/// A unix socket's file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Its device and number: what stands there later may be another server's.
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(&lstat(path)?) })
    }
}

impl fmt::Display for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = lstat(&self.path).is_ok_and(|found| identity(&found) == self.identity);
        if is_ours && let Err(error) = unlink(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file is left behind");
        }
    }
}

fn identity(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

/// Takes away a socket's file that nobody listens at; anything else stays, and `in_use` is the answer.
async fn remove_stale(path: &Path, in_use: io::Error) -> io::Result<()> {
    let is_socket =
        lstat(path).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Socket);
    let refused = match UnixStream::connect(path).await {
        Ok(_) => false,
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    };
    if is_socket && refused {
        tracing::info!(path = %path.display(), "removing a socket that nobody serves");
        unlink(path)?;
        return Ok(());
    }
    Err(in_use)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_split_into_host_and_port_is_a_path() {
        for text in ["127.0.0.1:4150", "[::1]:4150", "host:", "host:http"] {
            assert_eq!(Address::parse(text), Address::Tcp(text.to_owned()));
        }
        assert_eq!(Address::parse(":4150"), Address::Tcp("0.0.0.0:4150".into()));
        for text in ["/run/nsqd.sock", "nsqd.sock", "::1:4150", "[::1]", "a:[1]", "[[::1]]:4150"] {
            assert_eq!(Address::parse(text), Address::Unix(text.into()));
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_a_served_one_and_a_file_are_not() {
        let folder = std::env::temp_dir().join(format!("leveret-address-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let address = Address::Unix(path.clone());

        let served = Listener::bind(&address).await.unwrap();
        assert_eq!(
            (served.port().unwrap(), served.local_address().unwrap()),
            (-1, path.display().to_string())
        );
        let error = Listener::bind(&address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(served);
        assert!(!path.exists(), "it takes its file away");

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let again = Listener::bind(&address).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "somebody else's").unwrap();
        drop(again);
        assert!(path.exists(), "what is not its own stays");
        let error = Listener::bind(&address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
