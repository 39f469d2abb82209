//! DataFusion over compressed objects: `make test-plugin-full`. A table, a bucket that counts, and a query.

mod counter;
mod table;

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::prelude::{CsvReadOptions, JsonReadOptions, SessionConfig, SessionContext, cast, col};
use lmfs_codec::stream::{Encoder, StreamOptions};
use lmfs_codec::{Codec, Level};
use lmfs_object_013::Store013;
use object_store::ObjectStore;
use url::Url;

pub use counter::Counter;
pub use table::{Kind, written};

/// What the query found: status, number of rows, sum of bytes.
pub type Group = (i64, i64, i64);

/// The query that the other libraries answer, too (`python/tools/libraries.py`): all of the file is read, grouped and
/// added up.
pub async fn summed(
    store: Arc<dyn ObjectStore>,
    kind: Kind,
    object: &str,
    config: SessionConfig,
) -> Result<Vec<Group>> {
    let context = SessionContext::new_with_config(config);
    let bucket =
        Url::parse("s3://bucket").map_err(|error| datafusion::error::DataFusionError::External(error.into()))?;
    context.register_object_store(&bucket, Arc::new(Store013::new(store)));
    let url = format!("{bucket}/{object}");
    let table = match kind {
        Kind::Csv => context.read_csv(url, CsvReadOptions::new()).await?,
        Kind::Json => context.read_json(url, JsonReadOptions::default()).await?,
    };
    let int = |what| cast(what, datafusion::arrow::datatypes::DataType::Int64);
    let groups = table.aggregate(
        vec![int(col("status")).alias("group")],
        vec![count(col("bytes")).alias("rows"), int(sum(col("bytes"))).alias("total")],
    )?;
    let mut found = Vec::new();
    for batch in groups.collect().await? {
        let column = |number: usize| {
            batch
                .column(number)
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .copied()
        };
        found.extend(
            column(0)
                .zip(column(1))
                .zip(column(2))
                .map(|((group, rows), total)| (group, rows, total)),
        );
    }
    found.sort_unstable();
    Ok(found)
}

/// A container of blocks of 64 KiB, as `lmfs.compress` makes it of the same content.
pub fn compressed(content: &[u8], level: u8) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let codec = Codec::new(None, Level::new(level)?.options())?;
    let mut options = StreamOptions::default();
    options.block_size = 64 << 10;
    let mut encoder = Encoder::new(Vec::new(), codec, options)?;
    std::io::Write::write_all(&mut encoder, content)?;
    Ok(encoder.finish()?)
}
