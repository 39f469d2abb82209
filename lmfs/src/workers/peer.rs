//! One worker, as the packer sees it: what it is asked before it gets work, and the work that it has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Instant;

use lmfs_codec::dictionary::DictionaryId;
use lmfs_codec::{Codec, Stop};
use parking_lot::Mutex;

use super::channel::Channel;
use super::error::Error;
use super::message::{Job, Message, ModelNeeded, PIECE, Setup, places};
use super::timing::Timing;
use super::token::{Token, nonce};
use crate::packer::encode::EncodeJob;

/// What workers may lack.
pub trait Supplies: Send + Sync {
    /// The model's file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn model(&self) -> Result<Vec<u8>, Error>;

    /// The text of a dictionary of the store; `None` if it cannot be had.
    fn dictionary(&self, id: DictionaryId) -> Option<Vec<u8>>;
}

/// What a worker has to agree to, and what it gets.
pub struct Terms {
    setup: Setup,
    fingerprint: [u8; 32],
    token: Option<Token>,
    timing: Timing,
    supplies: Box<dyn Supplies>,
    /// Kept in memory for those who ask at the same time.
    model: Mutex<std::sync::Weak<Vec<u8>>>,
    /// Texts that were sent.
    dictionaries: Mutex<HashMap<DictionaryId, Arc<Vec<u8>>>>,
}

impl Terms {
    /// For the blocks of `codec`.
    ///
    /// # Errors
    /// The model fails.
    pub fn new(
        codec: &Codec,
        supplies: Box<dyn Supplies>,
        token: Option<Token>,
        timing: Timing,
    ) -> Result<Terms, Error> {
        let model = codec.model().map(|model| {
            let identity = model.identity();
            ModelNeeded {
                name: identity.name.clone(),
                digest: identity.digest,
                engine: identity.engine,
            }
        });
        let options = codec.options().clone();
        Ok(Terms {
            setup: Setup { options, model },
            fingerprint: codec.fingerprint().map_err(Error::Unusable)?.0,
            token,
            timing,
            supplies,
            model: Mutex::default(),
            dictionaries: Mutex::default(),
        })
    }

    /// How long each side waits.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Meets a worker that has connected, until it can begin. `admit` is asked when it is known to be one.
    ///
    /// # Errors
    /// It does not know the token, or computes something else, or is lost; those of `admit`.
    pub fn meet(
        &self,
        channel: Channel,
        name: String,
        admit: impl FnOnce() -> Result<(), Error>,
        stop: &Stop,
    ) -> Result<Peer, Error> {
        let met = self
            .greet(&channel, stop)
            .and_then(|threads| admit().map(|()| threads))
            .and_then(|threads| self.agree(&channel, stop).map(|()| threads));
        if let Err(error @ (Error::WrongToken | Error::OtherNumerics | Error::NoModel(_))) = &met {
            let reason = error.to_string();
            channel.send_last(&Message::Refused { reason });
        }
        if matches!(met, Err(Error::Interrupted)) {
            channel.send_last(&Message::Done);
        }
        Ok(Peer {
            name,
            places: places(met?.max(1)),
            channel,
            busy: AtomicUsize::new(0),
            jobs: Mutex::new(Some(HashMap::new())),
            next: AtomicU64::new(0),
            has: Mutex::default(),
            taken: AtomicU64::new(0),
            looked_at: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// Returns the threads of the worker.
    fn greet(&self, channel: &Channel, stop: &Stop) -> Result<u16, Error> {
        let (nonce, token) = (nonce(), self.token.is_some());
        channel.send(&Message::Welcome { nonce, token }, stop)?;
        let Message::Hello { threads, proof } = heard(channel, stop)? else {
            return Err(Error::Malformed("no name"));
        };
        if self
            .token
            .as_ref()
            .is_some_and(|token| !token.is_proven_by(&proof, &nonce))
        {
            return Err(Error::WrongToken);
        }
        channel.trust();
        Ok(threads)
    }

    /// Sends it what it lacks, until it computes what this process does.
    fn agree(&self, channel: &Channel, stop: &Stop) -> Result<(), Error> {
        channel.send(&Message::Setup(self.setup.clone()), stop)?;
        let mut has_model = false;
        loop {
            // The time that the model took to be sent is none that the worker took.
            let late = Instant::now() + self.timing.lease;
            match heard_until(channel, late, stop)? {
                Message::NeedModel if has_model => return Err(Error::Malformed("that it needs the model again")),
                Message::NeedModel => {
                    self.send_model(channel, stop)?;
                    has_model = true;
                }
                Message::Ready { fingerprint } if fingerprint == self.fingerprint => return Ok(()),
                Message::Ready { .. } => return Err(Error::OtherNumerics),
                _ => return Err(Error::Malformed("neither a question nor that it is ready")),
            }
        }
    }

    fn send_model(&self, channel: &Channel, stop: &Stop) -> Result<(), Error> {
        // Reading a large one may take longer than the worker waits for a sign of life.
        let model = channel.alive_while(stop, || self.model())?;
        for piece in model.chunks(PIECE) {
            channel.send(&Message::Piece(piece.to_vec()), stop)?;
        }
        channel.send(&Message::Piece(Vec::new()), stop)
    }

    fn model(&self) -> Result<Arc<Vec<u8>>, Error> {
        let mut kept = self.model.lock();
        if let Some(model) = kept.upgrade() {
            return Ok(model);
        }
        let model = Arc::new(self.supplies.model()?);
        *kept = Arc::downgrade(&model);
        Ok(model)
    }

    fn dictionary(&self, id: DictionaryId) -> Option<Arc<Vec<u8>>> {
        let mut kept = self.dictionaries.lock();
        if let Some(text) = kept.get(&id) {
            return Some(text.clone());
        }
        let text = Arc::new(self.supplies.dictionary(id)?);
        kept.insert(id, text.clone());
        Some(text)
    }
}

/// The next message that says something.
pub fn heard(channel: &Channel, stop: &Stop) -> Result<Message, Error> {
    heard_until(channel, None, stop)
}

fn heard_until(channel: &Channel, deadline: impl Into<Option<Instant>>, stop: &Stop) -> Result<Message, Error> {
    let (begun, deadline) = (Instant::now(), deadline.into());
    loop {
        match channel.receive(stop)? {
            // Signs of life alone do not keep a place.
            Message::Alive if deadline.is_some_and(|deadline| Instant::now() > deadline) => {
                return Err(Error::Silent(begun.elapsed().as_secs()));
            }
            Message::Alive => {}
            Message::Refused { reason } => return Err(Error::Refused(reason)),
            message => return Ok(message),
        }
    }
}

/// What a worker made of a block.
pub enum Answer {
    /// The encoded block, which nobody has looked at yet.
    Block(Vec<u8>),
    /// Nothing, and why.
    Failed(String),
}

/// A worker that can begin.
pub struct Peer {
    /// Where it is, for people.
    pub name: String,
    /// Blocks that it takes at a time.
    pub places: usize,
    /// Blocks that it has.
    pub busy: AtomicUsize,
    /// Blocks of it that were taken.
    pub taken: AtomicU64,
    /// Blocks of it that were to be checked.
    pub looked_at: AtomicU64,
    /// Blocks that it could not encode since it last could.
    pub failed: AtomicU64,
    channel: Channel,
    /// Who waits for which answer; `None` once the worker is gone.
    jobs: Mutex<Option<HashMap<u64, Sender<Answer>>>>,
    next: AtomicU64,
    /// The dictionaries that it was sent.
    has: Mutex<HashSet<DictionaryId>>,
}

impl Peer {
    /// Has it encode a block.
    ///
    /// # Errors
    /// It is lost, or late; `stop` was set.
    pub fn work(&self, terms: &Terms, job: &EncodeJob<'_>, stop: &Stop) -> Result<Answer, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = channel();
        self.jobs.lock().as_mut().ok_or(Error::Closed)?.insert(number, tell);
        let job = Job {
            number,
            raw: job.raw.to_vec(),
            dictionaries: self.send_dictionaries(terms, job.dictionaries, stop)?,
            references: job.references.iter().map(|raw| raw.to_vec()).collect(),
        };
        self.channel.send(&Message::Job(job), stop)?;
        let deadline = Instant::now() + terms.timing.lease;
        loop {
            match told.recv_timeout(Stop::TICK) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Closed),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if stop.is_set() {
                return Err(Error::Interrupted);
            }
            if Instant::now() > deadline {
                return Err(Error::Late(terms.timing.lease.as_secs()));
            }
        }
    }

    /// Sends what it does not have yet. Returns those that it has then.
    fn send_dictionaries(
        &self,
        terms: &Terms,
        wanted: &[DictionaryId],
        stop: &Stop,
    ) -> Result<Vec<DictionaryId>, Error> {
        // Nobody names one before it is sent.
        let mut has = self.has.lock();
        for id in wanted {
            if !has.contains(id)
                && let Some(text) = terms.dictionary(*id)
            {
                self.channel.send(&Message::Dictionary(text.to_vec()), stop)?;
                has.insert(*id);
            }
        }
        Ok(wanted.iter().filter(|id| has.contains(*id)).copied().collect())
    }

    /// Hears what it says, until it is gone. Returns why.
    pub fn listen(&self, stop: &Stop) -> Error {
        loop {
            let (number, answer) = match heard(&self.channel, stop) {
                Ok(Message::Block { number, block }) => (number, Answer::Block(block)),
                Ok(Message::Failed { number, reason }) => (number, Answer::Failed(reason)),
                Ok(_) => return Error::Malformed("neither a block nor that there is none"),
                Err(error) => return error,
            };
            let asked = self.jobs.lock().as_mut().and_then(|jobs| jobs.remove(&number));
            let Some(asked) = asked else {
                return Error::Malformed("a block that it was not asked for");
            };
            // Nobody waits any more when the run is interrupted.
            let _ = asked.send(answer);
        }
    }

    /// Gives its work to others, and has it know why, if there is something to say. Returns whether this is news.
    pub fn dismiss(&self, last: Option<&Message>) -> bool {
        let news = self.jobs.lock().take().is_some();
        match last {
            Some(last) if news => self.channel.send_last(last),
            _ => self.channel.close(),
        }
        news
    }
}
