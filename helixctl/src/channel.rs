//! Ways to other machines: sockets, and programs that lead there.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use helix_zfs::replica::Channel;

/// How long a program has to end once nobody talks to it any more.
const ENDS: Duration = Duration::from_secs(5);

/// Whether an address is the path of a Unix socket, and not HOST:PORT.
pub(crate) fn is_path(address: &str) -> bool {
    address.contains('/')
}

/// Connects to HOST:PORT or to a Unix socket. Whoever is silent for longer than `patience` is as good
/// as gone.
pub(crate) fn connect(address: &str, patience: Option<Duration>) -> io::Result<Box<dyn Channel>> {
    if is_path(address) {
        return unix(UnixStream::connect(address)?, patience);
    }
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        let connected = match patience {
            Some(patience) => TcpStream::connect_timeout(&address, patience),
            None => TcpStream::connect(address),
        };
        match connected {
            Ok(stream) => return tcp(stream, patience),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// The next connection of a listener.
pub(crate) type Accept = Box<dyn Fn() -> io::Result<Box<dyn Channel>> + Send>;

/// Listens at HOST:PORT or at a Unix socket.
pub(crate) fn listen(address: &str, patience: Option<Duration>) -> io::Result<Accept> {
    Ok(match is_path(address) {
        true => {
            let listener = UnixListener::bind(address)?;
            Box::new(move || unix(listener.accept()?.0, patience))
        }
        false => {
            let listener = TcpListener::bind(address)?;
            Box::new(move || tcp(listener.accept()?.0, patience))
        }
    })
}

fn unix(stream: UnixStream, patience: Option<Duration>) -> io::Result<Box<dyn Channel>> {
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    Ok(Box::new(stream))
}

fn tcp(stream: TcpStream, patience: Option<Duration>) -> io::Result<Box<dyn Channel>> {
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// A program whose standard input and output lead to somebody. It is ended when dropped.
pub(crate) struct Program {
    child: Option<Child>,
    /// A socket rather than two pipes, which have no time-outs.
    channel: UnixStream,
}

impl Program {
    /// Runs `command` by `sh -c`.
    pub(crate) fn start(command: &str, patience: Option<Duration>) -> io::Result<Self> {
        let (channel, theirs) = UnixStream::pair()?;
        channel.set_read_timeout(patience)?;
        channel.set_write_timeout(patience)?;
        let input = OwnedFd::from(theirs.try_clone()?);
        let child = Command::new("sh")
            .args(["-c", command])
            .stdin(input)
            .stdout(OwnedFd::from(theirs))
            .spawn()?;
        Ok(Self {
            child: Some(child),
            channel,
        })
    }

    /// Talks to it no more, and waits until it has ended.
    pub(crate) fn end(mut self) -> io::Result<ExitStatus> {
        // It may have ended already.
        let _ = self.channel.shutdown(Shutdown::Both);
        match self.child.take() {
            Some(mut child) => child.wait(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.channel.shutdown(Shutdown::Both);
        if let Some(child) = self.child.take() {
            // Nobody waits for it. Without a thread it stays a zombie, until this process ends.
            let _ = std::thread::Builder::new().spawn(move || reap(child));
        }
    }
}

fn reap(mut child: Child) {
    let began = Instant::now();
    while began.elapsed() < ENDS {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            _ => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

impl Read for Program {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.channel.read(buffer)
    }
}

impl Write for Program {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.channel.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.channel.flush()
    }
}
