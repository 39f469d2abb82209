//! The daemon's side of the control socket.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use lmfs_codec::Stop;
use serde_json::Value;

use super::{MAX_LINE, Progress, Reply, Request, address, elsewhere};

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
    /// A message for the client's user.
    fn handle(&self, request: Request, progress: &(dyn Fn(Progress) + Sync), stop: &Stop) -> Result<Value, String>;
}

/// A listening control socket; its file is removed when this is dropped, if it was not withdrawn before.
#[derive(Debug)]
pub struct Server {
    path: Option<PathBuf>,
    clients: Arc<AtomicUsize>,
}

impl Server {
    /// Listens in the store folder `dir`, whose lock the caller holds: a socket left there is stale. Requests are
    /// answered by `service`, each in a thread of its own.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(dir: &Path, service: Arc<dyn Service>) -> io::Result<Server> {
        let clients = Arc::new(AtomicUsize::new(0));
        let counter = clients.clone();
        let inside = dir.join("control.sock");
        let (_dir, short) = address(dir)?;
        let (listener, path) = match listen(&inside, &short) {
            Ok(listener) => (listener, inside),
            Err(e) if matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                let path = elsewhere(dir)?;
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
                }
                tracing::info!(
                    "the store's folder cannot be written, so the control socket is {}",
                    path.display()
                );
                (listen(&path, &path)?, path)
            }
            Err(e) => return Err(e),
        };
        thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(&listener, &service, &counter))?;
        Ok(Server {
            path: Some(path),
            clients,
        })
    }

    /// Removes the socket's file, while the caller still holds the store's lock: whoever holds it next puts another
    /// one there. Clients that are connected already get their answers.
    pub fn withdraw(&mut self) {
        if let Some(path) = self.path.take() {
            // Connecting to a socket nobody listens on fails clearly; a leftover file is replaced by the next daemon.
            let _ = fs::remove_file(path);
        }
    }

    /// Stops listening, once the clients that are being answered have their answers, or after `patience`.
    pub fn finish(self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.clients.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Listens at `path`, which `short` reaches, in place of what is there.
fn listen(path: &Path, short: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(short)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.withdraw();
    }
}

fn accept(listener: &UnixListener, service: &Arc<dyn Service>, clients: &Arc<AtomicUsize>) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("control socket: {error}");
                thread::sleep(HEARTBEAT);
                continue;
            }
        };
        if clients.fetch_add(1, Ordering::Relaxed) >= MAX_CLIENTS {
            clients.fetch_sub(1, Ordering::Relaxed);
            let _ = send(
                &stream,
                &Reply::Error {
                    message: "too many clients; try again".into(),
                },
            );
            continue;
        }
        let (service, left) = (service.clone(), clients.clone());
        let spawned = thread::Builder::new().name("control-client".into()).spawn(move || {
            if let Err(error) = converse(&stream, &service) {
                tracing::debug!("control client: {error}");
            }
            left.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = spawned {
            clients.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!("control socket: cannot start a thread: {error}");
        }
    }
}

fn converse(stream: &UnixStream, service: &Arc<dyn Service>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut line)?;
    let request = match serde_json::from_str::<Request>(&line) {
        Ok(request) => request,
        Err(error) => {
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
                Err(message) => Reply::Error { message },
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
