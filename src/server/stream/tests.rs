//! TLS and compression over pipes, against the libraries' own client sides.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::clock;
use crate::server::tls::{ClientAuth, TlsOptions};
use crate::stream::{Packing, Unpacked};
use crate::tls::client_config;

const LIMIT: Duration = Duration::from_secs(5);

/// A folder with an authority, a server's certificate and key, and a client's.
struct Papers {
    folder: std::path::PathBuf,
    client: (CertificateDer<'static>, Vec<u8>),
}

impl Papers {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("leveret-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let made = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            (params.signed_by(&key, &issuer).unwrap(), key)
        };
        let (server, server_key) = made("server");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.join("cert.pem"), server.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), server_key.serialize_pem()).unwrap();
        let (client, client_key) = made("client");
        Self { folder, client: (client.der().clone(), client_key.serialize_der()) }
    }

    fn tls(&self, client_auth: ClientAuth) -> Tls {
        let file = |name: &str| self.folder.join(name);
        Tls::load(&TlsOptions {
            cert: file("cert.pem"),
            key: file("key.pem"),
            root_ca_file: Some(file("ca.pem")),
            client_auth,
            only_tls13: false,
        })
        .unwrap()
    }

    /// Connects as a client, with its certificate if it is to show it.
    async fn connect(
        &self,
        far: DuplexStream,
        shows: bool,
    ) -> io::Result<client::TlsStream<DuplexStream>> {
        let mut config = client_config(Some(&self.folder.join("ca.pem")), false).unwrap();
        if shows {
            let key = PrivateKeyDer::try_from(self.client.1.clone()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates({
                    let mut roots = rustls::RootCertStore::empty();
                    let ca = std::fs::read(self.folder.join("ca.pem")).unwrap();
                    let ca = rustls::pki_types::pem::PemObject::from_pem_slice(&ca).unwrap();
                    roots.add(ca).unwrap();
                    roots
                })
                .with_client_auth_cert(vec![self.client.0.clone()], key)
                .unwrap();
        }
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, far).await
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}

async fn read(stream: &mut Stream<DuplexStream>, input: &mut BytesMut) -> usize {
    std::future::poll_fn(|context| stream.poll_read(context, input)).await.unwrap()
}

#[tokio::test]
async fn edge_032_compression_goes_over_tls_both_ways() {
    let papers = Papers::new("both-ways");
    for kind in [None, Some(PackingKind::Snappy), Some(PackingKind::Deflate(6))] {
        let (near, far) = duplex(500);
        let tls = papers.tls(ClientAuth::Require);
        let near = Stream::from(near).secure(BytesMut::new(), &tls, LIMIT);
        let (near, far) = tokio::join!(near, papers.connect(far, true));
        let (mut near, peer) = near.map_err(|(_, error)| error).unwrap();
        assert_eq!((peer.version, &*peer.common_name), ("TLS1.3", "client"));
        assert!(peer.cipher_suite.starts_with("Unknown 48"), "{}", peer.cipher_suite);
        let mut far = far.unwrap();
        let mut codec = kind.map(|kind| Packing::new(kind, BytesMut::new()));
        if let Some(kind) = kind {
            near.pack(kind, BytesMut::new());
        }
        let large = vec![b'x'; 300_000];
        let echo = async {
            // More than the pipe holds, so that some of it waits unflushed.
            near.write_all(&large).await.unwrap();
            let mut input = BytesMut::new();
            while input.len() < 5 {
                assert!(read(&mut near, &mut input).await > 0);
            }
            assert_eq!(input, b"NOP\n\n"[..]);
            near.close().await.unwrap();
        };
        let client = async {
            let mut out = BytesMut::new();
            while out.len() < large.len() {
                match &mut codec {
                    None => assert!(far.read_buf(&mut out).await.unwrap() > 0),
                    Some(codec) => {
                        assert!(far.read_buf(codec.incoming()).await.unwrap() > 0);
                        while let Unpacked::Bytes(_) = codec.unpack(&mut out).unwrap() {}
                    }
                }
            }
            assert!(out == large);
            let mut said = b"NOP\n\n".to_vec();
            if let Some(codec) = &mut codec {
                codec.pack(&said).unwrap();
                said = codec.packed().to_vec();
            }
            far.write_all(&said).await.unwrap();
            far.read_buf(&mut out).await.unwrap_or_default();
        };
        tokio::join!(echo, client);
    }
}

#[tokio::test]
async fn bytes_that_came_early_are_the_handshakes_first() {
    let papers = Papers::new("early");
    let tls = papers.tls(ClientAuth::None);
    // An early hello is as good as one in time.
    let (near, mut middle) = duplex(10_000);
    let (mut relay, far) = duplex(10_000);
    let hello = async {
        let mut early = BytesMut::new();
        relay.read_buf(&mut early).await.unwrap();
        let near = Stream::from(near).secure(early, &tls, LIMIT);
        let relaying = tokio::io::copy_bidirectional(&mut relay, &mut middle);
        tokio::select! {
            secured = near => secured.map(drop).map_err(|(_, error)| error).unwrap(),
            _ = relaying => panic!("it closed"),
        }
    };
    let (_client, ()) = tokio::join!(papers.connect(far, false), hello);
    // Early commands are no hello, and never executed.
    let (near, _far) = duplex(1000);
    let early = BytesMut::from(&b"PUB t\n\0\0\0\x01x"[..]);
    let (_, error) = Stream::from(near).secure(early, &tls, LIMIT).await.err().unwrap();
    assert!(matches!(error, HandshakeError::ClearText), "{error}");
}

#[tokio::test(start_paused = true)]
async fn edge_033_a_handshake_that_does_not_come_is_given_up_after_five_seconds() {
    let papers = Papers::new("deadline");
    let tls = papers.tls(ClientAuth::None);
    for said in [&b""[..], b"\x16\x03\x01\x00\xff"] {
        let (near, mut far) = duplex(1000);
        far.write_all(said).await.unwrap();
        let began = clock::now();
        let (mut near, error) =
            Stream::from(near).secure(BytesMut::new(), &tls, LIMIT).await.err().unwrap();
        assert_eq!((error.to_string().as_str(), clock::since(began).as_secs()), ("i/o timeout", 5));
        near.write_all(b"told in clear text").await.unwrap();
        let mut told = [0; 18];
        far.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"told in clear text");
    }
    let (near, far) = duplex(1000);
    drop(far);
    let (_, error) = Stream::from(near).secure(BytesMut::new(), &tls, LIMIT).await.err().unwrap();
    assert_eq!(error.to_string(), "EOF");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let papers = Papers::new("required");
    for policy in [ClientAuth::Require, ClientAuth::RequireVerify] {
        let tls = papers.tls(policy);
        let (near, far) = duplex(10_000);
        let near = Stream::from(near).secure(BytesMut::new(), &tls, LIMIT);
        let (near, _far) = tokio::join!(near, papers.connect(far, false));
        let (_, error) = near.err().unwrap();
        assert_eq!(error.to_string(), "tls: client didn't provide a certificate");
    }
}

#[tokio::test]
async fn a_certificate_of_a_strange_authority_passes_require_and_not_require_verify() {
    let (papers, mut strange) = (Papers::new("known"), Papers::new("strange"));
    // It trusts the server and shows what another authority has signed.
    std::fs::copy(papers.folder.join("ca.pem"), strange.folder.join("ca.pem")).unwrap();
    for (policy, passes) in [(ClientAuth::Require, true), (ClientAuth::RequireVerify, false)] {
        let tls = papers.tls(policy);
        let (near, far) = duplex(10_000);
        let near = Stream::from(near).secure(BytesMut::new(), &tls, LIMIT);
        let (near, _far) = tokio::join!(near, strange.connect(far, true));
        assert_eq!(near.is_ok(), passes, "{policy:?}");
        if let Err((_, error)) = near {
            let text = error.to_string();
            assert!(text.starts_with("tls: failed to verify certificate: "), "{text}");
        }
    }
    strange.client = papers.client.clone();
    let tls = papers.tls(ClientAuth::RequireVerify);
    let (near, far) = duplex(10_000);
    let near = Stream::from(near).secure(BytesMut::new(), &tls, LIMIT);
    let (near, _far) = tokio::join!(near, strange.connect(far, true));
    assert!(near.is_ok(), "one of the known authority passes");
}
