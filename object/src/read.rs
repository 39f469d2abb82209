//! GET: the range that was asked for, as a stream of blocks.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::ready;
use futures_util::stream::{self, StreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, Result};

use crate::error::{ATTEMPTS, Stopped, failed, restless};
use crate::follow::{CACHED, Cuts, Reader};
use crate::known::{Container, Kind};
use crate::load::{Part, part};
use crate::open::Opened;
use crate::request::{self, Response, is_conditional};
use crate::shared::Shared;

impl Shared {
    /// GET, but for its head.
    pub async fn get(self: &Arc<Self>, location: &Path, options: &GetOptions) -> Result<GetResult> {
        let held = self.get_held(location, options).await;
        if let Some(Some(result)) = self.settled(location, held)? {
            return Ok(result);
        }
        // In a box, as it has many times the size of what is above, which is all that most reads of a cache need.
        Box::pin(self.get_opened(location, options)).await
    }

    /// A read that has to look at the object first, again if it is replaced meanwhile.
    async fn get_opened(self: &Arc<Self>, location: &Path, options: &GetOptions) -> Result<GetResult> {
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

    /// A read of which memory has all: it costs no more than a HEAD. `None` if there is more to do.
    async fn get_held(&self, location: &Path, options: &GetOptions) -> Result<Option<GetResult>, Stopped> {
        let seen = match is_conditional(options) {
            true => None,
            false => self.known.seen(location),
        };
        let Some(seen) = seen else { return Ok(None) };
        let Kind::Container(container) = &seen.kind else {
            return Ok(None);
        };
        let len = container.layout.len();
        let range = options.range.as_ref().map_or(Ok(0..len), |range| range.as_range(len));
        let Ok(range) = range else { return Ok(None) };
        if range.is_empty() || range.end - range.start > CACHED {
            return Ok(None);
        }
        let Some(held) = self.held(container, &range) else {
            return Ok(None);
        };
        let mut response = match seen.fresh(self.options.trust) {
            Some(response) => response,
            // Is that still the object?
            None => {
                // Nobody looks at it where nothing is trusted.
                let begun = (!self.options.trust.is_zero()).then(Instant::now);
                let response = request::head(&*self.inner, &seen.pin).await?;
                if let Some(begun) = begun {
                    seen.is_still(begun);
                }
                response
            }
        };
        response.meta.size = len;
        response.extensions.insert(container.content);
        Ok(Some(match held {
            Held::One(bytes) => result(response, range, stream::once(ready(Ok(bytes)))),
            Held::Several(held) => result(response, range, stream::iter(held.into_iter().map(Ok))),
        }))
    }

    /// Content of which memory has all. An error is told by what loads the blocks.
    fn held(&self, container: &Container, range: &Range<u64>) -> Option<Held> {
        let first = container.layout.content(range.start).ok()?;
        let key = container.block_at(first.start)?;
        if range.end <= first.end {
            let block = self.blocks.in_memory(&key)?;
            return Some(Held::One(block.slice(part(&first, range))));
        }
        let mut at = range.start;
        let parts = std::iter::from_fn(|| {
            (at < range.end).then(|| {
                let block = container.layout.content(at).ok();
                at = block.as_ref().map_or(range.end, |block| block.end);
                let block = block?;
                Some((container.block_at(block.start)?, part(&block, range)))
            })
        });
        Some(Held::Several(self.blocks.held(parts)?))
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
}

/// What memory has.
enum Held {
    /// A part of one block.
    One(Bytes),
    /// Parts of several.
    Several(Vec<Bytes>),
}

impl Opened {
    /// Bytes of content.
    pub fn content_len(&self) -> u64 {
        self.kind.content_len(&self.pin)
    }
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
