//! GET: the range that was asked for, as a stream of blocks.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use lmfs_codec::stream::layout::Place;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult, GetResultPayload, Result};
use parking_lot::Mutex;

use crate::blocks::BlockKey;
use crate::error::{ATTEMPTS, Stopped, failed, restless};
use crate::known::{Container, Kind};
use crate::open::Opened;
use crate::request::{self, Response};
use crate::shared::Shared;

/// The first request of a stream: who reads on gets larger ones.
const FIRST: u64 = 256 << 10;
/// The most content of a request, however small it is stored, and of blocks that are taken from the cache together.
const CONTENT: u64 = 64 << 20;
/// Requests of a stream at the same time.
const AHEAD: usize = 2;

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
        let reader = Arc::new(Reader {
            shared: Arc::clone(self),
            begun: Arc::clone(container),
            current: Mutex::new(Arc::new(opened)),
            reopening: tokio::sync::Mutex::new(()),
        });
        let mut cuts = Cuts {
            reader: Arc::clone(&reader),
            rest: range.clone(),
            limit: FIRST.min(self.options.fetch),
        };
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

        let following = Arc::clone(&reader);
        let rest = stream::iter(cuts)
            .map(move |cut| Arc::clone(&following).follow(cut))
            .buffered(AHEAD)
            .map_ok(|parts| stream::iter(parts.into_iter().map(Ok)))
            .try_flatten();
        let bytes = stream::iter(parts.into_iter().map(Ok))
            .chain(rest)
            .map(move |part| reader.decode(part))
            .buffered(self.options.threads + 1)
            // Behind an error nothing comes: it would be in the wrong place.
            .scan(false, |failed, part| {
                let part = (!*failed).then_some(part);
                *failed |= part.as_ref().is_some_and(Result::is_err);
                ready(part)
            });
        Ok(result(response, range, bytes))
    }

    /// What is needed for these bytes of content, and the answer to the request if there was one.
    async fn load(&self, opened: &Opened, content: &Range<u64>) -> Result<(Vec<Part>, Option<Response>), Stopped> {
        let Kind::Container(container) = &opened.kind else {
            return Err(Stopped::Replaced);
        };
        let mut wanted = Vec::new();
        let mut missing: Option<Range<u64>> = None;
        for place in places(container, content.clone()) {
            let place = place.map_err(|error| failed(&opened.pin.meta.location, error))?;
            let key = container.block(&place);
            let held = match key {
                Some(key) => self.blocks.get(key).await?,
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
enum Part {
    Ready(Bytes),
    Coded {
        place: Place,
        key: Option<BlockKey>,
        stored: Bytes,
        /// The bytes of the block that are wanted.
        slice: Range<usize>,
    },
}

/// A stream that is being read.
struct Reader {
    shared: Arc<Shared>,
    /// The container that was opened first.
    begun: Arc<Container>,
    /// The object as it was opened last.
    current: Mutex<Arc<Opened>>,
    reopening: tokio::sync::Mutex<()>,
}

impl Reader {
    fn current(&self) -> Arc<Opened> {
        Arc::clone(&self.current.lock())
    }

    /// Loads a part of the content. If the object was replaced meanwhile by another form of the same content, from there.
    fn follow(self: Arc<Self>, content: Range<u64>) -> BoxFuture<'static, Result<Vec<Part>>> {
        async move { self.load(content).await }.boxed()
    }

    async fn load(&self, content: Range<u64>) -> Result<Vec<Part>> {
        let mut opened = self.current();
        for _ in 0..ATTEMPTS {
            match self.shared.load(&opened, &content).await {
                Ok((parts, _)) => return Ok(parts),
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Replaced) => opened = self.reopen(&opened).await?,
            }
        }
        Err(restless(&opened.pin.meta.location))
    }

    async fn reopen(&self, stale: &Arc<Opened>) -> Result<Arc<Opened>> {
        let _one = self.reopening.lock().await;
        let current = self.current();
        if !Arc::ptr_eq(&current, stale) {
            return Ok(current);
        }
        let location = &stale.pin.meta.location;
        self.shared.known.forget(location);
        let conditions = GetOptions {
            version: stale.pin.version.clone(),
            ..GetOptions::default()
        };
        let found = Arc::new(self.shared.open_now(location, &conditions).await?);
        match &found.kind {
            Kind::Container(container) if container.content == self.begun.content => {
                tracing::debug!("{location} was packed while it was read: going on");
                *self.current.lock() = Arc::clone(&found);
                Ok(found)
            }
            _ => Err(Error::Precondition {
                path: location.to_string(),
                source: "the object was replaced by another one while it was read".into(),
            }),
        }
    }

    fn decode(&self, part: Result<Part>) -> impl Future<Output = Result<Bytes>> + Send + use<> {
        let location = self.begun_location();
        let blocks = Arc::clone(&self.shared.blocks);
        async move {
            match part? {
                Part::Ready(bytes) => Ok(bytes),
                Part::Coded {
                    place,
                    key,
                    stored,
                    slice,
                } => Ok(blocks.decode(location, key, place, stored).await?.slice(slice)),
            }
        }
    }

    fn begun_location(&self) -> Path {
        self.current.lock().pin.meta.location.clone()
    }
}

/// The content of a stream, cut into what is loaded at a time: blocks that are all in the cache, or are all not.
struct Cuts {
    reader: Arc<Reader>,
    rest: Range<u64>,
    /// Stored bytes of the next request.
    limit: u64,
}

impl Iterator for Cuts {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        if self.rest.is_empty() {
            return None;
        }
        let opened = self.reader.current();
        let Kind::Container(container) = &opened.kind else {
            // Not so: only containers are followed. What loads it says so.
            return Some(std::mem::replace(&mut self.rest, 0..0));
        };
        let blocks = &self.reader.shared.blocks;
        let start = self.rest.start;
        let (mut end, mut stored, mut held) = (start, 0, None);
        for place in places(container, self.rest.clone()) {
            // What loads the place gives the error.
            let Ok(place) = place else {
                end = self.rest.end;
                break;
            };
            let has = container.block(&place).is_some_and(|key| blocks.has(&key));
            stored += place.stored.end - place.stored.start;
            let next = place.start + place.len;
            let fits = stored <= self.limit && next - start <= CONTENT && held.is_none_or(|held| held == has);
            if end > start && !fits {
                break;
            }
            held = Some(has);
            end = next.min(self.rest.end);
        }
        if held == Some(false) {
            self.limit = (self.limit * 2).min(self.reader.shared.options.fetch);
        }
        self.rest.start = end;
        Some(start..end)
    }
}
