//! Fetching what a range of content needs: blocks from the caches, stored bytes from the store.

use std::ops::Range;

use bytes::Bytes;
use lmfs_codec::stream::layout::Place;
use object_store::Result;

use crate::coded::Coded;
use crate::error::{Stopped, failed};
use crate::keys::BlockKey;
use crate::known::{Container, Kind};
use crate::open::Opened;
use crate::request::{self, Response};
use crate::shared::Shared;

impl Shared {
    /// What is needed for these bytes of content, and the answer to the request if there was one.
    pub async fn load(&self, opened: &Opened, content: &Range<u64>) -> Result<(Vec<Part>, Option<Response>), Stopped> {
        let Kind::Container(container) = &opened.kind else {
            return Err(Stopped::Replaced);
        };
        let mut wanted = Vec::new();
        let mut missing: Option<Range<u64>> = None;
        for place in places(container, content.clone()) {
            let place = place.map_err(|error| failed(&opened.pin.meta.location, error))?;
            let key = container.block(&place);
            let held = match key {
                Some(key) => self.blocks.get(key, place.len).await?,
                None => None,
            };
            if held.is_none() {
                let start = missing.map_or(place.stored.start, |missing| missing.start);
                missing = Some(start..place.stored.end);
            }
            wanted.push((place, key, held));
        }
        let (stored, response) = match &missing {
            None => (Bytes::new(), None),
            Some(range) => match opened.pieces.get(range) {
                Some(bytes) => (bytes, opened.fresh.clone()),
                None => {
                    let (bytes, response) = request::bytes(&*self.inner, &opened.pin, range.clone()).await?;
                    (bytes, Some(response))
                }
            },
        };
        let base = missing.as_ref().map_or(0, |range| range.start);
        let read = Stretch::new(missing.unwrap_or_default(), stored.clone());
        let fronts = Fronts::default();
        let mut parts = Vec::with_capacity(wanted.len());
        for (place, key, held) in wanted {
            let slice = part(&(place.start..place.start + place.len), content);
            parts.push(match held {
                Some(bytes) => Part::Ready(bytes.slice(slice)),
                None => {
                    let at = (place.stored.start - base) as usize..(place.stored.end - base) as usize;
                    let stored = stored.slice(at);
                    let coded = self.coded(opened, place, stored, &read, &fronts).await?;
                    Part::Coded { coded, key, slice }
                }
            });
        }
        Ok((parts, response))
    }

    /// A block with what it is decoded from. What is in front of it in its container is fetched where it needs that and
    /// `read`, which was read already, has not got it.
    pub async fn coded(
        &self,
        opened: &Opened,
        mut place: Place,
        stored: Bytes,
        read: &Stretch,
        fronts: &Fronts,
    ) -> Result<Coded, Stopped> {
        let Some(range) = place.key(&stored) else {
            return Ok(Coded::new(place, stored, None));
        };
        if let Some(front) = read.cut(&range) {
            return Ok(Coded::new(place, stored, Some(front)));
        }
        // Others that need it wait here, and find it.
        let mut last = fronts.0.lock().await;
        let front = match last.cut(&range) {
            Some(front) => front,
            None => {
                let bytes = match opened.pieces.get(&range) {
                    Some(bytes) => bytes,
                    None => request::bytes(&*self.inner, &opened.pin, range.clone()).await?.0,
                };
                *last = Stretch::new(range, bytes.clone());
                bytes
            }
        };
        Ok(Coded::new(place, stored, Some(front)))
    }
}

/// Stored bytes that were read.
#[derive(Default)]
pub struct Stretch {
    start: u64,
    bytes: Bytes,
}

impl Stretch {
    pub fn new(range: Range<u64>, bytes: Bytes) -> Stretch {
        Stretch {
            start: range.start,
            bytes,
        }
    }

    /// The bytes of this range; `None` if they were not all read.
    fn cut(&self, range: &Range<u64>) -> Option<Bytes> {
        let from = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let to = usize::try_from(range.end.checked_sub(self.start)?).ok()?;
        (from < to && to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}

/// What was fetched last that lies in front of blocks. All that one call reads share it.
#[derive(Default)]
pub struct Fronts(tokio::sync::Mutex<Stretch>);

impl Container {
    /// What a block is known by in the caches.
    pub fn block(&self, place: &Place) -> Option<BlockKey> {
        self.block_at(place.start)
    }

    /// The same of the block that begins at this byte of content.
    pub fn block_at(&self, start: u64) -> Option<BlockKey> {
        self.key.map(|object| BlockKey { object, start })
    }
}

/// The blocks with these bytes of content.
pub fn places(container: &Container, content: Range<u64>) -> impl Iterator<Item = lmfs_codec::Result<Place>> {
    let mut at = content.start;
    std::iter::from_fn(move || {
        if at >= content.end {
            return None;
        }
        let place = container.layout.block(at);
        at = place.as_ref().map_or(content.end, |place| place.start + place.len);
        Some(place)
    })
}

/// A part of the content.
pub enum Part {
    Ready(Bytes),
    Coded {
        coded: Coded,
        key: Option<BlockKey>,
        /// The bytes of the block that are wanted.
        slice: Range<usize>,
    },
}

impl Part {
    pub fn ready(self) -> Option<Bytes> {
        match self {
            Part::Ready(bytes) => Some(bytes),
            Part::Coded { .. } => None,
        }
    }
}

/// Which bytes of a block are of this content. Blocks have at most 1 MiB.
pub fn part(block: &Range<u64>, content: &Range<u64>) -> Range<usize> {
    let from = content.start.max(block.start) - block.start;
    let to = content.end.min(block.end) - block.start;
    from as usize..to as usize
}
