#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use lmfs_codec::dictionary::DictionaryId;
use lmfs_codec::model::{EngineChoice, LanguageModel, LoadOptions, builtin, load_bytes};
use lmfs_codec::{Codec, Header, Method, Options, Stop};

use super::address::Address;
use super::channel::Channel;
use super::error::Error;
use super::message::{Job, Message};
use super::peer::{Supplies, Terms, heard};
use super::pool::Pool;
use super::timing::Timing;
use super::token::{Token, nonce};
use super::worker::Worker;
use crate::packer::encode::{self, EncodeJob, Helpers};
use crate::testing::until;

/// Everything sooner than in earnest. No test passes because something took long enough.
const TIMING: Timing = Timing {
    alive: Duration::from_millis(100),
    greeting: Duration::from_secs(20),
    silence: Duration::from_secs(20),
    message: Duration::from_secs(20),
    lease: Duration::from_secs(60),
    patience: Duration::from_secs(60),
};

/// What a store has, and who asked for it.
#[derive(Clone, Default)]
struct Shelf {
    model: Option<Vec<u8>>,
    dictionaries: Vec<Vec<u8>>,
    asked: Arc<AtomicU64>,
    /// How long it takes to read the model.
    slow: Duration,
}

impl Supplies for Shelf {
    fn model(&self) -> Result<Vec<u8>, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.slow);
        self.model.clone().ok_or_else(|| Error::NoModel("it is on loan".into()))
    }

    fn dictionary(&self, id: DictionaryId) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.dictionaries
            .iter()
            .find(|text| DictionaryId::of(text) == id)
            .cloned()
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    codec: Codec,
    shelf: Shelf,
}

fn rows(range: std::ops::Range<u32>) -> Vec<u8> {
    range
        .flat_map(|n| format!("row {n} of {}\n", n * 7919 % 6151).into_bytes())
        .collect()
}

fn load(gguf: Vec<u8>) -> Arc<dyn LanguageModel> {
    load_bytes("a model", gguf, EngineChoice::Exact, &LoadOptions::default()).unwrap()
}

impl Fixture {
    fn new() -> Fixture {
        let dictionaries = vec![rows(0..3000)];
        let codec = Codec::with_dictionaries(None, Arc::new(dictionaries.clone()), Options::default()).unwrap();
        Fixture {
            folder: tempfile::tempdir().unwrap(),
            codec,
            shelf: Shelf {
                dictionaries,
                ..Shelf::default()
            },
        }
    }

    /// One whose blocks the language model codes, alone.
    fn with_model(gguf: Vec<u8>) -> Fixture {
        let mut options = Options::default();
        (options.mix, options.model_worth, options.zstd_level) = (false, 0, 1);
        Fixture {
            codec: Codec::new(Some(load(gguf.clone())), options).unwrap(),
            shelf: Shelf {
                model: Some(gguf),
                ..Shelf::default()
            },
            ..Fixture::new()
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn address(&self) -> Address {
        Address::Path(self.path())
    }

    fn pool(&self, token: Option<Token>, timing: Timing) -> Pool {
        let terms = Terms::new(&self.codec, Box::new(self.shelf.clone()), token, timing).unwrap();
        Pool::start(self.address().listen(true).unwrap(), terms).unwrap()
    }

    fn worker(&self, threads: u16) -> Worker {
        Worker {
            timing: TIMING,
            ..Worker::new(self.address(), None, threads, false)
        }
    }

    /// What the packer does with a block: `None` if no worker did it.
    fn encode(&self, pool: &Pool, job: &EncodeJob<'_>) -> Option<Vec<u8>> {
        let stop = Stop::new();
        let check = |block: &[u8], depth| encode::check(&self.codec, job, block, depth, &stop);
        pool.encode(job, &check, &stop).unwrap()
    }

    /// A worker that greets as it should, and then does what the test says.
    fn greet(&self, timing: Timing) -> Result<Channel, Error> {
        let stop = Stop::new();
        let channel = Channel::open(self.address().connect().unwrap(), timing, &stop)?;
        heard(&channel, &stop)?;
        let (threads, proof) = (1, [0; 32]);
        channel.send(&Message::Hello { threads, proof }, &stop)?;
        heard(&channel, &stop)?;
        channel.trust();
        Ok(channel)
    }

    /// One that also says that it is ready.
    fn connect(&self, fingerprint: Option<[u8; 32]>) -> Result<Channel, Error> {
        let channel = self.greet(TIMING)?;
        let fingerprint = fingerprint.unwrap_or_else(|| self.codec.fingerprint().unwrap().0);
        channel.send(&Message::Ready { fingerprint }, &Stop::new())?;
        Ok(channel)
    }
}

fn job<'a>(raw: &'a [u8], dictionaries: &'a [DictionaryId], references: &'a [&'a [u8]]) -> EncodeJob<'a> {
    EncodeJob {
        raw,
        dictionaries,
        references,
    }
}

#[test]
fn two_workers_make_the_blocks_that_this_process_would_make() {
    let f = Fixture::new();
    let pool = f.pool(None, TIMING);
    let workers = [f.worker(1), f.worker(2)];
    let stop = Stop::new();
    std::thread::scope(|scope| {
        let running: Vec<_> = workers.iter().map(|worker| scope.spawn(|| worker.run(&stop))).collect();
        until("both are there", || pool.count() == 2);
        assert_eq!(pool.places(), 2 + 4);
        let id = DictionaryId::of(&f.shelf.dictionaries[0]);
        let blocks: Vec<Vec<u8>> = (0..40).map(|n| rows(n * 300..n * 300 + 200)).collect();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while let Some(raw) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let reference = [&raw[..raw.len() / 2], b"and then something else"].concat();
                        let references = [reference.as_slice()];
                        for job in [job(raw, &[], &[]), job(raw, &[id], &[]), job(raw, &[id], &references)] {
                            let made = f.encode(&pool, &job).unwrap();
                            let expected = f
                                .codec
                                .encode_behind(raw, job.dictionaries, job.references, &Stop::new());
                            assert!(made == expected.unwrap());
                        }
                    }
                });
            }
        });
        drop(pool);
        for ended in running {
            ended.join().unwrap().unwrap();
        }
    });
    let [one, two] = workers.map(|worker| worker.blocks.into_inner());
    assert_eq!(one + two, 120);
    assert!(one > 0 && two > 0, "{one} {two}");
    assert_eq!(
        f.shelf.asked.load(Ordering::Relaxed),
        1,
        "a text is read once, and sent once to each"
    );
    assert!(!f.path().exists());
}

/// How a worker may answer wrongly, and what it is told then.
#[test]
fn a_worker_that_answers_wrongly_is_told_and_dropped_and_its_work_done_by_others() {
    let model = builtin::find("tiny").unwrap().gguf.to_vec();
    let f = Fixture::with_model(model);
    let options = f.codec.options().clone();
    let other = Codec::new(Some(load(builtin::find("small").unwrap().gguf.to_vec())), options).unwrap();
    let stop = Stop::new();
    let raw = b"It was not that she minded the rain, for she had lived here long enough; 7 of 13 said so.".to_vec();
    let right = f.codec.encode(&raw, &stop).unwrap();
    assert_eq!(Header::parse(&right).unwrap().method, Method::Model);
    let mut forged = right.clone();
    *forged.get_mut(Header::LEN + 3).unwrap() ^= 0x40;
    let block = |number, block: &[u8]| Message::Block {
        number,
        block: block.to_vec(),
    };
    type Answer<'a> = Box<dyn Fn(u64) -> Message + Sync + 'a>;
    let cases: Vec<(Answer<'_>, &str)> = vec![
        (Box::new(|n| block(n, &forged)), "not taken"),
        (Box::new(|n| block(n, &right[..right.len() - 1])), "no whole block"),
        (Box::new(|n| block(n, b"")), "no whole block"),
        (
            Box::new(|n| block(n, &other.encode(&raw, &stop).unwrap())),
            "not the store's",
        ),
        (
            Box::new(|n| block(n, &f.codec.encode(b"other bytes", &stop).unwrap())),
            "other bytes",
        ),
        (Box::new(|n| block(n + 1, &right)), "not asked for"),
        (Box::new(|_| Message::Done), "neither a block"),
        (Box::new(|_| Message::NeedModel), "neither a block"),
    ];
    for (answer, reason) in cases {
        let pool = f.pool(None, TIMING);
        let channel = f.connect(None).unwrap();
        until("it is there", || pool.count() == 1);
        std::thread::scope(|scope| {
            let told = scope.spawn(|| {
                let Message::Job(job) = heard(&channel, &stop).unwrap() else {
                    panic!()
                };
                assert_eq!(job.raw, raw);
                channel.send(&answer(job.number), &stop).unwrap();
                heard(&channel, &stop)
            });
            assert_eq!(f.encode(&pool, &job(&raw, &[], &[])), None);
            let told = told.join().unwrap().unwrap_err().to_string();
            assert!(told.contains(reason), "{told}");
        });
        assert_eq!(pool.count(), 0);
        // A good one takes its place.
        let worker = f.worker(1);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| worker.run(&stop));
            until("a good one is there", || pool.count() == 1);
            assert_eq!(f.encode(&pool, &job(&raw, &[], &[])).unwrap(), right);
            drop(pool);
            running.join().unwrap().unwrap();
        });
    }
}

#[test]
fn a_worker_that_leaves_hangs_or_reads_nothing_is_lost_and_another_does_its_work() {
    let f = Fixture::new();
    let stop = Stop::new();
    let raw = rows(0..20_000);
    assert!(raw.len() > 200_000, "more than the buffers of a socket");
    type Behaviour<'a> = &'a (dyn Fn(&Channel) + Sync);
    let over = AtomicBool::new(false);
    let leaves: Behaviour<'_> = &|channel| {
        heard(channel, &stop).unwrap();
        channel.close();
    };
    let hangs: Behaviour<'_> = &|channel| {
        heard(channel, &stop).unwrap();
        until("it is over", || over.load(Ordering::Relaxed));
    };
    let reads_nothing: Behaviour<'_> = &|channel| {
        while !over.load(Ordering::Relaxed) && channel.send(&Message::Alive, &stop).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let never_answers: Behaviour<'_> = &|channel| while channel.receive(&stop).is_ok() {};
    let soon = Duration::from_secs(3);
    for (behaviour, lease) in [
        (leaves, TIMING.lease),
        (hangs, TIMING.lease),
        (reads_nothing, TIMING.lease),
        (never_answers, soon),
    ] {
        over.store(false, Ordering::Relaxed);
        let timing = Timing {
            silence: soon,
            message: soon,
            lease,
            ..TIMING
        };
        let pool = f.pool(None, timing);
        let channel = f.connect(None).unwrap();
        until("it is there", || pool.count() == 1);
        std::thread::scope(|scope| {
            scope.spawn(|| behaviour(&channel));
            // More than one, so that what a socket keeps for its reader is full.
            let asked: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| f.encode(&pool, &job(&raw, &[], &[]))))
                .collect();
            for asked in asked {
                assert_eq!(asked.join().unwrap(), None);
            }
            assert_eq!(pool.count(), 0);
            over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_worker_connects_again_and_ends_with_the_packer() {
    let f = Fixture::new();
    let worker = f.worker(1);
    let stop = Stop::new();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| worker.run(&stop));
        // There is nobody at first, then somebody who hangs up, then a packer.
        std::thread::sleep(Duration::from_millis(50));
        let listener = f.address().listen(false).unwrap();
        until("it comes", || listener.accept().is_ok());
        drop(listener);
        let pool = f.pool(None, TIMING);
        until("it is there", || pool.count() == 1);
        assert!(f.encode(&pool, &job(b"some text, some text", &[], &[])).is_some());
        drop(pool);
        running.join().unwrap().unwrap();
    });
    let hasty = Worker {
        timing: Timing {
            patience: Duration::ZERO,
            ..TIMING
        },
        ..f.worker(1)
    };
    let gave_up = hasty.run(&stop).unwrap_err().to_string();
    assert!(gave_up.contains("no packer was reached"), "{gave_up}");
    stop.set();
    f.worker(1).run(&stop).unwrap();
}

#[test]
fn only_who_knows_the_token_gets_work() {
    let f = Fixture::new();
    let token = |text: &str| {
        let file = f.folder.path().join("token");
        std::fs::write(&file, text).unwrap();
        Some(Token::read(&file).unwrap())
    };
    let pool = f.pool(token("the right one, of 32 characters."), TIMING);
    let stop = Stop::new();
    let run = |token| Worker { token, ..f.worker(1) }.run(&stop);
    assert!(matches!(run(None), Err(Error::NoToken)));
    let refused = run(token("the wrong one, of 32 characters.")).unwrap_err();
    assert!(
        matches!(&refused, Error::Refused(why) if why.contains("token")),
        "{refused}"
    );
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(token("the right one, of 32 characters.")));
        until("it is there", || pool.count() == 1);
        drop(pool);
        running.join().unwrap().unwrap();
    });
}

/// A model that is not built in is sent once, to who does not have it, and only the right one is used.
#[test]
fn the_model_is_sent_to_who_lacks_it() {
    let mut gguf = builtin::find("tiny").unwrap().gguf.to_vec();
    *gguf.last_mut().unwrap() ^= 1;
    let f = Fixture::with_model(gguf.clone());
    let stop = Stop::new();
    let worker = f.worker(1);
    std::thread::scope(|scope| {
        let staying = Worker {
            stay: true,
            ..f.worker(1)
        };
        let running = scope.spawn(|| worker.run(&stop));
        let over = stop.child();
        let stays = scope.spawn(move || staying.run(&over).map(|()| staying.blocks.into_inner()));
        for run in 0..2 {
            let pool = f.pool(None, TIMING);
            until("they are there", || pool.count() == 2 - run);
            let raw = b"She had lived here long enough to know the sound of the rain on the roof.";
            let made = f.encode(&pool, &job(raw, &[], &[])).unwrap();
            assert_eq!(made, f.codec.encode(raw, &stop).unwrap());
        }
        running.join().unwrap().unwrap();
        stop.set();
        stays.join().unwrap().unwrap();
    });
    let asked = f.shelf.asked.load(Ordering::Relaxed);
    assert!((1..=2).contains(&asked), "who has it does not ask again: {asked}");

    let stop = Stop::new();
    for (model, said) in [(Some(b"another file".to_vec()), "not the one"), (None, "on loan")] {
        let shelf = Shelf {
            model,
            ..Shelf::default()
        };
        let liar = Fixture {
            shelf,
            ..Fixture::with_model(gguf.clone())
        };
        let _pool = liar.pool(None, TIMING);
        let error = liar.worker(1).run(&stop).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_worker_that_computes_something_else_is_refused() {
    let f = Fixture::new();
    let pool = f.pool(None, TIMING);
    let channel = f.connect(Some([7; 32])).unwrap();
    let refused = heard(&channel, &Stop::new()).unwrap_err().to_string();
    assert!(refused.contains("computes other bits"), "{refused}");
    assert_eq!(pool.count(), 0);
}

/// Regression: a sign of life that was due when the run ended closed the connection, or failed before the worker had
/// read the last message, so the worker did not hear that there is no more to do.
#[test]
fn the_last_message_follows_a_sign_of_life_that_was_not_sent() {
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    let open = |socket| Channel::open(super::channel::Socket::Unix(socket), TIMING, &Stop::new()).unwrap();
    std::thread::scope(|scope| {
        let packer = scope.spawn(|| open(one));
        let worker = open(other);
        let packer = packer.join().unwrap();
        let ended = Stop::new();
        ended.set();
        std::thread::sleep(TIMING.alive);
        assert!(matches!(packer.stay_alive(&ended), Err(Error::Interrupted)));
        packer.send_last(&Message::Done);
        std::thread::sleep(TIMING.alive);
        assert_eq!(heard(&worker, &Stop::new()).unwrap(), Message::Done);
    });
}

#[test]
fn strangers_get_nothing_and_take_little() {
    let f = Fixture::new();
    let pool = f.pool(None, TIMING);
    let stop = Stop::new();
    let stranger = || Channel::open(f.address().connect().unwrap(), TIMING, &stop).unwrap();
    let raw = vec![0; 100_000];
    let early = Job {
        number: 0,
        raw,
        dictionaries: Vec::new(),
        references: Vec::new(),
    };
    for message in [
        Message::Job(early),
        Message::Ready { fingerprint: nonce() },
        Message::Dictionary(vec![0; 100_000]),
    ] {
        let channel = stranger();
        heard(&channel, &stop).unwrap();
        // The rest of a long message may find the connection closed.
        let _ = channel.send(&message, &stop);
        let ended = heard(&channel, &stop);
        assert!(matches!(ended, Err(Error::Closed | Error::Io(_))), "{ended:?}");
    }
    // Another protocol, in both directions.
    let (mine, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &mine, b"HTTP/1.1 400 Bad Request\r\n").unwrap();
    let other = super::channel::Socket::Unix(theirs);
    assert!(matches!(Channel::open(other, TIMING, &stop), Err(Error::NotLmfs)));
    assert_eq!(pool.count(), 0);
    assert!(f.encode(&pool, &job(b"text", &[], &[])).is_none(), "nobody is there");
}

const AN_HOUR: Duration = Duration::from_secs(3600);

/// Regression: connections that said nothing took all places for workers, until each had been silent for too long.
#[test]
fn idle_strangers_do_not_keep_a_worker_out() {
    let f = Fixture::new();
    let (greeting, silence) = (AN_HOUR, AN_HOUR);
    let timing = Timing {
        greeting,
        silence,
        ..TIMING
    };
    let pool = f.pool(None, timing);
    let strangers: Vec<_> = (0..260).map(|_| f.address().connect().unwrap()).collect();
    let worker = f.worker(1);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| worker.run(&Stop::new()));
        until("the worker is there", || pool.count() == 1);
        drop(strangers);
        drop(pool);
        running.join().unwrap().unwrap();
    });
}

/// Regression: who said again and again that it is alive, and never who it is, kept its place.
#[test]
fn a_stranger_that_is_alive_has_to_greet() {
    let f = Fixture::new();
    let timing = Timing {
        greeting: Duration::from_millis(500),
        silence: AN_HOUR,
        ..TIMING
    };
    let _pool = f.pool(None, timing);
    let stop = Stop::new();
    let stranger = Channel::open(f.address().connect().unwrap(), TIMING, &stop).unwrap();
    // It waits for ever, says that it is alive while it does, and hears that the packer is.
    stranger.trust();
    until("it is sent away", || stranger.receive(&stop).is_err());
}

/// Regression: a packer said nothing while it read a large model, and the worker that waited for it left.
#[test]
fn a_packer_that_reads_a_large_model_is_alive() {
    let mut gguf = builtin::find("tiny").unwrap().gguf.to_vec();
    *gguf.last_mut().unwrap() ^= 1;
    let mut f = Fixture::with_model(gguf);
    f.shelf.slow = Duration::from_secs(6);
    let _pool = f.pool(None, TIMING);
    let stop = Stop::new();
    let silence = Duration::from_secs(3);
    let channel = f.greet(Timing { silence, ..TIMING }).unwrap();
    channel.send(&Message::NeedModel, &stop).unwrap();
    let first = heard(&channel, &stop);
    assert!(
        matches!(&first, Ok(Message::Piece(piece)) if !piece.is_empty()),
        "{first:?}"
    );
}

/// Regression: a worker could ask for the model without end.
#[test]
fn a_worker_gets_the_model_once() {
    let f = Fixture::with_model(builtin::find("tiny").unwrap().gguf.to_vec());
    let _pool = f.pool(None, TIMING);
    let stop = Stop::new();
    let channel = f.greet(TIMING).unwrap();
    channel.send(&Message::NeedModel, &stop).unwrap();
    while heard(&channel, &stop).unwrap() != Message::Piece(Vec::new()) {}
    channel.send(&Message::NeedModel, &stop).unwrap();
    let ended = heard(&channel, &stop);
    assert!(matches!(ended, Err(Error::Closed | Error::Io(_))), "{ended:?}");
}
