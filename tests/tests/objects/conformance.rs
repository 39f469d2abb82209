//! The suite of `object_store` itself, over memory and local files, alone and while a packer runs in a loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::StreamExt;
use lmfs_codec::{Level, Stop};
use lmfs_object::pack::{PackOptions, Packer};
use lmfs_object::{LmfsStore, Put};
use object_store::integration as suite;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::stores::{lines, lmfs, options};

/// All functions of the suite that need nothing but an `ObjectStore`. Each wants an empty store.
async fn all(fresh: &dyn Fn() -> LmfsStore, has_updates: bool, has_attributes: bool, last_writer_wins: bool) {
    suite::put_get_delete_list(&fresh()).await;
    suite::list_uses_directories_correctly(&fresh()).await;
    suite::list_with_delimiter(&fresh()).await;
    suite::rename_and_copy(&fresh()).await;
    suite::copy_if_not_exists(&fresh()).await;
    suite::copy_rename_nonexistent_object(&fresh()).await;
    suite::stream_get(&fresh()).await;
    suite::list_with_offset_exclusivity(&fresh()).await;
    suite::get_opts(&fresh()).await;
    suite::put_opts(&fresh(), has_updates).await;
    suite::multipart_out_of_order(&fresh()).await;
    suite::multipart_race_condition(&fresh(), last_writer_wins).await;
    let missing = suite::get_nonexistent_object(&fresh(), None).await.unwrap_err();
    assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing:?}");
    if has_attributes {
        suite::put_get_attributes(&fresh()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_memory() {
    all(&|| lmfs(Arc::new(InMemory::new())), true, true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_local_files() {
    let folder = tempfile::tempdir().unwrap();
    let number = AtomicU64::new(0);
    let fresh = || {
        let sub = folder.path().join(number.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&sub).unwrap();
        lmfs(Arc::new(LocalFileSystem::new_with_prefix(sub).unwrap()))
    };
    all(&fresh, false, false, true).await;
}

/// Swaps every object that it finds for another form of the same content, as packers do, whether it is smaller or not.
async fn swap_all(inner: &Arc<InMemory>, block_size: usize) -> u64 {
    let mut options = options();
    options.put = Put::Compressed { block_size };
    let store = LmfsStore::new(inner.clone(), options).unwrap();
    let mut swapped = 0;
    for meta in inner.list(None).collect::<Vec<_>>().await {
        let path = meta.unwrap().location;
        let Ok(got) = store.get(&path).await else { continue };
        let attributes = got.attributes.clone();
        let version = UpdateVersion {
            e_tag: got.meta.e_tag.clone(),
            version: None,
        };
        let Ok(content) = got.bytes().await else { continue };
        let options = PutOptions {
            mode: PutMode::Update(version),
            attributes,
            ..PutOptions::default()
        };
        swapped += u64::from(store.put_opts(&path, content.into(), options).await.is_ok());
    }
    swapped
}

/// Every object is swapped, again and again, while the suite runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_memory_while_a_packer_runs_in_a_loop() {
    let (over, swapped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let bucket = Arc::new(parking_lot::Mutex::new(Arc::new(InMemory::new())));
    let packing = tokio::spawn({
        let (over, swapped, bucket) = (Arc::clone(&over), Arc::clone(&swapped), Arc::clone(&bucket));
        async move {
            while !over.load(Ordering::Relaxed) {
                let inner = bucket.lock().clone();
                swapped.fetch_add(swap_all(&inner, 4096).await, Ordering::Relaxed);
                let options = PackOptions::new(Level::new(2).unwrap());
                let packer = Packer::new(lmfs(inner.clone()), options).unwrap();
                let each = |_: &_, _: &_| std::ops::ControlFlow::Continue(());
                let summary = packer.run(&Stop::new(), each).await.unwrap();
                assert_eq!(summary.failed, 0);
                let again = summary.packed + swap_all(&inner, 100_000).await;
                swapped.fetch_add(again, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    let fresh = || {
        let new = Arc::new(InMemory::new());
        *bucket.lock() = Arc::clone(&new);
        lmfs(new)
    };
    // Without what compares ETags or times that a packer changes.
    for _ in 0..10 {
        suite::put_get_delete_list(&fresh()).await;
        suite::list_uses_directories_correctly(&fresh()).await;
        suite::list_with_delimiter(&fresh()).await;
        suite::rename_and_copy(&fresh()).await;
        suite::copy_if_not_exists(&fresh()).await;
        suite::stream_get(&fresh()).await;
        suite::list_with_offset_exclusivity(&fresh()).await;
        suite::put_get_attributes(&fresh()).await;
    }
    suite::multipart_out_of_order(&fresh()).await;
    suite::multipart_race_condition(&fresh(), true).await;
    let store = fresh();
    let path = "large".into();
    let content = lines(3 << 20);
    store.put(&path, content.clone().into()).await.unwrap();
    // Until it was swapped often enough, however slow the machine is.
    let before = swapped.load(Ordering::Relaxed);
    while swapped.load(Ordering::Relaxed) < before + 20 {
        assert!(!packing.is_finished(), "the packer found something wrong");
        assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content);
    }
    over.store(true, Ordering::Relaxed);
    packing.await.unwrap();
}
