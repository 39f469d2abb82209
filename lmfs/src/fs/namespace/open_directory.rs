//! Open directories, and how far each is listed.

use std::sync::Arc;

use lmfs_indexer::Cookie;
use parking_lot::Mutex;

use crate::fs::inode::node::Node;

/// An open directory.
pub struct OpenDirectory {
    /// Its node.
    pub node: Arc<Node>,
    /// The listing under way.
    pub listing: Mutex<Listing>,
}

/// A listing under way.
pub struct Listing {
    /// Names that are made later are not listed, so that a listing whose reader makes names comes to its end.
    pub until: Cookie,
    /// Regular files listed so far.
    pub files: usize,
}
