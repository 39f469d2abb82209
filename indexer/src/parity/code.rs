//! Making parity shards of a segment, finding its damaged shards, and making these again.

use super::file::{self, Parity};
use super::layout::Layout;
use super::unusable::{Made, Refusal};
use crate::io::{Io, write_full};
use crate::log::{Item, RecordKind, Segment, scan};
use crate::{Error, Result};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Hears of bytes read; an error ends the work.
pub(crate) type Pace<'a> = &'a mut dyn FnMut(u64) -> Result<()>;

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// What becomes of a shard that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unreadable {
    /// It is an error.
    Refused,
    /// It is shown as zeros: one of those to make again.
    Zeros,
}

/// Shows every data shard, filled up with zeros.
fn each_shard(
    io: &dyn Io,
    segment: &Segment,
    layout: &Layout,
    unreadable: Unreadable,
    pace: Pace<'_>,
    mut each: impl FnMut(u32, &[u8]) -> Result<()>,
) -> Result<()> {
    let shard = layout.shard as usize;
    let at_once = (PIECE / shard).max(1);
    let mut i = 0u32;
    while i < layout.data {
        let from = u64::from(i) * shard as u64;
        let n = at_once.min((layout.data - i) as usize);
        // Nothing beyond what is covered, though the file may go on.
        let len = usize::try_from(layout.covered - from).map_or(n * shard, |left| left.min(n * shard));
        let mut piece = match segment.read(io, from, len) {
            Ok(piece) => piece,
            // A bad sector: one by one, so that only the shards it lies in are lost.
            Err(Error::Io { .. }) if unreadable == Unreadable::Zeros => (0..n).fold(Vec::new(), |mut piece, k| {
                let wanted = shard.min(len - (k * shard).min(len));
                piece.extend(segment.read(io, from + (k * shard) as u64, wanted).unwrap_or_default());
                piece.resize((k + 1) * shard, 0);
                piece
            }),
            Err(e) => return Err(e),
        };
        pace(piece.len() as u64)?;
        piece.resize(n * shard, 0);
        for bytes in piece.chunks(shard) {
            each(i, bytes)?;
            i += 1;
        }
    }
    Ok(())
}

/// Numbers of data shards that are not what they were.
pub(crate) fn damaged(io: &dyn Io, segment: &Segment, parity: &Parity, pace: Pace<'_>) -> Result<Vec<u32>> {
    let mut out = Vec::new();
    each_shard(io, segment, &parity.layout, Unreadable::Zeros, pace, |i, bytes| {
        if parity.data_sum(i) != Some(crc32fast::hash(bytes)) {
            out.push(i);
        }
        Ok(())
    })?;
    Ok(out)
}

/// Makes the parity file of a segment that is whole; says what is wrong with one that is not.
pub(crate) fn make(io: &dyn Io, segment: &Segment, layout: &Layout, pace: Pace<'_>) -> Result<Made> {
    let mut encoder = ReedSolomonEncoder::new(layout.data as usize, layout.parity as usize, layout.shard as usize)
        .map_err(|e| coder(layout, e))?;
    let mut sums = Vec::with_capacity(layout.data as usize + layout.parity as usize);
    each_shard(io, segment, layout, Unreadable::Refused, &mut *pace, |_, bytes| {
        sums.push(crc32fast::hash(bytes));
        encoder.add_original_shard(bytes).map_err(|e| coder(layout, e))
    })?;
    // Parity over damage would make it look right.
    if let Some(why) = flaw(io, segment, layout)? {
        return Ok(Made::Refused(why));
    }
    // What was intact just now must be what parity was made of: a disk may answer otherwise each time.
    let mut same = true;
    each_shard(io, segment, layout, Unreadable::Refused, pace, |i, bytes| {
        same &= sums.get(i as usize) == Some(&crc32fast::hash(bytes));
        Ok(())
    })?;
    if !same {
        return Ok(Made::Refused(Refusal::Unsteady));
    }
    let result = encoder.encode().map_err(|e| coder(layout, e))?;
    let shards: Vec<Vec<u8>> = result.recovery_iter().map(<[u8]>::to_vec).collect();
    sums.extend(shards.iter().map(|s| crc32fast::hash(s)));
    file::write(io, layout, &sums, &shards).map(|()| Made::Written)
}

/// What is not as it was written among the records, and the trailer if there is a footer. Nobody needs a header that a
/// crash left torn.
fn flaw(io: &dyn Io, segment: &Segment, layout: &Layout) -> Result<Option<Refusal>> {
    let end = scan(io, segment, 0, layout.covered, |item| match item {
        Item::Record { frame, .. } if frame.kind == RecordKind::Footer => ControlFlow::Break(None),
        Item::Record { .. } => ControlFlow::Continue(()),
        Item::BadPayload { offset, .. } | Item::Garbage { offset, .. } | Item::Unreadable { offset, .. } => {
            ControlFlow::Break(Some(offset))
        }
    })?;
    Ok(match end {
        Some(Some(offset)) => Some(Refusal::Record(offset)),
        Some(None) if segment.footer(io).is_none() => Some(Refusal::Trailer),
        _ => None,
    })
}

/// Makes the shards `lost` of a segment again and puts the whole one in its place; None if too many are lost.
pub(crate) fn repair(
    io: &dyn Io,
    segment: &Segment,
    parity: &Parity,
    lost: &[u32],
    pace: Pace<'_>,
) -> Result<Option<()>> {
    let layout = &parity.layout;
    let spare: Vec<_> = (0..layout.parity)
        .filter_map(|i| Some((i, parity.shard(i)?)))
        .take(lost.len())
        .collect();
    if spare.len() < lost.len() {
        return Ok(None);
    }
    let mut decoder = ReedSolomonDecoder::new(layout.data as usize, layout.parity as usize, layout.shard as usize)
        .map_err(|e| coder(layout, e))?;
    for (i, bytes) in &spare {
        decoder
            .add_recovery_shard(*i as usize, bytes)
            .map_err(|e| coder(layout, e))?;
    }
    each_shard(io, segment, layout, Unreadable::Zeros, pace, |i, bytes| {
        match lost.binary_search(&i) {
            Ok(_) => Ok(()),
            Err(_) => decoder
                .add_original_shard(i as usize, bytes)
                .map_err(|e| coder(layout, e)),
        }
    })?;
    let result = decoder.decode().map_err(|e| coder(layout, e))?;
    let made: BTreeMap<usize, &[u8]> = result.restored_original_iter().collect();
    let right = |i: &u32| made.get(&(*i as usize)).map(|bytes| crc32fast::hash(bytes)) == parity.data_sum(*i);
    if !lost.iter().all(right) {
        // The disk gives something else each time it is asked: nothing is changed.
        return Ok(None);
    }
    let name = segment.name();
    file::replace(io, &name, |out| {
        let mut at = 0;
        let mut copy = |bytes: &[u8]| {
            let n = usize::try_from(layout.covered - at).map_or(bytes.len(), |left| left.min(bytes.len()));
            write_full(out, bytes.get(..n).unwrap_or_default(), at).map_err(|e| Error::io("write", &name, e))?;
            at += n as u64;
            Ok(())
        };
        each_shard(
            io,
            segment,
            layout,
            Unreadable::Zeros,
            &mut |_| Ok(()),
            |i, bytes| match made.get(&(i as usize)) {
                Some(bytes) => copy(bytes),
                None if parity.data_sum(i) != Some(crc32fast::hash(bytes)) => Err(Error::Io {
                    what: "read",
                    path: name.clone(),
                    source: std::io::Error::other("other bytes than a moment ago"),
                }),
                None => copy(bytes),
            },
        )
        .map_err(std::io::Error::other)?;
        // What was appended after the parity was made. Behind the end of a sealed segment nothing is.
        while !layout.sealed && at < segment.len() {
            let bytes = segment.read(io, at, PIECE).map_err(std::io::Error::other)?;
            if bytes.is_empty() {
                break;
            }
            write_full(out, &bytes, at)?;
            at += bytes.len() as u64;
        }
        Ok(())
    })?;
    Ok(Some(()))
}

fn coder(layout: &Layout, e: reed_solomon_simd::Error) -> Error {
    Error::Io {
        what: "compute",
        path: file::parity_name(layout.segment),
        source: std::io::Error::other(e),
    }
}
