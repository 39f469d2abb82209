//! Blocks that were fetched and not decoded yet.

use bytes::Bytes;
use lmfs_codec::Stop;
use lmfs_codec::stream::layout::Place;

/// A block that is not decoded yet.
pub struct Coded {
    pub place: Place,
    stored: Bytes,
    /// The key of its container, if the block needs it and nobody has learned it yet.
    front: Option<Bytes>,
}

impl Coded {
    /// The block of this place, what is stored of it, and the key of its container if it needs that.
    pub fn new(place: Place, stored: Bytes, front: Option<Bytes>) -> Coded {
        Coded { place, stored, front }
    }

    /// Decodes it.
    ///
    /// # Errors
    /// As [`Place::decode`].
    pub fn decode(mut self, stop: &Stop) -> lmfs_codec::Result<Bytes> {
        if let Some(front) = self.front {
            self.place.take_key(&front, stop)?;
        }
        Ok(Bytes::from(self.place.decode(&self.stored, stop)?.into_bytes()))
    }
}
