//! What the parts of a store share.

use std::sync::Arc;

use lmfs_codec::Codec;
use object_store::path::Path;
use object_store::{ObjectStore, Result};

use crate::blocks::Blocks;
use crate::error::{Stopped, generic};
use crate::known::Known;
use crate::options::LmfsOptions;
use crate::pool::Pool;

/// The store behind, and what is known of it.
pub struct Shared {
    pub inner: Arc<dyn ObjectStore>,
    /// The inner store as text.
    pub name: String,
    pub options: LmfsOptions,
    pub pool: Arc<Pool>,
    pub blocks: Arc<Blocks>,
    pub known: Known,
    /// Makes staged blocks.
    pub first: Codec,
}

impl Shared {
    pub fn new(inner: Arc<dyn ObjectStore>, options: LmfsOptions) -> Result<Shared> {
        options.check()?;
        let pool = Arc::new(Pool::new(options.threads));
        let mut fast = lmfs_codec::Options::default();
        (fast.model, fast.mix) = (false, false);
        Ok(Shared {
            name: inner.to_string(),
            inner,
            blocks: Arc::new(Blocks::new(&options, Arc::clone(&pool))?),
            pool,
            known: Known::new(options.known_objects, options.table_bytes),
            first: options.codecs.codec(None, fast).map_err(generic)?,
            options,
        })
    }

    /// What an attempt came to that began with opening an object; `None` if the object was replaced meanwhile, and the
    /// next attempt will find the new one.
    pub fn settled<T>(&self, location: &Path, attempt: Result<T, Stopped>) -> Result<Option<T>> {
        match attempt {
            Ok(done) => Ok(Some(done)),
            Err(Stopped::Failed(error)) => Err(error),
            Err(Stopped::Replaced) => {
                self.known.forget(location);
                Ok(None)
            }
        }
    }
}
