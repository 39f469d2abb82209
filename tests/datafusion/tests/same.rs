//! DataFusion finds the same in a compressed object as in the plain one, and fetches less.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use datafusion::prelude::SessionConfig;
use lmfs_datafusion_tests::{Counter, Group, Kind, compressed, summed, written};
use lmfs_object::{LmfsOptions, LmfsStore};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

const SIZE: usize = 2_000_000;

/// What the query has to find, from the definition of the table.
fn expected(kind: Kind, rows: i64) -> Vec<Group> {
    let group = |status: i64| {
        let of_group = (0..rows).filter(|number| (number % 11 == 0) == (status == 404));
        (
            status,
            of_group.clone().count() as i64,
            of_group.map(|number| number * 7919 % 100_000).sum(),
        )
    };
    assert!(rows > 10_000, "{kind:?}: {rows}");
    vec![group(200), group(404)]
}

/// As one file, and in four parts that are read side by side.
fn configs() -> [SessionConfig; 2] {
    let one = SessionConfig::new().with_target_partitions(1);
    let four = SessionConfig::new()
        .with_target_partitions(4)
        .with_repartition_file_min_size(100_000);
    [one, four]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_tables_are_read_as_plain_ones() {
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for kind in [Kind::Csv, Kind::Json] {
        let content = written(kind, SIZE);
        let rows = content.lines().count() as i64 - i64::from(kind == Kind::Csv);
        let expected = expected(kind, rows);
        let put = async |name: &str, content: Vec<u8>| {
            let object = format!("{name}.{}", kind.extension());
            bucket.put(&Path::from(object.as_str()), content.into()).await.unwrap();
            object
        };
        let plain = put("plain", content.clone().into_bytes()).await;
        let mut packed = Vec::new();
        for level in [1, 4] {
            let stored = compressed(content.as_bytes(), level).unwrap();
            packed.push((stored.len() as u64, put(&format!("level-{level}"), stored).await));
        }
        // What a program writes itself, compressed on its way into the bucket.
        let written = format!("written.{}", kind.extension());
        let lmfs = LmfsStore::new(Arc::clone(&bucket), LmfsOptions::default()).unwrap();
        lmfs.put(&Path::from(written.as_str()), content.clone().into())
            .await
            .unwrap();
        let stored = bucket.head(&Path::from(written.as_str())).await.unwrap().size;
        packed.push((stored, written));
        for config in configs() {
            let counter = Counter::new(Arc::clone(&bucket));
            let found = summed(counter.clone(), kind, &plain, config.clone()).await.unwrap();
            assert_eq!(found, expected);
            let (_, fetched) = counter.take();
            assert!(fetched >= content.len() as u64, "{fetched}: all of it was read");
            for (stored, object) in &packed {
                let counter = Counter::new(Arc::clone(&bucket));
                let store = LmfsStore::new(counter.clone(), LmfsOptions::default()).unwrap();
                let found = summed(Arc::new(store), kind, object, config.clone()).await.unwrap();
                assert_eq!(found, expected, "{object}");
                let (_, fetched) = counter.take();
                // Its start comes twice, as DataFusion looks for the types of columns first and drops that answer.
                assert!(
                    (*stored / 2..content.len() as u64 / 2).contains(&fetched),
                    "{object}: {fetched} bytes fetched of {stored}"
                );
            }
        }
    }
}

/// A damaged block is an error of the query, not another result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_an_error_of_the_query() {
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for kind in [Kind::Csv, Kind::Json] {
        let mut stored = compressed(written(kind, SIZE).as_bytes(), 1).unwrap();
        let middle = stored.len() / 2;
        *stored.get_mut(middle).unwrap() ^= 1;
        let object = format!("damaged.{}", kind.extension());
        bucket.put(&Path::from(object.as_str()), stored.into()).await.unwrap();
        for config in configs() {
            let store = LmfsStore::new(Arc::clone(&bucket), LmfsOptions::default()).unwrap();
            let error = summed(Arc::new(store), kind, &object, config).await.unwrap_err();
            assert!(
                error.to_string().contains("damage") || error.to_string().contains("check"),
                "{error}"
            );
        }
    }
}
