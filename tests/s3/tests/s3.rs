//! The suite of `object_store`, packing and reading over a server that speaks S3. scripts/test-plugin.sh starts it and
//! sets the environment.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::TryStreamExt;
use lmfs_codec::{Level, Stop};
use lmfs_object::pack::{PackOptions, Packer, probe};
use lmfs_object::{LmfsOptions, LmfsStore};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::integration as suite;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

fn bucket() -> AmazonS3 {
    AmazonS3Builder::from_env().build().unwrap()
}

/// The bucket with nothing in it, compressed.
async fn fresh() -> LmfsStore {
    let bucket = bucket();
    let all: Vec<_> = bucket
        .list(None)
        .map_ok(|meta| meta.location)
        .try_collect()
        .await
        .unwrap();
    for location in all {
        bucket.delete(&location).await.unwrap();
    }
    LmfsStore::new(Arc::new(bucket), LmfsOptions::default()).unwrap()
}

fn lines(len: usize) -> Vec<u8> {
    let mut text: Vec<u8> = (0..len / 20)
        .flat_map(|n| format!("{n:09} GET /{n} 200\n").into_bytes())
        .collect();
    text.truncate(len);
    text
}

/// One test: they share a bucket, and some want it empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_s3() {
    suite::put_get_delete_list(&fresh().await).await;
    suite::list_uses_directories_correctly(&fresh().await).await;
    suite::list_with_delimiter(&fresh().await).await;
    suite::rename_and_copy(&fresh().await).await;
    suite::copy_if_not_exists(&fresh().await).await;
    suite::copy_rename_nonexistent_object(&fresh().await).await;
    suite::stream_get(&fresh().await).await;
    suite::list_with_offset_exclusivity(&fresh().await).await;
    suite::get_opts(&fresh().await).await;
    suite::put_opts(&fresh().await, true).await;
    suite::multipart_out_of_order(&fresh().await).await;
    suite::multipart_race_condition(&fresh().await, true).await;
    // Not put_get_attributes: the server loses metadata whose names have underscores, also without lmfs.

    let store = fresh().await;
    probe(store.inner().as_ref(), Some(&Path::from("probe"))).await.unwrap();
    let content = lines(3_000_000);
    for number in 0..4 {
        store
            .put(&Path::from(format!("a/{number}")), content.clone().into())
            .await
            .unwrap();
    }
    let mut upload = store.put_multipart(&Path::from("a/upload")).await.unwrap();
    for part in content.chunks(700_000) {
        upload.put_part(part.to_vec().into()).await.unwrap();
    }
    upload.complete().await.unwrap();
    let before: Vec<_> = store.inner().list(None).try_collect().await.unwrap();
    let packer = Packer::new(store.clone(), PackOptions::new(Level::new(2).unwrap())).unwrap();
    let each = |_: &Path, _: &_| ControlFlow::Continue(());
    let summary = packer.run(&Stop::new(), each).await.unwrap();
    assert_eq!((summary.packed, summary.failed), (5, 0), "{summary:?}");
    let after: Vec<_> = store.inner().list(None).try_collect().await.unwrap();
    let sum = |metas: &[object_store::ObjectMeta]| metas.iter().map(|meta| meta.size).sum::<u64>();
    assert!(sum(&after) < sum(&before));
    for reader in [
        store,
        LmfsStore::new(Arc::new(bucket()), LmfsOptions::default()).unwrap(),
    ] {
        let listed: Vec<_> = reader.list(None).try_collect().await.unwrap();
        assert!(listed.len() == 5 && listed.iter().all(|meta| meta.size == 3_000_000));
        for meta in listed {
            assert!(reader.get(&meta.location).await.unwrap().bytes().await.unwrap() == content);
            let part = reader.get_range(&meta.location, 2_000_000..2_000_100).await.unwrap();
            assert_eq!(part, content[2_000_000..2_000_100]);
        }
    }
}
