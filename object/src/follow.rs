//! Reading on: a stream of blocks, which are loaded and decoded ahead.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, ready, select};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use object_store::{Error, GetOptions, Result};
use parking_lot::Mutex;

use crate::error::{ATTEMPTS, Stopped, failed, restless};
use crate::known::{Container, Kind};
use crate::load::{Part, places};
use crate::open::Opened;
use crate::shared::Shared;

/// The first request of a stream: who reads on gets larger ones.
const FIRST: u64 = 256 << 10;
/// The most content of a request, however small it is stored.
const CONTENT: u64 = 64 << 20;
/// The most content that is taken from the cache together.
pub const CACHED: u64 = 4 << 20;
/// Requests of a stream at the same time.
const AHEAD: usize = 2;
/// Blocks that are loaded before more is.
const ENOUGH: usize = 64;

/// A stream that is being read.
pub struct Reader {
    shared: Arc<Shared>,
    /// The container that was opened first.
    begun: Arc<Container>,
    /// The object as it was opened last.
    current: Mutex<Arc<Opened>>,
    reopening: tokio::sync::Mutex<()>,
}

impl Reader {
    pub fn new(shared: &Arc<Shared>, begun: &Arc<Container>, opened: Opened) -> Arc<Reader> {
        Arc::new(Reader {
            shared: Arc::clone(shared),
            begun: Arc::clone(begun),
            current: Mutex::new(Arc::new(opened)),
            reopening: tokio::sync::Mutex::new(()),
        })
    }

    pub fn current(&self) -> Arc<Opened> {
        Arc::clone(&self.current.lock())
    }

    /// Loads a part of the content. If the object was replaced meanwhile by another form of the same content, from
    /// there.
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

    /// The parts that are loaded already, and then the rest.
    pub fn stream(self: Arc<Self>, parts: Vec<Part>, cuts: Cuts) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let following = Arc::clone(&self);
        let state = State {
            window: self.shared.options.threads + 1,
            loading: stream::iter(cuts)
                .map(move |cut| Arc::clone(&following).follow(cut))
                .buffered(AHEAD)
                .boxed(),
            reader: self,
            parts: parts.into(),
            out: VecDeque::new(),
        };
        // Behind an error nothing comes: it would be in the wrong place.
        stream::unfold(Some(state), async |state| {
            let mut state = state?;
            match state.next().await? {
                Ok(bytes) => Some((Ok(bytes), Some(state))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .fuse()
    }
}

type Decoding = BoxFuture<'static, Result<Bytes>>;

/// What will come out of a stream.
enum Out {
    Ready(Bytes),
    Decoding(Decoding),
}

/// A stream under way.
struct State {
    reader: Arc<Reader>,
    /// Blocks that are decoded ahead.
    window: usize,
    loading: BoxStream<'static, Result<Vec<Part>>>,
    /// What is loaded.
    parts: VecDeque<Part>,
    out: VecDeque<Out>,
}

impl State {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            while self.out.len() < self.window
                && let Some(part) = self.parts.pop_front()
            {
                self.out.push_back(self.reader.begin(part));
            }
            match self.out.pop_front() {
                Some(Out::Ready(bytes)) => return Some(Ok(bytes)),
                Some(Out::Decoding(decoding)) if self.parts.len() < ENOUGH => {
                    // More is loaded meanwhile.
                    match select(decoding, self.loading.next()).await {
                        Either::Left((bytes, _)) => return Some(bytes),
                        Either::Right((Some(Ok(parts)), decoding)) => {
                            self.out.push_front(Out::Decoding(decoding));
                            self.parts.extend(parts);
                        }
                        Either::Right((Some(Err(error)), decoding)) => {
                            // It comes behind what is here.
                            self.out.push_front(Out::Decoding(decoding));
                            self.out.push_back(Out::Decoding(ready(Err(error)).boxed()));
                            self.loading = stream::empty().boxed();
                        }
                        Either::Right((None, decoding)) => return Some(decoding.await),
                    }
                }
                Some(Out::Decoding(decoding)) => return Some(decoding.await),
                None => match self.loading.next().await? {
                    Ok(parts) => self.parts.extend(parts),
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}

impl Reader {
    /// Begins to decode a part.
    fn begin(self: &Arc<Self>, part: Part) -> Out {
        match part {
            Part::Ready(bytes) => Out::Ready(bytes),
            Part::Coded { coded, key, slice } => {
                let decoding = self.shared.blocks.decode(key, coded);
                let reader = Arc::clone(self);
                let located = async move {
                    let bytes = decoding.await;
                    let bytes = bytes.map_err(|error| failed(&reader.current().pin.meta.location, error))?;
                    Ok(bytes.slice(slice))
                };
                Out::Decoding(located.boxed())
            }
        }
    }
}

/// The content of a stream, cut into what is loaded at a time: blocks that are all in the cache, or are all not.
pub struct Cuts {
    reader: Arc<Reader>,
    rest: Range<u64>,
    /// Stored bytes of the next request.
    limit: u64,
}

impl Cuts {
    pub fn new(reader: &Arc<Reader>, content: Range<u64>) -> Cuts {
        Cuts {
            reader: Arc::clone(reader),
            rest: content,
            limit: FIRST.min(reader.shared.options.fetch),
        }
    }

    /// Whether there is nothing left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
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
            stored += if has { 0 } else { place.stored.end - place.stored.start };
            let next = place.start + place.len;
            let most = if has { CACHED } else { CONTENT };
            let fits = stored <= self.limit && next - start <= most && held.is_none_or(|held| held == has);
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
