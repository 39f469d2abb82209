//! `lmfs pack-objects`: compresses the objects of a bucket, and swaps those that have not changed.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use lmfs_codec::Level;
use lmfs_object::pack::{Outcome, PackOptions, Packer, Summary, probe};
use lmfs_object::{LmfsOptions, LmfsStore};
use object_store::ObjectStore;
use object_store::path::Path as Key;

use super::interrupt::{end_as_interrupted, stop_or_end_on_interrupt};
use super::output::{self, Meter, say};
use crate::bucket::url;
use crate::byte_size;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  lmfs pack-objects s3://logs/2025 --level 4 --older-than 7d
  lmfs pack-objects s3://logs --shard 3/16      one of 16 machines
  lmfs pack-objects /srv/objects --exclusive    files that nobody else writes

Objects are replaced on the condition that they have not changed. Programs read them through lmfs-object or the Python \
package, and `lmfs decompress` reads a downloaded one. docs/PLUGIN.md has the details. Keys and endpoints of clouds \
come from the usual environment variables, such as AWS_ACCESS_KEY_ID. They need a program that was built with \
`--features cloud`. A store that `lmfs push` keeps in the bucket stays as it is.";

/// `lmfs pack-objects`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PackObjects {
    /// s3://BUCKET/PREFIX, gs://, az://, file:///FOLDER, or a folder
    #[arg(value_name = "URL")]
    pub url: String,
    /// How hard to compress, from 1 to 9 as for `lmfs compress`
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub level: u8,
    /// Block size, a power of two from 4KiB to 1MiB. A read decodes whole blocks
    #[arg(long, value_name = "SIZE", value_parser = byte_size::parse_block_size, default_value = "64KiB")]
    pub block_size: u32,
    /// Only objects that were not modified for so long, such as 12h or 30d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub older_than: Option<Duration>,
    /// Pack only part I of N, counted from 0, so that each of N machines packs its own part
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    pub shard: Option<(u32, u32)>,
    /// Skip objects that are not containers yet, so that readers without lmfs can go on reading them
    #[arg(long)]
    pub containers_only: bool,
    /// Say that nobody else writes meanwhile. Stores without conditional PUT need it, such as local files
    #[arg(long)]
    pub exclusive: bool,
    /// Say what would be packed, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Blocks coded in parallel, where 0 means one per core
    #[arg(short = 'T', long, value_name = "N", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(..=1024))]
    pub threads: u16,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A text that names no part of several.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("a part is written such as 3/16, where parts count from 0")]
struct NoShard;

/// The part and the number of parts in `3/16`.
fn parse_shard(text: &str) -> Result<(u32, u32), NoShard> {
    let parts = text.split_once('/');
    let numbers = parts.and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    numbers.filter(|(part, parts)| part < parts).ok_or(NoShard)
}

/// Runs the command.
///
/// # Errors
/// A bucket that cannot be listed, a server whose conditional PUTs cannot be trusted, objects that could not be packed.
pub fn run(args: &PackObjects, quiet: bool) -> anyhow::Result<ExitCode> {
    let (inner, prefix) = url::objects(&args.url)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let summary = runtime?.block_on(pack(args, quiet, inner, prefix))?;
    if args.json {
        output::json(&json(&summary))?;
    } else if !quiet {
        output::line(&text(&summary, args.dry_run))?;
    }
    end_as_interrupted();
    if summary.failed > 0 {
        bail!("{} objects could not be packed and stay as they are", summary.failed);
    }
    Ok(ExitCode::SUCCESS)
}

async fn pack(
    args: &PackObjects,
    quiet: bool,
    inner: Arc<dyn ObjectStore>,
    prefix: Option<Key>,
) -> anyhow::Result<Summary> {
    if !args.exclusive && !args.dry_run {
        probe(&*inner, prefix.as_ref()).await.map_err(|error| match error {
            error @ object_store::Error::NotSupported { .. } => {
                anyhow::Error::new(error).context("use --exclusive if nobody else writes meanwhile")
            }
            error => error.into(),
        })?;
    }
    let mut options = PackOptions::new(Level::new(args.level)?);
    options.block_size = Some(usize::try_from(args.block_size)?);
    options.prefix = prefix;
    options.older_than = args.older_than.unwrap_or_default();
    options.shard = args.shard.unwrap_or((0, 1));
    options.containers_only = args.containers_only;
    options.exclusive = args.exclusive;
    options.dry_run = args.dry_run;
    let mut store = LmfsOptions::default();
    // What is packed is read once.
    store.cache_bytes = 0;
    if args.threads > 0 {
        store.threads = args.threads.into();
    }
    let packer = Packer::new(LmfsStore::new(inner, store)?, options)?;
    let stop = stop_or_end_on_interrupt()?;
    let mut meter = Meter::new(quiet);
    let (mut done, mut packed) = (0, 0_u64);
    let each = |key: &Key, outcome: &Outcome| {
        match outcome {
            Outcome::Failed(error) => say(&format!("lmfs: {key}: {error}")),
            Outcome::Packed { before, .. } => {
                done += before;
                packed += 1;
            }
            Outcome::OfStore if key.filename() == Some("HEAD") => {
                say(&format!(
                    "lmfs: {key}: `lmfs push` keeps a store here, which stays as it is"
                ));
            }
            _ => {}
        }
        let note = format!("{} objects", output::count(packed));
        meter.show(&Progress {
            note,
            ..Progress::new("packing", done, 0)
        });
        ControlFlow::Continue(())
    };
    let summary = packer.run(&stop, each).await?;
    meter.finish();
    Ok(summary)
}

fn json(summary: &Summary) -> serde_json::Value {
    serde_json::json!({
        "objects": summary.objects,
        "packed": summary.packed,
        "already_packed": summary.already,
        "kept": summary.kept,
        "changed": summary.changed,
        "failed": summary.failed,
        "before_bytes": summary.before,
        "after_bytes": summary.after,
    })
}

fn text(summary: &Summary, dry_run: bool) -> String {
    let (before, after) = (byte_size::show(summary.before), byte_size::show(summary.after));
    let packed = output::count(summary.packed);
    let rest = format!(
        "{} were packed before, {} stay as they are, {} changed meanwhile",
        output::count(summary.already),
        output::count(summary.kept),
        output::count(summary.changed),
    );
    match dry_run {
        true => format!("{packed} objects with {before} would be packed; {rest}"),
        false => format!("packed {packed} objects: {before} became {after}; {rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_from_zero() {
        assert_eq!(parse_shard("3/16"), Ok((3, 16)));
        assert_eq!(parse_shard("0/1"), Ok((0, 1)));
        for bad in ["", "3", "16/16", "-1/2", "1/0", "a/b", "1/2/3"] {
            assert!(parse_shard(bad).is_err(), "{bad}");
        }
    }
}
