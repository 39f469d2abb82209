//! Requests that fail, answers that are lost, containers that are damaged, objects that are replaced while they are
//! read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use lmfs_codec::{Level, Stop};
use lmfs_object::LmfsStore;
use lmfs_object::pack::{PackOptions, Packer};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};

use super::stores::{Fault, Watched, lines, lmfs, noise};

/// What is read although the request of any number fails: the content, or an error, and never anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_that_fails_once() {
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("object"), lines(4_000_000));
    lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
    let watched = Watched::new(bucket);
    let mut healed = 0;
    for fault in [Fault::Before, Fault::After, Fault::Body] {
        for number in 0..6 {
            let store = lmfs(watched.clone());
            watched.fail(number, fault);
            let read = async || store.get(&path).await?.bytes().await;
            match read().await {
                Ok(bytes) => {
                    healed += 1;
                    assert!(bytes == content);
                }
                Err(error) => assert!(error.to_string().contains("for the test"), "{error}"),
            }
            assert!(read().await.unwrap() == content, "the next one");
            watched.fail(number, fault);
            let parts = store.get_ranges(&path, &[5..10, 3_000_000..3_000_005]).await;
            assert!(parts.is_err() || parts.unwrap()[1] == content.slice(3_000_000..3_000_005));
        }
    }
    assert_eq!(healed, 18, "requests of reads are repeated");
}

/// A PUT that fails has stored all or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_fails_once() {
    let bucket = Arc::new(InMemory::new());
    let watched = Watched::new(bucket.clone());
    let store = lmfs(watched.clone());
    let (old, new) = (lines(300_000), lines(500_000));
    for fault in [Fault::Before, Fault::After] {
        let path = Path::from(format!("{fault:?}"));
        store.put(&path, old.clone().into()).await.unwrap();
        watched.fail(0, fault);
        assert!(store.put(&path, new.clone().into()).await.is_err());
        let expected = if fault == Fault::Before { &old } else { &new };
        assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == expected);
        assert_eq!(store.head(&path).await.unwrap().size, expected.len() as u64);
    }
    // Uploads: every part, and the end.
    let content: Bytes = noise(30_000_000, 4);
    for number in 0..5 {
        for fault in [Fault::Before, Fault::After] {
            let path = Path::from(format!("upload-{number}-{fault:?}"));
            watched.fail(number, fault);
            let upload = async || {
                let mut upload = store.put_multipart(&path).await?;
                for part in content.chunks(6 << 20) {
                    upload.put_part(Bytes::copy_from_slice(part).into()).await?;
                }
                upload.complete().await
            };
            match upload().await {
                Ok(_) => assert_eq!(number, 5, "nothing failed"),
                Err(_) => match store.get(&path).await {
                    Ok(got) => assert!(got.bytes().await.unwrap() == content),
                    Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
                },
            }
        }
    }
}

/// Whoever ignores that a part failed gets an error at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_failed_is_not_forgotten() {
    let watched = Watched::new(Arc::new(InMemory::new()));
    let store = lmfs(watched.clone());
    let path = Path::from("object");
    let mut upload = store.put_multipart(&path).await.unwrap();
    watched.fail(0, Fault::Before);
    let part = upload.put_part(noise(20_000_000, 4).into()).await;
    assert!(part.is_err());
    assert!(upload.put_part(noise(20_000_000, 5).into()).await.is_err());
    assert!(upload.complete().await.is_err());
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
}

/// Regression: an abort waited for a part that nobody waited for any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_aborted_although_a_part_is_not_waited_for() {
    let store = lmfs(Arc::new(InMemory::new()));
    let mut upload = store.put_multipart(&Path::from("object")).await.unwrap();
    let mut part = upload.put_part(noise(20_000_000, 4).into());
    assert!((&mut part).now_or_never().is_none());
    let aborted = tokio::time::timeout(Duration::from_secs(30), upload.abort()).await;
    aborted.unwrap().unwrap();
    assert!(part.await.is_err());
    assert!(upload.complete().await.is_err());
}

/// Regression: whoever ended an upload once more after an error put an empty object there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_failed_at_its_end_stays_failed() {
    for number in [0, 1] {
        let watched = Watched::new(Arc::new(InMemory::new()));
        let store = lmfs(watched.clone());
        let path = Path::from("object");
        let mut upload = store.put_multipart(&path).await.unwrap();
        upload.put_part(lines(100_000).into()).await.unwrap();
        // The last part, and what follows it.
        watched.fail(number, Fault::Before);
        assert!(upload.complete().await.is_err());
        assert!(upload.complete().await.is_err());
        assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
        upload.abort().await.unwrap();
    }
}

/// An object of very many containers is an error, and the others are listed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_has_only_so_many_containers() {
    let bucket = Arc::new(InMemory::new());
    let store = lmfs(bucket.clone());
    let path = Path::from("object");
    store.put(&path, lines(1000).into()).await.unwrap();
    let one = bucket.get(&path).await.unwrap().bytes().await.unwrap();
    assert!(one.len() < 1000, "a container");
    for (count, readable) in [(100, true), (70_000, false)] {
        let many = Bytes::from(one.repeat(count));
        let stored = many.len() as u64;
        bucket.put(&path, many.into()).await.unwrap();
        let got = store.get(&path).await;
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        if readable {
            assert!(got.unwrap().bytes().await.unwrap().len() == count * 1000);
            assert_eq!(listed[0].size, count as u64 * 1000);
        } else {
            let error = got.err().unwrap().to_string();
            assert!(error.contains("containers"), "{error}");
            assert_eq!(listed[0].size, stored);
        }
    }
}

/// A damaged block is an error for its range. A damaged table or header is one for the object. Others stay readable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_stays_local() {
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("object"), lines(2_000_000));
    lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
    let stored = bucket.get(&path).await.unwrap().bytes().await.unwrap();
    let damage = |at: usize| {
        let mut bytes = stored.to_vec();
        bytes[at] ^= 0x55;
        bytes
    };
    bucket.put(&path, damage(stored.len() / 2).into()).await.unwrap();
    let store = lmfs(bucket.clone());
    let (mut good, mut bad) = (0, 0);
    for start in (0..2_000_000).step_by(64 << 10) {
        let end = (start + (64 << 10)).min(2_000_000);
        match store.get_range(&path, start as u64..end as u64).await {
            Ok(bytes) => {
                good += 1;
                assert!(bytes == content.slice(start..end));
            }
            Err(error) => {
                bad += 1;
                assert!(error.to_string().contains("damaged"), "{error}");
            }
        }
    }
    assert!(bad == 1 && good == 30, "{good} {bad}");
    // What comes before the error is right, and nothing comes behind it.
    let mut stream = store.get(&path).await.unwrap().into_stream();
    let mut before = Vec::new();
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(bytes) => before.extend(bytes),
            Err(error) => break error,
        }
    };
    assert!(content.starts_with(&before) && before.len() > 500_000);
    assert!(error.to_string().contains("object"), "{error}");
    assert!(stream.next().await.is_none());

    let len = stored.len();
    for at in [0, 3, 12, 17, len - 1, len - 6, len - 12, len - 20, len - 60] {
        bucket.put(&path, damage(at).into()).await.unwrap();
        let store = lmfs(bucket.clone());
        let error = store.get(&path).await.map(drop).unwrap_err();
        assert!(
            error.to_string().contains("damaged") || error.to_string().contains("container"),
            "{at}: {error}"
        );
        // A list does not end at it.
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
    }
    for cut in [len - 1, len - 100, len / 2, 100] {
        bucket.put(&path, stored.slice(..cut).into()).await.unwrap();
        assert!(lmfs(bucket.clone()).get(&path).await.is_err(), "{cut}");
    }
}

/// A reader in the middle of an object that is packed goes on with the packed one, whose blocks have another size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_packed_while_it_is_read_is_read_on() {
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("object"), lines(30_000_000));
    let store = lmfs(bucket.clone());
    store.put(&path, content.clone().into()).await.unwrap();
    for (level, block_size) in [(1, 1 << 20), (2, 4096), (1, 200_000)] {
        let mut stream = lmfs(bucket.clone()).get(&path).await.unwrap().into_stream();
        let mut read = stream.next().await.unwrap().unwrap().to_vec();
        pack(&lmfs(bucket.clone()), level, block_size).await;
        while let Some(bytes) = stream.next().await {
            read.extend(bytes.unwrap());
        }
        assert!(content == read, "{block_size}");
    }
}

/// Packs everything, whatever it was before.
async fn pack(store: &LmfsStore, level: u8, block_size: usize) {
    let mut options = PackOptions::new(Level::new(level).unwrap());
    options.block_size = Some(block_size);
    let packer = Packer::new(store.clone(), options).unwrap();
    let mut packed = 0;
    let each = |_: &_, outcome: &_| {
        packed += u32::from(matches!(outcome, lmfs_object::pack::Outcome::Packed { .. }));
        std::ops::ControlFlow::Continue(())
    };
    let summary = packer.run(&Stop::new(), each).await.unwrap();
    // Smaller or not: swap it by hand if the packer would keep it.
    if packed == 0 {
        assert_eq!(summary.failed, 0);
        let bytes = store.get(&Path::from("object")).await.unwrap().bytes().await.unwrap();
        let mut options = super::stores::options();
        options.put = lmfs_object::Put::Compressed { block_size };
        let other = LmfsStore::new(Arc::clone(store.inner()), options).unwrap();
        other.put(&Path::from("object"), bytes.into()).await.unwrap();
    }
}

/// What a reader sees is one version: the whole old content, or an error in the middle of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_replaced_while_it_is_read_is_an_error() {
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("object"), noise(60_000_000, 8));
    let content: Bytes = [lines(2_000_000), content].concat().into();
    let store = lmfs(bucket.clone());
    // Of the same length, shorter, no container, gone.
    let mut same = content.to_vec();
    same[40_000_000] ^= 1;
    for other in [Some(Bytes::from(same)), Some(lines(30_000_000)), Some(lines(40)), None] {
        store.put(&path, content.clone().into()).await.unwrap();
        let mut stream = lmfs(bucket.clone()).get(&path).await.unwrap().into_stream();
        let mut read = stream.next().await.unwrap().unwrap().to_vec();
        match &other {
            Some(other) => drop(store.put(&path, other.clone().into()).await.unwrap()),
            None => store.delete(&path).await.unwrap(),
        }
        let mut failed = None;
        while let Some(bytes) = stream.next().await {
            match bytes {
                Ok(bytes) => read.extend(bytes),
                Err(error) => failed = Some(error),
            }
        }
        assert!(content.starts_with(&read));
        let expected = match other {
            Some(_) => matches!(failed, Some(Error::Precondition { .. })),
            None => matches!(failed, Some(Error::NotFound { .. })),
        };
        assert!(expected, "{failed:?}");
    }
}

/// A reader beside a writer that never rests sees one version each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_beside_writers_see_one_version_each() {
    let bucket = Arc::new(InMemory::new());
    let path = Path::from("object");
    let version = |number: usize| -> Bytes { lines(400_000).slice(number % 50 * 100..300_000 + number % 70 * 1000) };
    let whole: Vec<Bytes> = (0..3500).map(version).collect();
    lmfs(bucket.clone()).put(&path, whole[0].clone().into()).await.unwrap();
    let writing = tokio::spawn({
        let (store, path, whole) = (lmfs(bucket.clone()), path.clone(), whole.clone());
        async move {
            for content in whole.iter().take(400) {
                store
                    .put_opts(&path, content.clone().into(), PutMode::Overwrite.into())
                    .await
                    .unwrap();
            }
        }
    });
    let store = lmfs(bucket);
    let mut reads = 0;
    while !writing.is_finished() {
        match store.get(&path).await {
            Ok(got) => match got.bytes().await {
                Ok(bytes) => {
                    reads += 1;
                    assert!(whole.contains(&bytes));
                }
                Err(error) => assert!(matches!(error, Error::Precondition { .. }), "{error}"),
            },
            Err(error) => assert!(error.to_string().contains("replaced"), "{error}"),
        }
    }
    writing.await.unwrap();
    assert!(reads > 10, "{reads}");
}
