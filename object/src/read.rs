//! GET: the range that was asked for, as a stream of blocks.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::ready;
use futures_util::stream::{self, StreamExt};
use lmfs_codec::stream::layout::Place;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, Result};

use crate::blocks::BlockKey;
use crate::error::{ATTEMPTS, Stopped, failed, restless};
use crate::follow::{Cuts, Reader};
use crate::known::{Container, Kind};
use crate::open::Opened;
use crate::request::{self, Response};
use crate::shared::Shared;

impl Shared {
    /// GET, but for its head.
    pub async fn get(self: &Arc<Self>, location: &Path, options: &GetOptions) -> Result<GetResult> {
        for _ in 0..ATTEMPTS {
            let attempt = self.get_once(location, options).await;
            if let Some(result) = self.settled(location, attempt)? {
                return Ok(result);
            }
        }
        Err(restless(location))
    }

    async fn get_once(self: &Arc<Self>, location: &Path, options: &GetOptions) -> Result<GetResult, Stopped> {
        let opened = self.open(location, options).await?;
        self.read(opened, options).await
    }

    /// The range of an opened object that the options ask for.
    pub async fn read(self: &Arc<Self>, mut opened: Opened, options: &GetOptions) -> Result<GetResult, Stopped> {
        let len = opened.content_len();
        let range = options.range.as_ref().map_or(Ok(0..len), |range| range.as_range(len));
        if opened.fresh.is_none() && !range.as_ref().is_ok_and(|range| !range.is_empty()) {
            // Nothing else will be asked for, and the object may be another one by now.
            opened.fresh = Some(request::head(&*self.inner, &opened.pin).await?);
        }
        let range = range.map_err(|error| failed(&opened.pin.meta.location, error))?;
        match opened.kind.clone() {
            Kind::Plain => self.read_plain(opened, range).await,
            Kind::Container(container) => self.read_container(opened, &container, range).await,
        }
    }

    async fn read_plain(&self, opened: Opened, range: Range<u64>) -> Result<GetResult, Stopped> {
        let here = match range.is_empty() {
            true => Some(Bytes::new()),
            false => opened.pieces.get(&range),
        };
        match (opened.fresh, here) {
            (Some(response), Some(bytes)) => {
                let stream = stream::once(ready(Ok(bytes)));
                Ok(result(response, range, stream))
            }
            _ => request::plain(&*self.inner, &opened.pin, GetRange::Bounded(range)).await,
        }
    }

    async fn read_container(
        self: &Arc<Self>,
        opened: Opened,
        container: &Arc<Container>,
        range: Range<u64>,
    ) -> Result<GetResult, Stopped> {
        let fresh = opened.fresh.clone();
        let reader = Reader::new(self, container, opened);
        let mut cuts = Cuts::new(&reader, range.clone());
        let opened = reader.current();
        let (parts, response) = match cuts.next() {
            Some(cut) => self.load(&opened, &cut).await?,
            None => (Vec::new(), None),
        };
        let mut response = match fresh.or(response) {
            Some(response) => response,
            // All of it was in the cache: is that still the object?
            None => request::head(&*self.inner, &opened.pin).await?,
        };
        response.meta.size = container.layout.len();
        response.extensions.insert(container.content);

        if cuts.is_empty() && parts.iter().all(|part| matches!(part, Part::Ready(_))) {
            let bytes = parts.into_iter().filter_map(Part::ready).map(Ok);
            return Ok(result(response, range, stream::iter(bytes.collect::<Vec<_>>())));
        }
        let bytes = reader.stream(parts, cuts);
        Ok(result(response, range, bytes))
    }

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
        let parts = wanted.into_iter().map(|(place, key, held)| {
            let from = content.start.max(place.start) - place.start;
            let to = content.end.min(place.start + place.len) - place.start;
            let slice = from as usize..to as usize;
            match held {
                Some(bytes) => Part::Ready(bytes.slice(slice)),
                None => {
                    let at = (place.stored.start - base) as usize..(place.stored.end - base) as usize;
                    let stored = stored.slice(at);
                    Part::Coded {
                        place,
                        key,
                        stored,
                        slice,
                    }
                }
            }
        });
        Ok((parts.collect(), response))
    }
}

impl Opened {
    /// Bytes of content.
    pub fn content_len(&self) -> u64 {
        match &self.kind {
            Kind::Plain => self.pin.meta.size,
            Kind::Container(container) => container.layout.len(),
        }
    }
}

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

fn result(
    response: Response,
    range: Range<u64>,
    stream: impl stream::Stream<Item = Result<Bytes>> + Send + 'static,
) -> GetResult {
    GetResult {
        payload: GetResultPayload::Stream(stream.boxed()),
        meta: response.meta,
        range,
        attributes: response.attributes,
        extensions: response.extensions,
    }
}

/// A part of the content.
pub enum Part {
    Ready(Bytes),
    Coded {
        place: Place,
        key: Option<BlockKey>,
        stored: Bytes,
        /// The bytes of the block that are wanted.
        slice: Range<usize>,
    },
}

impl Part {
    fn ready(self) -> Option<Bytes> {
        match self {
            Part::Ready(bytes) => Some(bytes),
            Part::Coded { .. } => None,
        }
    }
}
