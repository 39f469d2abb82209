//! Telling the kernel's side what changed without a request that says so.

use std::sync::OnceLock;

/// Who is told.
#[derive(Default)]
pub struct Events {
    on_stored: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
}

impl Events {
    /// From now on `told` is called with inodes of which the use of space changed. The first call of this counts.
    pub fn on_stored(&self, told: impl Fn(u64) + Send + Sync + 'static) {
        let _ = self.on_stored.set(Box::new(told));
    }

    /// The use of space of a file changed.
    pub fn stored(&self, ino: u64) {
        self.changed(ino);
    }

    /// A request changed more of an inode than its answer says: the kernel takes the mode for the old one otherwise.
    pub fn changed(&self, ino: u64) {
        if let Some(told) = self.on_stored.get() {
            told(ino);
        }
    }
}
