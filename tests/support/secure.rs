//! Certificates of a test's own, and connections in TLS or packed, with code that is none of the server's.

use std::io::{self, Cursor, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use serde_json::{Value, json};

use super::Scratch;
use super::leveret::Plan;
use super::nsq::{Client, Wire};
use super::wait::PATIENCE;

/// What a client shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    Nothing,
    /// A certificate of the common name `client`, by the authority that the server trusts.
    Certificate,
    /// One of an authority that nobody knows.
    Stranger,
}

/// An authority, and what it has signed: `ca.pem`, `cert.pem` and `key.pem` for 127.0.0.1, `client.pem` and
/// `client-key.pem`; `stranger.pem` and `stranger-key.pem` are another authority's.
#[derive(Debug)]
pub(crate) struct Papers {
    scratch: Scratch,
}

impl Papers {
    pub(crate) fn new() -> Self {
        let papers = Self { scratch: Scratch::new("papers") };
        let (authority, issuer) = authority();
        papers.scratch.write("ca.pem", &authority);
        papers.sign("cert", "key", "server", &issuer);
        papers.sign("client", "client-key", "client", &issuer);
        papers.sign("stranger", "stranger-key", "stranger", &self::authority().1);
        papers
    }

    fn sign(&self, cert: &str, key_file: &str, name: &str, issuer: &Issuer<'_, KeyPair>) {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        let signed = params.signed_by(&key, issuer).expect("a certificate");
        self.scratch.write(&format!("{cert}.pem"), &signed.pem());
        self.scratch.write(&format!("{key_file}.pem"), &key.serialize_pem());
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// nsqd's flags for TLS with these.
    pub(crate) fn given_to(&self, plan: Plan) -> Plan {
        let flag = |name: &str, file: &str| format!("--{name}={}", self.file(file).display());
        plan.arg(&flag("tls-cert", "cert.pem"))
            .arg(&flag("tls-key", "key.pem"))
            .arg(&flag("tls-root-ca-file", "ca.pem"))
            .arg("--https-address=127.0.0.1:0")
    }

    /// Puts TLS over a connection; the handshake comes with the first bytes.
    pub(crate) fn wrap(&self, wire: Box<dyn Wire>, shows: Shows) -> Box<dyn Wire> {
        self.wrap_in(wire, shows, rustls::ALL_VERSIONS)
    }

    /// The same with only these versions of TLS.
    pub(crate) fn wrap_in(
        &self,
        wire: Box<dyn Wire>,
        shows: Shows,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Box<dyn Wire> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.file("ca.pem"))).expect("an authority");
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let config = match shows {
            Shows::Nothing => config.with_no_client_auth(),
            Shows::Certificate => self.shown(config, "client"),
            Shows::Stranger => self.shown(config, "stranger"),
        };
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a client");
        Box::new(Tls(StreamOwned::new(session, wire)))
    }

    fn shown(
        &self,
        config: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
        who: &str,
    ) -> ClientConfig {
        let chain = vec![certificate(&self.file(&format!("{who}.pem")))];
        let key =
            PrivateKeyDer::from_pem_file(self.file(&format!("{who}-key.pem"))).expect("a key");
        config.with_client_auth_cert(chain, key).expect("a certificate with its key")
    }

    /// TLS for a server of the test's own.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let chain = vec![certificate(&self.file("cert.pem"))];
        let key = PrivateKeyDer::from_pem_file(self.file("key.pem")).expect("a key");
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.expect("a certificate with its key"))
    }
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "a test's own authority");
    let certificate = params.self_signed(&key).expect("an authority");
    (certificate.pem(), Issuer::new(params, key))
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).expect("a certificate")
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[derive(Debug)]
struct Tls(StreamOwned<ClientConnection, Box<dyn Wire>>);

impl Wire for Tls {
    fn set_patience(&self, limit: Duration) {
        self.0.sock.set_patience(limit);
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            // A server that is killed says no goodbye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What is put over a connection besides TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Snappy,
    Deflate(u32),
}

impl Packing {
    /// Packs a connection, of which `early` was read already.
    pub(crate) fn wrap(self, wire: Box<dyn Wire>, early: Vec<u8>) -> Box<dyn Wire> {
        Box::new(Packed {
            wire,
            packing: self,
            came: early,
            plain: Vec::new(),
            inflate: Decompress::new(false),
            deflate: Compress::new(
                Compression::new(if let Self::Deflate(level) = self { level } else { 6 }),
                false,
            ),
            said: Vec::new(),
        })
    }
}

struct Packed {
    wire: Box<dyn Wire>,
    packing: Packing,
    /// Packed bytes that are not a whole chunk yet.
    came: Vec<u8>,
    /// Bytes that were unpacked and not yet read.
    plain: Vec<u8>,
    inflate: Decompress,
    deflate: Compress,
    /// Bytes that are not yet packed and sent.
    said: Vec<u8>,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("wire", &self.wire).finish_non_exhaustive()
    }
}

const IDENTIFIER: &[u8] = b"\xff\x06\0\0sNaPpY";

impl Packed {
    fn unpack(&mut self) -> io::Result<()> {
        match self.packing {
            Packing::Deflate(_) => {
                let mut used = 0;
                loop {
                    let mut room = vec![0; 64 * 1024];
                    let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
                    self.inflate
                        .decompress(&self.came[used..], &mut room, FlushDecompress::None)
                        .map_err(io::Error::other)?;
                    used += (self.inflate.total_in() - read) as usize;
                    let written = (self.inflate.total_out() - written) as usize;
                    self.plain.extend_from_slice(&room[..written]);
                    if written < room.len() {
                        break;
                    }
                }
                self.came.drain(..used);
            }
            Packing::Snappy => {
                while let Some([_, low, middle, high]) = self.came.first_chunk::<4>().copied() {
                    let length = u32::from_le_bytes([low, middle, high, 0]) as usize + 4;
                    if self.came.len() < length {
                        break;
                    }
                    let chunk: Vec<u8> = self.came.drain(..length).collect();
                    let stream = [IDENTIFIER, &chunk].concat();
                    snap::read::FrameDecoder::new(Cursor::new(stream))
                        .read_to_end(&mut self.plain)?;
                }
            }
        }
        Ok(())
    }
}

impl Wire for Packed {
    fn set_patience(&self, limit: Duration) {
        self.wire.set_patience(limit);
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.unpack()?;
            if !self.plain.is_empty() {
                break;
            }
            let mut chunk = [0; 16 * 1024];
            let count = self.wire.read(&mut chunk)?;
            if count == 0 {
                return Ok(0);
            }
            self.came.extend_from_slice(&chunk[..count]);
        }
        let count = buffer.len().min(self.plain.len());
        buffer[..count].copy_from_slice(&self.plain[..count]);
        self.plain.drain(..count);
        Ok(count)
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.said.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let said = std::mem::take(&mut self.said);
        let packed = match self.packing {
            // A stream of its own each time, as pynsq does it.
            Packing::Snappy => {
                let mut encoder = snap::write::FrameEncoder::new(Vec::new());
                encoder.write_all(&said)?;
                encoder.into_inner().map_err(|error| io::Error::other(error.to_string()))?
            }
            Packing::Deflate(_) => {
                let mut packed = Vec::with_capacity(said.len() + 1024);
                self.deflate
                    .compress_vec(&said, &mut packed, FlushCompress::Sync)
                    .map_err(io::Error::other)?;
                packed
            }
        };
        self.wire.write_all(&packed)?;
        self.wire.flush()
    }
}

/// What IDENTIFY is to put over a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over<'a> {
    pub(crate) tls: Option<(&'a Papers, Shows)>,
    pub(crate) packing: Option<Packing>,
}

impl Over<'_> {
    /// Connects, identifies with `more` besides, and awaits the OK through each layer.
    pub(crate) fn connect(&self, at: SocketAddr, more: &Value) -> (Client, Value) {
        let mut client = Client::connect(at);
        let mut asked = json!({ "feature_negotiation": true, "tls_v1": self.tls.is_some() });
        match self.packing {
            Some(Packing::Snappy) => asked["snappy"] = json!(true),
            Some(Packing::Deflate(level)) => {
                asked["deflate"] = json!(true);
                asked["deflate_level"] = json!(level);
            }
            None => {}
        }
        for (key, value) in more.as_object().into_iter().flatten() {
            asked[key] = value.clone();
        }
        let agreed = client.identify(&asked);
        if let Some((papers, shows)) = self.tls {
            client = client.upgrade(|wire, early| {
                assert!(early.is_empty(), "the server has nothing to say before the client");
                papers.wrap(wire, shows)
            });
            // The handshake begins with a write, and a client has nothing to say yet.
            client.send(b"");
            client.ok();
        }
        if let Some(packing) = self.packing {
            client = client.upgrade(|wire, early| packing.wrap(wire, early));
            client.ok();
        }
        (client, agreed)
    }
}

/// A connection in TLS, for HTTPS.
pub(crate) fn tls_to(at: SocketAddr, papers: &Papers, shows: Shows) -> Box<dyn Wire> {
    let stream = std::net::TcpStream::connect(at)
        .unwrap_or_else(|error| panic!("{at} takes a connection: {error}"));
    stream.set_patience(PATIENCE);
    papers.wrap(Box::new(stream), shows)
}
