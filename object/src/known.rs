//! What is known of objects that were seen before. Every use of it is checked against the object's ETag by the store.

use std::sync::Arc;

use lmfs_codec::stream::layout::Layout;
use object_store::ObjectMeta;
use object_store::path::Path;
use parking_lot::Mutex;

use crate::keys::{ContentId, ObjectKey};
use crate::weighted::Weighted;

/// A container that can be read.
pub struct Container {
    pub layout: Layout,
    pub content: ContentId,
    /// `None` without an ETag: nothing of it is cached.
    pub key: Option<ObjectKey>,
}

/// What an object is.
#[derive(Clone)]
pub enum Kind {
    Plain,
    Container(Arc<Container>),
}

/// Which version of an object something is known of. Without an ETag there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    e_tag: String,
    stored: u64,
}

impl Version {
    fn of(meta: &ObjectMeta) -> Option<Version> {
        let e_tag = meta.e_tag.clone()?;
        Some(Version {
            e_tag,
            stored: meta.size,
        })
    }
}

/// Sizes of contents, and tables, by name.
pub struct Known {
    lens: Mutex<Weighted<Path, (Version, u64)>>,
    kinds: Mutex<Weighted<Path, (ObjectMeta, Kind)>>,
}

impl Known {
    pub fn new(objects: usize, table_bytes: u64) -> Known {
        Known {
            lens: Mutex::new(Weighted::new(objects as u64)),
            kinds: Mutex::new(Weighted::new(table_bytes)),
        }
    }

    /// Bytes of content of this version.
    pub fn len(&self, meta: &ObjectMeta) -> Option<u64> {
        let version = Version::of(meta)?;
        let mut lens = self.lens.lock();
        let (known, len) = lens.get(&meta.location)?;
        (*known == version).then_some(*len)
    }

    /// Whether a version of this object is known.
    pub fn has_len(&self, location: &Path) -> bool {
        self.lens.lock().contains(location)
    }

    pub fn set_len(&self, meta: &ObjectMeta, len: u64) {
        if let Some(version) = Version::of(meta) {
            self.lens.lock().insert(meta.location.clone(), (version, len), 1);
        }
    }

    /// What the object was when it was opened last.
    pub fn kind(&self, location: &Path) -> Option<(ObjectMeta, Kind)> {
        self.kinds.lock().get(location).cloned()
    }

    pub fn set_kind(&self, meta: &ObjectMeta, kind: &Kind) {
        let len = match kind {
            Kind::Plain => meta.size,
            Kind::Container(container) => container.layout.len(),
        };
        self.set_len(meta, len);
        if meta.e_tag.is_some() {
            let table = match kind {
                Kind::Plain => 0,
                Kind::Container(container) => container.layout.memory(),
            };
            let value = (meta.clone(), kind.clone());
            self.kinds.lock().insert(meta.location.clone(), value, table + 1024);
        }
    }

    pub fn forget(&self, location: &Path) {
        self.lens.lock().remove(location);
        self.kinds.lock().remove(location);
    }
}
