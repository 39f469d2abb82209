//! The daemon's side of the control socket.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lmfs_codec::Stop;
use lmfs_indexer::io::Directory;
use parking_lot::{Condvar, Mutex};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::Value;

use super::{FILE, Progress, ReadError, Reply, Request, name_of_mount, name_of_store, peer};
use crate::error_chain::explain;
use crate::mountinfo::MountInfo;

/// Conversations at a time; one more is told to come back.
const MAX_CLIENTS: usize = 32;
/// How often a client hears something.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a client may take to ask, or to read.
const PATIENCE: Duration = Duration::from_secs(30);

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// Does what `request` asks, telling `progress` about it; ends early when `stop` is set because the client left.
    ///
    /// # Errors
    /// Why not. The client's user is shown it with its causes.
    fn handle(&self, request: Request, progress: &(dyn Fn(Progress) + Sync), stop: &Stop) -> anyhow::Result<Value>;
}

/// The control sockets of a daemon. Nobody listens any more when this is dropped, if it was not withdrawn before.
pub struct Server {
    /// Where the socket's file is.
    dir: Directory,
    inside: bool,
    of_store: Vec<Listener>,
    of_mount: Option<Listener>,
    shared: Arc<Shared>,
}

/// What answers, whoever asks where.
struct Shared {
    service: Arc<dyn Service>,
    clients: Mutex<usize>,
    /// A client left.
    left: Condvar,
}

/// A client, as long as this lives.
struct Client(Arc<Shared>);

impl Client {
    /// One more; none if there are too many.
    fn new(shared: &Arc<Shared>) -> Option<Client> {
        let mut clients = shared.clients.lock();
        if *clients >= MAX_CLIENTS {
            return None;
        }
        *clients += 1;
        Some(Client(shared.clone()))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        *self.0.clients.lock() -= 1;
        self.0.left.notify_all();
    }
}

struct Listener {
    socket: UnixListener,
    withdrawn: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Listens in the store folder `dir`, whose lock the caller holds: a socket left there is stale. Requests are
    /// answered by `service`, each in a thread of its own.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn start(dir: &Directory, service: Arc<dyn Service>) -> io::Result<Server> {
        let mut server = Server {
            dir: dir.clone(),
            inside: false,
            of_store: Vec::new(),
            of_mount: None,
            shared: Arc::new(Shared {
                service,
                clients: Mutex::new(0),
                left: Condvar::new(),
            }),
        };
        match listen_inside(dir) {
            Ok(socket) => {
                server.of_store.push(Listener::start(socket, &server.shared)?);
                server.inside = true;
            }
            Err(e) if matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                tracing::info!("the store's folder cannot be written, so there is no {FILE} in it");
            }
            Err(e) => return Err(e),
        }
        match Listener::at(&name_of_store(dir)?, &server.shared) {
            Ok(listener) => server.of_store.push(listener),
            // Somebody who has no right to the name, and whom no client believes.
            Err(e) if server.inside => tracing::warn!("the daemon can only be asked through {FILE}: {e}"),
            Err(e) => return Err(e),
        }
        Ok(server)
    }

    /// Listens for those who know the mount and not the store.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen_for(&mut self, mount: &MountInfo) -> io::Result<()> {
        let name = name_of_mount(&mount.filesystem())?;
        self.of_mount = Some(Listener::at(&name, &self.shared)?);
        Ok(())
    }

    /// Gives the sockets up, while the caller still holds the store's lock: whoever holds it next makes others. Clients
    /// that are connected already get their answers.
    pub fn withdraw(&mut self) {
        self.of_store
            .drain(..)
            .chain(self.of_mount.take())
            .for_each(Listener::withdraw);
        if std::mem::take(&mut self.inside) {
            // Connecting to a socket nobody listens on fails clearly; a leftover file is replaced by the next daemon.
            let _ = self.dir.remove(FILE);
        }
    }

    /// Stops listening, once the clients that are being answered have their answers, or after `patience`.
    pub fn finish(self, patience: Duration) {
        let mut clients = self.shared.clients.lock();
        self.shared
            .left
            .wait_while_for(&mut clients, |clients| *clients > 0, patience);
    }
}

impl Listener {
    fn at(name: &SocketAddr, shared: &Arc<Shared>) -> io::Result<Self> {
        Self::start(UnixListener::bind_addr(name)?, shared)
    }

    fn start(socket: UnixListener, shared: &Arc<Shared>) -> io::Result<Self> {
        let withdrawn = Arc::new(AtomicBool::new(false));
        let (listener, shared, ended) = (socket.try_clone()?, shared.clone(), withdrawn.clone());
        let accept = move || accept(&listener, &shared, &ended);
        let thread = thread::Builder::new().name("control".into()).spawn(accept)?;
        Ok(Self {
            socket,
            withdrawn,
            thread,
        })
    }

    fn withdraw(self) {
        self.withdrawn.store(true, Ordering::SeqCst);
        // Whoever waits for a client there is woken; the name is free once both handles are closed.
        if rustix::net::shutdown(&self.socket, Shutdown::Both).is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// Listens in the store's folder, in place of what is there. The socket's file is private from its first moment: its
/// mode is that of the socket before it had a name.
fn listen_inside(dir: &Directory) -> io::Result<UnixListener> {
    match dir.remove(FILE) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    // Never longer than a socket address may be, however deep the folder lies.
    rustix::net::bind(&socket, &SocketAddrUnix::new(dir.reach().join(FILE))?)?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket.into())
}

impl Drop for Server {
    fn drop(&mut self) {
        self.withdraw();
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>, withdrawn: &AtomicBool) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(_) if withdrawn.load(Ordering::SeqCst) => return,
            Err(error) => {
                tracing::warn!("control socket: {error}");
                thread::sleep(HEARTBEAT);
                continue;
            }
        };
        let refuse = |message: &str| {
            // A client that is gone does not mind.
            let _ = send(
                &stream,
                &Reply::Error {
                    message: message.to_owned(),
                },
            );
        };
        let me = rustix::process::geteuid().as_raw();
        if !peer(&stream).is_ok_and(|peer| peer.uid == 0 || peer.uid == me) {
            refuse("only root and the user who mounted the store may ask its daemon");
            continue;
        }
        let Some(client) = Client::new(shared) else {
            refuse("too many clients; try again");
            continue;
        };
        let spawned = thread::Builder::new().name("control-client".into()).spawn(move || {
            if let Err(error) = converse(&stream, &client.0.service) {
                tracing::debug!("control client: {error}");
            }
        });
        if let Err(error) = spawned {
            tracing::warn!("control socket: cannot start a thread: {error}");
        }
    }
}

fn converse(stream: &UnixStream, service: &Arc<dyn Service>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = match Request::read(stream) {
        Ok(request) => request,
        Err(ReadError::Io(error)) => return Err(error),
        Err(ReadError::NoRequest(error)) => {
            let message = format!(
                "this daemon (lmfs {}) does not understand the request: {error}",
                env!("CARGO_PKG_VERSION")
            );
            return send(stream, &Reply::Error { message });
        }
    };
    tracing::debug!(?request, "control");

    let (tell, told) = mpsc::channel();
    let stop = Stop::new();
    let worker = {
        let (service, stop) = (service.clone(), stop.clone());
        thread::Builder::new().name("control-work".into()).spawn(move || {
            let progress = |progress| {
                // Nobody listens any more when the client left.
                let _ = tell.send(Reply::Progress(progress));
            };
            match service.handle(request, &progress, &stop) {
                Ok(result) => Reply::Done { result },
                Err(error) => Reply::Error {
                    message: explain(&error),
                },
            }
        })?
    };
    let relayed = relay(stream, &told);
    if relayed.is_err() {
        stop.set();
    }
    let last = worker.join().unwrap_or_else(|_| Reply::Error {
        message: "the daemon met an internal error; its log has the details".into(),
    });
    relayed.and_then(|()| send(stream, &last))
}

/// Passes progress on until the worker is done, with a sign of life whenever there is none.
fn relay(stream: &UnixStream, told: &mpsc::Receiver<Reply>) -> io::Result<()> {
    loop {
        match told.recv_timeout(HEARTBEAT) {
            Ok(reply) => send(stream, &reply)?,
            Err(RecvTimeoutError::Timeout) => send(stream, &Reply::Alive)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn send(mut stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}
