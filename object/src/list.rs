//! Sizes of contents where the inner store says how much is stored.

use std::sync::Arc;

use futures_util::future::ready;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, GetResultPayload, ListResult, ObjectMeta, ObjectStore, Result};

use crate::error::{ATTEMPTS, Stopped, failed, restless};
use crate::options::Sizes;
use crate::request::{self, Response, is_conditional};
use crate::shared::Shared;

/// Smaller objects are no containers: they have a header, a table and a footer.
const SMALLEST: u64 = 53;

impl Shared {
    /// The objects of a list, each with the size of its content.
    pub fn sized(
        self: &Arc<Self>,
        metas: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.options.sizes == Sizes::Stored {
            return metas;
        }
        let shared = Arc::clone(self);
        let parallel = self.options.list_parallel;
        let sized = metas.map(move |meta| {
            let shared = Arc::clone(&shared);
            async move { shared.with_content_len(meta?).await }
        });
        sized.buffered(parallel).try_filter_map(|meta| ready(Ok(meta))).boxed()
    }

    pub async fn sized_result(self: &Arc<Self>, mut result: ListResult) -> Result<ListResult> {
        let metas = stream::iter(std::mem::take(&mut result.objects).into_iter().map(Ok));
        result.objects = self.sized(metas.boxed()).try_collect().await?;
        Ok(result)
    }

    /// The object as it is now; `None` if it is gone.
    async fn with_content_len(&self, mut meta: ObjectMeta) -> Result<Option<ObjectMeta>> {
        if meta.size < SMALLEST {
            return Ok(Some(meta));
        }
        if let Some(len) = self.known.len(&meta) {
            meta.size = len;
            return Ok(Some(meta));
        }
        for _ in 0..ATTEMPTS {
            let location = &meta.location;
            match self.content_len_now(location, &GetOptions::default()).await {
                Ok((mut found, len)) => {
                    // Lists have more exact times than answers, if it still is the object that was listed.
                    if found.meta.e_tag == meta.e_tag && found.meta.size == meta.size {
                        found.meta = meta;
                    }
                    found.meta.size = len;
                    return Ok(Some(found.meta));
                }
                Err(Stopped::Replaced) => {}
                Err(Stopped::Failed(Error::NotFound { .. })) => return Ok(None),
                // Others may be readable: one object must not hide them all.
                Err(Stopped::Failed(error @ (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }))) => {
                    tracing::warn!("{location}: listed with the size that is stored: {error}");
                    return Ok(Some(meta));
                }
                Err(Stopped::Failed(error)) => return Err(error),
            }
        }
        Err(restless(&meta.location))
    }

    /// Asks for the end of an object, and with it for the size of its content. That of a damaged one is what is stored.
    async fn content_len_now(&self, location: &Path, conditions: &GetOptions) -> Result<(Response, u64), Stopped> {
        let tail = request::tail(&*self.inner, location, conditions, self.options.tail).await?;
        let response = tail.response.clone();
        let len = match self.known.len(&response.meta) {
            Some(len) => len,
            None => match self.content_len(tail).await? {
                Some(len) => {
                    self.known.set_len(&response.meta, len);
                    len
                }
                None => response.meta.size,
            },
        };
        Ok((response, len))
    }

    /// HEAD: one request, for an object that is not known one for its end.
    pub async fn head(&self, location: &Path, options: &GetOptions) -> Result<GetResult> {
        let conditions = GetOptions {
            range: None,
            ..options.clone()
        };
        let mut answer = None;
        for _ in 0..ATTEMPTS {
            let attempt = self.head_once(location, &conditions).await;
            answer = self.settled(location, attempt)?;
            if answer.is_some() {
                break;
            }
        }
        let (response, len) = answer.ok_or_else(|| restless(location))?;
        let range = options.range.as_ref().map_or(Ok(0..len), |range| range.as_range(len));
        let mut meta = response.meta;
        meta.size = len;
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::empty().boxed()),
            range: range.map_err(|error| failed(location, error))?,
            meta,
            attributes: response.attributes,
            extensions: response.extensions,
        })
    }

    async fn head_once(&self, location: &Path, conditions: &GetOptions) -> Result<(Response, u64), Stopped> {
        if !is_conditional(conditions)
            && let Some(seen) = self.known.seen(location)
            && let Some(response) = seen.fresh(self.options.trust)
        {
            return Ok((response, seen.kind.content_len(&seen.pin)));
        }
        if self.known.has_len(location) {
            let response = Response::from(self.inner.get_opts(location, conditions.clone()).await?);
            if let Some(len) = self.known.len(&response.meta) {
                return Ok((response, len));
            }
        }
        self.content_len_now(location, conditions).await
    }
}
