//! The store as programs see it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use crate::options::LmfsOptions;
use crate::shared::Shared;

/// Another store, whose objects are compressed. What is put becomes a seekable container at once, with fast blocks.
/// What is read is decoded, and of that only the blocks that are asked for. Objects that are no containers are read as
/// they are.
///
/// ETags, versions, times and attributes are those of the stored objects, sizes and ranges those of the contents. An
/// object that is [packed](crate::pack) gets another ETag although its content is the same.
#[derive(Clone)]
pub struct LmfsStore {
    shared: Arc<Shared>,
}

impl LmfsStore {
    /// A store over another one.
    ///
    /// # Errors
    /// Options out of range, a folder for the cache that cannot be used.
    pub fn new(inner: Arc<dyn ObjectStore>, options: LmfsOptions) -> Result<LmfsStore> {
        Ok(LmfsStore {
            shared: Arc::new(Shared::new(inner, options)?),
        })
    }

    /// The store with the containers.
    pub fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.shared.inner
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl fmt::Display for LmfsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lmfs({})", self.shared.name)
    }
}

impl fmt::Debug for LmfsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LmfsStore")
            .field("inner", &self.shared.inner)
            .field("options", &self.shared.options)
            .finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for LmfsStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.shared.put(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.shared.put_multipart(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            return Box::pin(self.shared.head(location, &options)).await;
        }
        self.shared.get(location, &options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.shared.ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let shared = Arc::clone(&self.shared);
        let deleted = self.shared.inner.delete_stream(locations);
        // An error does not say which object it was, and that may be gone.
        deleted
            .inspect(move |deleted| match deleted {
                Ok(location) => shared.known.forget(location),
                Err(_) => shared.known.forget_all(),
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.shared.sized(self.shared.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.shared.sized(self.shared.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let found = self.shared.inner.list_with_delimiter(prefix).await?;
        self.shared.sized_result(found).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let _changing = self.shared.known.changing(to);
        self.shared.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let known = &self.shared.known;
        let _changing = (known.changing(from), known.changing(to));
        self.shared.inner.rename_opts(from, to, options).await
    }
}
