//! The socket under a connection, so that a hung handshake, a blocked close or a dead peer can be ended by us.
//!
//! lapin's connection lives on a thread of its own that ends when its socket does. A connect that is dropped half-way, or a
//! close that a blocked broker never answers, would leave that thread and its socket behind for ever (measured with lapin
//! 4.12.3: four connects that timed out left four threads).

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use async_rs::{Runtime, TokioRuntime};
use lapin::tcp::RustlsConnector;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use parking_lot::Mutex;
use rustls::ClientConfig;

/// A second handle on a connection's socket.
#[derive(Clone, Debug, Default)]
pub(super) struct Plug(Arc<Mutex<Option<TcpStream>>>);

impl Plug {
    /// Ends the connection, whatever it is doing.
    pub(super) fn pull(&self) {
        let socket = self.0.lock().take();
        if let Some(socket) = socket {
            // A socket that is closed already needs no shutting down.
            socket.shutdown(Shutdown::Both).unwrap_or_default();
        }
    }
}

/// TLS over the socket, and the name that the other side's certificate is for.
#[derive(Clone, Debug)]
pub(super) struct Security {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: String,
}

/// Connects, and hands `plug` the socket as soon as there is one.
pub(super) async fn connect(
    uri: AMQPUri,
    security: Option<Security>,
    properties: ConnectionProperties,
    plug: Plug,
) -> lapin::Result<Connection> {
    let runtime: TokioRuntime = Runtime::tokio_current();
    let connect = async move |uri: AMQPUri, runtime: TokioRuntime| {
        let target = (uri.authority.host.as_str(), uri.authority.port);
        let addresses: Vec<_> = tokio::net::lookup_host(target).await?.collect();
        let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
        if let AsyncTcpStream::Plain(plain) = &stream {
            let socket = plain.get_ref().as_fd().try_clone_to_owned()?;
            *plug.0.lock() = Some(TcpStream::from(socket));
        }
        match &security {
            Some(Security { config, name }) => {
                let connector = RustlsConnector::from(Arc::clone(config));
                Ok(Box::pin(stream.into_rustls(&connector, name)).await?)
            }
            None => Ok(stream),
        }
    };
    Connection::connector(uri, runtime, connect, properties).await
}
