//! What comes back is what was put, whatever it is and whichever range is asked for.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use lmfs_codec::mix::DataLayout;
use lmfs_codec::stream::{ContainerHeader, Encoder, StreamOptions};
use lmfs_codec::{Codec, Header, Options};
use lmfs_object::{LmfsOptions, LmfsStore, Put, Sizes};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};

use super::stores::{lines, lmfs, noise, options};

async fn check(store: &LmfsStore, path: &Path, content: &Bytes) {
    let len = content.len() as u64;
    let got = store.get(path).await.unwrap();
    assert_eq!((got.meta.size, got.range.clone()), (len, 0..len));
    assert!(got.bytes().await.unwrap() == content, "{path}");
    assert_eq!(store.head(path).await.unwrap().size, len);
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let listed = listed.iter().find(|meta| meta.location == *path).unwrap();
    assert_eq!(listed.size, len);
    assert_eq!(listed.e_tag, store.head(path).await.unwrap().e_tag);

    let places = [
        0,
        1,
        100,
        4095,
        4096,
        65_535,
        65_536,
        65_537,
        len / 2,
        len.saturating_sub(1),
        len,
        len + 9,
    ];
    let mut ranges: Vec<GetRange> = Vec::new();
    for &place in &places {
        ranges.extend([GetRange::Offset(place), GetRange::Suffix(place + 1)]);
        let lens = [1, 2, 100, 65_536, 200_000];
        ranges.extend(lens.map(|len| GetRange::Bounded(place..place + len)));
    }
    for range in &ranges {
        let asked = GetOptions::new().with_range(Some(range.clone()));
        let got = store.get_opts(path, asked).await;
        match range.as_range(len) {
            Ok(expected) => {
                let got = got.unwrap();
                assert_eq!((got.meta.size, got.range.clone()), (len, expected.clone()), "{range}");
                let expected = content.slice(expected.start as usize..expected.end as usize);
                assert!(got.bytes().await.unwrap() == expected, "{path} {range}");
            }
            Err(_) => assert!(got.is_err(), "{path} {range}"),
        }
    }
    let bounded = ranges.iter().filter_map(|range| match range {
        GetRange::Bounded(range) if range.start < len => Some(range.clone()),
        _ => None,
    });
    let bounded: Vec<_> = bounded.collect();
    let parts = store.get_ranges(path, &bounded).await.unwrap();
    for (range, part) in bounded.iter().zip(parts) {
        let expected = content.slice(range.start as usize..range.end.min(len) as usize);
        assert!(part == expected, "{path} {range:?}");
    }
    assert!(store.get_ranges(path, &[len..len + 1]).await.is_err());
    assert!(store.get_ranges(path, &[]).await.unwrap().is_empty());
}

fn contents() -> Vec<(&'static str, Bytes)> {
    vec![
        ("empty", Bytes::new()),
        ("one", Bytes::from_static(b"x")),
        ("short", lines(300)),
        ("block-1", lines(65_535)),
        ("block", lines(65_536)),
        ("block+1", lines(65_537)),
        ("lines", lines(1_000_000)),
        ("zeros", Bytes::from(vec![0; 3_000_000])),
        ("noise", noise(500_000, 1)),
        ("both", [noise(100_000, 2), lines(300_000), noise(7, 3)].concat().into()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_content_and_every_range() {
    let bucket = Arc::new(InMemory::new());
    let store = lmfs(bucket.clone());
    for (name, content) in contents() {
        let path = Path::from(name);
        store.put(&path, content.clone().into()).await.unwrap();
        check(&store, &path, &content).await;
        // Cold.
        check(&lmfs(bucket.clone()), &path, &content).await;
        let stored = bucket.head(&path).await.unwrap().size;
        assert!(stored <= content.len() as u64, "{name}: {stored}");
        // In pieces.
        let pieces: PutPayload = content.chunks(1000).map(Bytes::copy_from_slice).collect();
        let path = Path::from(format!("{name}-pieces"));
        store.put(&path, pieces).await.unwrap();
        assert_eq!(bucket.head(&path).await.unwrap().size, stored);
        check(&store, &path, &content).await;
    }
    let sum = contents().iter().map(|(_, content)| content.len() as u64).sum::<u64>();
    let stored: Vec<_> = bucket.list(None).try_collect().await.unwrap();
    assert!(stored.iter().map(|meta| meta.size).sum::<u64>() < sum);
}

/// Containers from elsewhere may have a key, which their other blocks are coded behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_with_keys_are_read_at_any_range() {
    let names = [
        "alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ironwood", "juniper",
    ];
    let content: Bytes = (0_u64..)
        .map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20)
        .map(|x| (names[x as usize % 10], x >> 7 & 31, x >> 12 & 0xff_ffff))
        .flat_map(|(name, height, plot)| {
            format!("{{\"species\": \"{name}\", \"height_in_meters\": {height}, \"plot\": {plot}}},\n").into_bytes()
        })
        .take(250_000)
        .collect();
    let mut options = StreamOptions::default();
    (options.block_size, options.most_key) = (16 << 10, 64 << 10);
    let codec = Codec::new(None, Options::default()).unwrap();
    let mut encoder = Encoder::new(Vec::new(), codec, options).unwrap();
    encoder.write_all(&content).unwrap();
    let container = encoder.finish().unwrap();
    assert_eq!(
        container[ContainerHeader::MIN_LEN + Header::LEN],
        DataLayout::KEY,
        "there is a key"
    );
    let bucket = Arc::new(InMemory::new());
    let path = Path::from("with-key");
    bucket.put(&path, container.into()).await.unwrap();
    let store = lmfs(bucket.clone());
    // Cold, from the end, several at once, and then all of it.
    let ranges = [240_000..240_100, 100..200, 120_000..130_000];
    for (range, got) in ranges.iter().zip(store.get_ranges(&path, &ranges).await.unwrap()) {
        assert!(
            got == content.slice(range.start as usize..range.end as usize),
            "{range:?}"
        );
    }
    check(&lmfs(bucket), &path, &content).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_in_parts_of_any_size() {
    let bucket = Arc::new(InMemory::new());
    let store = lmfs(bucket.clone());
    let content: Bytes = [lines(9_000_000), noise(9_000_000, 5), lines(5_000_000)]
        .concat()
        .into();
    for part in [70_000, 5 << 20, 30_000_000] {
        let path = Path::from(format!("part-{part}"));
        let mut upload = store.put_multipart(&path).await.unwrap();
        for part in content.chunks(part) {
            upload.put_part(Bytes::copy_from_slice(part).into()).await.unwrap();
        }
        assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
        upload.complete().await.unwrap();
        check(&store, &path, &content).await;
        check(&lmfs(bucket.clone()), &path, &content).await;
        assert!(bucket.head(&path).await.unwrap().size < 13_000_000);
    }
    // As many programs do it, with parts at the same time.
    let path = Path::from("writer");
    let mut writer = WriteMultipart::new(store.put_multipart(&path).await.unwrap());
    content.chunks(1_000_000).for_each(|piece| writer.write(piece));
    writer.finish().await.unwrap();
    check(&store, &path, &content).await;

    let path = Path::from("nothing");
    store.put_multipart(&path).await.unwrap().complete().await.unwrap();
    check(&store, &path, &Bytes::new()).await;

    let path = Path::from("given up");
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part(content.clone().into()).await.unwrap();
    upload.abort().await.unwrap();
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
}

/// An upload whose future was dropped in the middle must not become an object with a hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_with_a_part_that_was_dropped_is_whole_or_an_error() {
    let store = lmfs(Arc::new(InMemory::new()));
    let content = noise(20_000_000, 9);
    for polls in 0..6 {
        let path = Path::from("dropped");
        let mut upload = store.put_multipart(&path).await.unwrap();
        let mut part = upload.put_part(content.clone().into());
        for _ in 0..polls {
            if futures_util::poll!(&mut part).is_ready() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        drop(part);
        match upload.complete().await {
            Ok(_) => assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == content),
            Err(error) => assert!(error.to_string().contains("upload"), "{error}"),
        }
    }
}

/// What is itself a container comes back as it was put, and not decoded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_as_content() {
    let bucket = Arc::new(InMemory::new());
    let store = lmfs(bucket.clone());
    let path = Path::from("lines");
    store.put(&path, lines(500_000).into()).await.unwrap();
    let container = bucket.get(&path).await.unwrap().bytes().await.unwrap();
    let cut = container.slice(..container.len() - 10);
    let tail = container.slice(10..);
    for (name, content) in [("whole", container), ("cut", cut), ("tail", tail)] {
        let path = Path::from(name);
        store.put(&path, content.clone().into()).await.unwrap();
        check(&store, &path, &content).await;
        check(&lmfs(bucket.clone()), &path, &content).await;
    }
}

/// Containers in a row are what their contents are in a row, and a table may be longer than the first request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_in_a_row_and_long_tables() {
    let bucket = Arc::new(InMemory::new());
    let mut small = options();
    small.put = Put::Compressed { block_size: 4096 };
    let store = LmfsStore::new(bucket.clone(), small).unwrap();
    let mut all = Vec::new();
    let mut stored = Vec::new();
    for len in [16_001 * 4096, 5000, 900_000] {
        let content = lines(len);
        let path = Path::from("one");
        store.put(&path, content.clone().into()).await.unwrap();
        check(&lmfs(bucket.clone()), &path, &content).await;
        stored.extend(bucket.get(&path).await.unwrap().bytes().await.unwrap());
        all.extend(content);
    }
    let path = Path::from("row");
    bucket.put(&path, stored.into()).await.unwrap();
    check(&lmfs(bucket.clone()), &path, &all.into()).await;
}

#[tokio::test]
async fn objects_can_be_put_as_they_are_and_lists_have_the_sizes_that_are_asked_for() {
    let bucket = Arc::new(InMemory::new());
    let (path, content) = (Path::from("lines"), lines(500_000));
    lmfs(bucket.clone()).put(&path, content.clone().into()).await.unwrap();
    let stored = bucket.head(&path).await.unwrap().size;
    let mut plain: LmfsOptions = options();
    (plain.put, plain.sizes) = (Put::AsIs, Sizes::Stored);
    let plain = LmfsStore::new(bucket.clone(), plain).unwrap();
    let listed: Vec<_> = plain.list(None).try_collect().await.unwrap();
    assert_eq!(listed[0].size, stored);
    let other = Path::from("plain");
    plain.put(&other, content.clone().into()).await.unwrap();
    assert_eq!(bucket.head(&other).await.unwrap().size, 500_000);
    check(&lmfs(bucket), &other, &content).await;
}

#[tokio::test]
async fn options_out_of_range_are_refused() {
    let with = |change: fn(&mut LmfsOptions)| {
        let mut options = options();
        change(&mut options);
        LmfsStore::new(Arc::new(InMemory::new()), options)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(with(|o| o.put = Put::Compressed { block_size: 100 }).contains("block size"));
    assert!(with(|o| o.threads = 0).contains("threads"));
    assert!(with(|o| o.tail = 10).contains("tail"));
    assert!(with(|o| o.part = 1 << 20).contains("part"));
}
