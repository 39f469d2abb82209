//! Packing one object.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use lmfs_codec::stream::ContainerHeader;
use lmfs_codec::stream::layout::Finder;
use lmfs_codec::{Header, Stop};
use object_store::{
    Attributes, Error, GetOptions, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload, Result, UpdateVersion,
};

use super::{Outcome, Packer, WEIGHT, judge};
use crate::cutter::Cutter;
use crate::encode::{self, Container};
use crate::error::{Stopped, failed};
use crate::keys::ContentId;
use crate::known::Kind;
use crate::load::places;
use crate::open::Opened;
use crate::request;

type Content = BoxStream<'static, Result<Bytes>>;

/// What an object becomes.
struct Packed {
    payload: PutPayload,
    stored: u64,
    content: ContentId,
}

impl Packer {
    /// Packs an object that was listed.
    pub(super) async fn pack(&self, meta: &ObjectMeta, stop: &Stop) -> Result<Outcome> {
        match self.pack_unless_changed(meta, stop).await {
            Ok(outcome) => Ok(outcome),
            Err(Stopped::Replaced) => Ok(Outcome::Changed),
            Err(Stopped::Failed(Error::NotFound { .. } | Error::Precondition { .. })) => Ok(Outcome::Changed),
            Err(Stopped::Failed(error)) => Err(error),
        }
    }

    async fn pack_unless_changed(&self, meta: &ObjectMeta, stop: &Stop) -> Result<Outcome, Stopped> {
        let shared = self.store.shared();
        if self.pushed.has(&*shared.inner, &meta.location).await? {
            return Ok(Outcome::OfStore);
        }
        if meta.size > self.options.largest {
            return Ok(Outcome::TooLarge);
        }
        // As it is now, whatever is known of it.
        let conditions = GetOptions {
            if_match: meta.e_tag.clone(),
            ..GetOptions::default()
        };
        let opened = shared.open(&meta.location, &conditions).await?;
        if self.options.containers_only && matches!(opened.kind, Kind::Plain) {
            return Ok(Outcome::NoContainer);
        }
        if self.is_packed(&opened).await? {
            return Ok(Outcome::Already);
        }
        let before = opened.pin.meta.size;
        if self.options.dry_run {
            return Ok(Outcome::Packed { before, after: before });
        }
        let container = match &opened.kind {
            Kind::Plain => None,
            Kind::Container(container) => Some(Arc::clone(container)),
        };
        let known = container.as_ref().map(|container| container.content);
        let pin = opened.pin.clone();
        // Objects are held in memory while they are packed.
        let weight = before.min(self.options.largest).div_ceil(WEIGHT);
        let weight = u32::try_from(weight).map_err(|error| failed(&meta.location, error))?;
        let held = self.room.acquire_many(weight).await;
        let _held = held.map_err(|error| failed(&meta.location, error))?;
        let (attributes, content) = self.content(opened).await?;
        let Some(packed) = self.encode(&pin.meta, content, known, stop).await? else {
            return Ok(Outcome::Kept);
        };
        let found = container.as_ref().map(|container| container.layout.found());
        if packed.stored >= self.judge.limit(found, before) {
            return Ok(Outcome::Kept);
        }
        self.swap(&pin.meta, attributes, packed).await
    }

    /// Whether an object was packed before, as hard or harder.
    async fn is_packed(&self, opened: &Opened) -> Result<bool, Stopped> {
        let Kind::Container(container) = &opened.kind else {
            return Ok(opened.pin.meta.size == 0);
        };
        let found = container.layout.found();
        let wanted = match self.judge.is_packed(found) {
            judge::Packed::Yes => return Ok(true),
            judge::Packed::No => return Ok(false),
            judge::Packed::Ask(wanted) => wanted,
        };
        let bytes = match opened.pieces.get(&wanted) {
            Some(bytes) => bytes,
            None => {
                request::bytes(&*self.store.shared().inner, &opened.pin, wanted)
                    .await?
                    .0
            }
        };
        let packed = self.judge.is_packed_block(found, &bytes);
        Ok(packed.map_err(|error| failed(&opened.pin.meta.location, error))?)
    }

    /// What is to be compressed. Requests time out that are read as slowly as a model compresses, so each is read at
    /// once.
    async fn content(&self, opened: Opened) -> Result<(Attributes, Content), Stopped> {
        let shared = self.store.shared();
        let (pin, size) = (opened.pin.clone(), opened.pin.meta.size);
        if matches!(opened.kind, Kind::Container(_)) || opened.pieces.get(&(0..size)).is_some() {
            let result = shared.read(opened, &GetOptions::default()).await?;
            return Ok((result.attributes.clone(), result.into_stream()));
        }
        let response = match opened.fresh {
            Some(response) => response,
            None => request::head(&*shared.inner, &pin).await?,
        };
        let (inner, fetch) = (Arc::clone(&shared.inner), shared.options.fetch);
        let pieces = stream::try_unfold(0, move |at| {
            let (inner, pin) = (Arc::clone(&inner), pin.clone());
            async move {
                if at >= size {
                    return Ok(None);
                }
                let end = size.min(at + fetch);
                match request::bytes(&*inner, &pin, at..end).await {
                    Ok((bytes, _)) => Ok(Some((bytes, end))),
                    Err(Stopped::Failed(error)) => Err(error),
                    Err(Stopped::Replaced) => Err(Error::Precondition {
                        path: pin.meta.location.to_string(),
                        source: "the object was replaced while it was packed".into(),
                    }),
                }
            }
        });
        Ok((response.attributes, pieces.boxed()))
    }

    /// Compresses the content of an object; `None` if it is empty.
    async fn encode(
        &self,
        meta: &ObjectMeta,
        content: Content,
        known: Option<ContentId>,
        stop: &Stop,
    ) -> Result<Option<Packed>> {
        let shared = self.store.shared();
        let wrong = |error: lmfs_codec::Error| failed(&meta.location, error);
        let header = ContainerHeader::new(&self.codec, self.block_size).map_err(wrong)?;
        let (mut crc, mut len) = (crc32fast::Hasher::new(), 0);
        let content = content.inspect_ok(|bytes| {
            crc.update(bytes);
            len += bytes.len() as u64;
        });
        let container = {
            let raw = cut(content, self.block_size);
            let coded = raw.map_ok(|raw| {
                let (codec, stop, size) = (self.codec.clone(), stop.child(), self.block_size);
                shared
                    .pool
                    .run(move || encode::blocks(&raw, size, |raw| codec.encode(raw, &stop)))
            });
            let mut coded = std::pin::pin!(coded.try_buffered(2 * shared.options.threads));
            // It names the model even if no block needs it: that says that the model was tried.
            let mut container = Container::new(&header);
            while let Some(coded) = coded.try_next().await? {
                container.push(coded.map_err(wrong)?).map_err(wrong)?;
            }
            container
        };
        if len == 0 {
            return Ok(None);
        }
        let content = ContentId {
            len,
            crc32: crc.finalize(),
        };
        let found = ContentId {
            len: container.content_len(),
            crc32: container.content_crc(),
        };
        if found != content || known.is_some_and(|known| known != content) {
            let reason = format!("what was packed is {found:?}, what was read {content:?}, what there was {known:?}");
            return Err(failed(&meta.location, reason));
        }
        let mut pieces = container.finish();
        let stored = pieces.take(usize::MAX);
        self.verify(&stored, content).map_err(wrong)?;
        Ok(Some(Packed {
            stored: stored.len() as u64,
            payload: stored.into(),
            content,
        }))
    }

    /// That a container can be read: each block has been decoded and compared when it was made.
    fn verify(&self, stored: &Bytes, content: ContentId) -> lmfs_codec::Result<()> {
        let broken = |what: String| lmfs_codec::Error::Verification(what);
        let slice = |range: std::ops::Range<u64>| {
            let at = range.start as usize..range.end as usize;
            stored
                .get(at)
                .ok_or_else(|| broken(format!("there is no range {range:?}")))
        };
        let mut finder = Finder::new(stored.len() as u64, false)?;
        while let Some(range) = finder.next()? {
            finder.take(slice(range)?)?;
        }
        let found = finder.finish()?;
        let as_found = ContentId {
            len: found.len(),
            crc32: found.content_crc(),
        };
        let codec = self.codec.clone();
        let container = crate::known::Container {
            layout: found.with(|_| Ok(codec.clone()))?,
            content,
            key: None,
        };
        if as_found != content {
            return Err(broken(format!("its table says {as_found:?}, not {content:?}")));
        }
        for place in places(&container, 0..content.len) {
            let place = place?;
            let header = Header::parse(slice(place.stored.clone())?)?;
            if u64::from(header.raw_len) != place.len {
                return Err(broken(format!("the block at {} has another length", place.start)));
            }
        }
        Ok(())
    }

    /// Replaces an object if it still is the one that was read.
    async fn swap(&self, meta: &ObjectMeta, attributes: Attributes, packed: Packed) -> Result<Outcome, Stopped> {
        let shared = self.store.shared();
        let done = Outcome::Packed {
            before: meta.size,
            after: packed.stored,
        };
        let options = PutOptions {
            mode: match self.options.exclusive {
                true => PutMode::Overwrite,
                false => PutMode::Update(UpdateVersion {
                    e_tag: meta.e_tag.clone(),
                    version: meta.version.clone(),
                }),
            },
            attributes,
            ..PutOptions::default()
        };
        if self.options.exclusive {
            let pin = request::Pin {
                meta: meta.clone(),
                version: None,
            };
            request::head(&*shared.inner, &pin).await?;
        }
        let changing = shared.known.changing(&meta.location);
        let put = shared
            .inner
            .put_opts(&meta.location, packed.payload.clone(), options)
            .await;
        drop(changing);
        match put {
            Ok(result) => {
                shared.remember(&meta.location, result.e_tag, packed.stored, packed.content.len);
                Ok(done)
            }
            // The answer to a PUT may be lost, and when the client asks again, its own object is in the way.
            Err(error @ (Error::Precondition { .. } | Error::Generic { .. })) => {
                match self.is_ours(meta, &packed).await {
                    Ok(true) => Ok(done),
                    Ok(false) | Err(Stopped::Replaced) => Err(error.into()),
                    Err(other) => Err(other),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an object is what we put.
    async fn is_ours(&self, meta: &ObjectMeta, packed: &Packed) -> Result<bool, Stopped> {
        let shared = self.store.shared();
        shared.known.forget(&meta.location);
        let opened = shared.open(&meta.location, &GetOptions::default()).await?;
        if opened.pin.meta.size != packed.stored || opened.pin.meta.e_tag == meta.e_tag {
            return Ok(false);
        }
        let (bytes, _) = request::bytes(&*shared.inner, &opened.pin, 0..packed.stored).await?;
        let mut ours = Cutter::default();
        packed.payload.iter().for_each(|piece| ours.push(piece.clone()));
        Ok(ours.take(usize::MAX) == bytes)
    }
}

/// A stream cut into blocks.
fn cut(
    content: impl stream::Stream<Item = Result<Bytes>>,
    block_size: usize,
) -> impl stream::Stream<Item = Result<Bytes>> {
    let state = (Box::pin(content.fuse()), Cutter::default());
    stream::try_unfold(state, move |(mut content, mut cutter)| async move {
        while cutter.len() < block_size {
            match content.try_next().await? {
                Some(bytes) => cutter.push(bytes),
                None => break,
            }
        }
        let block = cutter.take(block_size);
        Ok((!block.is_empty()).then_some((block, (content, cutter))))
    })
}
