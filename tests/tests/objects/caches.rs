//! Decoded blocks in memory and on disk.

use std::sync::Arc;
use std::time::Duration;

use lmfs_object::{DiskCache, LmfsOptions, LmfsStore, Put};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt};

use super::stores::{Fault, Request, Watched, lines, lmfs, options};

fn on_disk(folder: &std::path::Path) -> LmfsOptions {
    let mut options = options();
    options.cache_bytes = 0;
    options.disk = Some(DiskCache {
        folder: folder.to_owned(),
        bytes: 64 << 20,
    });
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_on_disk_survive_the_process_and_damage_is_a_miss() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("lines"), lines(3_000_000));
    lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
    let watched = Watched::new(bucket);
    let read = async || {
        let store = LmfsStore::new(watched.clone(), on_disk(folder.path())).unwrap();
        assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
        let cold = watched.take().1;
        assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
        (cold, watched.take().1)
    };
    let (cold, warm) = read().await;
    assert!(cold > 100_000 && warm == 0, "{cold} {warm}");
    // Only the end of the object and its header.
    let (cold, warm) = read().await;
    assert!(cold < 33_000 && warm == 0, "{cold} {warm}");

    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let file = entry.unwrap().path();
        let mut bytes = std::fs::read(&file).unwrap();
        (1000..bytes.len()).step_by(150_000).for_each(|at| bytes[at] ^= 1);
        std::fs::write(&file, bytes).unwrap();
    }
    let (cold, warm) = read().await;
    assert!(cold > 33_000 && warm == 0, "{cold} {warm}");
}

/// For as long as nothing is asked, the cache needs no request, and what this store itself changes counts at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_trusted_is_not_asked_for() {
    let bucket = Arc::new(InMemory::new());
    let (path, other) = (Path::from("lines"), Path::from("other"));
    let content = lines(3_000_000);
    let watched = Watched::new(bucket.clone());
    let store = LmfsStore::new(watched.clone(), trusting()).unwrap();
    let read = async |path: &Path| store.get(path).await.unwrap().bytes().await.unwrap();

    store.put(&path, content.clone().into()).await.unwrap();
    assert!(read(&path).await == content);
    let attributes = store.get(&path).await.unwrap().attributes;
    watched.take();
    for range in [0..100, 65_000..66_000, 0..3_000_000] {
        let (start, end) = (range.start as usize, range.end as usize);
        assert!(store.get_range(&path, range.clone()).await.unwrap() == content.slice(start..end));
        assert!(store.get_ranges(&path, &[range]).await.unwrap() == [content.slice(start..end)]);
    }
    assert_eq!(store.head(&path).await.unwrap().size, 3_000_000);
    assert_eq!(store.get(&path).await.unwrap().attributes, attributes);
    assert!(store.get_range(&path, 3_000_000..3_000_001).await.is_err());
    assert_eq!(watched.take().0, []);
    // Conditions are the store's to check.
    let conditions = GetOptions::default().with_if_none_match(Some("*"));
    assert!(matches!(
        store.get_opts(&path, conditions).await,
        Err(Error::NotModified { .. })
    ));
    assert_eq!(watched.take().0.len(), 1);

    let next = lines(2_000_000).slice(7..1_900_000);
    store.put(&path, next.clone().into()).await.unwrap();
    assert!(read(&path).await == next);
    store.put(&other, content.clone().into()).await.unwrap();
    assert!(read(&other).await == content);
    store.copy(&path, &other).await.unwrap();
    assert!(read(&other).await == next);
    let mut upload = store.put_multipart(&other).await.unwrap();
    upload.put_part(content.clone().into()).await.unwrap();
    upload.complete().await.unwrap();
    assert!(read(&other).await == content);
    store.rename(&path, &other).await.unwrap();
    assert!(read(&other).await == next);
    assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })));
    store.delete(&other).await.unwrap();
    assert!(matches!(store.get(&other).await, Err(Error::NotFound { .. })));

    // What others change is seen later, and then as a whole. A store that trusts nothing sees it at once.
    store.put(&path, content.clone().into()).await.unwrap();
    assert!(read(&path).await == content);
    lmfs(bucket.clone()).put(&path, next.clone().into()).await.unwrap();
    assert!(read(&path).await == content);
    let careful = lmfs(bucket.clone());
    assert!(careful.get(&path).await.unwrap().bytes().await.unwrap() == next);
    lmfs(bucket).put(&path, content.clone().into()).await.unwrap();
    assert!(careful.get(&path).await.unwrap().bytes().await.unwrap() == content);
}

fn trusting() -> LmfsOptions {
    let mut trusting = options();
    trusting.trust = Duration::from_secs(24 * 3600);
    trusting
}

/// A change whose answer was lost left what was before it trusted, so that an old content was read for as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_to_change_is_trusted_no_more() {
    let bucket = Arc::new(InMemory::new());
    let path = Path::from("lines");
    let watched = Watched::new(bucket.clone());
    let store = LmfsStore::new(watched.clone(), trusting()).unwrap();
    let (old, new) = (lines(60_000), lines(50_000));
    let read = async || store.get(&path).await.unwrap().bytes().await.unwrap();

    store.put(&path, old.clone().into()).await.unwrap();
    assert!(read().await == old);
    watched.fail(0, Fault::After);
    assert!(store.put(&path, new.clone().into()).await.is_err());
    assert!(read().await == new);

    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part(old.clone().into()).await.unwrap();
    watched.fail(1, Fault::After);
    assert!(upload.complete().await.is_err());
    assert_eq!(watched.take().0, [Request::Part, Request::Complete]);
    assert!(read().await == old);

    watched.lose_deletes();
    assert!(store.delete(&path).await.is_err());
    assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })));
}

/// An upload of what is stored as it is left what was before it trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_uploaded_as_it_is_counts_at_once() {
    let path = Path::from("lines");
    let mut trusting = trusting();
    trusting.put = Put::AsIs;
    let store = LmfsStore::new(Arc::new(InMemory::new()), trusting).unwrap();
    for content in [lines(60_000), lines(50_000)] {
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part(content.clone().into()).await.unwrap();
        upload.complete().await.unwrap();
        // First, as a GET of a plain object asks the store.
        assert_eq!(store.head(&path).await.unwrap().size, content.len() as u64);
        assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
    }
}

/// What was asked for before a change and came after it was trusted from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_older_than_a_change_is_not_trusted() {
    let path = Path::from("lines");
    let watched = Watched::new(Arc::new(InMemory::new()));
    let store = LmfsStore::new(watched.clone(), trusting()).unwrap();
    let (old, new) = (lines(60_000), lines(50_000));
    store.put(&path, old.clone().into()).await.unwrap();
    let (there, go) = watched.hold();
    let reader = {
        let (store, path) = (store.clone(), path.clone());
        tokio::spawn(async move { store.get(&path).await.unwrap().bytes().await.unwrap() })
    };
    there.await.unwrap();
    store.put(&path, new.clone().into()).await.unwrap();
    go.send(()).unwrap();
    assert!(reader.await.unwrap() == old);
    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == new);
    assert_eq!(store.head(&path).await.unwrap().size, 50_000);
}

/// Another content under the same name and, after a restart, with the same ETag must not be found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_content_is_another_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = Path::from("lines");
    for start in [0, 7] {
        // ETags of memory begin anew with each store.
        let bucket = Arc::new(InMemory::new());
        let content = lines(300_000).slice(start..200_000 + start);
        lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
        let store = LmfsStore::new(bucket, on_disk(folder.path())).unwrap();
        assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
    }
}

/// However many read a block at once, it is fetched and decoded for all of them, and a reader that goes away harms
/// none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_at_the_same_time() {
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("lines"), lines(2_000_000));
    lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
    let store = Arc::new(lmfs(bucket));
    let readers = (0..40).map(|number| {
        let (store, path, content) = (Arc::clone(&store), path.clone(), content.clone());
        tokio::spawn(async move {
            let start = number * 40_000;
            let read = store.get_range(&path, start..start + 300_000);
            if number % 3 == 0 {
                let _ = tokio::time::timeout(std::time::Duration::from_micros(number * 20), read).await;
                return;
            }
            assert!(read.await.unwrap() == content.slice(start as usize..start as usize + 300_000));
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
}
