//! Several ranges at once. Each block is decoded once, and none that only lies between them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use lmfs_codec::stream::layout::Place;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, OBJECT_STORE_COALESCE_DEFAULT, Result};

use crate::error::{ATTEMPTS, Stopped, failed, restless};
use crate::known::{Container, Kind};
use crate::load::{Fronts, Stretch, places};
use crate::open::Opened;
use crate::request;
use crate::shared::Shared;

/// Stored bytes that are fetched in vain rather than with another request.
const GAP: u64 = 64 << 10;
/// Requests at the same time.
const PARALLEL: usize = 10;

impl Shared {
    pub async fn ranges(self: &Arc<Self>, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        for _ in 0..ATTEMPTS {
            let attempt = self.ranges_once(location, ranges).await;
            if let Some(read) = self.settled(location, attempt)? {
                return Ok(read);
            }
        }
        Err(restless(location))
    }

    async fn ranges_once(self: &Arc<Self>, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Stopped> {
        let mut opened = self.open(location, &GetOptions::default()).await?;
        let len = opened.content_len();
        let resolved = ranges
            .iter()
            .map(|range| GetRange::Bounded(range.clone()).as_range(len));
        let resolved: Result<Vec<_>, _> = resolved.collect();
        if opened.fresh.is_none() && resolved.is_err() {
            opened.fresh = Some(request::head(&*self.inner, &opened.pin).await?);
        }
        let resolved = resolved.map_err(|error| failed(location, error))?;
        match opened.kind.clone() {
            Kind::Plain => self.plain_ranges(&opened, &resolved).await,
            Kind::Container(container) => self.decoded_ranges(&opened, &container, &resolved).await,
        }
    }

    async fn plain_ranges(&self, opened: &Opened, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Stopped> {
        let mut parts = Vec::new();
        for range in merged(ranges, OBJECT_STORE_COALESCE_DEFAULT) {
            let bytes = match opened.pieces.get(&range) {
                Some(bytes) => bytes,
                None => request::bytes(&*self.inner, &opened.pin, range.clone()).await?.0,
            };
            parts.push((range.start, bytes));
        }
        let cut = |range: &Range<u64>| {
            let (start, bytes) = parts.iter().rev().find(|(start, _)| *start <= range.start)?;
            Some(bytes.slice((range.start - start) as usize..(range.end - start) as usize))
        };
        let missing = || failed(&opened.pin.meta.location, "a range was not read");
        let cut = ranges.iter().map(|range| cut(range).ok_or_else(missing));
        Ok(cut.collect::<Result<_>>()?)
    }

    async fn decoded_ranges(
        self: &Arc<Self>,
        opened: &Opened,
        container: &Arc<Container>,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, Stopped> {
        let location = &opened.pin.meta.location;
        let mut decoded: BTreeMap<u64, Bytes> = BTreeMap::new();
        let mut missing: BTreeMap<u64, Place> = BTreeMap::new();
        for range in ranges {
            for place in places(container, range.clone()) {
                let place = place.map_err(|error| failed(location, error))?;
                if decoded.contains_key(&place.start) || missing.contains_key(&place.start) {
                    continue;
                }
                let held = match container.block(&place) {
                    Some(key) => self.blocks.get(key, place.len).await?,
                    None => None,
                };
                match held {
                    Some(bytes) => drop(decoded.insert(place.start, bytes)),
                    None => drop(missing.insert(place.start, place)),
                }
            }
        }
        if missing.is_empty() && opened.fresh.is_none() {
            request::head(&*self.inner, &opened.pin).await?;
        }
        let groups = groups(missing.into_values(), self.options.fetch);
        let fronts = Fronts::default();
        let fetched = stream::iter(
            groups
                .into_iter()
                .map(|group| self.group(opened, container, group, &fronts).boxed()),
        );
        let blocks: Vec<(u64, Bytes)> = fetched.buffered(PARALLEL).try_concat().await?;
        decoded.extend(blocks);
        let joined = ranges.iter().map(|range| join(&decoded, range));
        let joined: Option<Vec<Bytes>> = joined.collect();
        Ok(joined.ok_or_else(|| failed(location, "a block of a range was not read"))?)
    }

    /// Fetches blocks with one request and decodes them.
    async fn group(
        self: &Arc<Self>,
        opened: &Opened,
        container: &Arc<Container>,
        group: Vec<Place>,
        fronts: &Fronts,
    ) -> Result<Vec<(u64, Bytes)>, Stopped> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(Vec::new());
        };
        let range = first.stored.start..last.stored.end;
        let stored = match opened.pieces.get(&range) {
            Some(bytes) => bytes,
            None => request::bytes(&*self.inner, &opened.pin, range.clone()).await?.0,
        };
        let mut all = Vec::with_capacity(group.len());
        let read = Stretch::new(range.clone(), stored.clone());
        for place in group {
            let at = (place.stored.start - range.start) as usize..(place.stored.end - range.start) as usize;
            all.push(self.coded(opened, place, stored.slice(at), &read, fronts).await?);
        }
        let decodes = all.into_iter().map(|coded| {
            let (start, key) = (coded.place.start, container.block(&coded.place));
            let location = &opened.pin.meta.location;
            let block = self.blocks.decode(key, coded);
            async move {
                let block = block.await.map_err(|error| failed(location, error))?;
                Ok::<_, Stopped>((start, block))
            }
        });
        stream::iter(decodes)
            .buffered(self.options.threads + 1)
            .try_collect()
            .await
    }
}

/// Ranges that are fetched with one request each: at most `gap` bytes lie between two that are joined.
fn merged(ranges: &[Range<u64>], gap: u64) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match out.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

/// Blocks that are fetched with one request each.
fn groups(places: impl Iterator<Item = Place>, most: u64) -> Vec<Vec<Place>> {
    let mut out: Vec<Vec<Place>> = Vec::new();
    for place in places {
        let ends = |group: &Vec<Place>| Some((group.first()?.stored.start, group.last()?.stored.end));
        match out.last_mut().map(|group| (ends(group), group)) {
            Some((Some((start, end)), group))
                if place.stored.start.saturating_sub(end) < GAP && place.stored.end - start <= most =>
            {
                group.push(place);
            }
            _ => out.push(vec![place]),
        }
    }
    out
}

/// These bytes of content.
fn join(decoded: &BTreeMap<u64, Bytes>, range: &Range<u64>) -> Option<Bytes> {
    let slice = |start: u64, block: &Bytes| {
        let from = (range.start.max(start) - start) as usize;
        let to = ((range.end - start) as usize).min(block.len());
        (from < to).then(|| block.slice(from..to))
    };
    let (first, _) = decoded.range(..=range.start).next_back()?;
    let mut blocks = decoded.range(first..).take_while(|(start, _)| **start < range.end);
    let (start, block) = blocks.next()?;
    let whole = slice(*start, block)?;
    let len = usize::try_from(range.end - range.start).ok()?;
    if whole.len() == len {
        return Some(whole);
    }
    let mut out = BytesMut::with_capacity(len);
    out.extend_from_slice(&whole);
    for (start, block) in blocks {
        out.extend_from_slice(&slice(*start, block)?);
    }
    (out.len() == len).then(|| out.freeze())
}
