#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lmfs_codec::{Header, Method, Stop};
use lmfs_indexer::{BlockRef, Change, CreateOptions, Dirent, Extent, Inode, Kind, MemIo, OpenOptions, ROOT_INO, Time};

use super::error::Error;
use super::status::State;
use super::*;
use crate::maintenance::Effort;
use crate::store::{Prefer, Tag, dictionaries};
use crate::testing::until;

const BLOCK: usize = 4096;
/// A time in seconds since 1970 that the tests call now.
const NOW: i64 = 1_000_000;

/// An environment whose clock stands at [`NOW`], and which does something of the test's when asked to wait for readers.
#[derive(Default)]
struct TestEnvironment {
    later: AtomicU64,
    on_ask: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

impl Environment for TestEnvironment {
    fn now(&self) -> SystemTime {
        let later = self.later.load(Ordering::Relaxed);
        UNIX_EPOCH + Duration::from_secs(NOW as u64 + later)
    }

    fn wait_for_readers(&self, _at_most: Duration, _is_over: &dyn Fn() -> bool) {
        if let Some(act) = self.on_ask.lock().as_mut() {
            act();
        }
    }
}

struct Fixture {
    io: Arc<MemIo>,
    store: Arc<Store>,
    codec: Codec,
    environment: Arc<TestEnvironment>,
}

impl Fixture {
    fn new() -> Fixture {
        let io = Arc::new(MemIo::new());
        let store = Arc::new(Store::create(io.clone(), CreateOptions::new([1; 16])).unwrap());
        Fixture {
            io,
            codec: dictionaries::codec(&store, None, lmfs_codec::Options::default()).unwrap(),
            store,
            environment: Arc::default(),
        }
    }

    fn packer(&self) -> Arc<Packer> {
        let environment: Arc<dyn Environment> = self.environment.clone();
        let options = Options {
            jobs: 2,
            ..Options::default()
        };
        Arc::new(Packer::new(
            self.store.clone(),
            self.codec.clone(),
            environment,
            options,
        ))
    }

    fn stored(&self, raw: &[u8]) -> Extent {
        let bytes = self.codec.stage(raw).unwrap();
        let header = Header::parse(&bytes).unwrap();
        let Tag(tag) = Tag::written(header.method);
        let new = self.store.append_block(&bytes).unwrap();
        Extent::new(new, tag, header.raw_len).with_digest(header.raw_crc)
    }

    /// A file in the root folder, last changed `age` seconds before [`NOW`].
    fn file(&self, ino: u64, contents: &[u8], age: i64) {
        let extents = contents.chunks(BLOCK).map(|raw| Some(self.stored(raw)));
        let time = Time {
            secs: NOW - age,
            nanos: 0,
        };
        let inode = Inode {
            size: contents.len() as u64,
            ..Inode::new(ino, Kind::File, 0o644, time)
        };
        let entry = Dirent { ino, kind: Kind::File };
        let changes = vec![
            Change::PutInode(inode),
            Change::PutDirent {
                parent: ROOT_INO,
                name: ino.to_string().into_bytes(),
                entry,
            },
            Change::PutExtents {
                ino,
                first: 0,
                extents: extents.collect(),
            },
        ];
        assert!(self.store.commit(changes).unwrap().skipped.is_empty());
        self.store.sync().unwrap();
    }

    fn extents(&self, ino: u64) -> Vec<Extent> {
        let blocks = self.store.inode(ino).unwrap().unwrap().size.div_ceil(BLOCK as u64);
        self.store
            .extents(ino, 0..blocks)
            .unwrap()
            .into_iter()
            .flatten()
            .collect()
    }

    fn contents(&self, ino: u64) -> Vec<u8> {
        let contents = Contents::new(self.store.clone(), self.codec.clone());
        let decode = |extent: Extent| {
            let block = self.store.read_block(&extent).unwrap();
            contents.decode(&extent, &block, None, &Stop::new()).unwrap()
        };
        self.extents(ino).into_iter().flat_map(decode).collect()
    }

    fn methods(&self, ino: u64) -> Vec<(Method, bool)> {
        let tags = self.extents(ino).into_iter().map(|extent| Tag(extent.tag));
        tags.map(|tag| (tag.method().unwrap(), tag.needs_packing())).collect()
    }
}

fn run(packer: &Packer) -> Summary {
    packer.run(None, &Scope::All, false, 0, &|_| (), &Stop::new()).unwrap()
}

/// A run over the files that nobody has written for 30 s.
fn run_idle(packer: &Packer, f: &Fixture) -> Summary {
    let spec = job::JobSpec {
        scope: &Scope::All,
        idle: Some((f.environment.now(), Duration::from_secs(30))),
        threads: 1,
        again: job::Again::Never,
        helpers: None,
    };
    run::run(packer, &spec, &|_| (), &Stop::new()).unwrap().summary
}

fn text(len: usize) -> Vec<u8> {
    let all = include_bytes!("../../../tests/data/text/alice29.txt");
    all[..len].to_vec()
}

/// Bytes that nothing makes smaller (xorshift64).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn text_becomes_smaller_and_stays_the_same() {
    let f = Fixture::new();
    f.file(10, &text(5 * BLOCK + 100), 0);
    let (before, packer) = (f.store.totals().stored_bytes, f.packer());
    assert_eq!(queue(&packer.store.totals()), (6, 5 * 4096 + 100));

    let last = Mutex::new(Progress::default());
    let tell = |progress: &Progress| *last.lock() = progress.clone();
    let summary = packer.run(None, &Scope::All, false, 0, &tell, &Stop::new()).unwrap();
    let after = f.store.totals().stored_bytes;
    assert!(after < before, "{before} bytes before, {after} after");
    assert_eq!(summary.blocks_packed, 6);
    assert_eq!(summary.progress.before_bytes, before);
    assert_eq!(summary.progress.after_bytes, after);
    assert_eq!(last.lock().done_bytes, 5 * 4096 + 100);
    assert_eq!(f.contents(10), text(5 * BLOCK + 100));
    assert_eq!(queue(&packer.store.totals()).1, 0);
    assert_eq!(
        run(&packer).progress.total_bytes,
        0,
        "what is packed is not packed again"
    );
}

#[test]
fn what_nothing_makes_smaller_is_tried_once() {
    let f = Fixture::new();
    f.file(10, &noise(3 * BLOCK), 0);
    let before = f.extents(10);
    let summary = run(&f.packer());
    assert_eq!((summary.blocks_packed, summary.blocks_kept), (0, 3));
    assert_eq!(f.methods(10), [(Method::Raw, false); 3]);
    let refs = |extents: &[Extent]| -> Vec<BlockRef> { extents.iter().map(|e| e.location).collect() };
    assert_eq!(refs(&f.extents(10)), refs(&before), "no byte was written for it");
    assert_eq!(run(&f.packer()).progress.total_bytes, 0);

    // That is remembered in the log, and forgotten for a block that is written again.
    f.store.sync().unwrap();
    let (store, _) = Store::open(f.io.clone(), OpenOptions::default()).unwrap();
    let reopened = Fixture {
        store: Arc::new(store),
        ..f
    };
    assert_eq!(run(&reopened.packer()).progress.total_bytes, 0);
    let extent = reopened.stored(&text(BLOCK));
    let change = Change::PutExtents {
        ino: 10,
        first: 1,
        extents: vec![Some(extent)],
    };
    assert!(reopened.store.commit(vec![change]).unwrap().skipped.is_empty());
    assert_eq!(run(&reopened.packer()).blocks_packed, 1);
}

#[test]
fn a_scope_is_its_files_and_all_below_its_folders() {
    let f = Fixture::new();
    f.file(10, &text(BLOCK), 0);
    f.file(11, &text(BLOCK + 50)[50..], 0);
    let packer = f.packer();
    let only = Scope::Inodes(vec![11, 11, 99]);
    packer.run(None, &only, false, 0, &|_| (), &Stop::new()).unwrap();
    assert!(f.methods(10)[0].1 && !f.methods(11)[0].1);
    let root = Scope::Inodes(vec![ROOT_INO]);
    let summary = packer.run(None, &root, false, 0, &|_| (), &Stop::new()).unwrap();
    assert_eq!((summary.blocks_packed, queue(&packer.store.totals()).0), (1, 0));
}

#[test]
fn a_run_that_is_stopped_keeps_what_it_did_and_the_next_goes_on() {
    let f = Fixture::new();
    let contents = text(30 * BLOCK);
    f.file(10, &contents, 0);
    let packer = f.packer();
    let (stop, seen) = (Stop::new(), AtomicU64::new(0));
    let tell = |progress: &Progress| {
        seen.store(progress.done_bytes, Ordering::Relaxed);
        if progress.done_bytes > 0 {
            stop.set();
        }
    };
    match packer.run(None, &Scope::All, false, 1, &tell, &stop) {
        Err(Error::Interrupted) => {}
        // Faster than a tick of progress: then it is simply done.
        other => assert_eq!(other.unwrap().progress.done_bytes, contents.len() as u64),
    }
    let status = packer.status();
    assert_eq!(
        queue(&packer.store.totals()).1,
        contents.len() as u64 - seen.into_inner()
    );
    assert_eq!(status.last_error, None, "to be interrupted is no failure");
    assert_eq!(f.contents(10), contents);
    run(&packer);
    assert_eq!((queue(&packer.store.totals()).0, f.contents(10)), (0, contents));
}

#[test]
fn a_damaged_block_stays_as_it_is_and_the_rest_is_packed() {
    let f = Fixture::new();
    f.file(10, &text(3 * BLOCK), 100);
    // The index leads to the record of another block.
    let (good, other) = (f.extents(10)[1], f.extents(10)[0]);
    let change = Change::SwapBlock {
        id: good.id,
        old: good.location,
        new: other.location,
        tag: good.tag,
        reference: 0,
        hint: 0,
    };
    assert!(f.store.commit(vec![change]).unwrap().skipped.is_empty());
    let packer = f.packer();
    let summary = run(&packer);
    assert_eq!((summary.blocks_packed, summary.blocks_failed), (2, 1));
    assert_eq!(queue(&packer.store.totals()).0, 1);
    let again = run_idle(&packer, &f);
    assert_eq!(again.progress.total_bytes, 0, "the background does not try it for ever");
    assert_eq!(run(&packer).blocks_failed, 1, "a user who asks again gets an answer");
}

#[test]
fn a_store_open_for_reading_only_is_not_packed() {
    let f = Fixture::new();
    f.file(10, &text(BLOCK), 0);
    let options = OpenOptions {
        read_only: true,
        ..OpenOptions::default()
    };
    let (store, _) = Store::open(f.io.clone(), options).unwrap();
    let f = Fixture {
        store: Arc::new(store),
        ..f
    };
    let refused = f.packer().run(None, &Scope::All, false, 0, &|_| (), &Stop::new());
    assert!(matches!(refused, Err(Error::ReadOnly)));
}

#[test]
fn packing_again_for_speed_gives_the_language_model_up_and_for_size_takes_it_up() {
    use lmfs_codec::model::{EngineChoice, LoadOptions, load};

    let model = load(
        &"builtin:tiny".parse().unwrap(),
        EngineChoice::Auto,
        &LoadOptions::default(),
    )
    .unwrap();
    let mut f = Fixture::new();
    f.file(10, &text(2 * BLOCK), 0);
    let mut sizes = Vec::new();
    for (prefer, method) in [
        (Prefer::Size, Method::Model),
        (Prefer::Speed, Method::Mix),
        (Prefer::Size, Method::Model),
    ] {
        let mut options = lmfs_codec::Options::default();
        prefer.apply(&mut options);
        f.codec = dictionaries::codec(&f.store, Some(model.clone()), options).unwrap();
        let summary = f
            .packer()
            .run(None, &Scope::All, true, 0, &|_| (), &Stop::new())
            .unwrap();
        assert_eq!(summary.blocks_packed, 2, "{prefer}");
        assert_eq!(f.methods(10), [(method, false); 2]);
        assert_eq!(f.contents(10), text(2 * BLOCK));
        sizes.push(f.store.totals().stored_bytes);
    }
    assert!(sizes[0] < sizes[1] && sizes[0] == sizes[2], "{sizes:?}");
}

mod background;
mod helpers;
mod learning;
mod meanwhile;
mod references;
mod shared;
mod solid;
