//! Where a packer listens and workers connect.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::channel::Socket;
use super::error::Error;

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(10);

/// `HOST:PORT`, or the path of a socket, with a slash in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// On a network.
    Host(String),
    /// On this machine.
    Path(PathBuf),
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
        if text.contains('/') {
            return Ok(Address::Path(text.into()));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or_default();
        match !host.is_empty() && port.parse::<u16>().is_ok() {
            true => Ok(Address::Host(text.to_owned())),
            false => Err(Error::NoAddress(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Host(host) => f.write_str(host),
            Address::Path(path) => path.display().fmt(f),
        }
    }
}

impl Address {
    /// The same for a process with another current folder.
    ///
    /// # Errors
    /// There is no current folder.
    pub fn absolute(self) -> io::Result<Address> {
        match self {
            Address::Path(path) => Ok(Address::Path(std::path::absolute(path)?)),
            host => Ok(host),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there, or the name is unknown.
    pub fn connect(&self) -> io::Result<Socket> {
        let host = match self {
            Address::Path(path) => return UnixStream::connect(path).map(Socket::Unix),
            Address::Host(host) => host,
        };
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in host.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(socket) => return Ok(Socket::Tcp(socket)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Listens. Where other machines can connect, there has to be a token.
    ///
    /// # Errors
    /// [`Error::TokenNeeded`], [`Error::Listen`].
    pub fn listen(&self, has_token: bool) -> Result<Listener, Error> {
        let failed = |source| Error::Listen {
            at: self.to_string(),
            source,
        };
        match self {
            Address::Path(path) => listen_at(path).map_err(failed),
            Address::Host(host) => {
                let addresses: Vec<_> = host.to_socket_addrs().map_err(failed)?.collect();
                if !has_token && addresses.iter().any(|address| !address.ip().is_loopback()) {
                    return Err(Error::TokenNeeded(self.to_string()));
                }
                let socket = TcpListener::bind(&*addresses).map_err(failed)?;
                socket.set_nonblocking(true).map_err(failed)?;
                Ok(Listener::Tcp(socket))
            }
        }
    }
}

/// Listens at the path, which only this user can reach. A socket there to which nobody listens any more is replaced.
fn listen_at(path: &Path) -> io::Result<Listener> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The mode of the socket before it has a name is that of its file from the first moment.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    let name = SocketAddrUnix::new(path)?;
    let bound = match rustix::net::bind(&socket, &name) {
        Err(rustix::io::Errno::ADDRINUSE) => {
            let is_socket = std::fs::symlink_metadata(path)?.file_type().is_socket();
            let refuses = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
            if is_socket && UnixStream::connect(path).is_err_and(refuses) {
                std::fs::remove_file(path)?;
            }
            rustix::net::bind(&socket, &name)
        }
        bound => bound,
    };
    bound?;
    rustix::net::listen(&socket, 128)?;
    let socket = UnixListener::from(socket);
    socket.set_nonblocking(true)?;
    Ok(Listener::Unix(socket, path.to_owned()))
}

/// A socket to which workers connect. The file of one on this machine is removed with it.
#[derive(Debug)]
pub enum Listener {
    /// On a network.
    Tcp(TcpListener),
    /// On this machine.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Who has connected, if anybody has.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if nobody has.
    pub fn accept(&self) -> io::Result<(Socket, String)> {
        match self {
            Listener::Tcp(socket) => socket
                .accept()
                .map(|(socket, from)| (Socket::Tcp(socket), from.to_string())),
            Listener::Unix(socket, path) => {
                let (socket, _) = socket.accept()?;
                Ok((Socket::Unix(socket), path.display().to_string()))
            }
        }
    }

    /// Where it listens: a port that was asked for as 0 has a number now.
    pub fn place(&self) -> String {
        match self {
            Listener::Tcp(socket) => socket.local_addr().map_or_else(|_| String::new(), |at| at.to_string()),
            Listener::Unix(_, path) => path.display().to_string(),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(socket) => socket.as_fd(),
            Listener::Unix(socket, _) => socket.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn addresses_are_hosts_with_ports_and_paths_with_slashes() {
        for good in [
            "127.0.0.1:0",
            "[::1]:7000",
            "host.example:65535",
            "./socket",
            "/run/lmfs.sock",
        ] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in ["", "host", ":7000", "host:", "host:70000", "socket"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_loopback_needs_no_token() {
        for address in ["0.0.0.0:0", "[::]:0"] {
            let refused = address.parse::<Address>().unwrap().listen(false);
            assert!(matches!(refused, Err(Error::TokenNeeded(_))), "{refused:?}");
        }
        "127.0.0.1:0".parse::<Address>().unwrap().listen(false).unwrap();
        "0.0.0.0:0".parse::<Address>().unwrap().listen(true).unwrap();
    }

    #[test]
    fn a_socket_is_private_replaces_one_that_was_left_and_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = Address::Path(path.clone());
        let listener = address.listen(false).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let busy = address.listen(false).unwrap_err().to_string();
        assert!(busy.contains("in use"), "{busy}");
        address.connect().unwrap();
        drop(listener);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).unwrap());
        drop(address.listen(false).unwrap());
        std::fs::write(&path, "a file").unwrap();
        assert!(address.listen(false).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"a file");
    }
}
