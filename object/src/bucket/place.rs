//! Where the objects are: a prefix of a bucket, and how HEAD is replaced there.

use std::fs::File;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};

use super::error::{Error, Result, local};
use super::head::{HEAD, Head, MAX_HEAD};
use crate::probe::probe;

const LOCK: &str = "HEAD.lock";

/// A version of HEAD.
pub type Version = UpdateVersion;

/// A prefix of a bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// What messages call it.
    name: String,
    /// Held while HEAD is replaced, where files are no objects and have no conditional PUT.
    lock: Option<PathBuf>,
}

impl Bucket {
    /// A prefix of a store with conditional PUTs.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Bucket {
        Bucket {
            name: format!("{store}/{prefix}"),
            store,
            prefix,
            lock: None,
        }
    }

    /// Under the name that people gave it, such as its URL, which messages show.
    #[must_use]
    pub fn named(mut self, name: &str) -> Bucket {
        name.trim_end_matches('/').clone_into(&mut self.name);
        self
    }

    /// A folder of this machine. What is written to it is durable when it is there.
    ///
    /// # Errors
    /// A folder that cannot be opened, or made if `make` is set.
    pub fn in_folder(folder: &FilePath, make: bool) -> Result<Bucket> {
        let named = || format!("cannot use the folder {}", folder.display());
        if make {
            std::fs::create_dir_all(folder).map_err(local(named()))?;
        }
        let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        let bucket = Bucket {
            lock: Some(folder.join(LOCK)),
            ..Bucket::new(Arc::new(store), Path::default())
        };
        Ok(bucket.named(&folder.display().to_string()))
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone()
    }

    fn path(&self, object: &str) -> Path {
        object
            .split('/')
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// HEAD and its version; none if there is none.
    ///
    /// # Errors
    /// A HEAD that is damaged or of a newer version; a request that failed.
    pub async fn head(&self) -> Result<Option<(Head, Version)>> {
        self.get_head(GetOptions::default()).await
    }

    /// HEAD if it is not the one of `version` any more.
    pub(super) async fn newer_head(&self, version: &Version) -> Result<Option<(Head, Version)>> {
        let options = GetOptions::new().with_if_none_match(version.e_tag.clone());
        match self.get_head(options).await {
            Err(Error::Request(object_store::Error::NotModified { .. })) => Ok(None),
            Ok(None) => Err(Error::NoHead(self.name())),
            got => got,
        }
    }

    async fn get_head(&self, options: GetOptions) -> Result<Option<(Head, Version)>> {
        let got = match self.store.get_opts(&self.path(HEAD), options).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            got => got?,
        };
        let version = version(&got.meta);
        if got.meta.size > MAX_HEAD {
            return Err(Error::Damaged {
                place: self.name(),
                why: format!("it has {} bytes", got.meta.size),
            });
        }
        let bytes = got.bytes().await?;
        Ok(Some((Head::decode(&bytes, &self.name())?, version)))
    }

    /// Replaces HEAD if it still is `expected`, or makes it if none is expected.
    pub(super) async fn replace(&self, head: &Head, expected: Option<&Version>) -> Result<Version> {
        let bytes = head.encode()?;
        let path = self.path(HEAD);
        let _lock = self.take_lock().await?;
        let mode = match (expected, &self.lock) {
            (None, _) => PutMode::Create,
            (Some(version), None) => PutMode::Update(version.clone()),
            (Some(expected), Some(_)) => {
                let now = version(&self.store.head(&path).await?);
                if now.e_tag != expected.e_tag {
                    return Err(Error::Request(object_store::Error::Precondition {
                        path: path.to_string(),
                        source: "it is another one by now".into(),
                    }));
                }
                PutMode::Overwrite
            }
        };
        let put = self.store.put_opts(&path, bytes.into(), mode.into()).await?;
        Ok(put.into())
    }

    async fn take_lock(&self) -> Result<Option<File>> {
        let Some(path) = self.lock.clone() else { return Ok(None) };
        let named = format!("cannot lock {}", path.display());
        let lock = move || {
            let file = File::options().create(true).truncate(false).write(true).open(path)?;
            file.lock().map(|()| file)
        };
        let locked = tokio::task::spawn_blocking(lock).await;
        let locked = locked.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        locked.map(Some).map_err(local(named))
    }

    /// Races conditional writes, where HEAD depends on them.
    pub(super) async fn probe(&self) -> Result<()> {
        if self.lock.is_none() {
            let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
            probe(&*self.store, prefix).await?;
        }
        Ok(())
    }

    /// Stores an object under a name that was never used. An answer that was lost is found by looking.
    pub(super) async fn create(&self, object: &str, bytes: Bytes) -> Result<()> {
        let (path, len) = (self.path(object), bytes.len() as u64);
        let Err(error) = self.store.put_opts(&path, bytes.into(), PutMode::Create.into()).await else {
            return Ok(());
        };
        match self.store.head(&path).await {
            Ok(found) if found.size == len => Ok(()),
            _ => Err(error.into()),
        }
    }

    /// Bytes of an object, or what GET says of it.
    pub(super) async fn get(&self, object: &str, options: GetOptions) -> Result<GetResult> {
        match self.store.get_opts(&self.path(object), options).await {
            Err(object_store::Error::NotFound { .. }) => Err(Error::Gone { object: object.into() }),
            got => Ok(got?),
        }
    }

    /// Deletes an object, which may be gone already.
    pub(super) async fn delete(&self, object: &str) -> Result<()> {
        match self.store.delete(&self.path(object)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            deleted => Ok(deleted?),
        }
    }

    /// The names of all objects but HEAD.
    pub(super) async fn objects(&self) -> Result<Vec<String>> {
        use futures_util::TryStreamExt;
        let found = self.store.list(Some(&self.prefix));
        let names = found.try_filter_map(async |meta| {
            let parts = meta.location.prefix_match(&self.prefix);
            let name = parts.map(|parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"));
            Ok(name.filter(|name| name != HEAD && name != LOCK))
        });
        Ok(names.try_collect().await?)
    }
}

fn version(meta: &ObjectMeta) -> Version {
    UpdateVersion {
        e_tag: meta.e_tag.clone(),
        version: meta.version.clone(),
    }
}
