//! One HTTP request over a TLS connection of its own.
//!
//! A connection that is kept for the next request keeps what it decrypted in its buffers, keys too,
//! and the HTTP libraries at hand write what they send and receive into the log at its finest level.
//! TLS sessions are resumed, so that another connection costs one exchange more.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use zeroize::Zeroizing;

use super::answer::{Answer, Incoming};
use super::error::Fate;
use super::wiped::Wiped;
use crate::key::KeyProblem;

/// A server, and how it is spoken to.
pub(super) struct Endpoint {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    connect_timeout: Duration,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

/// What is asked. The header lines and the body may hold secrets.
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) body: Option<&'a [u8]>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) problem: KeyProblem,
    pub(super) detail: String,
    pub(super) fate: Fate,
}

impl Failure {
    fn new(problem: KeyProblem, detail: impl Into<String>, fate: Fate) -> Self {
        Self {
            problem,
            detail: detail.into(),
            fate,
        }
    }

    fn io(error: &io::Error, doing: &str, fate: Fate) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(error) => Self::tls(error, fate),
            None if error.kind() == io::ErrorKind::TimedOut => Self::new(
                KeyProblem::TimedOut,
                format!("no answer while {doing}"),
                fate,
            ),
            None => Self::new(
                KeyProblem::Unreachable,
                format!("while {doing}: {error}"),
                fate,
            ),
        }
    }

    fn tls(error: &rustls::Error, fate: Fate) -> Self {
        let problem = match error {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                KeyProblem::Untrusted
            }
            _ => KeyProblem::Unreachable,
        };
        Self::new(problem, format!("TLS: {error}"), fate)
    }
}

impl Endpoint {
    /// The server at `https://HOST[:PORT]`.
    pub(super) fn new(
        address: &str,
        tls: Arc<ClientConfig>,
        connect_timeout: Duration,
    ) -> Result<Self, &'static str> {
        let rest = address
            .strip_prefix("https://")
            .ok_or("the address does not begin with https://")?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '@', '?', '#']) {
            return Err("the address has more than a host and a port");
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("the address has no ]")?;
                let port = match port {
                    "" => None,
                    _ => Some(port.strip_prefix(':').ok_or("the address has no port")?),
                };
                (host, port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| "the port is no number")?,
            None => 443,
        };
        let name = ServerName::try_from(host)
            .map_err(|_| "the address has no name of a host")?
            .to_owned();
        Ok(Self {
            host: host.to_owned(),
            port,
            name,
            tls,
            connect_timeout,
        })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Sends a request and reads the answer, all before `deadline`.
    pub(super) fn exchange(
        &self,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let socket = self.connect(deadline.min(Instant::now() + self.connect_timeout))?;
        let mut socket = Timed { socket, deadline };
        let mut tls = ClientConnection::new(Arc::clone(&self.tls), self.name.clone())
            .map_err(|error| Failure::tls(&error, Fate::NotDone))?;
        while tls.is_handshaking() {
            let done = tls
                .complete_io(&mut socket)
                .map_err(|error| Failure::io(&error, "TLS begins", Fate::NotDone))?;
            if done == (0, 0) {
                return Err(Failure::new(
                    KeyProblem::Unreachable,
                    "the connection was closed while TLS began",
                    Fate::NotDone,
                ));
            }
        }
        let mut stream = rustls::Stream::new(&mut tls, &mut socket);
        let bytes = self.bytes(request);
        stream
            .write_all(&bytes)
            .and_then(|()| stream.flush())
            .map_err(|error| Failure::io(&error, "the request is sent", Fate::Unknown))?;
        receive(&mut stream)
    }

    fn bytes(&self, request: &Request<'_>) -> Wiped {
        let len = request.body.map_or(0, <[u8]>::len);
        let mut bytes = Wiped::with_capacity(len + 2048);
        bytes.push(request.method.as_bytes());
        bytes.push(b" ");
        bytes.push(request.path.as_bytes());
        bytes.push(b" HTTP/1.1\r\nHost: ");
        bytes.push(self.authority().as_bytes());
        bytes.push(b"\r\nConnection: close\r\nAccept: application/json\r\n");
        bytes.push(concat!("User-Agent: helix-zfs/", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes());
        for (name, value) in request.headers {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                bytes.push(part);
            }
        }
        if let Some(body) = request.body {
            bytes.push(b"Content-Type: application/json\r\nContent-Length: ");
            bytes.push(body.len().to_string().as_bytes());
            bytes.push(b"\r\n");
            bytes.push(b"\r\n");
            bytes.push(body);
        } else {
            bytes.push(b"\r\n");
        }
        bytes
    }

    fn connect(&self, deadline: Instant) -> Result<TcpStream, Failure> {
        let failed = |error: &io::Error, doing: &str| Failure::io(error, doing, Fate::NotDone);
        let addresses = self
            .resolve(deadline)
            .map_err(|error| failed(&error, "its name is looked up"))?;
        let mut last = io::Error::other("its name has no address");
        for address in addresses {
            let connected = remaining(deadline)
                .and_then(|remaining| TcpStream::connect_timeout(&address, remaining));
            match connected {
                Ok(socket) => {
                    // A request is one write; a failure here costs time, not correctness.
                    let _ = socket.set_nodelay(true);
                    return Ok(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(failed(&last, "connecting"))
    }

    /// The addresses of the host. The system's resolver knows no time-out, so that a thread waits for
    /// it where a name has to be looked up.
    fn resolve(&self, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
        if let ServerName::IpAddress(address) = &self.name {
            return Ok(vec![SocketAddr::new((*address).into(), self.port)]);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let target = (self.host.clone(), self.port);
        std::thread::Builder::new()
            .name(String::from("resolve"))
            .spawn(move || {
                let found = (target.0.as_str(), target.1)
                    .to_socket_addrs()
                    .map(Vec::from_iter);
                // Nobody listens any more when it took too long.
                let _ = sender.send(found);
            })?;
        receiver
            .recv_timeout(remaining(deadline)?)
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn receive(stream: &mut impl Read) -> Result<Answer, Failure> {
    let mut incoming = Incoming::default();
    let mut piece = Zeroizing::new([0; 4096]);
    loop {
        let len = stream
            .read(&mut *piece)
            .map_err(|error| Failure::io(&error, "the answer is read", Fate::Unknown))?;
        if len == 0 {
            return incoming.end().ok_or_else(|| {
                let detail = if incoming.is_empty() {
                    "the connection was closed before the answer"
                } else {
                    "the connection was closed in the answer"
                };
                Failure::new(KeyProblem::Unreachable, detail, Fate::Unknown)
            });
        }
        let answer = incoming
            .push(piece.get(..len).unwrap_or_default())
            .map_err(|no| Failure::new(KeyProblem::Malformed, no.0, Fate::Unknown))?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    match deadline.checked_duration_since(Instant::now()) {
        Some(remaining) if !remaining.is_zero() => Ok(remaining),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A socket with an end: however slowly the other side sends, it is over at `deadline`.
struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn until_done(
        &mut self,
        set: impl Fn(&TcpStream, Option<Duration>) -> io::Result<()>,
        mut act: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            set(&self.socket, Some(remaining(self.deadline)?))?;
            match act(&mut self.socket) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                other => return other,
            }
        }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.until_done(TcpStream::set_read_timeout, |socket| socket.read(into))
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until_done(TcpStream::set_write_timeout, |socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
