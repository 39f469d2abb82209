//! What packers and workers say to each other, as bytes.
//!
//! A message is its kind (1 byte), the length of its body (4 bytes) and the body. Numbers are little-endian. Each kind
//! has a longest body, which is known before anything of it is read.

use lmfs_codec::dictionary::{DictionaryId, MAX_DICTIONARY};
use lmfs_codec::model::Engine;
use lmfs_codec::{Header, MAX_BLOCK, Options};

use sha2::{Digest as _, Sha256};

use super::error::Error;
use crate::terminal_text::on_one_line;

/// The first bytes that each side sends, and the version of the protocol.
pub const MAGIC: [u8; 8] = *b"lmfswork";
/// What this program speaks.
pub const VERSION: u16 = 1;
/// Bytes in front of a body.
pub const PREFIX: usize = 5;

/// Dictionaries and references of one block.
const MOST_BESIDE: usize = 8;
/// Bytes of a text for people.
const MOST_TEXT: usize = 1024;
/// Bytes of a model that are sent at a time.
pub const PIECE: usize = 1 << 20;

/// Blocks that a worker has at a time: those that are encoded, and a few that wait so that no thread does.
pub fn places(threads: u16) -> usize {
    usize::from(threads) + usize::from(threads.min(4))
}

/// What is needed to encode a store's blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// What a codec may do. What concerns memory is each one's own.
    pub options: Options,
    /// The language model.
    pub model: Option<ModelNeeded>,
}

/// A language model that a worker has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelNeeded {
    /// What the store calls it.
    pub name: String,
    /// SHA-256 of its file.
    pub digest: [u8; 32],
    /// What runs it.
    pub engine: Engine,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Both: there is nothing else to say.
    Alive,
    /// Both: I want no more of you.
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// Packer: prove that you know the token.
    Welcome {
        /// No two connections have the same.
        nonce: [u8; 32],
        /// Whether there is a token.
        token: bool,
    },
    /// Worker: who I am.
    Hello {
        /// Blocks that it encodes at a time.
        threads: u16,
        /// That it knows the token.
        proof: [u8; 32],
    },
    /// Packer: what you need.
    Setup(Setup),
    /// Worker: I do not have the model.
    NeedModel,
    /// Packer: the next bytes of the model. An empty piece is its end.
    Piece(Vec<u8>),
    /// Worker: I can begin.
    Ready {
        /// How it computes.
        fingerprint: [u8; 32],
    },
    /// Packer: a text that later blocks may start behind.
    Dictionary(Vec<u8>),
    /// Packer: encode this.
    Job(Job),
    /// Worker: here it is.
    Block {
        /// Of the job.
        number: u64,
        /// The encoded block.
        block: Vec<u8>,
    },
    /// Worker: I cannot encode this.
    Failed {
        /// Of the job.
        number: u64,
        /// Why, for people.
        reason: String,
    },
    /// Packer: there is nothing more to do.
    Done,
}

/// A block to encode; see [`EncodeJob`](crate::packer::encode::EncodeJob).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// No other job of the connection has it.
    pub number: u64,
    /// The block's bytes.
    pub raw: Vec<u8>,
    /// Dictionaries that may suit it. They were sent before.
    pub dictionaries: Vec<DictionaryId>,
    /// The bytes of blocks that it resembles.
    pub references: Vec<Vec<u8>>,
}

/// Bytes of a SHA-256. What is decoded by the worker alone must not be altered on its way.
const DIGEST: usize = 32;

const ALIVE: u8 = 0;
const REFUSED: u8 = 1;
const WELCOME: u8 = 2;
const HELLO: u8 = 3;
const SETUP: u8 = 4;
const NEED_MODEL: u8 = 5;
const A_PIECE: u8 = 6;
const READY: u8 = 7;
const DICTIONARY: u8 = 8;
const JOB: u8 = 9;
const BLOCK: u8 = 10;
const FAILED: u8 = 11;
const DONE: u8 = 12;

/// The longest body of a kind; `None` if there is no such kind.
pub fn longest(kind: u8) -> Option<usize> {
    Some(match kind {
        ALIVE | NEED_MODEL | DONE => 0,
        REFUSED => MOST_TEXT,
        WELCOME => 33,
        HELLO => 34,
        SETUP => 64 + MOST_TEXT,
        A_PIECE => PIECE,
        READY => 32,
        DICTIONARY => MAX_DICTIONARY,
        JOB => 64 + MAX_BLOCK + MOST_BESIDE * (DictionaryId::LEN + 4) + 2 * (4 + MAX_BLOCK),
        BLOCK => 8 + DIGEST + Header::LEN + MAX_BLOCK,
        FAILED => 8 + MOST_TEXT,
        _ => return None,
    })
}

impl Message {
    /// The bytes of a message: prefix and body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Out(vec![0; PREFIX]);
        let kind = self.write(&mut out);
        let len = u32::try_from(out.0.len() - PREFIX).unwrap_or(u32::MAX).to_le_bytes();
        let prefix = [kind].into_iter().chain(len);
        out.0.iter_mut().zip(prefix).for_each(|(to, byte)| *to = byte);
        out.0
    }

    fn write(&self, out: &mut Out) -> u8 {
        match self {
            Message::Alive => ALIVE,
            Message::Refused { reason } => {
                out.text(reason);
                REFUSED
            }
            Message::Welcome { nonce, token } => {
                out.put(nonce).put(&[u8::from(*token)]);
                WELCOME
            }
            Message::Hello { threads, proof } => {
                out.put(&threads.to_le_bytes()).put(proof);
                HELLO
            }
            Message::Setup(setup) => {
                setup.write(out);
                SETUP
            }
            Message::NeedModel => NEED_MODEL,
            Message::Piece(bytes) => {
                out.put(bytes);
                A_PIECE
            }
            Message::Ready { fingerprint } => {
                out.put(fingerprint);
                READY
            }
            Message::Dictionary(text) => {
                out.put(text);
                DICTIONARY
            }
            Message::Job(job) => {
                out.put(&job.number.to_le_bytes()).counted(&job.raw);
                out.put(&[count(&job.dictionaries), count(&job.references)]);
                for id in &job.dictionaries {
                    out.put(&id.0);
                }
                for raw in &job.references {
                    out.counted(raw);
                }
                JOB
            }
            Message::Block { number, block } => {
                out.put(&number.to_le_bytes()).put(&Sha256::digest(block)).put(block);
                BLOCK
            }
            Message::Failed { number, reason } => {
                out.put(&number.to_le_bytes()).text(reason);
                FAILED
            }
            Message::Done => DONE,
        }
    }

    /// Reads a body. Its length was compared with [`longest`].
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Altered`].
    pub fn parse(kind: u8, body: &[u8]) -> Result<Message, Error> {
        let mut body = In(body);
        let message = match kind {
            ALIVE => Message::Alive,
            REFUSED => Message::Refused { reason: body.text() },
            WELCOME => Message::Welcome {
                nonce: body.array()?,
                token: body.flag()?,
            },
            HELLO => Message::Hello {
                threads: u16::from_le_bytes(body.array()?),
                proof: body.array()?,
            },
            SETUP => Message::Setup(Setup::read(&mut body)?),
            NEED_MODEL => Message::NeedModel,
            A_PIECE => Message::Piece(body.rest().to_vec()),
            READY => Message::Ready {
                fingerprint: body.array()?,
            },
            DICTIONARY => Message::Dictionary(body.rest().to_vec()),
            JOB => Message::Job(Job::read(&mut body)?),
            BLOCK => {
                let (number, digest) = (u64::from_le_bytes(body.array()?), body.array::<DIGEST>()?);
                let block = body.rest().to_vec();
                if <[u8; DIGEST]>::from(Sha256::digest(&block)) != digest {
                    return Err(Error::Altered);
                }
                Message::Block { number, block }
            }
            FAILED => Message::Failed {
                number: u64::from_le_bytes(body.array()?),
                reason: body.text(),
            },
            DONE => Message::Done,
            _ => return Err(Error::Malformed("an unknown message")),
        };
        match body.0.is_empty() {
            true => Ok(message),
            false => Err(Error::Malformed("a message that is too long")),
        }
    }
}

impl Job {
    fn read(body: &mut In<'_>) -> Result<Job, Error> {
        let number = u64::from_le_bytes(body.array()?);
        let raw = body.counted(MAX_BLOCK)?.to_vec();
        let [dictionaries, references] = body.array()?;
        if usize::from(dictionaries.max(references)) > MOST_BESIDE {
            return Err(Error::Malformed("a block with too much beside it"));
        }
        let dictionaries = (0..dictionaries).map(|_| Ok(DictionaryId(body.array()?)));
        let dictionaries = dictionaries.collect::<Result<_, Error>>()?;
        let references = (0..references).map(|_| Ok(body.counted(MAX_BLOCK)?.to_vec()));
        Ok(Job {
            number,
            raw,
            dictionaries,
            references: references.collect::<Result<_, Error>>()?,
        })
    }

    /// Whether it is no larger than a worker takes.
    pub fn fits(&self) -> bool {
        let referred: usize = self.references.iter().map(Vec::len).sum();
        self.raw.len() <= MAX_BLOCK
            && referred <= 2 * MAX_BLOCK
            && self.references.len() <= 2
            && self.dictionaries.len() <= MOST_BESIDE
    }
}

impl Setup {
    fn write(&self, out: &mut Out) {
        let options = &self.options;
        let lanes = |lanes: Option<usize>| u16::try_from(lanes.unwrap_or(0)).unwrap_or(u16::MAX);
        out.put(&[options.model, options.mix, options.dictionaries, options.lm_only].map(u8::from));
        out.put(&options.model_worth.to_le_bytes());
        out.put(&options.zstd_level.to_le_bytes());
        out.put(&options.staging_level.to_le_bytes());
        out.put(&lanes(options.lanes).to_le_bytes());
        out.put(&lanes(options.most_lanes).to_le_bytes());
        out.put(&[u8::from(self.model.is_some())]);
        if let Some(model) = &self.model {
            out.put(&model.digest);
            out.put(&[u8::from(model.engine == Engine::Exact)]);
            out.text(&model.name);
        }
    }

    fn read(body: &mut In<'_>) -> Result<Setup, Error> {
        let lanes = |lanes: u16| (lanes > 0).then_some(usize::from(lanes));
        let mut options = Options::default();
        options.model = body.flag()?;
        options.mix = body.flag()?;
        options.dictionaries = body.flag()?;
        options.lm_only = body.flag()?;
        options.model_worth = u32::from_le_bytes(body.array()?);
        options.zstd_level = i32::from_le_bytes(body.array()?);
        options.staging_level = i32::from_le_bytes(body.array()?);
        options.lanes = lanes(u16::from_le_bytes(body.array()?));
        options.most_lanes = lanes(u16::from_le_bytes(body.array()?));
        let model = match body.flag()? {
            true => Some(ModelNeeded {
                digest: body.array()?,
                engine: if body.flag()? { Engine::Exact } else { Engine::Llama },
                name: body.text(),
            }),
            false => None,
        };
        Ok(Setup { options, model })
    }
}

fn count<T>(items: &[T]) -> u8 {
    u8::try_from(items.len()).unwrap_or(u8::MAX)
}

/// A message that is being written.
struct Out(Vec<u8>);

impl Out {
    fn put(&mut self, bytes: &[u8]) -> &mut Out {
        self.0.extend_from_slice(bytes);
        self
    }

    fn counted(&mut self, bytes: &[u8]) -> &mut Out {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.put(&len.to_le_bytes()).put(bytes)
    }

    /// The last of a message. Its end is left out if it is too long.
    fn text(&mut self, text: &str) {
        let mut end = text.len().min(MOST_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.put(text.get(..end).unwrap_or_default().as_bytes());
    }
}

/// What is still to be read of a message.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let short = Error::Malformed("a message that is too short");
        let (taken, rest) = self.0.split_at_checked(len).ok_or(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn flag(&mut self) -> Result<bool, Error> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Error::Malformed("a flag that is neither 0 nor 1")),
        }
    }

    fn counted(&mut self, most: usize) -> Result<&'a [u8], Error> {
        match u32::from_le_bytes(self.array()?) as usize {
            len if len <= most => self.take(len),
            _ => Err(Error::Malformed("a part that is too long")),
        }
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn text(&mut self) -> String {
        // It comes from another machine and goes to a terminal.
        on_one_line(&String::from_utf8_lossy(self.rest())).into_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(message: &Message) -> Message {
        let bytes = message.to_bytes();
        let (prefix, body) = bytes.split_at(PREFIX);
        assert_eq!(u32::from_le_bytes(prefix[1..].try_into().unwrap()) as usize, body.len());
        assert!(body.len() <= longest(prefix[0]).unwrap(), "{}", body.len());
        Message::parse(prefix[0], body).unwrap()
    }

    #[test]
    fn the_largest_messages_come_back() {
        let job = Job {
            number: u64::MAX,
            raw: vec![1; MAX_BLOCK],
            dictionaries: vec![DictionaryId([7; 4]); MOST_BESIDE],
            references: vec![vec![2; MAX_BLOCK]; 2],
        };
        assert!(job.fits());
        let mut options = Options::default();
        (options.most_lanes, options.zstd_level, options.model) = (Some(2), -3, false);
        let model = ModelNeeded {
            name: "ü".repeat(MOST_TEXT / 2),
            digest: [3; 32],
            engine: Engine::Llama,
        };
        let setup = |model| {
            Message::Setup(Setup {
                options: options.clone(),
                model,
            })
        };
        for message in [
            Message::Alive,
            Message::Done,
            Message::NeedModel,
            Message::Welcome {
                nonce: [1; 32],
                token: true,
            },
            Message::Hello {
                threads: u16::MAX,
                proof: [9; 32],
            },
            setup(None),
            setup(Some(model)),
            Message::Piece(vec![5; PIECE]),
            Message::Ready { fingerprint: [4; 32] },
            Message::Dictionary(vec![6; MAX_DICTIONARY]),
            Message::Job(job),
            Message::Block {
                number: 3,
                block: vec![8; MAX_BLOCK + Header::LEN],
            },
            Message::Failed {
                number: 4,
                reason: "because".into(),
            },
        ] {
            assert_eq!(there_and_back(&message), message);
        }
        let Message::Refused { reason } = there_and_back(&Message::Refused {
            reason: "é".repeat(MOST_TEXT),
        }) else {
            unreachable!()
        };
        assert_eq!(reason, "é".repeat(MOST_TEXT / 2));
    }

    /// Regression: a bit of a block that flipped on its way was stored, as most blocks of the language model are not
    /// decoded again.
    #[test]
    fn a_block_that_was_altered_on_its_way_is_none() {
        let sent = Message::Block {
            number: 7,
            block: b"a block of some bytes".to_vec(),
        };
        let bytes = sent.to_bytes();
        let body = &bytes[PREFIX..];
        assert_eq!(Message::parse(BLOCK, body).unwrap(), sent);
        for at in 8..body.len() {
            let mut altered = body.to_vec();
            altered[at] ^= 1;
            assert!(matches!(Message::parse(BLOCK, &altered), Err(Error::Altered)), "{at}");
        }
    }

    /// Regression: what a stranger sends as a reason could write to the terminal as it liked.
    #[test]
    fn a_text_has_no_control_characters() {
        let text = b"no\x1b]0;title\x07\nlmfs: all is well";
        let Message::Refused { reason } = Message::parse(REFUSED, text).unwrap() else {
            unreachable!()
        };
        assert!(!reason.chars().any(char::is_control), "{reason:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(kind in 0_u8..14, body: Vec<u8>) {
            if let Ok(message) = Message::parse(kind, &body) {
                let again = message.to_bytes();
                // Text that is no UTF-8, or would control a terminal, is replaced.
                if !matches!(message, Message::Refused { .. } | Message::Failed { .. } | Message::Setup(_)) {
                    prop_assert_eq!(&again[PREFIX..], &body[..]);
                }
                prop_assert_eq!(Message::parse(kind, &again[PREFIX..]).unwrap(), message);
            } else {
                prop_assert!(longest(kind) != Some(0) || !body.is_empty());
            }
        }

    #[test]
        fn a_cut_or_changed_job_is_an_error_or_another_job(
            raw: Vec<u8>, references: [Vec<u8>; 2], at: usize, byte: u8,
        ) {
            let (number, dictionaries) = (1, vec![DictionaryId([1, 2, 3, 4])]);
            let job = Job { number, raw, dictionaries, references: references.into() };
            let bytes = Message::Job(job).to_bytes();
            let at = PREFIX + at % (bytes.len() - PREFIX);
            prop_assert!(Message::parse(JOB, &bytes[PREFIX..at]).is_err());
            let mut changed = bytes;
            changed[at] ^= byte;
            if let Ok(Message::Job(job)) = Message::parse(JOB, &changed[PREFIX..]) {
                prop_assert!(job.fits() || job.references.len() > 2);
            }
        }
    }
}
