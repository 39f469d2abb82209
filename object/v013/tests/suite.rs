//! The suite of `object_store` 0.13 itself, over a compressing store of 0.14, and what that suite does not look at.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use lmfs_object::{LmfsOptions, LmfsStore};
use lmfs_object_013::Store013;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use object_store_013::integration as suite;
use object_store_013::path::Path;
use object_store_013::{
    Attribute, Attributes, Error, GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions,
    PutOptions, TagSet, UpdateVersion,
};

fn over(bucket: &Arc<InMemory>) -> Store013 {
    Store013::new(Arc::new(
        LmfsStore::new(bucket.clone(), LmfsOptions::default()).unwrap(),
    ))
}

fn fresh() -> Store013 {
    over(&Arc::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes() {
    suite::put_get_delete_list(&fresh()).await;
    suite::list_uses_directories_correctly(&fresh()).await;
    suite::list_with_delimiter(&fresh()).await;
    suite::rename_and_copy(&fresh()).await;
    suite::copy_if_not_exists(&fresh()).await;
    suite::copy_rename_nonexistent_object(&fresh()).await;
    suite::stream_get(&fresh()).await;
    suite::list_with_offset_exclusivity(&fresh()).await;
    suite::get_opts(&fresh()).await;
    suite::put_opts(&fresh(), true).await;
    suite::multipart_out_of_order(&fresh()).await;
    suite::multipart_race_condition(&fresh(), true).await;
    suite::put_get_attributes(&fresh()).await;
    let missing = suite::get_nonexistent_object(&fresh(), None).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing:?}");
}

#[tokio::test]
async fn what_is_stored_is_compressed_and_reads_back() {
    let bucket = Arc::new(InMemory::new());
    let store = over(&bucket);
    let name = "a folder/ü#1.txt";
    let content = "GET /index.html 200\n".repeat(50_000);
    store.put(&Path::from(name), content.clone().into()).await.unwrap();
    let inner = bucket.head(&object_store::path::Path::from(name)).await.unwrap();
    assert!(inner.size < content.len() as u64 / 10, "{}", inner.size);
    let meta: Vec<_> = store.list(None).try_collect().await.unwrap();
    let [meta] = meta.as_slice() else {
        unreachable!("{meta:?}")
    };
    assert_eq!((&meta.location, meta.size), (&Path::from(name), content.len() as u64));
    let ranges = [700_000..700_020, 5..9];
    let found = store.get_ranges(&meta.location, &ranges).await.unwrap();
    let expected = ranges.map(|range| content.as_bytes()[range.start as usize..range.end as usize].to_vec());
    assert_eq!(found, expected);
}

/// Conditions and their failures keep their meaning: programs such as Delta build on them.
#[tokio::test]
async fn conditions_fail_as_what_they_are() {
    let store = fresh();
    let path = Path::from("log/1.json");
    let put = |content: &'static str, mode: PutMode| store.put_opts(&path, content.into(), mode.into());
    let first = put("one", PutMode::Create).await.unwrap();
    let taken = put("two", PutMode::Create).await.unwrap_err();
    assert!(matches!(taken, Error::AlreadyExists { .. }), "{taken:?}");
    put("two", PutMode::Update(first.clone().into())).await.unwrap();
    let late = put("three", PutMode::Update(UpdateVersion::from(first.clone()))).await;
    assert!(matches!(late, Err(Error::Precondition { .. })), "{late:?}");
    let options = GetOptions {
        if_match: first.e_tag,
        ..GetOptions::default()
    };
    let replaced = store.get_opts(&path, options).await.unwrap_err();
    assert!(matches!(replaced, Error::Precondition { .. }), "{replaced:?}");
    // What a caller's own stream of names has to say comes through.
    let bad: object_store_013::Result<Path> = Err(Error::NotSupported { source: "mine".into() });
    let deleted = store.delete_stream(stream::iter([Ok(path), bad]).boxed());
    let deleted: Vec<_> = deleted.collect().await;
    assert!(deleted.iter().any(Result::is_ok), "{deleted:?}");
    assert!(
        deleted.iter().any(|one| matches!(one, Err(Error::NotSupported { .. }))),
        "{deleted:?}"
    );
}

/// Tags are passed on as they are, and attributes with a multipart upload, too.
#[tokio::test]
async fn tags_and_attributes_are_passed_on() {
    #[derive(Debug)]
    struct Heard(InMemory, std::sync::Mutex<Vec<(String, usize)>>);

    impl std::fmt::Display for Heard {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Heard")
        }
    }

    use object_store as new;
    type BoxStream<T> = stream::BoxStream<'static, new::Result<T>>;

    #[async_trait::async_trait]
    impl new::ObjectStore for Heard {
        async fn put_opts(
            &self,
            location: &new::path::Path,
            payload: new::PutPayload,
            opts: new::PutOptions,
        ) -> new::Result<new::PutResult> {
            let heard = (opts.tags.encoded().to_owned(), opts.attributes.len());
            self.1.lock().unwrap().push(heard);
            self.0.put_opts(location, payload, opts).await
        }

        async fn put_multipart_opts(
            &self,
            location: &new::path::Path,
            opts: new::PutMultipartOptions,
        ) -> new::Result<Box<dyn new::MultipartUpload>> {
            let heard = (opts.tags.encoded().to_owned(), opts.attributes.len());
            self.1.lock().unwrap().push(heard);
            self.0.put_multipart_opts(location, opts).await
        }

        async fn get_opts(&self, location: &new::path::Path, opts: new::GetOptions) -> new::Result<new::GetResult> {
            self.0.get_opts(location, opts).await
        }

        fn delete_stream(&self, locations: BoxStream<new::path::Path>) -> BoxStream<new::path::Path> {
            self.0.delete_stream(locations)
        }

        fn list(&self, prefix: Option<&new::path::Path>) -> BoxStream<new::ObjectMeta> {
            self.0.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&new::path::Path>) -> new::Result<new::ListResult> {
            self.0.list_with_delimiter(prefix).await
        }

        async fn copy_opts(
            &self,
            from: &new::path::Path,
            to: &new::path::Path,
            options: new::CopyOptions,
        ) -> new::Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    let inner = Arc::new(Heard(InMemory::new(), std::sync::Mutex::default()));
    let store = Store013::new(inner.clone());
    let mut tags = TagSet::default();
    tags.push("a key", "50 % & more=so");
    let encoded = tags.encoded().to_owned();
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "text/csv"),
        (Attribute::Metadata("of mine".into()), "x"),
    ]);
    let options = PutOptions {
        tags: tags.clone(),
        attributes: attributes.clone(),
        ..PutOptions::default()
    };
    store.put_opts(&Path::from("a"), "a".into(), options).await.unwrap();
    let options = PutMultipartOptions {
        tags,
        attributes: attributes.clone(),
        ..PutMultipartOptions::default()
    };
    let mut upload = store.put_multipart_opts(&Path::from("b"), options).await.unwrap();
    upload.put_part("b".into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(*inner.1.lock().unwrap(), [(encoded.clone(), 2), (encoded, 2)]);
    for name in ["a", "b"] {
        assert_eq!(store.get(&Path::from(name)).await.unwrap().attributes, attributes);
    }
}
