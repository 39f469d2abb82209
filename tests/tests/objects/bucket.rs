//! A folder in a bucket: what readers find is one of its states, whatever requests fail, whoever writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use lmfs_object::bucket::{Bucket, Cache, Error, File, Head, Piece, Reader, Result, Writer, WriterOptions, plan};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use uuid::Uuid;

use super::stores::{Fault, Request, Watched, noise};

/// The files of a folder.
type Files = BTreeMap<String, Vec<u8>>;

fn options(name: &str, clock: fn() -> u64) -> WriterOptions {
    let mut options = WriterOptions::new(Uuid::from_u128(7), name.into());
    options.clock = clock;
    options.grace = Duration::from_secs(100);
    options
}

fn bucket(store: Arc<dyn ObjectStore>) -> Bucket {
    Bucket::new(store, Path::from("a/store"))
}

async fn open_writer(store: Arc<dyn ObjectStore>, name: &str, clock: fn() -> u64) -> Writer {
    Writer::open(bucket(store), options(name, clock)).await.unwrap()
}

/// State `n` of a folder: a file that grows, one that comes, one that goes, one that is another each time.
fn state(n: u64) -> Files {
    let grown = noise(1000 * (n as usize + 1), 3).to_vec();
    let mut files = Files::from([
        ("segments/00000001.seg".into(), grown),
        ("config.toml".into(), format!("state {n}").into_bytes()),
    ]);
    for k in n..n + 2 {
        files.insert(format!("segments/{:08}.seg", k + 2), noise(500, k + 10).to_vec());
    }
    files
}

/// What `lmfs push` does.
async fn push(writer: &mut Writer, files: &Files, seq: u64) -> Result<()> {
    writer.claim().await?;
    let mut all = Vec::new();
    for (path, content) in files {
        let old = writer.head().and_then(|head| head.file(path)).cloned();
        let old = old.filter(|old| !path.ends_with("toml") || old.pieces[0].sha256 == digest(content));
        let old = old.map(|old| old.pieces).unwrap_or_default();
        let todo = plan(&old, content.len() as u64, false);
        let mut pieces: Vec<Piece> = old.into_iter().take(todo.keep).collect();
        for range in todo.store {
            let bytes = content[range.start as usize..range.end as usize].to_vec();
            let piece = match writer.found(path, range.start, &bytes) {
                Some(piece) => piece,
                None => {
                    let piece = writer.store(path, bytes.into()).await?;
                    writer.stage(path, range.start, piece.clone());
                    writer.note().await?;
                    piece
                }
            };
            pieces.push(piece);
        }
        all.push(File {
            path: path.clone(),
            start: hex(&content[..content.len().min(16)]),
            pieces,
        });
    }
    writer.commit(all, seq).await?;
    writer.sweep(|| false).await.map(drop)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of bytes, by a writer that stores them nowhere else.
fn digest(bytes: &[u8]) -> String {
    let stored = futures_util::FutureExt::now_or_never(async {
        let mut writer = Writer::open(bucket(Arc::new(InMemory::new())), options("digest", || 0)).await?;
        writer.claim().await?;
        writer.store("x", Bytes::copy_from_slice(bytes)).await
    });
    stored.unwrap().unwrap().sha256
}

/// What a reader finds.
async fn read(store: &Arc<dyn ObjectStore>) -> (Head, Files) {
    let reader = Reader::new(bucket(store.clone()), None).unwrap();
    let head = reader.head().await.unwrap();
    let mut files = Files::new();
    for file in &head.files {
        let whole = reader.read(file, 0..file.len()).await.unwrap();
        let mut fetched = Vec::new();
        for piece in &file.pieces {
            fetched.extend_from_slice(&reader.piece(piece).await.unwrap());
        }
        assert!(whole == fetched, "{}", file.path);
        files.insert(file.path.clone(), whole);
    }
    (head, files)
}

async fn objects(store: &Arc<dyn ObjectStore>) -> usize {
    store.list(None).count().await
}

static NOW: AtomicU64 = AtomicU64::new(1000);

/// Each request of a push fails once, before or after it had its effect: a reader finds the state before or the state
/// after, the next push brings it to its end, and no object is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_a_push_fails_once() {
    let mut survived = 0;
    for fault in [Fault::Before, Fault::After, Fault::Body] {
        for number in 0.. {
            let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let clock = || NOW.load(Ordering::Relaxed);
            let mut writer = open_writer(inner.clone(), "first", clock).await;
            push(&mut writer, &state(0), 0).await.unwrap();
            let watched = Watched::new(inner.clone());
            watched.fail(number, fault);
            let pushed = match Writer::open(bucket(watched.clone()), options("second", clock)).await {
                Ok(mut writer) => {
                    let pushed = push(&mut writer, &state(1), 1).await;
                    let (head, found) = read(&inner).await;
                    assert_eq!(found, state(head.seq.unwrap()), "{fault:?} {number}");
                    match pushed {
                        Ok(()) => survived += 1,
                        // The same writer goes on.
                        Err(_) => push(&mut writer, &state(1), 1).await.unwrap(),
                    }
                    assert_eq!(read(&inner).await.1, state(1), "{fault:?} {number}");
                    Ok(())
                }
                Err(error) => Err(error),
            };
            let requests = watched.take().0.len();
            if pushed.is_err() {
                assert_eq!(number, 0, "only the first request is that of opening");
            }
            let mut writer = open_writer(inner.clone(), "third", clock).await;
            push(&mut writer, &state(2), 2).await.unwrap();
            assert_eq!(read(&inner).await.1, state(2));
            // When their time has come all go that nothing needs.
            NOW.fetch_add(101, Ordering::Relaxed);
            push(&mut writer, &state(2), 2).await.unwrap();
            let (head, found) = read(&inner).await;
            assert_eq!((found, head.dead.len(), head.staged.len()), (state(2), 0, 0));
            let needed: usize = head.files.iter().map(|file| file.pieces.len()).sum();
            assert_eq!(objects(&inner).await, needed + 1, "{fault:?} {number}");
            if number >= requests {
                break;
            }
        }
    }
    assert!(
        survived > 20,
        "{survived} pushes looked at what had become of a request"
    );
}

/// A push that is cut off at any request is gone on with by another process, which finds what was noted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_was_cut_off_is_gone_on_with() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let watched = Watched::new(inner.clone());
    let files = state(0);
    let mut writer = open_writer(watched.clone(), "first", || 5).await;
    writer.claim().await.unwrap();
    for (path, content) in files.iter().take(2) {
        let piece = writer.store(path, content.clone().into()).await.unwrap();
        writer.stage(path, 0, piece);
    }
    writer.note().await.unwrap();
    drop(writer);
    let reader = Reader::new(bucket(inner.clone()), None).unwrap();
    assert!(matches!(reader.head().await, Err(Error::Unfinished(_))));
    let mut writer = open_writer(watched.clone(), "second", || 5).await;
    watched.take();
    push(&mut writer, &files, 1).await.unwrap();
    let puts = watched
        .take()
        .0
        .iter()
        .filter(|request| **request == Request::Put)
        .count();
    // To claim it, two pieces with a note each, and the commit.
    assert_eq!(puts, 1 + 2 * 2 + 1);
    assert_eq!(read(&inner).await.1, files);
}

/// Of two writers the one that came later survives, whatever the other had begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writers_one_survives() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut first = open_writer(inner.clone(), "first", || 5).await;
    push(&mut first, &state(0), 0).await.unwrap();
    let mut second = open_writer(inner.clone(), "second", || 5).await;
    let late = first
        .store("segments/00000001.seg", Bytes::from_static(b"late"))
        .await
        .unwrap();
    push(&mut second, &state(1), 1).await.unwrap();
    first.stage("segments/00000001.seg", 0, late);
    for fenced in [
        first.note().await,
        push(&mut first, &state(2), 2).await,
        first.claim().await,
    ] {
        match fenced {
            Err(Error::Fenced { writer, epoch, .. }) => assert_eq!((writer.as_str(), epoch), ("second", 2)),
            // It was the writer once, and has not asked since.
            Ok(()) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(matches!(
        push(&mut first, &state(2), 2).await,
        Err(Error::Fenced { .. })
    ));
    assert_eq!(read(&inner).await.1, state(1));
    push(&mut second, &state(2), 2).await.unwrap();
    assert_eq!(read(&inner).await.1, state(2));
}

fn one_file(seq: u64) -> Files {
    Files::from([(format!("segments/{seq:08}.seg"), noise(700, seq).to_vec())])
}

/// Many begin at the same time, in memory and in a folder: some push, all others learn that they are not the writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_race() {
    let folder = tempfile::tempdir().unwrap();
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let places = [bucket(memory), Bucket::in_folder(folder.path(), false).unwrap()];
    for place in places {
        for round in 0..10 {
            let writers = (0..6).map(|n| {
                let place = place.clone();
                tokio::spawn(async move {
                    let name = format!("writer {n}");
                    let mut writer = Writer::open(place, options(&name, || 5)).await?;
                    {
                        let seq = 10 * round + n;
                        push(&mut writer, &one_file(seq), seq).await.map(|()| seq)
                    }
                })
            });
            let mut winners = Vec::new();
            for ended in join_all(writers).await {
                match ended.unwrap() {
                    Ok(seq) => winners.push(seq),
                    Err(Error::Fenced { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            let reader = Reader::new(place.clone(), None).unwrap();
            let head = reader.head().await.unwrap();
            assert!(winners.contains(&head.seq.unwrap()), "{winners:?} and {:?}", head.seq);
            let expected = one_file(head.seq.unwrap());
            assert_eq!(head.files.len(), expected.len());
            for file in &head.files {
                let content = reader.read(file, 0..file.len()).await.unwrap();
                assert!(content == expected[&file.path], "{}", file.path);
            }
        }
    }
}

/// What a reader needs stays for the grace period. After that it is told, and finds the state of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_deleted_under_a_reader() {
    static TIME: AtomicU64 = AtomicU64::new(50);
    let clock = || TIME.load(Ordering::Relaxed);
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut writer = open_writer(inner.clone(), "writer", clock).await;
    push(&mut writer, &state(0), 0).await.unwrap();
    let reader = Reader::new(bucket(inner.clone()), None).unwrap();
    let old = reader.head().await.unwrap();
    let content = async |reader: &Reader, head: &Head| {
        let file = head.file("segments/00000002.seg").unwrap().clone();
        reader.read(&file, 100..file.len()).await
    };
    push(&mut writer, &state(5), 5).await.unwrap();
    TIME.fetch_add(99, Ordering::Relaxed);
    push(&mut writer, &state(5), 5).await.unwrap();
    assert!(content(&reader, &old).await.unwrap() == state(0)["segments/00000002.seg"][100..]);
    TIME.fetch_add(2, Ordering::Relaxed);
    push(&mut writer, &state(5), 5).await.unwrap();
    let late = Reader::new(bucket(inner.clone()), None).unwrap();
    let error = content(&late, &old).await.unwrap_err();
    assert!(matches!(&error, Error::Gone { .. }), "{error}");
    assert!(error.to_string().contains("grace period"), "{error}");
    assert_eq!(read(&inner).await.1, state(5));
}

/// Regression: who had nothing to push became the writer to delete what was due, and stopped the one that writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_looks_deletes_nothing() {
    static TIME: AtomicU64 = AtomicU64::new(50);
    let clock = || TIME.load(Ordering::Relaxed);
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut writer = open_writer(inner.clone(), "writer", clock).await;
    push(&mut writer, &state(0), 0).await.unwrap();
    push(&mut writer, &state(5), 5).await.unwrap();
    TIME.fetch_add(101, Ordering::Relaxed);
    let mut idle = open_writer(inner.clone(), "idle", clock).await;
    let before = objects(&inner).await;
    assert!(!idle.has_due() && writer.has_due());
    assert_eq!(idle.sweep(|| false).await.unwrap(), 0);
    assert_eq!(objects(&inner).await, before);
    // The writer goes on, ends when it is told to, and deletes the rest later.
    assert_eq!(writer.sweep(|| true).await.unwrap(), 0);
    let deleted = writer.sweep(|| false).await.unwrap();
    assert!(deleted > 0);
    assert_eq!(objects(&inner).await as u64, before as u64 - deleted);
    push(&mut writer, &state(6), 6).await.unwrap();
    assert_eq!(read(&inner).await.1, state(6));
}

/// A prefix that was emptied and filled again has other names, so no cache takes one for the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_is_used_twice() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut writer = open_writer(inner.clone(), "writer", || 5).await;
        push(&mut writer, &state(0), 0).await.unwrap();
        let there: Vec<Path> = inner
            .list(None)
            .map_ok(|meta| meta.location)
            .try_collect()
            .await
            .unwrap();
        for path in there {
            inner.delete(&path).await.unwrap();
            names.push(path);
        }
    }
    names.retain(|name| !name.as_ref().ends_with("HEAD"));
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), all), (8, 8));
}

/// Another store, and a HEAD that is none, are refused before anything is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_something_else_is_left_alone() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let reader = Reader::new(bucket(inner.clone()), None).unwrap();
    assert!(matches!(reader.head().await, Err(Error::NoHead(_))));
    let mut writer = open_writer(inner.clone(), "writer", || 5).await;
    push(&mut writer, &state(0), 0).await.unwrap();
    let mut other = options("other", || 5);
    other.store_id = Uuid::from_u128(8);
    assert!(matches!(
        Writer::open(bucket(inner.clone()), other).await,
        Err(Error::OtherStore { .. })
    ));
    let head = Path::from("a/store/HEAD");
    inner
        .put(&head, Bytes::from_static(b"something else").into())
        .await
        .unwrap();
    let before = objects(&inner).await;
    for error in [
        Writer::open(bucket(inner.clone()), options("writer", || 5)).await.err(),
        reader.head().await.err(),
        push(&mut writer, &state(1), 1).await.err(),
    ] {
        assert!(error.is_some());
    }
    // The piece that was stored before HEAD was found to be another.
    assert!(objects(&inner).await <= before + 1);
}

/// A piece that was replaced or cut is an error and never other bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_piece_is_an_error() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut writer = open_writer(inner.clone(), "writer", || 5).await;
    push(&mut writer, &state(0), 0).await.unwrap();
    let reader = Reader::new(bucket(inner.clone()), None).unwrap();
    let head = reader.head().await.unwrap();
    let file = head.file("segments/00000001.seg").unwrap();
    let path = Path::from(format!("a/store/{}", file.pieces[0].object));
    for bad in [vec![7; file.len() as usize], vec![7; 3], vec![]] {
        let same_length = bad.len() as u64 == file.len();
        inner.put(&path, bad.into()).await.unwrap();
        assert!(reader.piece(&file.pieces[0]).await.is_err());
        // Ranges are checked by the records in them.
        let fresh = Reader::new(bucket(inner.clone()), None).unwrap();
        assert_eq!(fresh.read(file, 100..200).await.is_ok(), same_length);
    }
}

/// Requests and bytes of reads, and what a restart leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_cost_one_request_and_those_of_the_cache_none() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let content = noise(10_000_000, 9).to_vec();
    let files = Files::from([("segments/00000001.seg".into(), content.clone())]);
    let mut writer = open_writer(inner.clone(), "writer", || 5).await;
    push(&mut writer, &files, 1).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache {
        folder: folder.path().join("chunks"),
        bytes: 64 << 20,
    };
    let open = || Reader::new(bucket(inner.clone()), Some(cache.clone())).unwrap();
    let reader = open();
    let head = reader.head().await.unwrap();
    let file = &head.files[0];
    let cost = async |reader: &Reader, from: usize, len: usize| {
        let before = reader.counts();
        let bytes = reader.read(file, from as u64..(from + len) as u64).await.unwrap();
        assert!(bytes == content[from.min(content.len())..(from + len).min(content.len())]);
        let after = reader.counts();
        (after.0 - before.0, after.1 - before.1)
    };
    let chunk = 256 << 10;
    assert_eq!(cost(&reader, 3, 10).await, (0, 0), "HEAD has the first bytes");
    assert_eq!(cost(&reader, 5_000_000, 100).await, (1, chunk));
    assert_eq!(cost(&reader, 5_000_100, 100).await, (0, 0));
    assert_eq!(
        cost(&reader, 7_340_000, 100).await,
        (1, 2 * chunk),
        "at the border of two"
    );
    assert_eq!(cost(&reader, 9_999_950, 100).await.0, 1, "at the end");
    assert_eq!(cost(&reader, 20_000_000, 100).await, (0, 0), "behind it");
    assert_eq!(cost(&reader, 0, 1 << 20).await, (1, 4 << 20), "a scan reads ahead");
    assert_eq!(cost(&reader, 1 << 20, 3 << 20).await, (0, 0));
    // Many readers of one place wait for one request.
    let reader = Arc::new(reader);
    let before = reader.counts().0;
    let reads = (0..8).map(|n| reader.read(file, 8_000_000 + n..8_000_100 + n));
    assert!(join_all(reads).await.iter().all(Result::is_ok));
    assert_eq!(reader.counts().0 - before, 1);
    drop(reader);

    let reader = open();
    assert_eq!(cost(&reader, 5_000_000, 100).await, (0, 0), "it survives a restart");
    drop(reader);
    for entry in std::fs::read_dir(&cache.folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|name| name == "blocks") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.iter_mut().skip(44).step_by(4096).for_each(|byte| *byte ^= 1);
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let reader = open();
    assert_eq!(
        cost(&reader, 5_000_000, 100).await,
        (1, chunk),
        "what is damaged is a miss"
    );
}

/// A server that takes every write is found out before it holds a store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ignores_conditions_is_refused() {
    let careless: Arc<dyn ObjectStore> = Arc::new(super::packing::Careless {
        inner: InMemory::new(),
        looks: false,
    });
    let mut writer = Writer::open(bucket(careless), options("writer", || 90_000))
        .await
        .unwrap();
    let error = push(&mut writer, &state(0), 0).await.unwrap_err().to_string();
    assert!(error.contains("cannot be trusted"), "{error}");
}
