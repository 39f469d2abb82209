//! Extents and, if asked, what they decode to.

use lmfs_codec::Stop;
use lmfs_indexer::{Extent, Inode, Kind};
use rayon::prelude::*;

use super::tree::{Names, each_inode};
use super::{Damage, Error, Report};
use crate::store::Opened;

/// Blocks looked at a time.
const PAGE: u64 = 256;

/// Goes over the blocks of all files.
pub fn check(
    store: &Opened,
    names: &Names,
    report: &mut Report,
    progress: &(dyn Fn(u64) + Sync),
    stop: &Stop,
) -> Result<(), Error> {
    each_inode(&store.indexer, stop, &mut |inode| {
        if inode.kind == Kind::File {
            check_file(store, inode, names, report, progress, stop)
        } else {
            Ok(())
        }
    })
}

fn check_file(
    store: &Opened,
    inode: &Inode,
    names: &Names,
    report: &mut Report,
    progress: &(dyn Fn(u64) + Sync),
    stop: &Stop,
) -> Result<(), Error> {
    let size = u64::from(store.config().block_size);
    let mut from = 0;
    while let Some(first) = store.indexer.next_extent(inode.ino, from)? {
        from = first.saturating_add(PAGE);
        let extents = store.indexer.extents(inode.ino, first..from)?;
        let blocks: Vec<(u64, Extent)> = (first..)
            .zip(extents)
            .filter_map(|(block, extent)| Some((block, extent?)))
            .collect();
        report.blocks += blocks.len() as u64;
        let results: Vec<Result<(), String>> = blocks
            .par_iter()
            .map(|&(block, extent)| {
                let result = check_block(store, inode, block, extent, report.data, stop);
                progress(u64::from(extent.raw_len));
                result
            })
            .collect();
        if stop.is_set() {
            return Err(Error::Interrupted);
        }
        for ((block, extent), result) in blocks.into_iter().zip(results) {
            match result {
                Ok(()) if report.data => report.decoded_bytes += u64::from(extent.raw_len),
                Ok(()) => {}
                Err(reason) => report.damage.push(Damage {
                    path: names.path(inode.ino),
                    ino: inode.ino,
                    offset: Some(block.saturating_mul(size)),
                    length: Some(u64::from(extent.raw_len)),
                    reason,
                }),
            }
        }
    }
    Ok(())
}

fn check_block(
    store: &Opened,
    inode: &Inode,
    block: u64,
    extent: Extent,
    data: bool,
    stop: &Stop,
) -> Result<(), String> {
    let size = u64::from(store.config().block_size);
    if u64::from(extent.raw_len) > size {
        return Err(format!(
            "a block of {} bytes, longer than the store's {size}",
            extent.raw_len
        ));
    }
    if block.checked_mul(size).is_none_or(|start| start >= inode.size) {
        return Err(format!(
            "a block beyond the end of the file, which is {} bytes long",
            inode.size
        ));
    }
    if !data {
        return Ok(());
    }
    let bytes = store
        .indexer
        .read_block_of(inode.ino, block, extent.r)
        .map_err(|e| e.to_string())?;
    let raw = store.codec.decode(&bytes, stop).map_err(|e| e.to_string())?;
    if raw.len() as u64 != u64::from(extent.raw_len) {
        return Err(format!(
            "the block decodes to {} bytes instead of {}",
            raw.len(),
            extent.raw_len
        ));
    }
    Ok(())
}
