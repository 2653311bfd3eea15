//! An HTTPS server of the test's own, whose answers are what the test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// An authority that only the test knows.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// What a server shows that is called so.
    pub(crate) fn server(&self, name: &str) -> Arc<ServerConfig> {
        self.sign(CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    /// The same, with a certificate whose time is over.
    pub(crate) fn expired_server(&self, name: &str) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Arc<ServerConfig> {
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }
}

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl Seen {
    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }

    pub(crate) fn body(&self) -> &[u8] {
        let head = head_len(&self.bytes).unwrap_or(self.bytes.len());
        &self.bytes[head..]
    }
}

pub(crate) type Stream = StreamOwned<ServerConnection, TcpStream>;

/// Answers a request, or leaves it: the connection is closed afterwards.
pub(crate) type Handler = dyn Fn(&Seen, &mut Stream) + Send + Sync;

pub(crate) struct Https {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    is_over: Arc<AtomicBool>,
}

impl Https {
    pub(crate) fn start(
        config: Arc<ServerConfig>,
        handler: impl Fn(&Seen, &mut Stream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let https = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            is_over: Arc::default(),
        };
        let (seen, is_over) = (Arc::clone(&https.seen), Arc::clone(&https.is_over));
        let handler: Arc<Handler> = Arc::new(handler);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(socket) = socket else { continue };
                let (config, handler) = (Arc::clone(&config), Arc::clone(&handler));
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || serve(config, socket, &seen, &*handler));
            }
        });
        https
    }

    pub(crate) fn address(&self) -> String {
        format!("https://{}", self.address)
    }

    /// What was asked since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // So that the thread looks.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(config: Arc<ServerConfig>, socket: TcpStream, seen: &Mutex<Vec<Seen>>, handler: &Handler) {
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    // A client that does not trust us goes away here.
    let Some(request) = read_request(&mut stream) else {
        return;
    };
    seen.lock().unwrap().push(request.clone());
    handler(&request, &mut stream);
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn read_request(stream: &mut Stream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(head) = head_len(&bytes) {
            let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
            let length = text
                .lines()
                .find_map(|line| {
                    line.strip_prefix("Content-Length: ")
                        .or(line.strip_prefix("content-length: "))
                })
                .map_or(0, |length| length.parse::<usize>().unwrap());
            if bytes.len() >= head + length {
                let mut words = text.split(' ').map(str::to_owned);
                return Some(Seen {
                    method: words.next().unwrap(),
                    path: words.next().unwrap(),
                    bytes,
                });
            }
        }
        match stream.read(&mut piece) {
            Ok(len) if len > 0 => bytes.extend(&piece[..len]),
            _ => return None,
        }
    }
}

fn head_len(bytes: &[u8]) -> Option<usize> {
    let end = b"\r\n\r\n";
    let at = bytes.windows(end.len()).position(|window| window == end)?;
    Some(at + end.len())
}

/// An answer with a JSON body.
pub(crate) fn answer(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
