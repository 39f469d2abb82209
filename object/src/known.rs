//! What is known of objects that were seen before. Every use of it is checked against the object's ETag by the store.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Counters of changes. Objects share them: a change of one may keep another from being remembered once.
const COUNTERS: usize = 256;

/// How many changes there were before a request.
#[derive(Clone, Copy)]
pub struct Changes(u64);

/// Sizes of contents, and tables, by name.
pub struct Known {
    changes: Box<[AtomicU64]>,
    lens: Mutex<Weighted<Path, (Version, u64)>>,
    kinds: Mutex<Weighted<Path, Arc<Seen>>>,
}

impl Known {
    pub fn new(objects: usize, table_bytes: u64) -> Known {
        Known {
            changes: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
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

    #[allow(clippy::indexing_slicing, reason = "the remainder is less than the length")]
    fn counter(&self, location: &Path) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        location.hash(&mut hasher);
        &self.changes[hasher.finish() as usize % COUNTERS]
    }

    /// To be asked before the request whose answer is to be remembered.
    pub fn changes(&self, location: &Path) -> Changes {
        Changes(self.counter(location).load(Ordering::SeqCst))
    }

    /// Remembers what the store said to a request that began at `begun`, unless something was forgotten since `before`:
    /// the answer may be older than that change.
    pub fn set_seen(&self, pin: &Pin, kind: &Kind, response: &Response, begun: Instant, before: Changes) {
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
            let mut kinds = self.kinds.lock();
            // Whoever forgets counts first and removes then, so what is let in here is removed.
            if self.changes(&meta.location).0 == before.0 {
                kinds.insert(meta.location.clone(), seen, table + 1024);
            }
        }
    }

    pub fn forget(&self, location: &Path) {
        self.counter(location).fetch_add(1, Ordering::SeqCst);
        self.lens.lock().remove(location);
        self.kinds.lock().remove(location);
    }

    /// Forgets all objects.
    pub fn forget_all(&self) {
        for counter in &self.changes {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        self.lens.lock().clear();
        self.kinds.lock().clear();
    }

    /// Forgets an object when this is dropped. A change whose request fails or is given up may have happened.
    pub fn changing<'a>(&'a self, location: &'a Path) -> Changing<'a> {
        Changing { known: self, location }
    }
}

/// A change of an object that is under way.
pub struct Changing<'a> {
    known: &'a Known,
    location: &'a Path,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.known.forget(self.location);
    }
}
