//! A worker: connects to a packer, and encodes what it gets until there is no more.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use lmfs_codec::dictionary::{DictionaryId, DictionarySource};
use lmfs_codec::model::{LanguageModel, LoadOptions, builtin, load_bytes};
use lmfs_codec::{Codec, Error as CodecError, Stop};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use super::address::Address;
use super::channel::{Channel, SetAtEnd};
use super::error::Error;
use super::message::{Job, Message, ModelNeeded, Setup, places};
use super::peer::heard;
use super::timing::Timing;
use super::token::Token;

/// How long a worker waits before it connects again: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];
/// The largest model that a worker takes.
const MOST_MODEL: usize = 16 << 30;
/// More dictionaries than a store can have.
const MOST_DICTIONARIES: usize = 256;

/// Encodes blocks for a packer.
pub struct Worker {
    /// Where the packer listens.
    pub address: Address,
    /// The secret that it shares with the packer.
    pub token: Option<Token>,
    /// Blocks that it encodes at a time.
    pub threads: u16,
    /// Whether it waits for the next run when one has ended, for ever.
    pub stay: bool,
    /// How long it waits.
    pub timing: Timing,
    /// Blocks that it encoded.
    pub blocks: AtomicU64,
    /// The bytes that they decode to.
    pub bytes: AtomicU64,
}

/// A model that is loaded, and which it is.
type Loaded = Option<(ModelNeeded, Arc<dyn LanguageModel>)>;

impl Worker {
    /// A worker that has done nothing yet.
    pub fn new(address: Address, token: Option<Token>, threads: u16, stay: bool) -> Worker {
        Worker {
            address,
            token,
            threads: threads.max(1),
            stay,
            timing: Timing::default(),
            blocks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Works until the packer has no more to do, or `stop` is set. Connects again when the connection is lost.
    ///
    /// # Errors
    /// The packer refuses this worker, or was not reached for too long.
    pub fn run(&self, stop: &Stop) -> Result<(), Error> {
        let [least, most] = PAUSES;
        let (mut model, mut pause, mut reached) = (None, least, Instant::now());
        loop {
            let mut was_met = false;
            let ended = self.connect(&mut model, &mut was_met, stop);
            if stop.is_set() {
                return Ok(());
            }
            if was_met {
                (pause, reached) = (least, Instant::now());
            }
            let ended = match ended {
                Err(Error::Over) => Ok(()),
                other => other,
            };
            match ended {
                Ok(()) if self.stay => info!("the packer has no more to do"),
                Ok(()) => return Ok(()),
                Err(error) if !error.is_passing() => return Err(error),
                Err(error) if !self.stay && reached.elapsed() >= self.timing.patience => {
                    return Err(Error::GaveUp {
                        at: self.address.to_string(),
                        seconds: self.timing.patience.as_secs(),
                        last: Box::new(error),
                    });
                }
                Err(error) if was_met => warn!(%error, "the packer is lost"),
                Err(error) => info!(%error, "there is no packer at {} now", self.address),
            }
            let next = Instant::now() + pause;
            while Instant::now() < next && !stop.is_set() {
                std::thread::sleep(Stop::TICK.min(pause));
            }
            pause = (pause * 2).min(most);
        }
    }

    fn connect(&self, model: &mut Loaded, was_met: &mut bool, stop: &Stop) -> Result<(), Error> {
        let channel = Channel::open(self.address.connect()?, self.timing, stop)?;
        let served = self.serve(&channel, model, was_met, stop);
        channel.close();
        served
    }

    /// One connection, until the packer has no more to do.
    pub(super) fn serve(
        &self,
        channel: &Channel,
        model: &mut Loaded,
        was_met: &mut bool,
        stop: &Stop,
    ) -> Result<(), Error> {
        let setup = self.introduce(channel, stop)?;
        *was_met = true;
        // Loading a model may take longer than the packer waits for a sign of life.
        channel.alive_while(stop, || {
            let dictionaries = Arc::new(Texts::default());
            let codec = self.codec(channel, setup, model, dictionaries.clone(), stop)?;
            let fingerprint = codec.fingerprint().map_err(Error::Unusable)?.0;
            channel.send(&Message::Ready { fingerprint }, stop)?;
            self.encode(channel, &codec, &dictionaries, stop)
        })
    }

    /// Encodes until there is no more to do.
    fn encode(&self, channel: &Channel, codec: &Codec, dictionaries: &Texts, stop: &Stop) -> Result<(), Error> {
        let (ended, waiting) = (stop.child(), AtomicUsize::new(0));
        let (give, jobs) = mpsc::channel();
        let jobs = Mutex::new(jobs);
        std::thread::scope(|scope| {
            // Whatever happens here, the threads end.
            let _end = SetAtEnd(&ended);
            // Dropped with this, so that who waits for a job ends.
            let give = give;
            for _ in 0..self.threads {
                scope.spawn(|| {
                    while let Some(job) = next(&jobs) {
                        let answer = self.answer(codec, &job, &ended);
                        waiting.fetch_sub(1, Ordering::Relaxed);
                        // Who receives sees that the connection is lost.
                        let _ = answer.map(|answer| channel.send(&answer, &ended));
                    }
                });
            }
            let mut is_first = true;
            loop {
                match heard(channel, stop)? {
                    Message::Dictionary(text) => dictionaries.put(text)?,
                    Message::Job(job) => {
                        if std::mem::take(&mut is_first) {
                            info!("packing for {}", self.address);
                        }
                        if !job.fits() || waiting.fetch_add(1, Ordering::Relaxed) >= places(self.threads) {
                            return Err(Error::Malformed("more than was agreed on"));
                        }
                        // The threads live as long as this.
                        let _ = give.send(job);
                    }
                    Message::Done => return Ok(()),
                    _ => return Err(Error::Malformed("neither a block nor the end")),
                }
            }
        })
    }

    fn introduce(&self, channel: &Channel, stop: &Stop) -> Result<Setup, Error> {
        let Message::Welcome { nonce, token } = heard(channel, stop)? else {
            return Err(Error::Malformed("no welcome"));
        };
        let proof = match &self.token {
            Some(token) => token.proof(&nonce),
            None if token => return Err(Error::NoToken),
            None => [0; 32],
        };
        let threads = self.threads;
        channel.send(&Message::Hello { threads, proof }, stop)?;
        match heard(channel, stop)? {
            Message::Setup(setup) => {
                channel.trust();
                Ok(setup)
            }
            Message::Done => Err(Error::Over),
            _ => Err(Error::Malformed("no settings")),
        }
    }

    fn codec(
        &self,
        channel: &Channel,
        setup: Setup,
        loaded: &mut Loaded,
        dictionaries: Arc<Texts>,
        stop: &Stop,
    ) -> Result<Codec, Error> {
        let mut options = setup.options;
        options.max_states = usize::from(self.threads);
        let made = match setup.model {
            Some(needed) => {
                if loaded.as_ref().is_none_or(|(has, _)| *has != needed) {
                    *loaded = None;
                    let gguf = model_file(channel, &needed, stop)?;
                    let load = load_bytes(&needed.name, gguf, needed.engine.into(), &LoadOptions::default());
                    *loaded = Some((needed, refuse_on_error(channel, load)?));
                }
                let model = loaded.as_ref().map(|(_, model)| model.clone());
                Codec::with_dictionaries(model, dictionaries, options)
            }
            None => Codec::with_dictionaries(None, dictionaries, options),
        };
        refuse_on_error(channel, made)
    }

    /// What becomes of a job; nothing if the connection ended.
    fn answer(&self, codec: &Codec, job: &Job, ended: &Stop) -> Option<Message> {
        let references: Vec<&[u8]> = job.references.iter().map(Vec::as_slice).collect();
        let encode = || codec.encode_behind(&job.raw, &job.dictionaries, &references, ended);
        let number = job.number;
        let reason = match catch_unwind(AssertUnwindSafe(encode)) {
            Ok(Ok(block)) => {
                self.blocks.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(job.raw.len() as u64, Ordering::Relaxed);
                return Some(Message::Block { number, block });
            }
            Ok(Err(CodecError::Interrupted)) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the worker met an internal error".to_owned(),
        };
        Some(Message::Failed { number, reason })
    }
}

/// The packer logs why this worker cannot begin.
fn refuse_on_error<T>(channel: &Channel, made: lmfs_codec::Result<T>) -> Result<T, Error> {
    made.map_err(Error::Unusable).inspect_err(|error| {
        let reason = error.to_string();
        channel.send_last(&Message::Refused { reason });
    })
}

/// The file of the model: a built-in one, or what the packer sends.
fn model_file(channel: &Channel, needed: &ModelNeeded, stop: &Stop) -> Result<Vec<u8>, Error> {
    if let Some(built_in) = builtin::list().iter().find(|model| model.digest() == needed.digest) {
        return Ok(built_in.gguf.to_vec());
    }
    info!("fetching the model {}", needed.name);
    channel.send(&Message::NeedModel, stop)?;
    let mut gguf = Vec::new();
    loop {
        match heard(channel, stop)? {
            Message::Piece(piece) if piece.is_empty() => break,
            Message::Piece(piece) if gguf.len() + piece.len() <= MOST_MODEL => gguf.extend(piece),
            Message::Piece(_) => return Err(Error::WrongModel),
            Message::Done => return Err(Error::Over),
            _ => return Err(Error::Malformed("no piece of the model")),
        }
    }
    match <[u8; 32]>::from(Sha256::digest(&gguf)) == needed.digest {
        true => Ok(gguf),
        false => Err(Error::WrongModel),
    }
}

/// The next job; `None` when there will be none.
fn next(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    jobs.lock().recv().ok()
}

/// The dictionaries that were sent.
#[derive(Default)]
struct Texts(Mutex<HashMap<DictionaryId, Vec<u8>>>);

impl Texts {
    fn put(&self, text: Vec<u8>) -> Result<(), Error> {
        let mut texts = self.0.lock();
        if texts.len() >= MOST_DICTIONARIES {
            return Err(Error::Malformed("more dictionaries than a store has"));
        }
        texts.insert(DictionaryId::of(&text), text);
        Ok(())
    }
}

impl DictionarySource for Texts {
    fn text(&self, id: DictionaryId) -> lmfs_codec::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().get(&id).cloned())
    }
}
