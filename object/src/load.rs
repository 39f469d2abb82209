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
        let base = missing.map_or(0, |range| range.start);
        let mut fronts = Fronts::default();
        let mut parts = Vec::with_capacity(wanted.len());
        for (place, key, held) in wanted {
            let slice = part(&place, content);
            parts.push(match held {
                Some(bytes) => Part::Ready(bytes.slice(slice)),
                None => {
                    let at = (place.stored.start - base) as usize..(place.stored.end - base) as usize;
                    let stored = stored.slice(at);
                    let coded = self.coded(opened, place, stored, &mut fronts).await?;
                    Part::Coded { coded, key, slice }
                }
            });
        }
        Ok((parts, response))
    }

    /// A block with what it is decoded from. What is in front of it in its container is fetched where it needs that.
    pub async fn coded(
        &self,
        opened: &Opened,
        place: Place,
        stored: Bytes,
        fronts: &mut Fronts,
    ) -> Result<Coded, Stopped> {
        let front = match place.key(&stored) {
            None => None,
            Some(range) if fronts.0.as_ref().is_some_and(|(at, _)| *at == range) => {
                fronts.0.as_ref().map(|(_, bytes)| bytes.clone())
            }
            Some(range) => {
                let bytes = match opened.pieces.get(&range) {
                    Some(bytes) => bytes,
                    None => request::bytes(&*self.inner, &opened.pin, range.clone()).await?.0,
                };
                fronts.0 = Some((range, bytes.clone()));
                Some(bytes)
            }
        };
        Ok(Coded::new(place, stored, front))
    }
}

/// What was fetched last that lies in front of blocks.
#[derive(Default)]
pub struct Fronts(Option<(Range<u64>, Bytes)>);

impl Container {
    /// What a block is known by in the caches.
    pub fn block(&self, place: &Place) -> Option<BlockKey> {
        let start = place.start;
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
pub fn part(place: &Place, content: &Range<u64>) -> Range<usize> {
    let from = content.start.max(place.start) - place.start;
    let to = content.end.min(place.start + place.len) - place.start;
    from as usize..to as usize
}
