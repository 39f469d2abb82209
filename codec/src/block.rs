//! One slice of bytes, one self-describing block: pure functions over slices.

mod behind;
mod behind_model;
mod behind_solid;
mod choose;
mod codec;
mod coder;
mod engine;
mod fingerprint;
mod header;
mod in_solid;
mod key;
mod options;
mod pool;
mod route;
mod sample;
mod solid;
#[cfg(test)]
mod testing;
mod warm_states;
mod zstd;

pub use behind::Needs;
pub use choose::Fronts;
pub use codec::Codec;
pub(crate) use codec::{decode_as, decode_as_into};
pub use fingerprint::Fingerprint;
pub use header::{Header, Method};
pub use in_solid::InSolid;
pub(crate) use key::{KeyCoder, KeyPart};
pub(crate) use options::MODEL_WORTH;
pub use options::Options;
pub use solid::{Growth, SolidHead};
