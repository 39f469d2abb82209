//! Packing on other machines: a packer hands out blocks to workers, who connect to it and send them back encoded.
//!
//! The packer stays the only one who writes to the store. What a worker sends is checked before it is taken
//! ([`check`](crate::packer::encode::check)), and who is lost or late costs time alone: its blocks are encoded again.
//!
//! A worker needs nothing but the program. It gets the options, and what it lacks of the model and the dictionaries.
//! Connections are not encrypted. Where others can listen, they belong into a tunnel, as of `ssh -L`.

mod address;
mod channel;
mod error;
pub mod fuzzing;
mod message;
mod peer;
mod pool;
mod supplies;
mod timing;
mod token;
mod worker;

#[cfg(test)]
mod tests;

pub use address::Address;
pub use error::Error;
pub use peer::Supplies;
pub use pool::Pool;
pub use supplies::StoreSupplies;
pub use token::Token;
pub use worker::Worker;

use lmfs_codec::Codec;
use serde::{Deserialize, Serialize};

/// Where a run listens for workers, and what they have to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workers {
    /// Where.
    pub address: Address,
    /// What they have to know.
    pub token: Option<Token>,
}

impl Workers {
    /// Listens for workers that encode as `codec` does, until what is returned is dropped.
    ///
    /// # Errors
    /// As of [`Pool::listen`].
    pub fn listen(self: &Workers, codec: &Codec, supplies: Box<dyn Supplies>) -> Result<Pool, Error> {
        Pool::listen(&self.address, self.token.clone(), codec, supplies)
    }
}
