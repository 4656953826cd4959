//! Listening sockets: bound here, accepted from by the I/O loops.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
};

use hyperpull::error::{Code, Error};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

#[cfg(unix)]
use std::{os::unix::net::UnixListener, path::PathBuf, sync::Arc};

use crate::error;

/// A bound socket that listens and does not block.
pub enum Listening {
    Tcp(TcpListener),
    /// The file goes before the socket does: whoever finds the path free meanwhile may have it.
    #[cfg(unix)]
    Unix(Arc<SocketFile>, UnixListener),
}

impl Listening {
    /// A second handle on the same socket, for one more I/O loop.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let failed = |cause: io::Error| error::io("cannot duplicate the listening socket", &cause);
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp).map_err(failed),
            #[cfg(unix)]
            Self::Unix(file, listener) => {
                let listener = listener.try_clone().map_err(failed)?;
                Ok(Self::Unix(file.clone(), listener))
            }
        }
    }

    /// `tcp\0host\0port` or `unix\0path`.
    pub fn address(&self) -> Result<String, Error> {
        match self {
            Self::Tcp(listener) => {
                let address = listener.local_addr().map_err(|cause| error::io("no local address", &cause))?;
                Ok(format!("tcp\0{}\0{}", address.ip(), address.port()))
            }
            #[cfg(unix)]
            Self::Unix(file, _) => Ok(format!("unix\0{}", file.path.display())),
        }
    }
}

/// Binds a TCP socket. A name is resolved here and blocks the caller; the facade gives addresses.
pub fn tcp(host: &str, port: u16, backlog: i32, reuse_port: bool) -> Result<Listening, Error> {
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|cause| Error::new(Code::Io, format!("cannot resolve {host}: {cause}")))?
        .collect();
    let mut failure = Error::new(Code::Io, format!("{host} has no address"));
    for address in addresses {
        match tcp_at(address, backlog, reuse_port) {
            Ok(listener) => return Ok(Listening::Tcp(listener)),
            Err(cause) => failure = refused(&address.to_string(), &cause),
        }
    }
    Err(failure)
}

fn tcp_at(address: SocketAddr, backlog: i32, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // '::' takes IPv4 too, as in node:net.
        socket.set_only_v6(false)?;
    }
    // On Windows the option means something else: taking the address away from its owner.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if reuse_port {
        set_reuse_port(&socket)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))))]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))))]
fn set_reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, "reusePort is not to be had on this system"))
}

fn refused(what: &str, cause: &io::Error) -> Error {
    let code = match cause.kind() {
        io::ErrorKind::AddrInUse => Code::AddressInUse,
        io::ErrorKind::InvalidInput => Code::InvalidOption,
        _ => Code::Io,
    };
    Error::new(code, format!("cannot listen on {what}: {cause}"))
}

/// Binds a Unix-domain socket. A socket file that nobody listens on is replaced; anything else at the path is not.
#[cfg(unix)]
pub fn unix(path: &str, backlog: i32) -> Result<Listening, Error> {
    let failed = |cause: io::Error| refused(path, &cause);
    let address = match SockAddr::unix(path) {
        Ok(address) if !path.is_empty() && !path.contains('\0') => address,
        Ok(_) => return Err(Error::new(Code::InvalidOption, "path must not be empty nor contain NUL")),
        Err(cause) => return Err(Error::new(Code::InvalidOption, format!("cannot listen on {path}: {cause}"))),
    };
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    if let Err(cause) = socket.bind(&address) {
        if cause.kind() != io::ErrorKind::AddrInUse || !is_stale(path, &address) {
            return Err(failed(cause));
        }
        // Gone already is as good.
        let _ = std::fs::remove_file(path);
        socket.bind(&address).map_err(failed)?;
    }
    let file = Arc::new(SocketFile::of(path));
    socket.listen(backlog).map_err(failed)?;
    Ok(Listening::Unix(file, socket.into()))
}

/// Elsewhere there are none.
#[cfg(not(unix))]
pub fn unix(path: &str, _: i32) -> Result<Listening, Error> {
    Err(Error::new(Code::InvalidOption, format!("cannot listen on {path}: no Unix-domain sockets on this system")))
}

/// A socket file on which a connection is refused. A full backlog says "would block", not "refused".
#[cfg(unix)]
fn is_stale(path: &str, address: &SockAddr) -> bool {
    use std::os::unix::fs::FileTypeExt;
    if !std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return false;
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)
        .and_then(|probe| probe.set_nonblocking(true).and_then(|()| probe.connect(address)));
    probe.is_err_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// The file of a Unix-domain socket: removed with the last handle, unless somebody else's stands there by then.
#[cfg(unix)]
pub struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

#[cfg(unix)]
impl SocketFile {
    fn of(path: &str) -> Self {
        let path = PathBuf::from(path);
        let identity = Self::identity(&path);
        Self { path, identity }
    }

    fn identity(path: &std::path::Path) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
    }

    /// The path that was bound.
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && Self::identity(&self.path) == self.identity {
            // Nothing to be done about a failure here.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_apart() {
        let first = tcp("127.0.0.1", 0, 16, false).and_then(|first| first.address().map(|address| (first, address)));
        let Ok((_first, address)) = first else { panic!("no port to be had") };
        let port = address.rsplit('\0').next().and_then(|port| port.parse().ok()).unwrap_or_default();
        let second = tcp("127.0.0.1", port, 16, false);
        assert!(second.is_err_and(|error| error.code() == Code::AddressInUse));
    }

    #[cfg(unix)]
    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let path = std::env::temp_dir().join(format!("hyperpull-bind-{}", std::process::id()));
        let path = path.display().to_string();
        // A plain std listener leaves its file behind.
        drop(UnixListener::bind(&path));
        let first = unix(&path, 16);
        assert!(first.is_ok());
        assert!(unix(&path, 16).is_err_and(|error| error.code() == Code::AddressInUse));
        drop(first);
        assert!(!std::path::Path::new(&path).exists());
        assert!(std::fs::write(&path, b"precious").is_ok());
        assert!(unix(&path, 16).is_err_and(|error| error.code() == Code::AddressInUse));
        assert!(std::fs::remove_file(&path).is_ok());
    }
}
