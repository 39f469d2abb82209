//! Packing a bucket, alone and beside others.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use lmfs_codec::{Level, Stop};
use lmfs_object::pack::{PackOptions, Packer, Summary, probe};
use lmfs_object::{LmfsStore, Put};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, UpdateVersion,
};

use super::stores::{Fault, Request, Watched, lines, lmfs, noise};

fn level(number: u8) -> PackOptions {
    PackOptions::new(Level::new(number).unwrap())
}

async fn pack(store: &LmfsStore, options: PackOptions) -> Summary {
    let packer = Packer::new(store.clone(), options).unwrap();
    let each = |_: &Path, _: &_| ControlFlow::Continue(());
    packer.run(&Stop::new(), each).await.unwrap()
}

async fn stored(bucket: &InMemory) -> u64 {
    let objects: Vec<_> = bucket.list(None).try_collect().await.unwrap();
    objects.iter().map(|meta| meta.size).sum()
}

/// Text that the language model helps.
fn prose() -> Bytes {
    let text = std::fs::read(lmfs_tests::data("text/alice29.txt")).unwrap();
    Bytes::from(text).slice(..80_000)
}

/// Staged blocks and plain objects become smaller, keep their contents and attributes, and are packed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_becomes_smaller_and_stays_so() {
    let bucket = Arc::new(InMemory::new());
    let store = lmfs(bucket.clone());
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "text/csv"),
        (Attribute::Metadata("owner".into()), "tests"),
    ]);
    let contents = [
        ("long", lines(100_000)),
        ("prose", prose()),
        ("short", lines(20_000)),
        ("noise", noise(100_000, 1)),
        ("none", Bytes::new()),
    ];
    for (name, content) in &contents {
        let options = PutOptions::from(attributes.clone());
        store
            .put_opts(&Path::from(*name), content.clone().into(), options)
            .await
            .unwrap();
    }
    bucket.put(&Path::from("plain"), lines(50_000).into()).await.unwrap();
    let first = stored(&bucket).await;

    let mut dry = level(4);
    dry.dry_run = true;
    let would = pack(&store, dry).await;
    assert_eq!((would.packed, stored(&bucket).await), (5, first));

    let mut containers = level(4);
    containers.containers_only = true;
    let summary = pack(&store, containers).await;
    assert_eq!((summary.packed, summary.kept, summary.failed), (3, 3, 0), "{summary:?}");
    assert_eq!(bucket.head(&Path::from("plain")).await.unwrap().size, 50_000);

    let summary = pack(&store, level(4)).await;
    assert_eq!(
        (summary.packed, summary.already, summary.kept),
        (1, 4, 1),
        "{summary:?}"
    );
    let packed = stored(&bucket).await;
    assert!(packed - 100_000 < (first - 150_000) * 2 / 3, "{first} {packed}");

    // With the language model, then again, then less hard. What it does not help is not tried again, either.
    let mut model = level(5);
    model.block_size = Some(32 << 10);
    let summary = pack(&store, model.clone()).await;
    assert_eq!((summary.packed, summary.failed), (2, 0), "{summary:?}");
    let summary = pack(&store, model).await;
    assert_eq!((summary.packed, summary.failed), (0, 0), "{summary:?}");
    assert_eq!(pack(&store, level(4)).await.packed, 0);

    for reader in [store, lmfs(bucket.clone())] {
        for (name, content) in &contents {
            let got = reader.get(&Path::from(*name)).await.unwrap();
            assert_eq!(got.attributes, attributes, "{name}");
            assert!(got.bytes().await.unwrap() == content, "{name}");
        }
        let plain = reader.get(&Path::from("plain")).await.unwrap();
        assert!(plain.bytes().await.unwrap() == lines(50_000));
    }
}

/// Regression: a plain object was one request, read as slowly as it was compressed, and servers and clients time out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_object_is_read_in_short_requests() {
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("plain"), lines(1_000_000));
    bucket.put(&path, content.clone().into()).await.unwrap();
    let watched = Watched::new(bucket);
    let mut options = super::stores::options();
    options.fetch = 1 << 16;
    let store = LmfsStore::new(watched.clone(), options).unwrap();
    assert_eq!(pack(&store, level(1)).await.packed, 1);
    let mut at = 0;
    for request in watched.take().0 {
        if let Request::Get {
            range: Some(GetRange::Bounded(range)),
            if_match,
            ..
        } = request
            && range.start == at
            && range.end > 100
        {
            assert!(if_match && range.end - range.start <= 1 << 16, "{range:?}");
            at = range.end;
        }
    }
    assert_eq!(at, 1_000_000);
    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
}

/// Regression: level 2 took what a PUT had written for packed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn level_2_packs_what_a_put_wrote() {
    let store = lmfs(Arc::new(InMemory::new()));
    let path = Path::from("object");
    store.put(&path, lines(300_000).into()).await.unwrap();
    let mut again = level(2);
    again.block_size = Some(64 << 10);
    let mut fast = level(1);
    fast.block_size = again.block_size;
    assert_eq!(pack(&store, fast.clone()).await.already, 1);
    assert_eq!(pack(&store, again.clone()).await.packed, 1);
    // They look alike, so that it is tried again.
    assert_eq!(pack(&store, again).await.kept, 1);
    assert_eq!(pack(&store, fast).await.packed, 0);
    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == lines(300_000));
}

/// Objects that are larger together than may be held at a time are packed one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_wait_for_room() {
    let bucket = Arc::new(InMemory::new());
    for number in 0..10 {
        let path = Path::from(number.to_string());
        bucket
            .put(&path, lines(900_000 + number * 20_000).into())
            .await
            .unwrap();
    }
    let mut options = level(1);
    options.largest = 1 << 20;
    let summary = pack(&lmfs(bucket), options).await;
    assert_eq!((summary.packed, summary.kept, summary.failed), (8, 2, 0), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_ages_and_shards_are_kept_to() {
    let store = lmfs(Arc::new(InMemory::new()));
    for number in 0..30 {
        let name = format!("{}/{number}", if number < 10 { "a" } else { "b" });
        store.put(&Path::from(name), lines(5000).into()).await.unwrap();
    }
    let mut young = level(2);
    young.older_than = Duration::from_secs(3600);
    assert_eq!(pack(&store, young).await.objects, 0);
    let mut below = level(2);
    below.prefix = Some(Path::from("a"));
    assert_eq!(pack(&store, below).await.objects, 10);
    let mut sum = 0;
    for part in 0..3 {
        let mut shard = level(2);
        (shard.shard, shard.dry_run) = ((part, 3), true);
        let found = pack(&store, shard).await.objects;
        assert!((3..20).contains(&found), "{found}");
        sum += found;
    }
    assert_eq!(sum, 30);
    let mut none = level(2);
    none.shard = (3, 3);
    assert!(Packer::new(store, none).is_err());
}

/// Two packers and a writer of the same key: every write is there until the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn races_of_two_packers_and_a_writer_lose_nothing() {
    let bucket = Arc::new(InMemory::new());
    let path = Path::from("object");
    let text = lines(200_000);
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let packers = [4096, 16384].map(|block_size| {
        let (store, over) = (lmfs(bucket.clone()), Arc::clone(&over));
        tokio::spawn(async move {
            let mut packed = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let mut options = level(1);
                options.block_size = Some(block_size);
                let summary = pack(&store, options).await;
                assert_eq!(summary.failed, 0);
                packed += summary.packed;
            }
            packed
        })
    });
    // What it writes is not compressed, so that the packers always have something to do.
    let mut options = super::stores::options();
    options.put = Put::AsIs;
    let store = LmfsStore::new(bucket, options).unwrap();
    let mut lost_to_packers = 0;
    for number in 0..1000_u64 {
        // A counter in the object, as programs keep state in buckets.
        let content: Bytes = [
            number.to_string().as_bytes(),
            b"\n",
            &text[..number as usize % 50 * 1000],
        ]
        .concat()
        .into();
        // As long as packing takes, now and then.
        tokio::time::sleep(Duration::from_micros(number % 5 * 400)).await;
        loop {
            let version = match store.get(&path).await {
                Ok(got) => {
                    let version = UpdateVersion {
                        e_tag: got.meta.e_tag.clone(),
                        version: got.meta.version.clone(),
                    };
                    let Ok(bytes) = got.bytes().await else { continue };
                    let line = bytes.split(|byte| *byte == b'\n').next().unwrap();
                    assert_eq!(line, (number - 1).to_string().as_bytes());
                    PutMode::Update(version)
                }
                Err(Error::NotFound { .. }) => PutMode::Create,
                Err(error) => panic!("{error}"),
            };
            match store.put_opts(&path, content.clone().into(), version.into()).await {
                Ok(_) => break,
                Err(Error::Precondition { .. }) => lost_to_packers += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut packed = 0;
    for packer in packers {
        packed += packer.await.unwrap();
    }
    assert!(packed > 50, "{packed} swaps, {lost_to_packers} writes came too late");
}

/// The answer to the swap is lost: it counts as done if it was, and nothing else is harmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_fails_once() {
    for fault in [Fault::Before, Fault::After] {
        let bucket = Arc::new(InMemory::new());
        let (path, content) = (Path::from("object"), lines(100_000));
        lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
        let before = bucket.head(&path).await.unwrap();
        let watched = Watched::new(bucket.clone());
        let store = lmfs(watched.clone());
        // After the list, the object whole, and nothing else.
        watched.fail(2, fault);
        let summary = pack(&store, level(2)).await;
        let after = bucket.head(&path).await.unwrap();
        match fault {
            Fault::Before => assert_eq!((summary.failed, &after), (1, &before)),
            _ => assert!(summary.packed == 1 && after.size < before.size, "{summary:?}"),
        }
        assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
    }
}

/// Local files have no conditional PUT: they are packed only if nobody else writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_files_are_packed_if_nobody_else_writes() {
    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let store = lmfs(files.clone());
    let (path, content) = (Path::from("a/lines.csv"), lines(300_000));
    store.put(&path, content.clone().into()).await.unwrap();
    let refused = probe(&*files, None).await.unwrap_err().to_string();
    assert!(refused.contains("nobody else"), "{refused}");
    assert_eq!(pack(&store, level(4)).await.failed, 1);
    let mut alone = level(4);
    alone.exclusive = true;
    let summary = pack(&store, alone).await;
    assert_eq!((summary.packed, summary.failed), (1, 0));
    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
}

#[tokio::test]
async fn memory_has_atomic_conditions() {
    let bucket = InMemory::new();
    probe(&bucket, Some(&Path::from("below"))).await.unwrap();
    assert_eq!(stored(&bucket).await, 0, "nothing is left behind");
}

/// A server that looks at conditions first and writes then, or not at all.
#[derive(Debug)]
pub(super) struct Careless {
    pub(super) inner: InMemory,
    pub(super) looks: bool,
}

impl std::fmt::Display for Careless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Careless")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Careless {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult, Error> {
        if self.looks {
            let found = self.inner.head(location).await;
            let source = || "for the test".into();
            let path = || location.to_string();
            match (&opts.mode, found) {
                (PutMode::Create, Ok(_)) => {
                    return Err(Error::AlreadyExists {
                        path: path(),
                        source: source(),
                    });
                }
                (PutMode::Update(version), Ok(meta)) if meta.e_tag != version.e_tag => {
                    return Err(Error::Precondition {
                        path: path(),
                        source: source(),
                    });
                }
                (PutMode::Update(_), Err(_)) => {
                    return Err(Error::Precondition {
                        path: path(),
                        source: source(),
                    });
                }
                _ => {}
            }
            tokio::task::yield_now().await;
        }
        self.inner.put(location, payload).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>, Error> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult, Error> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures_util::stream::BoxStream<'static, Result<Path, Error>>,
    ) -> futures_util::stream::BoxStream<'static, Result<Path, Error>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> futures_util::stream::BoxStream<'static, Result<ObjectMeta, Error>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult, Error> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: object_store::CopyOptions) -> Result<(), Error> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn servers_whose_conditions_are_not_atomic_are_refused() {
    for looks in [true, false] {
        let inner = InMemory::new();
        let refused = probe(&Careless { inner, looks }, None).await.unwrap_err().to_string();
        let why = if looks {
            "several writers"
        } else {
            "although it had to be"
        };
        assert!(
            refused.contains("cannot be trusted") && refused.contains(why),
            "{refused}"
        );
    }
}
