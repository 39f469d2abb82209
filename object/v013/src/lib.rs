#![doc = include_str!("../README.md")]

mod convert;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use ::object_store as v014;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use object_store_013::path::Path;
use object_store_013::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use convert::{Into013, Into014};
/// The version that this crate is for.
pub use object_store_013 as object_store;

/// A store of `object_store` 0.13 over one of 0.14.
#[derive(Clone, Debug)]
pub struct Store013(Arc<dyn v014::ObjectStore>);

impl Store013 {
    /// Over `inner`, such as an `LmfsStore`.
    pub fn new(inner: Arc<dyn v014::ObjectStore>) -> Store013 {
        Store013(inner)
    }
}

impl fmt::Display for Store013 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The answer of 0.14 to what a caller of 0.13 asked.
fn told<T>(answer: v014::Result<T>) -> Result<T> {
    answer.map_err(Into013::into_013)
}

fn path(path: &Path) -> Result<v014::path::Path> {
    told(path.into_014())
}

/// A list, which is an error alone if `prefix` cannot be had.
fn listed(
    prefix: Result<Option<v014::path::Path>>,
    list: impl FnOnce(Option<&v014::path::Path>) -> BoxStream<'static, v014::Result<v014::ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    match prefix {
        Ok(prefix) => list(prefix.as_ref())
            .map(|found| told(found).and_then(Into013::into_013))
            .boxed(),
        Err(error) => stream::once(async { Err(error) }).boxed(),
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Store013 {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (location, opts) = (path(location)?, told(opts.into_014())?);
        Ok(told(self.0.put_opts(&location, payload.into_014(), opts).await)?.into_013())
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (location, opts) = (path(location)?, told(opts.into_014())?);
        Ok(Box::new(Upload(told(
            self.0.put_multipart_opts(&location, opts).await,
        )?)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        told(self.0.get_opts(&path(location)?, options.into_014()).await)?.into_013()
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        told(self.0.get_ranges(&path(location)?, ranges).await)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let locations = locations.map(|location| location.map_err(Into014::into_014)?.into_014());
        let deleted = self.0.delete_stream(locations.boxed());
        deleted.map(|location| (&told(location)?).into_013()).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        listed(prefix.map(path).transpose(), |prefix| self.0.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match path(offset) {
            Ok(offset) => listed(prefix.map(path).transpose(), |prefix| {
                self.0.list_with_offset(prefix, &offset)
            }),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.map(path).transpose()?;
        told(self.0.list_with_delimiter(prefix.as_ref()).await)?.into_013()
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        told(self.0.copy_opts(&path(from)?, &path(to)?, options.into_014()).await)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        told(self.0.rename_opts(&path(from)?, &path(to)?, options.into_014()).await)
    }
}

/// An upload of 0.13 over one of 0.14.
#[derive(Debug)]
struct Upload(Box<dyn v014::MultipartUpload>);

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.0.put_part(data.into_014()).map(told).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        Ok(told(self.0.complete().await)?.into_013())
    }

    async fn abort(&mut self) -> Result<()> {
        told(self.0.abort().await)
    }
}
