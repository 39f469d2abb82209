//! How fast objects are put, read cold, and read from the cache, over a store in memory. In processor time of all
//! threads, as other work may be running.
//! usage: cargo run --release -p lmfs-object --example speed [FILE]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use lmfs_object::{LmfsOptions, LmfsStore};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rustix::time::{ClockId, clock_gettime};

/// Seconds of processor time so far.
fn seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn lines(len: usize) -> Bytes {
    let line = |n: usize| format!("{n:010} GET /pages/{}/index.html 200 {}\n", n / 13, n * 7919 % 100_000);
    let mut text: Vec<u8> = (0..).flat_map(|n| line(n).into_bytes()).take(len).collect();
    text.truncate(len);
    text.into()
}

/// Reads an object as a program does that looks at every byte, and returns MB/s.
async fn whole(store: &dyn ObjectStore, path: &Path, times: usize) -> f64 {
    let begun = seconds();
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
    bytes as f64 / (seconds() - begun) / 1e6
}

/// Reads of one length at places all over the object, one after the other, per second. They start at multiples of
/// `step`.
async fn ranges(store: &dyn ObjectStore, path: &Path, len: u64, step: u64, size: u64, turn: u64) -> f64 {
    let times = 200;
    let starts = (turn * times..(turn + 1) * times).map(|number| number * 1_000_003 % (size - len) / step * step);
    let begun = seconds();
    for start in starts {
        let bytes = store.get_range(path, start..start + len).await.unwrap();
        std::hint::black_box(crc32fast::hash(&bytes));
    }
    times as f64 / (seconds() - begun)
}

/// How often each store is measured, by turns: other work comes and goes.
const TURNS: u64 = 101;

/// Rates of the inner store, of one over it, and of one that trusts what it knows.
#[derive(Default)]
struct Turns(Vec<[f64; 3]>);

impl Turns {
    fn median(&self, of: impl Fn(&[f64; 3]) -> f64) -> f64 {
        let mut all: Vec<f64> = self.0.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Medians, of the rates and of the ratios within each turn.
    fn print(&self, what: &str) {
        println!(
            "{what}: inner store {:.0}, {:.0}: {:.2}, trusting {:.0}: {:.2}",
            self.median(|[inner, ..]| *inner),
            self.median(|[_, asking, _]| *asking),
            self.median(|[inner, asking, _]| asking / inner),
            self.median(|[.., trusting]| *trusting),
            self.median(|[inner, _, trusting]| trusting / inner),
        );
    }
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

    let begun = seconds();
    store.put(&path, content.into()).await.unwrap();
    println!("put           {:8.0} MB/s", size as f64 / (seconds() - begun) / 1e6);
    println!(
        "stored        {:8.3} of the content",
        bucket.head(&path).await.unwrap().size as f64 / size as f64
    );
    println!("read cold     {:8.0} MB/s", whole(&store, &path, 1).await);
    whole(&store, &path, 1).await;
    let mut options = LmfsOptions::default();
    options.trust = Duration::from_secs(3600);
    let trusting = LmfsStore::new(bucket, options).unwrap();
    whole(&trusting, &path, 1).await;
    let stores = [&plain as &dyn ObjectStore, &store, &trusting];
    let mut turns = Turns::default();
    for _ in 0..TURNS {
        let mut rates = [0.0; 3];
        for (rate, store) in rates.iter_mut().zip(stores) {
            *rate = whole(store, &path, 1).await;
        }
        turns.0.push(rates);
    }
    turns.print("MB/s read cached");
    for (len, step) in [(100, 1 << 16), (65_536, 1 << 16), (65_536, 1), (1 << 20, 1 << 16)] {
        let mut turns = Turns::default();
        for turn in 0..TURNS {
            let mut rates = [0.0; 3];
            for (rate, store) in rates.iter_mut().zip(stores) {
                *rate = ranges(store, &path, len, step, size, turn).await;
            }
            turns.0.push(rates);
        }
        turns.print(&format!("ranges a second of {len} B at multiples of {step}"));
    }
}
