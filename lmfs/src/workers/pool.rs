//! The packer's side: it listens for workers, and deals blocks out to them.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lmfs_codec::{Codec, Error as CodecError, Stop};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, info, warn};

use super::address::{Address, Listener};
use super::channel::{Channel, Socket};
use super::error::Error;
use super::message::Message;
use super::peer::{Answer, Peer, Supplies, Terms};
use super::timing::Timing;
use super::token::Token;
use crate::packer::encode::{Check, Depth, EncodeJob, Helpers, Unfit};

/// Workers at a time. Others are turned away, and try again.
const MOST_PEERS: usize = 256;
/// Connections at a time that are not known to be workers. The oldest makes room for a new one.
const MOST_STRANGERS: usize = 64;
/// Blocks that are with workers at a time. Each takes up to four times the store's block size.
const MOST_PLACES: usize = 512;
/// The first blocks of a worker are decoded, ...
const FIRST: u64 = 4;
/// ... and of the others one in so many.
const ONE_IN: u64 = 64;
/// Workers that a block is given to before this process encodes it: it may be what kills them.
const MOST_TRIES: usize = 2;
/// A worker that fails so often in a row is of no use.
const MOST_FAILURES: u64 = 8;

/// The workers of one run. Dropping it tells them that there is no more to do, and waits for that.
pub struct Pool {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    terms: Terms,
    peers: Mutex<Vec<Arc<Peer>>>,
    /// Connections that are not known to be workers, the oldest first.
    strangers: Mutex<VecDeque<Arc<Socket>>>,
    /// Workers, also those that cannot begin yet.
    workers: AtomicUsize,
    ended: Stop,
}

impl Pool {
    /// Listens for workers that encode blocks as `codec` does.
    ///
    /// # Errors
    /// [`Address::listen`]; a model that fails.
    pub fn listen(
        address: &Address,
        token: Option<Token>,
        codec: &Codec,
        supplies: Box<dyn Supplies>,
    ) -> Result<Pool, Error> {
        let listener = address.listen(token.is_some())?;
        let terms = Terms::new(codec, supplies, token, Timing::default())?;
        Pool::start(listener, terms)
    }

    pub(super) fn start(listener: Listener, terms: Terms) -> Result<Pool, Error> {
        let shared = Arc::new(Shared {
            terms,
            peers: Mutex::default(),
            strangers: Mutex::default(),
            workers: AtomicUsize::new(0),
            ended: Stop::new(),
        });
        let host = shared.clone();
        info!("workers can connect to {}", listener.place());
        let thread = thread::Builder::new().name("workers".into());
        let thread = thread.spawn(move || host.accept(&listener))?;
        Ok(Pool {
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ended.set();
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

impl Helpers for Pool {
    fn count(&self) -> usize {
        self.shared.peers.lock().len()
    }

    fn places(&self) -> usize {
        let places: usize = self.shared.peers.lock().iter().map(|peer| peer.places).sum();
        places.min(MOST_PLACES)
    }

    fn encode(&self, job: &EncodeJob<'_>, check: &Check<'_>, stop: &Stop) -> Result<Option<Vec<u8>>, CodecError> {
        for _ in 0..MOST_TRIES {
            let Some(Place(peer)) = &self.shared.place() else { break };
            let block = match peer.work(&self.shared.terms, job, stop) {
                Ok(Answer::Block(block)) => block,
                // What none can encode is for this process to report.
                Ok(Answer::Failed(reason)) => {
                    warn!(worker = peer.name, reason, "a worker could not encode a block");
                    if peer.failed.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_FAILURES {
                        self.shared.dismiss(peer, &Error::Failing(MOST_FAILURES));
                    }
                    return Ok(None);
                }
                Err(Error::Interrupted) => return Err(CodecError::Interrupted),
                Err(error) => {
                    self.shared.dismiss(peer, &error);
                    continue;
                }
            };
            let is_sample = peer.looked_at.fetch_add(1, Ordering::Relaxed) < FIRST || random().is_multiple_of(ONE_IN);
            match check(&block, if is_sample { Depth::Full } else { Depth::Quick }) {
                Ok(()) => {
                    peer.taken.fetch_add(1, Ordering::Relaxed);
                    peer.failed.store(0, Ordering::Relaxed);
                    return Ok(Some(block));
                }
                Err(Unfit::Interrupted) => return Err(CodecError::Interrupted),
                Err(unfit) => self.shared.dismiss(peer, &unfit.into()),
            }
        }
        Ok(None)
    }
}

/// Which blocks are looked at closely, a worker cannot know.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Room for a block at a worker, until it is dropped.
struct Place(Arc<Peer>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Room at the worker that has most.
    fn place(&self) -> Option<Place> {
        let peers = self.peers.lock();
        let room = |peer: &&Arc<Peer>| peer.places.saturating_sub(peer.busy.load(Ordering::Relaxed));
        let peer = peers.iter().max_by_key(room).filter(|peer| room(peer) > 0)?;
        peer.busy.fetch_add(1, Ordering::Relaxed);
        Some(Place(peer.clone()))
    }

    /// Takes a worker off the list, and its work from it.
    fn dismiss(&self, peer: &Arc<Peer>, why: &Error) {
        self.peers.lock().retain(|other| !Arc::ptr_eq(other, peer));
        let is_over = self.ended.is_set();
        let last = match is_over {
            true => Some(Message::Done),
            // It may come back.
            false if why.is_passing() => None,
            false => Some(Message::Refused {
                reason: why.to_string(),
            }),
        };
        if peer.dismiss(last.as_ref()) && !is_over {
            let blocks = peer.taken.load(Ordering::Relaxed);
            warn!(worker = peer.name, %why, blocks, "a worker is gone; what it had is done by others");
        }
    }

    /// Accepts connections until the end, and waits for the end of each.
    fn accept(&self, listener: &Listener) {
        thread::scope(|scope| {
            while !self.ended.is_set() {
                match wait_and_accept(listener) {
                    Ok(Some((socket, name))) => {
                        let socket = Arc::new(socket);
                        self.expect(&socket);
                        let (thread, stranger) = (thread::Builder::new().name("worker-peer".into()), socket.clone());
                        if let Err(error) = thread.spawn_scoped(scope, || self.serve(stranger, name)) {
                            self.is_expected(&socket);
                            warn!(%error, "a worker is turned away");
                        }
                    }
                    Ok(None) => {}
                    Err(error) => {
                        warn!(%error, "no workers can connect");
                        thread::sleep(Duration::from_secs(1));
                    }
                }
            }
        });
    }

    /// Somebody has connected. Strangers who only take room do not keep workers out.
    fn expect(&self, socket: &Arc<Socket>) {
        let mut strangers = self.strangers.lock();
        if strangers.len() >= MOST_STRANGERS
            && let Some(oldest) = strangers.pop_front()
        {
            oldest.shutdown();
        }
        strangers.push_back(socket.clone());
    }

    /// Takes it off the list of strangers. Whether it still was there.
    fn is_expected(&self, socket: &Arc<Socket>) -> bool {
        let mut strangers = self.strangers.lock();
        let at = strangers.iter().position(|other| Arc::ptr_eq(other, socket));
        at.and_then(|at| strangers.remove(at)).is_some()
    }

    /// A place for a stranger who is known to be a worker.
    fn admit(&self, socket: &Arc<Socket>) -> Result<Seat<'_>, Error> {
        if !self.is_expected(socket) {
            return Err(Error::Closed);
        }
        let seat = Seat(&self.workers);
        match self.workers.fetch_add(1, Ordering::Relaxed) < MOST_PEERS {
            true => Ok(seat),
            false => Err(Error::TooMany),
        }
    }

    /// One connection, from its beginning to its end.
    fn serve(&self, socket: Arc<Socket>, name: String) {
        let mut seat = None;
        let met = Channel::open(socket.clone(), self.terms.timing(), &self.ended).and_then(|channel| {
            let admit = || self.admit(&socket).map(|given| seat = Some(given));
            self.terms.meet(channel, name.clone(), admit, &self.ended)
        });
        let had_no_room = seat.is_none() && !self.is_expected(&socket);
        match met {
            Ok(peer) => {
                info!(worker = name, places = peer.places, "a worker begins");
                let peer = Arc::new(peer);
                self.peers.lock().push(peer.clone());
                let why = peer.listen(&self.ended);
                self.dismiss(&peer, &why);
            }
            Err(Error::Interrupted) => {}
            Err(_) if had_no_room => debug!(worker = name, "there was no room for it"),
            Err(error) => warn!(worker = name, %error, "a worker cannot be used"),
        }
    }
}

/// One of the places for workers, until it is dropped.
struct Seat<'a>(&'a AtomicUsize);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whoever has connected within a moment.
fn wait_and_accept(listener: &Listener) -> io::Result<Option<(Socket, String)>> {
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: Stop::TICK.subsec_nanos().into(),
    };
    match poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&tick)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    match listener.accept() {
        Ok(accepted) => Ok(Some(accepted)),
        // It is gone already.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => Ok(None),
        Err(error) => Err(error),
    }
}
