//! TLS under the wire: certificate files, the handshake, and the two halves of a connection with it
//! or without.
//!
//! Promises: in clear a byte takes no further step; a certificate and key that do not fit each other,
//! or a key that others may read, are refused by name. Client certificates are not asked for.

use std::io::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ring::digest::{self, Algorithm};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::server::TlsStream;

/// What clients that begin with TLS call the protocol (libpq's sslnegotiation=direct).
const ALPN: &[u8] = b"postgresql";

/// The first byte of a TLS handshake: no startup packet is that long.
pub(super) const HANDSHAKE: u8 = 0x16;

/// A certificate in use.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    end_point: Option<Vec<u8>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the files. The error is what to tell the operator.
    pub(crate) fn load(certificate: &Path, key: &Path) -> std::result::Result<Tls, String> {
        let certificates = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
            .map_err(|error| format!("cannot read certificate file {}: {error}", certificate.display()))?;
        let Some(first) = certificates.first() else {
            return Err(format!("there is no certificate in {}", certificate.display()));
        };
        let end_point = end_point(first);
        private(key)?;
        let secret = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| format!("cannot read private key file {}: {error}", key.display()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(certificates, secret)
            .map_err(|error| {
                format!(
                    "certificate {} and private key {} cannot be used: {error}",
                    certificate.display(),
                    key.display()
                )
            })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), end_point })
    }

    /// What a client binds its login to (tls-server-end-point); `None`: it cannot, with this
    /// certificate.
    pub(super) fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// The handshake. `direct`: it came without being asked for, so that the client must have named
    /// the protocol.
    pub(super) async fn accept(&self, socket: TcpStream, direct: bool) -> Result<(Reader, Writer)> {
        let stream = Box::new(self.acceptor.accept(socket).await?);
        if direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(Error::other(
                "received direct SSL connection request without ALPN protocol negotiation extension",
            ));
        }
        let (reader, writer) = tokio::io::split(stream);
        Ok((Reader::Tls(reader), Writer::Tls(writer)))
    }
}

/// Refuses a key that others may read, as PostgreSQL does: root's may be its group's to read.
fn private(key: &Path) -> std::result::Result<(), String> {
    let found = std::fs::metadata(key);
    let found = found.map_err(|error| format!("cannot read private key file {}: {error}", key.display()))?;
    let forbidden = if found.uid() == 0 { 0o037 } else { 0o077 };
    if found.mode() & forbidden == 0 {
        return Ok(());
    }
    Err(format!(
        "private key file {} has group or world access; it must have permissions u=rw (0600) or less if owned by \
         the user of the server, or u=rw,g=r (0640) or less if owned by root",
        key.display()
    ))
}

/// The digest of a certificate by which RFC 5929 binds to it. `None`: its signature names none.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_digest(signature_algorithm(certificate)?)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// The object identifier of a certificate's signature: behind what is signed.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const OBJECT: u8 = 0x06;
    let (whole, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(whole, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    Some(element(algorithm, OBJECT)?.0)
}

/// The content of a DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let split = rest.split_at_checked(length)?;
    (found == tag).then_some(split)
}

/// The digest that goes with a signature: SHA-256 in the place of what is weaker.
fn signature_digest(object: &[u8]) -> Option<&'static Algorithm> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    let (&last, family) = object.split_last()?;
    match (family, last) {
        (RSA, 4 | 5 | 11) | (ECDSA, 2) => Some(&digest::SHA256),
        (RSA, 12) | (ECDSA, 3) => Some(&digest::SHA384),
        (RSA, 13) | (ECDSA, 4) => Some(&digest::SHA512),
        _ => None,
    }
}

/// A client as it arrives.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Over the network.
    Tcp(TcpStream),
    /// Over this process's memory.
    Piped(DuplexStream),
}

/// Where a client's bytes come from.
#[derive(Debug)]
pub(crate) enum Reader {
    /// In clear.
    Clear(OwnedReadHalf),
    /// Over memory.
    Piped(ReadHalf<DuplexStream>),
    /// Through TLS.
    Tls(ReadHalf<Box<TlsStream<TcpStream>>>),
}

/// Where they go to.
#[derive(Debug)]
pub(crate) enum Writer {
    /// In clear.
    Clear(OwnedWriteHalf),
    /// Over memory.
    Piped(WriteHalf<DuplexStream>),
    /// Through TLS.
    Tls(WriteHalf<Box<TlsStream<TcpStream>>>),
}

/// The two halves of a connection in clear.
pub(super) fn clear(socket: TcpStream) -> (Reader, Writer) {
    let (reader, writer) = socket.into_split();
    (Reader::Clear(reader), Writer::Clear(writer))
}

/// The two halves of a connection over memory.
pub(crate) fn piped(stream: DuplexStream) -> (Reader, Writer) {
    let (reader, writer) = tokio::io::split(stream);
    (Reader::Piped(reader), Writer::Piped(writer))
}

/// The socket of a connection in clear, whole again.
pub(super) fn whole(reader: Reader, writer: Writer) -> Option<TcpStream> {
    match (reader, writer) {
        (Reader::Clear(reader), Writer::Clear(writer)) => reader.reunite(writer).ok(),
        _ => None,
    }
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Reader::Clear(half) => Pin::new(half).poll_read(cx, buffer),
            Reader::Piped(half) => Pin::new(half).poll_read(cx, buffer),
            Reader::Tls(half) => Pin::new(half).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Writer::Clear(half) => Pin::new(half).poll_write(cx, bytes),
            Writer::Piped(half) => Pin::new(half).poll_write(cx, bytes),
            Writer::Tls(half) => Pin::new(half).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Writer::Clear(half) => Pin::new(half).poll_flush(cx),
            Writer::Piped(half) => Pin::new(half).poll_flush(cx),
            Writer::Tls(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Writer::Clear(half) => Pin::new(half).poll_shutdown(cx),
            Writer::Piped(half) => Pin::new(half).poll_shutdown(cx),
            Writer::Tls(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_of_a_certificate_is_found() {
        let object = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        let mut der = vec![0x30, 0x82, 0x00, 16, 0x30, 2, 0x02, 0x00, 0x30, 10, 0x06, 8];
        der.extend(object);
        assert_eq!(signature_algorithm(&der), Some(&object[..]));
        assert_eq!(end_point(&der).unwrap(), digest::digest(&digest::SHA256, &der).as_ref());
        for end in 0..der.len() {
            assert_eq!(signature_algorithm(&der[..end]), None);
        }
        assert!(signature_digest(&[1, 2, 3]).is_none() && signature_digest(&[]).is_none());
        assert_eq!(element(&[0x30, 0x85, 1, 1, 1, 1, 1, 0], 0x30), None);
    }
}
