//! What DataFusion fetches and how long it takes, as rows of the table in docs/BENCHMARKS.md.
//! usage: lmfs-datafusion-tests [MEGABYTES] [LEVEL...]      (default: 20 MB, levels 1 and 4)
//!
//! The bucket is that of the environment (`AWS_ENDPOINT`, `AWS_BUCKET`), such as one of tests/s3/server.py. Each result
//! is compared with that of the plain file. CPU time is that of this process, and the server's is not in it.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::prelude::SessionConfig;
use lmfs_datafusion_tests::{Counter, Kind, compressed, summed, written};
use lmfs_object::{LmfsOptions, LmfsStore};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rustix::time::{ClockId, clock_gettime};

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let size = arguments
        .next()
        .map_or(Ok(20.0), |megabytes| megabytes.parse::<f64>())?
        * 1e6;
    let mut levels = arguments.map(|level| level.parse()).collect::<Result<Vec<u8>, _>>()?;
    if levels.is_empty() {
        levels = vec![1, 4];
    }
    let bucket: Arc<dyn ObjectStore> = Arc::new(AmazonS3Builder::from_env().build()?);
    println!("| library | file | stored as | MB stored | MB fetched | requests | s | s CPU |");
    println!("|---|---|---|---|---|---|---|---|");
    for kind in [Kind::Csv, Kind::Json] {
        let content = written(kind, size as usize).into_bytes();
        let mut forms = vec![("plain".to_owned(), content.clone())];
        for level in &levels {
            forms.push((format!("level {level}"), compressed(&content, *level)?));
        }
        let mut expected = None;
        for (name, stored) in forms {
            let object = format!("datafusion/{}.{}", name.replace(' ', "-"), kind.extension());
            let len = stored.len();
            bucket.put(&Path::from(object.as_str()), stored.into()).await?;
            let counter = Counter::new(Arc::clone(&bucket));
            let store: Arc<dyn ObjectStore> = match name.as_str() {
                "plain" => counter.clone(),
                _ => Arc::new(LmfsStore::new(counter.clone(), LmfsOptions::default())?),
            };
            let (begun, cpu) = (Instant::now(), processor_time());
            let found = summed(store, kind, &object, SessionConfig::new()).await?;
            let (wall, cpu) = (begun.elapsed(), processor_time() - cpu);
            let (requests, fetched) = counter.take();
            let expected = expected.get_or_insert_with(|| found.clone());
            if found.is_empty() || found != *expected {
                return Err(
                    format!("DataFusion reads something else from {object}: {found:?}, not {expected:?}").into(),
                );
            }
            println!(
                "| DataFusion | {} | {name} | {:.2} | {:.2} | {requests} | {:.2} | {:.2} |",
                kind.extension(),
                len as f64 / 1e6,
                fetched as f64 / 1e6,
                wall.as_secs_f64(),
                cpu.as_secs_f64()
            );
        }
    }
    Ok(())
}
