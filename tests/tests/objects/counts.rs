//! How many requests and bytes a read takes.

use std::sync::Arc;

use futures_util::TryStreamExt;
use lmfs_object::ContentId;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};

use super::stores::{Request, Watched, lines, lmfs, noise};

const BLOCK: u64 = 64 << 10;

/// A read of 100 bytes of a cold object of 100 MB: three requests, the bytes of two blocks. The next one: one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_read_of_a_long_object() {
    let bucket = Arc::new(InMemory::new());
    let path = Path::from("large");
    // Containers that hardly shrink have the largest blocks.
    for content in [
        lines(100_000_000),
        [lines(10_000_000), noise(90_000_000, 1)].concat().into(),
    ] {
        lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
        let watched = Watched::new(bucket.clone());
        let store = lmfs(watched.clone());
        let read = async |start: u64| {
            let bytes = store.get_range(&path, start..start + 100).await.unwrap();
            assert_eq!(bytes, content.slice(start as usize..start as usize + 100));
            watched.take()
        };
        let (requests, bytes) = read(50_000_000).await;
        assert!(requests.len() <= 3, "{requests:?}");
        assert!(bytes <= 2 * BLOCK, "{bytes}");
        // Another block, the same one, one more that lies in two.
        let (requests, bytes) = read(70_000_000).await;
        assert!(requests.len() == 1 && bytes <= BLOCK + 26, "{requests:?} {bytes}");
        let (requests, bytes) = read(70_000_010).await;
        assert!(requests.len() == 1 && bytes == 0, "{requests:?} {bytes}");
        let (requests, bytes) = read(BLOCK * 600 - 50).await;
        assert!(requests.len() == 1 && bytes <= 2 * (BLOCK + 26), "{requests:?} {bytes}");
        // All but the first name the version.
        assert!(
            requests
                .iter()
                .all(|request| matches!(request, Request::Get { if_match: true, .. }))
        );
    }
}

/// Two ranges 900 KB apart: two blocks are decoded, and nothing in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_are_not_decoded() {
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("large"), lines(10_000_000));
    lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
    let watched = Watched::new(bucket);
    let store = lmfs(watched.clone());
    let ranges = [1_000_000..1_000_100, 1_900_000..1_900_100];
    let parts = store.get_ranges(&path, &ranges).await.unwrap();
    assert_eq!(parts[0], content.slice(1_000_000..1_000_100));
    assert_eq!(parts[1], content.slice(1_900_000..1_900_100));
    let (requests, _) = watched.take();
    assert!(requests.len() <= 4, "{requests:?}");
    // What was decoded is in the cache, and of the blocks between none is: each of them is asked for.
    let mut asked = 0;
    for start in (1_000_000..1_900_100).step_by(BLOCK as usize) {
        store.get_range(&path, start..start + 1).await.unwrap();
        let (_, bytes) = watched.take();
        asked += u64::from(bytes > 0);
    }
    let blocks = 1_900_000 / BLOCK - 1_000_000 / BLOCK + 1;
    assert_eq!(asked, blocks - 2);
}

/// Lists ask once for each object that is not known, and not at all for those that were put or listed before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_of_lists_are_remembered() {
    let bucket = Arc::new(InMemory::new());
    let watched = Watched::new(bucket.clone());
    let writer = lmfs(watched.clone());
    for number in 0..40 {
        // Small ones, and some whose header is not in the first request.
        let len = if number % 2 == 0 { 20_000 } else { 2_000_000 };
        writer
            .put(&Path::from(format!("{number}")), lines(len).into())
            .await
            .unwrap();
    }
    watched.take();
    writer.list(None).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(watched.take().0, [Request::List]);

    let reader = lmfs(watched.clone());
    let listed: Vec<_> = reader.list(None).try_collect().await.unwrap();
    assert_eq!(watched.take().0.len(), 41);
    assert_eq!(listed.iter().map(|meta| meta.size).sum::<u64>(), 20 * 2_020_000);
    reader.list(None).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(watched.take().0, [Request::List]);
    writer.put(&Path::from("7"), lines(5).into()).await.unwrap();
    watched.take();
    reader.list(None).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(watched.take().0.len(), 1, "five bytes are no container");
}

/// An object is asked for once when it is small, and a HEAD is one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_objects_and_heads_are_one_request() {
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("small"), lines(60_000));
    lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
    let watched = Watched::new(bucket);
    let store = lmfs(watched.clone());
    assert_eq!(store.head(&path).await.unwrap().size, 60_000);
    assert_eq!(watched.take().0.len(), 1);
    let store = lmfs(watched.clone());
    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
    assert_eq!(watched.take().0.len(), 1);
    for _ in 0..2 {
        assert_eq!(store.head(&path).await.unwrap().size, 60_000);
        let (requests, bytes) = watched.take();
        assert!(matches!(requests[..], [Request::Get { head: true, .. }]) && bytes == 0);
    }
}

/// A reader that goes on gets larger and larger requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_read_takes_few_requests() {
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("noise"), noise(40_000_000, 3));
    let content = bytes::Bytes::from([lines(9_000_000), content].concat());
    lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
    let watched = Watched::new(bucket);
    let store = lmfs(watched.clone());
    let got = store.get(&path).await.unwrap();
    let id = got.extensions.get::<ContentId>().unwrap();
    assert_eq!(id.len, content.len() as u64);
    assert!(got.bytes().await.unwrap() == content);
    let (requests, _) = watched.take();
    assert!(requests.len() <= 14, "{}", requests.len());
}

/// Conditions of the caller are looked at by the store, however much is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_never_older_than_what_is_there() {
    let bucket = Arc::new(InMemory::new());
    let (store, other) = (lmfs(bucket.clone()), lmfs(bucket));
    let path = Path::from("object");
    for round in 0..20 {
        let content = lines(100_000 + round * 1000);
        other.put(&path, content.clone().into()).await.unwrap();
        let e_tag = other.head(&path).await.unwrap().e_tag;
        match round % 4 {
            0 => assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content),
            1 => {
                let last = content.len() as u64 - 10;
                let part = store.get_ranges(&path, &[last..last + 10]).await.unwrap();
                assert!(part[0] == content.slice(last as usize..));
            }
            2 => assert_eq!(store.head(&path).await.unwrap().size, content.len() as u64),
            _ => {
                let if_none = GetOptions::new().with_if_none_match(e_tag.clone());
                assert!(matches!(
                    store.get_opts(&path, if_none).await,
                    Err(object_store::Error::NotModified { .. })
                ));
                let if_match = GetOptions::new().with_if_match(e_tag);
                let got = store.get_opts(&path, if_match).await.unwrap();
                assert!(got.bytes().await.unwrap() == content);
                let if_match = GetOptions::new().with_if_match(Some("\"other\"".to_owned()));
                assert!(matches!(
                    store.get_opts(&path, if_match).await,
                    Err(object_store::Error::Precondition { .. })
                ));
            }
        }
    }
}
