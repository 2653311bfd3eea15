//! A proxy before a server, which does harm to what passes.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::https::{Authority, Https, Seen, Stream, answer};

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It passes.
    None,
    /// This is answered in place of the server.
    Answer(u16, String),
    /// These bytes are.
    Raw(Vec<u8>),
    /// It does not reach the server, and the connection is closed.
    Drop,
    /// The server does it, and the connection is closed in place of an answer.
    LoseAnswer,
    /// The server does it, and this is answered.
    DoneBut(u16, String),
    /// The connection is closed after so many bytes of the answer.
    Cut(usize),
    /// The answer comes byte by byte, with this time between.
    Drip(Duration),
    /// The server's answer, with one text in place of another.
    Replace(String, String),
    /// What was asked is sent back.
    Echo(u16),
    /// Nothing comes.
    Hang(Duration),
}

type Rule = dyn Fn(&Seen) -> Fault + Send + Sync;

pub(crate) struct Proxy {
    https: Https,
    authority: Authority,
    rule: Arc<Mutex<Arc<Rule>>>,
}

/// A server behind.
pub(crate) struct Upstream {
    address: String,
    tls: Arc<ClientConfig>,
}

impl Proxy {
    pub(crate) fn before(upstream: Upstream) -> Self {
        let authority = Authority::new();
        let rule: Arc<Mutex<Arc<Rule>>> = Arc::new(Mutex::new(Arc::new(|_| Fault::None)));
        let current = Arc::clone(&rule);
        let https = Https::start(authority.server("127.0.0.1"), move |seen, stream| {
            let rule = Arc::clone(&current.lock().unwrap());
            // The client may be gone before the answer, as it should be in some tests.
            let _ = upstream.pass(seen, stream, &rule(seen));
        });
        Self {
            https,
            authority,
            rule,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.https.address()
    }

    pub(crate) fn authority_pem(&self) -> &str {
        self.authority.pem()
    }

    /// From now on this happens to each request.
    pub(crate) fn set(&self, rule: impl Fn(&Seen) -> Fault + Send + Sync + 'static) {
        *self.rule.lock().unwrap() = Arc::new(rule);
        self.https.take_seen();
    }

    /// From now on these happen, one to each request of this path's end, and then none.
    pub(crate) fn set_next(&self, path: &'static str, faults: impl IntoIterator<Item = Fault>) {
        let faults = Mutex::new(faults.into_iter().collect::<Vec<_>>().into_iter());
        self.set(move |seen| {
            if seen.path.contains(path) {
                faults.lock().unwrap().next().unwrap_or(Fault::None)
            } else {
                Fault::None
            }
        });
    }

    /// Method and path of what was asked since the last call, without `/v1/`.
    pub(crate) fn take_seen(&self) -> Vec<String> {
        let seen = self.https.take_seen();
        seen.into_iter()
            .map(|seen| format!("{} {}", seen.method, seen.path.replacen("/v1/", "", 1)))
            .collect()
    }
}

impl Upstream {
    /// The server at `https://HOST:PORT`, whose certificate this authority signed.
    pub(crate) fn new(address: &str, authority_pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(authority_pem.as_bytes()).unwrap();
        roots.add(certificate).unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            address: address.strip_prefix("https://").unwrap().to_owned(),
            tls: Arc::new(tls),
        }
    }

    fn pass(&self, seen: &Seen, stream: &mut Stream, fault: &Fault) -> std::io::Result<()> {
        match fault {
            Fault::None => stream.write_all(&self.ask(&seen.bytes)?),
            Fault::Answer(status, body) => stream.write_all(&answer(*status, body)),
            Fault::Raw(bytes) => stream.write_all(bytes),
            Fault::Drop => Ok(()),
            Fault::LoseAnswer => self.ask(&seen.bytes).map(drop),
            Fault::DoneBut(status, body) => {
                self.ask(&seen.bytes)?;
                stream.write_all(&answer(*status, body))
            }
            Fault::Cut(len) => {
                let whole = self.ask(&seen.bytes)?;
                stream.write_all(&whole[..whole.len().min(*len)])
            }
            Fault::Drip(between) => {
                for byte in self.ask(&seen.bytes)? {
                    stream.write_all(&[byte])?;
                    stream.flush()?;
                    std::thread::sleep(*between);
                }
                Ok(())
            }
            Fault::Replace(from, to) => {
                let whole = String::from_utf8(self.ask(&seen.bytes)?).unwrap();
                let body = whole.split_once("\r\n\r\n").unwrap().1;
                assert!(body.contains(from), "{body}");
                stream.write_all(&answer(200, &body.replace(from, to)))
            }
            Fault::Echo(status) => {
                let body = String::from_utf8(seen.bytes.clone()).unwrap();
                stream.write_all(&answer(*status, &body))
            }
            Fault::Hang(time) => {
                std::thread::sleep(*time);
                Ok(())
            }
        }
    }

    /// The server's whole answer to a whole request.
    pub(crate) fn ask(&self, request: &[u8]) -> std::io::Result<Vec<u8>> {
        let address = self.address.to_socket_addrs()?.next().unwrap();
        let host = self.address.rsplit_once(':').unwrap().0.to_owned();
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::try_from(host).unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        stream.write_all(request)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}
