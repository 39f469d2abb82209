//! How fast objects are put, read cold, and read from the cache, over a store in memory.
//! usage: cargo run --release -p lmfs-object --example speed [FILE]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use lmfs_object::{LmfsOptions, LmfsStore};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

fn lines(len: usize) -> Bytes {
    let line = |n: usize| format!("{n:010} GET /pages/{}/index.html 200 {}\n", n / 13, n * 7919 % 100_000);
    let mut text: Vec<u8> = (0..).flat_map(|n| line(n).into_bytes()).take(len).collect();
    text.truncate(len);
    text.into()
}

/// Reads an object as a program does that looks at every byte, and returns MB/s.
async fn whole(store: &dyn ObjectStore, path: &Path, times: usize) -> f64 {
    let begun = Instant::now();
    let mut bytes = 0;
    for _ in 0..times {
        let mut crc = crc32fast::Hasher::new();
        let mut stream = store.get(path).await.unwrap().into_stream();
        while let Some(chunk) = stream.try_next().await.unwrap() {
            crc.update(&chunk);
            bytes += chunk.len();
        }
        std::hint::black_box(crc.finalize());
    }
    bytes as f64 / begun.elapsed().as_secs_f64() / 1e6
}

/// Reads of one length at places all over the object, one after the other, per second. They start at multiples of
/// `step`.
async fn ranges(store: &dyn ObjectStore, path: &Path, len: u64, step: u64, size: u64) -> f64 {
    let times = 2_000;
    let starts = (0..times).map(|number| number * 1_000_003 % (size - len) / step * step);
    let begun = Instant::now();
    for start in starts {
        let bytes = store.get_range(path, start..start + len).await.unwrap();
        std::hint::black_box(crc32fast::hash(&bytes));
    }
    times as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let content = std::env::args()
        .nth(1)
        .map_or_else(|| lines(100_000_000), |file| std::fs::read(file).unwrap().into());
    let size = content.len() as u64;
    let path = Path::from("object");
    let plain = InMemory::new();
    plain.put(&path, content.clone().into()).await.unwrap();
    let bucket = Arc::new(InMemory::new());
    let store = LmfsStore::new(bucket.clone(), LmfsOptions::default()).unwrap();

    let begun = Instant::now();
    store.put(&path, content.into()).await.unwrap();
    println!(
        "put           {:8.0} MB/s",
        size as f64 / begun.elapsed().as_secs_f64() / 1e6
    );
    println!(
        "stored        {:8.3} of the content",
        bucket.head(&path).await.unwrap().size as f64 / size as f64
    );
    println!("read cold     {:8.0} MB/s", whole(&store, &path, 1).await);
    whole(&store, &path, 1).await;
    let (mut inner, mut cached) = (0.0_f64, 0.0_f64);
    // By turns, as other work comes and goes. The best of each counts.
    for _ in 0..15 {
        inner = inner.max(whole(&plain, &path, 1).await);
        cached = cached.max(whole(&store, &path, 1).await);
    }
    println!(
        "read cached   {cached:8.0} MB/s, inner store {inner:.0} MB/s: {:.2}",
        cached / inner
    );
    let mut options = LmfsOptions::default();
    options.trust = Duration::from_secs(3600);
    let trusting = LmfsStore::new(bucket, options).unwrap();
    whole(&trusting, &path, 1).await;
    for (len, step) in [(100, 1 << 16), (65_536, 1 << 16), (65_536, 1), (1 << 20, 1 << 16)] {
        let mut best = [0.0_f64; 3];
        for _ in 0..15 {
            for (best, store) in best.iter_mut().zip([&plain as &dyn ObjectStore, &store, &trusting]) {
                *best = best.max(ranges(store, &path, len, step, size).await);
            }
        }
        let [inner, asking, trusted] = best;
        println!(
            "ranges of {len:7} B at multiples of {step:5}: inner store {inner:.0}/s, {asking:.0}/s: {:.2}, trusted {trusted:.0}/s: {:.2}",
            asking / inner,
            trusted / inner
        );
    }
}
