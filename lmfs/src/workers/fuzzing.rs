//! What the fuzz target `messages` runs: `lmfs/tests/fuzz.rs` for a moment, `fuzz/` for hours.

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use lmfs_codec::dictionary::DictionaryId;
use lmfs_codec::model::Engine;
use lmfs_codec::{Options, Stop};

use super::channel::{Channel, Socket};
use super::error::Error;
use super::message::{Job, MAGIC, Message, ModelNeeded, PREFIX, Setup, VERSION, longest};
use super::timing::Timing;

/// A socket takes as much without a reader.
const MOST: usize = 64 << 10;
/// This side knows the other one: long messages may come.
const IS_TRUSTED: u8 = 1;
/// What a connection begins with is left out of the bytes, so that a fuzzer need not find it.
const HAS_BEGUN: u8 = 2;

/// Takes any bytes for what the other side says. The first one says in which state they meet this side.
///
/// # Panics
/// A message is not itself once it was sent and received again, or reading does not end with the bytes.
pub fn messages(data: &[u8]) {
    let Some((state, data)) = data.split_first() else {
        return;
    };
    let data = data.get(..MOST).unwrap_or(data);
    let [low, high] = VERSION.to_le_bytes();
    let begun: Vec<u8> = MAGIC.into_iter().chain([low, high]).collect();
    let beginning = if state & HAS_BEGUN == 0 { &[][..] } else { &begun };
    let ended = hear(&[beginning, data].concat(), state & IS_TRUSTED != 0);
    let is_late = matches!(
        ended,
        Error::Interrupted | Error::Silent(_) | Error::Slow(_) | Error::NoGreeting(_)
    );
    assert!(!is_late, "reading did not end with the bytes: {ended}");
}

/// Reads all messages. Returns why there are no more.
fn hear(bytes: &[u8], is_trusted: bool) -> Error {
    let opened = || {
        let (mut theirs, mine) = UnixStream::pair()?;
        theirs.write_all(bytes)?;
        theirs.shutdown(Shutdown::Write)?;
        let channel = Channel::open(Socket::Unix(mine), Timing::default(), &Stop::new())?;
        // The other end stays open for what this side says.
        Ok::<_, Error>((channel, theirs))
    };
    let (channel, _theirs) = match opened() {
        Ok(opened) => opened,
        Err(error) => return error,
    };
    if is_trusted {
        channel.trust();
    }
    loop {
        match channel.receive(&Stop::new()) {
            Ok(message) => send_again(&message),
            Err(error) => return error,
        }
    }
}

/// A message means the same at the other end.
fn send_again(message: &Message) {
    let once = there_and_back(message);
    match message {
        // A text that is too long is cut, in what was sent.
        Message::Refused { .. } | Message::Failed { .. } | Message::Setup(_) => {
            assert_eq!(there_and_back(&once), once);
        }
        other => assert_eq!(&once, other),
    }
}

fn there_and_back(message: &Message) -> Message {
    let bytes = message.to_bytes();
    let (prefix, body) = bytes.split_at(PREFIX.min(bytes.len()));
    let kind = prefix.first().copied().unwrap_or(u8::MAX);
    assert!(longest(kind).is_some_and(|most| body.len() <= most), "{message:?}");
    let parsed = Message::parse(kind, body);
    assert!(parsed.is_ok(), "{message:?} is {parsed:?}");
    parsed.unwrap_or(Message::Done)
}

/// Conversations to start from: everything that a packer says, everything that a worker says, and a stranger.
pub fn conversations() -> Vec<Vec<u8>> {
    let model = ModelNeeded {
        name: "a model".into(),
        digest: [3; 32],
        engine: Engine::Exact,
    };
    let setup = |model| {
        let options = Options::default();
        Message::Setup(Setup { options, model })
    };
    let job = Job {
        number: 1,
        raw: b"It was the best of times, it was the worst of times".to_vec(),
        dictionaries: vec![DictionaryId([1, 2, 3, 4])],
        references: vec![b"It was the best of times".to_vec(), Vec::new()],
    };
    let (nonce, proof, fingerprint) = ([7; 32], [8; 32], [9; 32]);
    let reason = "because \u{202e} of \u{1b}[0m reasons".to_owned();
    let packer = [
        Message::Welcome { nonce, token: true },
        setup(Some(model)),
        Message::Alive,
        Message::Piece(vec![5; 100]),
        Message::Piece(Vec::new()),
        Message::Dictionary(vec![6; 100]),
        Message::Job(job),
        Message::Done,
    ];
    let block = b"a block of some bytes".to_vec();
    let worker = [
        Message::Hello { threads: 4, proof },
        Message::NeedModel,
        Message::Ready { fingerprint },
        Message::Block { number: 1, block },
        Message::Failed {
            number: 2,
            reason: reason.clone(),
        },
        Message::Refused { reason },
    ];
    let said = |state: u8, messages: &[Message]| {
        let bytes = messages.iter().flat_map(Message::to_bytes);
        [state].into_iter().chain(bytes).collect()
    };
    let plain = setup(None);
    let stranger = [
        vec![0],
        MAGIC.to_vec(),
        VERSION.to_le_bytes().to_vec(),
        plain.to_bytes(),
    ]
    .concat();
    let trusted = IS_TRUSTED | HAS_BEGUN;
    vec![
        said(trusted, &packer),
        said(trusted, &worker),
        said(trusted, &[plain]),
        said(HAS_BEGUN, &worker),
        stranger,
    ]
}
