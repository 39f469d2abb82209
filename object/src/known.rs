//! What is known of objects that were seen before. Every use of it is checked against the object's ETag by the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lmfs_codec::stream::layout::Layout;
use object_store::path::Path;
use object_store::{Attributes, Extensions, ObjectMeta};
use parking_lot::Mutex;

use crate::keys::{ContentId, ObjectKey};
use crate::request::{Pin, Response};
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

impl Kind {
    /// Bytes of content of what is stored so.
    pub fn content_len(&self, pin: &Pin) -> u64 {
        match self {
            Kind::Plain => pin.meta.size,
            Kind::Container(container) => container.layout.len(),
        }
    }
}

/// An object as it was when the store was asked.
pub struct Seen {
    pub pin: Pin,
    pub kind: Kind,
    attributes: Attributes,
    extensions: Extensions,
    /// When the store last said that it is so.
    asked: Mutex<Instant>,
}

impl Seen {
    /// What the store said, if that is no longer ago than this.
    pub fn fresh(&self, trust: Duration) -> Option<Response> {
        let fresh = !trust.is_zero() && self.asked.lock().elapsed() < trust;
        fresh.then(|| Response {
            meta: self.pin.meta.clone(),
            attributes: self.attributes.clone(),
            extensions: self.extensions.clone(),
        })
    }

    /// The store said that it is still so, to a request that began then.
    pub fn is_still(&self, begun: Instant) {
        let mut asked = self.asked.lock();
        *asked = begun.max(*asked);
    }
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
    kinds: Mutex<Weighted<Path, Arc<Seen>>>,
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
    pub fn seen(&self, location: &Path) -> Option<Arc<Seen>> {
        self.kinds.lock().get(location).cloned()
    }

    /// Remembers what the store said to a request that began at `begun`.
    pub fn set_seen(&self, pin: &Pin, kind: &Kind, response: &Response, begun: Instant) {
        let meta = &pin.meta;
        self.set_len(meta, kind.content_len(pin));
        if meta.e_tag.is_some() {
            let table = match kind {
                Kind::Plain => 0,
                Kind::Container(container) => container.layout.memory(),
            };
            let seen = Seen {
                pin: Pin {
                    meta: meta.clone(),
                    version: None,
                },
                kind: kind.clone(),
                attributes: response.attributes.clone(),
                extensions: response.extensions.clone(),
                asked: Mutex::new(begun),
            };
            let seen = Arc::new(seen);
            self.kinds.lock().insert(meta.location.clone(), seen, table + 1024);
        }
    }

    pub fn forget(&self, location: &Path) {
        self.lens.lock().remove(location);
        self.kinds.lock().remove(location);
    }
}
